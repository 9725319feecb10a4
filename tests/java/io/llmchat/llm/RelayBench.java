package io.llmchat.llm;

import io.llmchat.bench.SilentClient;
import io.llmchat.chat.Candidate;
import io.llmchat.chat.Chat;
import io.llmchat.chat.Target;
import io.llmchat.dialect.AnthropicDialect;
import io.llmchat.dialect.Dialect;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.http.Drain;
import io.llmchat.json.Json;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.Tracing;
import io.llmchat.wire.Wire;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.camel.CamelContext;
import org.apache.camel.impl.DefaultCamelContext;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * What an event costs from the bytes of the provider to what is written to the caller, without either's connection. The
 * call is one of the demo provider, which says its first word by itself; all others come from here.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class RelayBench {

    private static final int EVENTS = 1000;
    private static final byte[] TOKEN = event("[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]");
    private static final byte[] FINISH = event("[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]");
    private static final byte[] DONE = Json.utf8("data: [DONE]\n\n");

    /** The caller's dialect: the provider's own, whose bytes pass, or another. */
    @Param({"openai", "anthropic"})
    private String dialect;

    private final Vertx vertx = Vertx.vertx();
    private final CamelContext camel = new DefaultCamelContext();
    private LlmEndpoint endpoint;
    private io.vertx.core.Context loop;

    private static byte[] event(String choices) {
        return Json.utf8("data: {\"id\":\"chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                + "\"model\":\"gpt-test\",\"choices\":" + choices + "}\n\n");
    }

    @Setup
    public void prepare() {
        SimpleMeterRegistry meters = new SimpleMeterRegistry();
        camel.getRegistry().bind("vertx", vertx);
        camel.getRegistry().bind("meters", meters);
        camel.getRegistry().bind("chatMeters", new ChatMeters(meters));
        camel.getRegistry().bind("tracing", new Tracing("", true));
        camel.getRegistry().bind("drain", new Drain());
        camel.start();
        endpoint = camel.getEndpoint("llm:demo?provider=demo", LlmEndpoint.class);
        endpoint.start();
        loop = vertx.getOrCreateContext();
    }

    @TearDown
    public void end() {
        camel.stop();
        vertx.close().toCompletionStage().toCompletableFuture().join();
    }

    @Benchmark
    @OperationsPerInvocation(EVENTS)
    public Object event() {
        CompletableFuture<Object> over = new CompletableFuture<>();
        loop.runOnContext(v -> relay(over));
        return over.join();
    }

    private void relay(CompletableFuture<Object> over) {
        Dialect of = dialect.equals("openai") ? OpenAiDialect.CHAT : AnthropicDialect.CHAT;
        Chat chat = new Chat(SilentClient.open(camel, dialect.equals("openai") ? "/v1/chat/completions" : "/v1/messages"));
        var request = of.read(Json.utf8("{\"model\":\"demo/m\",\"max_tokens\":100,\"stream\":true,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"), header -> null);
        chat.setRequest(request, of.writer(request, new Dialect.Names("r1", "a1", "c1")));
        chat.deadline(60_000);
        chat.candidates(List.of(new Candidate(new Target("demo", "m"), 0, false)));
        chat.nextCandidate();
        Wire.Call call = endpoint.wire().call(new Wire.Asked(request, null, "m", "a1", null, null));
        Relay relay = new Relay(chat, endpoint, call, new Continuation("", true), (r, failure) -> {
            if (failure == null) {
                over.complete(chat);
            } else {
                over.completeExceptionally(failure);
            }
        });
        relay.start();
        for (int i = 0; i < EVENTS; i++) {
            relay.data(TOKEN);
        }
        relay.data(FINISH);
        relay.data(DONE);
    }
}
