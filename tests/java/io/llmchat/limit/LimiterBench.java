package io.llmchat.limit;

import io.llmchat.bench.SilentClient;
import io.llmchat.http.ClientStream;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.camel.impl.DefaultCamelContext;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** What limits cost a request beside the question to Redis: the decision of an instance alone, and the headers about it. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class LimiterBench {

    private static final Need NEED = new Need(1, 350, 1_000_000);
    private static final long NOW = 1_767_225_600_000L;

    /** How many limits a request meets. */
    @Param({"1", "4"})
    private int limits;

    private final LocalLimits own = new LocalLimits();
    private List<Limit> asked;
    private Decision decision;
    private ClientStream client;

    @Setup
    public void prepare() {
        asked = List.of(new Limit(Limit.Scope.CALLER, "key 1", Limit.Kind.REQUESTS, 1L << 50, 60_000, 0),
                new Limit(Limit.Scope.USER, "ada", Limit.Kind.TOKENS_PER_DAY, 1L << 50, 86_400_000, 0),
                new Limit(Limit.Scope.MODEL, "openai/gpt-4o", Limit.Kind.TOKENS_PER_MINUTE, 1L << 50, 60_000, 0),
                new Limit(Limit.Scope.GLOBAL, "", Limit.Kind.BUDGET_PER_MONTH, 1L << 50, Limit.UTC_MONTH, 0)).subList(0, limits);
        decision = decide();
        client = SilentClient.open(new DefaultCamelContext(), "/v1/chat/completions");
    }

    @Benchmark
    public Decision decide() {
        return own.take(asked, NEED, NOW);
    }

    @Benchmark
    public ClientStream headers() {
        RateLimitHeaders.add(decision, client);
        return client;
    }
}
