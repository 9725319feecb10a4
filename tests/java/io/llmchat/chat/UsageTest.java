package io.llmchat.chat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.step.Prices;
import io.llmchat.wire.Wires;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UsageTest {

    private static final long MOST = 1_000_000_000;

    @Test
    void whatIsCountedStaysWithinReason() {
        assertEquals(new Usage(MOST, 0, 0, MOST, 0, MOST, false), new Usage(Long.MAX_VALUE, -5, -1, Long.MAX_VALUE, 7, Long.MAX_VALUE, false));
        assertEquals(new Usage(3, 2, 5, 0, 0, 0, false), new Usage(3, 2));
    }

    @Test
    void partsOfThePromptAreNoMoreThanThePrompt() {
        assertEquals(new Usage(10, 1, 11, 8, 2, 0, false), new Usage(10, 1, 11, 8, 5, 0, false));
        assertEquals(new Usage(10, 1, 11, 10, 0, 0, false), new Usage(10, 1, 11, 12, 5, 0, false));
    }

    @Test
    void theCostOfTheMostThatCanBeCountedFitsItsColumn() {
        Prices prices = new Prices();
        prices.setTable("openai/gpt 100000 800000\n");
        BigDecimal cost = prices.cost(Target.parse("openai/gpt"), new Usage(Long.MAX_VALUE, 1_000_000_000_000_000L));
        assertTrue(cost.compareTo(BigDecimal.TEN.pow(9)) < 0, cost.toPlainString() + " does not fit numeric(18, 9)");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            openai    | {"choices":[{"message":{}}],"usage":{"prompt_tokens":99999999999999999999999,"completion_tokens":-4,"total_tokens":1e15}}
            anthropic | {"content":[],"usage":{"input_tokens":1e15,"output_tokens":-4}}
            dify      | {"answer":"","metadata":{"usage":{"prompt_tokens":1e15,"completion_tokens":-4,"total_tokens":1e15}}}
            fastgpt   | {"choices":[{"message":{}}],"usage":{"prompt_tokens":999999999999999999,"completion_tokens":-4,"total_tokens":1e15}}""")
    void noWireCountsMore(String wire, String answer) {
        Usage usage = Wires.of(wire, Map.of()).reader(false).answer(answer.getBytes(StandardCharsets.UTF_8)).usage();
        assertEquals(MOST, usage.promptTokens());
        assertEquals(0, usage.completionTokens());
        assertTrue(usage.totalTokens() >= MOST && usage.totalTokens() <= 2 * MOST, usage.toString());
    }

    @Test
    void whatBreaksOffHasUsedItsPromptAlsoWhereThatWouldHaveBeenCountedAtTheEnd() {
        assertEquals(new Usage(25, 10, 35, 0, 0, 0, true), new Usage(0, 3).brokenOff(100, 40));
        assertEquals(new Usage(25, 30, 55, 0, 0, 0, true), new Usage(0, 30).brokenOff(100, 40));
        assertEquals(new Usage(9, 10), new Usage(9, 10).brokenOff(100, 40));
    }

    @Test
    void whatAProviderDoesNotCountIsEstimated() {
        assertEquals(new Usage(25, 3, 28, 0, 0, 0, true), new Usage(0, 3).orEstimated(100, 40));
        assertEquals(new Usage(9, 10, 19, 0, 0, 0, true), new Usage(9, 0).orEstimated(100, 40));
        assertEquals(Usage.estimate(100, 40), new Usage(0, 0).orEstimated(100, 40));
        assertEquals(new Usage(9, 0), new Usage(9, 0).orEstimated(100, 0));
        assertEquals(new Usage(9, 3), new Usage(9, 3).orEstimated(100, 40));
        Usage total = new Usage(0, 0, 70, 0, 0, 0, false);
        assertEquals(total, total.orEstimated(100, 40));
    }

    @Test
    void aTotalAloneIsThePrompts() {
        assertEquals(new Usage(12, 0), Wires.of("openai", Map.of()).reader(true).answer("{\"data\":[],\"usage\":{\"total_tokens\":12}}"
                .getBytes(StandardCharsets.UTF_8)).usage());
    }

    @Test
    void aCountWithADecimalPointCounts() {
        assertEquals(new Usage(3, 2), Wires.of("openai", Map.of()).reader(false).answer(("{\"choices\":[{\"message\":{}}],\"usage\":"
                + "{\"prompt_tokens\":3.0,\"completion_tokens\":2.0,\"total_tokens\":5.0}}").getBytes(StandardCharsets.UTF_8)).usage());
    }
}
