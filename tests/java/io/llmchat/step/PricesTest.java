package io.llmchat.step;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.chat.Charge;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import java.math.BigDecimal;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PricesTest {

    private final Prices prices = new Prices();

    private BigDecimal cost(String target, Usage usage) {
        return prices.cost(Target.parse(target), usage);
    }

    @Test
    void tokensCostWhatTheTableSays() {
        prices.setTable("openai/gpt 2.50 10\n");
        assertEquals(0, new BigDecimal("0.0125").compareTo(cost("openai/gpt", new Usage(1_000, 1_000))));
    }

    @Test
    void cachedTokensCostLessWhereTheTableSaysSo() {
        prices.setTable("openai/gpt 2 8 0.5\n");
        Usage usage = new Usage(1_000, 0, 1_000, 400, 0, 0, false);
        assertEquals(0, new BigDecimal("0.0014").compareTo(cost("openai/gpt", usage)));
    }

    @Test
    void tokensThatAreWrittenToTheCacheCostMoreWhereTheTableSaysSo() {
        prices.setTable("anthropic/claude 4 20 0.4 5\nopenai/gpt 4 20 0.4\n");
        Usage usage = new Usage(1_000, 0, 1_000, 400, 500, 0, false);
        assertEquals(0, new BigDecimal("0.00306").compareTo(cost("anthropic/claude", usage)));
        assertEquals(0, new BigDecimal("0.00256").compareTo(cost("openai/gpt", usage)));
    }

    @Test
    void aModelsOwnPriceComesBeforeThatOfItsProvider() {
        prices.setTable("openai/* 1 1\n");
        prices.setTable("openai/gpt 2 2\n");
        assertEquals(0, new BigDecimal("0.000002").compareTo(cost("openai/gpt", new Usage(1, 0))));
        assertEquals(0, new BigDecimal("0.000001").compareTo(cost("openai/other", new Usage(1, 0))));
    }

    @Test
    void callsTogetherCostWhatEachOfThemDoes() {
        prices.setTable("openai/gpt 2 8\nollama/* 1 1\n");
        Charge dear = new Charge(Target.parse("openai/gpt"), new Usage(10, 1));
        Charge cheap = new Charge(Target.parse("ollama/x"), new Usage(10, 1));
        Charge free = new Charge(Target.parse("other/x"), new Usage(10, 1));
        assertEquals(0, new BigDecimal("0.000039").compareTo(prices.cost(List.of(dear, free, cheap))));
        assertNull(prices.cost(List.of(free)));
        assertNull(prices.cost(List.of()));
    }

    @Test
    void aModelThatIsNotInTheTableHasNoCost() {
        assertNull(cost("openai/gpt", new Usage(1, 1)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai/gpt", "openai/gpt 1", "openai/gpt 1 x", "openai/gpt 1 2 3 4 5", "openai/gpt -1 2", "gpt 1 2"})
    void aLineThatIsNoPriceIsNamed(String line) {
        String said = assertThrows(IllegalArgumentException.class, () -> prices.setTable("demo/* 0 0\n" + line)).getMessage();
        assertTrue(said.contains("'" + line + "'"), said);
    }
}
