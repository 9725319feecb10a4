package io.llmchat.ops;

import io.llmchat.chat.Chat;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.DoubleStream;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * What chats cost in time and tokens, by the names, attributes and buckets of the OpenTelemetry GenAI conventions
 * (semantic-conventions-genai, "gen-ai-metrics.md"), with {@code _} for {@code .}: one operation is one call of a
 * provider. Beside them, what is the gateway's own. Callers choose model names: those that never answered, and those
 * beyond the first {@value #MAX_MODELS} of a provider, are told as {@code other}; of some providers any name answers, and
 * takes no room from others. Safe for all threads.
 */
public final class ChatMeters {

    private static final int MAX_MODELS = 200;
    private static final String OTHER = "other";
    private static final double[] TOKENS = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
    private static final Duration[] DURATIONS = seconds(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92);
    private static final Duration[] FIRST_TOKEN = seconds(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10);
    private static final Duration[] PER_TOKEN = seconds(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5);
    private static final Duration[] OVERHEAD = seconds(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1);

    private record Key(Operation operation, Target target) {
    }

    private record Failed(Operation operation, Target target, String error) {
    }

    private record Answers(Timer duration, Timer firstToken, Timer perToken, DistributionSummary input, DistributionSummary output) {
    }

    private final MeterRegistry registry;
    private final Map<Key, Answers> answers = new ConcurrentHashMap<>();
    private final Map<Failed, Timer> failures = new ConcurrentHashMap<>();
    private final LongAdder open = new LongAdder();
    private final Timer overhead;

    public ChatMeters(MeterRegistry registry) {
        this.registry = registry;
        Gauge.builder("llmchat.streams.open", open, LongAdder::sum)
                .description("Streamed answers that are being made by this instance").register(registry);
        this.overhead = timer("llmchat.gateway.overhead",
                "What the gateway adds to a chat that the first call has answered: its time from the read request on, without the provider's", OVERHEAD);
    }

    /** The bounds of a timer's buckets. */
    public static Duration[] seconds(double... bounds) {
        return DoubleStream.of(bounds).mapToObj(s -> Duration.ofNanos(Math.round(s * 1e9))).toArray(Duration[]::new);
    }

    private Timer timer(String name, String description, Duration[] buckets, String... tags) {
        return Timer.builder(name).description(description).tags(tags).serviceLevelObjectives(buckets).register(registry);
    }

    /** A stream begins. */
    public void opened() {
        open.increment();
    }

    /** A stream has ended. */
    public void closed() {
        open.decrement();
    }

    /**
     * A call has brought an answer.
     *
     * @param nanos how long it took
     * @param firstTokenNanos how long the first token of a stream took; 0 where there was no stream
     */
    public void answered(Operation operation, Target target, Usage usage, long nanos, long firstTokenNanos) {
        Answers of = answers.get(new Key(operation, target));
        if (of == null) {
            boolean room = answers.keySet().stream().filter(k -> k.target.provider().equals(target.provider())).count() < MAX_MODELS;
            Target told = room ? target : new Target(target.provider(), OTHER);
            of = answers.computeIfAbsent(new Key(operation, told), this::answersOf);
        }
        of.duration.record(Duration.ofNanos(nanos));
        if (firstTokenNanos > 0) {
            of.firstToken.record(Duration.ofNanos(firstTokenNanos));
        }
        if (usage != null && usage.isUsedFor(operation)) {
            of.input.record(usage.promptTokens());
            of.output.record(usage.completionTokens());
        }
        if (usage != null && firstTokenNanos > 0 && usage.completionTokens() > 1) {
            of.perToken.record(Duration.ofNanos((nanos - firstTokenNanos) / (usage.completionTokens() - 1)));
        }
    }

    /** A call has brought none: why, in the words of {@code X-LLMChat-Attempts}. */
    public void failed(Operation operation, Target target, String error, long nanos) {
        Target told = answers.containsKey(new Key(operation, target)) ? target : new Target(target.provider(), OTHER);
        failures.computeIfAbsent(new Failed(operation, told, error), f -> duration(f.operation, f.target, f.error))
                .record(Duration.ofNanos(nanos));
    }

    private Answers answersOf(Key key) {
        String[] tags = tags(key.operation, key.target);
        return new Answers(duration(key.operation, key.target, ""),
                timer("gen_ai.server.time_to_first_token", "Time to the first token of a stream", FIRST_TOKEN, tags),
                timer("gen_ai.server.time_per_output_token", "Time per token after the first one of a stream", PER_TOKEN, tags),
                tokens("input", tags), tokens("output", tags));
    }

    private Timer duration(Operation operation, Target target, String error) {
        return Timer.builder("gen_ai.client.operation.duration").description("Calls of providers").tags(tags(operation, target))
                .tag("error_type", error).serviceLevelObjectives(DURATIONS).register(registry);
    }

    private DistributionSummary tokens(String type, String[] tags) {
        return DistributionSummary.builder("gen_ai.client.token.usage").description("Tokens of answers, as the provider counts them")
                .tags(tags).tag("gen_ai_token_type", type).serviceLevelObjectives(TOKENS).register(registry);
    }

    private static String[] tags(Operation operation, Target target) {
        return new String[] {"gen_ai_operation_name", operation.name().toLowerCase(Locale.ROOT),
                "gen_ai_provider_name", target.provider(), "gen_ai_request_model", target.model()};
    }

    /** A step at the end of a chat: notes what of its time was the gateway's own. */
    public Processor overhead() {
        return (Exchange exchange) -> {
            Chat chat = Chat.of(exchange);
            if (chat.isAnswered() && chat.calls() == 1) {
                overhead.record(Duration.ofNanos(Math.max(0, chat.answeringNanos() - chat.calledNanos())));
            }
        };
    }
}
