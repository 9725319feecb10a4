package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.llmchat.chat.Quota;
import io.llmchat.chat.Target;
import io.llmchat.limit.Limit.Kind;
import io.llmchat.limit.Limit.Scope;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class QuotasTest {

    private static List<Limit> of(String text, String target) {
        List<Limit> limits = new ArrayList<>();
        new Quotas(text).add(target == null ? null : Target.parse(target), limits);
        return limits;
    }

    @Test
    void aModelHasItsOwnQuotaBesideThatOfAll() {
        assertEquals(List.of(
                new Limit(Scope.MODEL, "openai/gpt-4o", Kind.TOKENS_PER_MINUTE, 500, 60_000, 0),
                new Limit(Scope.MODEL, "openai/gpt-4o", Kind.BUDGET_PER_DAY, 2_500_000_000L, Limit.UTC_DAY, 0),
                new Limit(Scope.GLOBAL, "all", Kind.REQUESTS, 9, 60_000, 5_000)),
                of("global points=9 duration=60 blockDuration=5; model openai/gpt-4o tokensPerMinute=500 budgetPerDay=2.5;", "openai/gpt-4o"));
    }

    @Test
    void theOtherModelsOfAProviderShareOne() {
        String text = "model openai/* tokensPerDay=7; model openai/gpt-4o tokensPerDay=8";
        assertEquals("openai/*", of(text, "openai/o1").getFirst().name());
        assertEquals(8, of(text, "openai/gpt-4o").getFirst().max());
        assertEquals(List.of(), of(text, "ollama/x"));
        assertEquals(List.of(), of(text, null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"global", "global points", "global points=1", "model tokensPerDay=1", "model openai tokensPerDay=1",
        "everybody points=1 duration=1", "global points=-1 duration=1", "global points=1 duration=31536001", "global coins=1", "global tokensPerDay=1.5", "global tokensPerDay=1; global budgetPerDay=1",
        "model openai/o1 tokensPerDay=1; model openai/* tokensPerDay=1; model openai/o1 budgetPerDay=1", "global tokensPerDay=1 tokensPerDay=2"})
    void whatCannotBeReadIsRefused(String text) {
        assertNotNull(Quotas.refuse(text));
    }

    @Test
    void whatIsKeptOfAnEarlierQuotaIsHeldToWhatCanBeCounted() {
        long year = 31_536_000_000L;
        List<Limit> limits = new ArrayList<>();
        Limit.add(new Quota(1, Long.MAX_VALUE, Long.MAX_VALUE, 0, 0, new BigDecimal("1e-10"), new BigDecimal("1e2147483640")),
                Scope.CALLER, "k", limits);
        assertEquals(List.of(new Limit(Scope.CALLER, "k", Kind.REQUESTS, 1, year, year),
                new Limit(Scope.CALLER, "k", Kind.BUDGET_PER_DAY, 1, Limit.UTC_DAY, 0),
                new Limit(Scope.CALLER, "k", Kind.BUDGET_PER_MONTH, 1L << 53, Limit.UTC_MONTH, 0)), limits);
    }

    @ParameterizedTest
    @CsvSource({"0, 0ms", "20, 20ms", "1000, 1s", "1500, 1.5s", "60000, 1m0s", "360000, 6m0s", "61250, 1m1.25s", "3600000, 1h0m0s",
        "3605000, 1h0m5s", "86399000, 23h59m59s", "172800000, 48h0m0s"})
    void durationsAreWrittenAsOpenAiWritesThem(long millis, String text) {
        assertEquals(text, RateLimitHeaders.duration(millis));
    }
}
