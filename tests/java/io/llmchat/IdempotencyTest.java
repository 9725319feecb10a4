package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** An answer is not paid for twice: a repeated request gets what the first one got. */
class IdempotencyTest {

    private static final String PATH = "/v1/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();
    private final String key = "k-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    private HttpResponse<String> ask(String path, String body) throws Exception {
        return gateway.post(path, body, "Idempotency-Key", key);
    }

    @Test
    void aRepeatedRequestGetsTheFirstAnswerWithoutACall() throws Exception {
        HttpResponse<String> first = ask(PATH, chat("openai/" + model, false));
        HttpResponse<String> again = gateway.post(PATH, chat("openai/" + model, false), "Idempotency-Key", "\"" + key + "\"");
        assertEquals(200, again.statusCode());
        assertEquals(first.body(), again.body());
        assertEquals("true", again.headers().firstValue("idempotent-replayed").orElseThrow());
        assertTrue(first.headers().firstValue("idempotent-replayed").isEmpty());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void anotherBodyUnderTheSameKeyIsRefused() throws Exception {
        ask(PATH, chat("openai/" + model, false));
        HttpResponse<String> other = ask(PATH, chat("openai/" + model + "2", false));
        assertEquals(422, other.statusCode());
        assertEquals("IDEMPOTENCY_KEY_REUSED", json(otherNative()).path("code").asText());
    }

    private String otherNative() throws Exception {
        ask("/api/chat/completions", nativeChat("openai/" + model, false));
        return ask("/api/chat/completions", nativeChat("demo", false)).body();
    }

    @Test
    void theSameKeyOnAnotherPathIsAnotherKey() throws Exception {
        ask(PATH, chat("openai/" + model, false));
        assertEquals(200, ask("/api/chat/completions", nativeChat("openai/" + model, false)).statusCode());
        assertEquals(2, provider.calls(model).size());
    }

    @Test
    void anErrorIsNotKept() throws Exception {
        provider.on(model, call -> call.error(400, "bad"));
        assertEquals(400, ask(PATH, chat("openai/" + model, false)).statusCode());
        provider.on(model, call -> call.json(200, FakeProvider.completion("well")));
        assertEquals(200, ask(PATH, chat("openai/" + model, false)).statusCode());
    }

    @Test
    void aSecondRequestWhileTheFirstIsAnsweredIsAskedToWait() throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, call -> {
            asked.countDown();
            go.await(10, TimeUnit.SECONDS);
            call.json(200, FakeProvider.completion("well"));
        });
        CompletableFuture<HttpResponse<String>> first = new CompletableFuture<>();
        Thread.ofVirtual().start(() -> {
            try {
                first.complete(ask(PATH, chat("openai/" + model, false)));
            } catch (Exception e) {
                first.completeExceptionally(e);
            }
        });
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        HttpResponse<String> second = ask(PATH, chat("openai/" + model, false));
        assertEquals(409, second.statusCode());
        assertTrue(second.headers().firstValue("retry-after").isPresent());
        go.countDown();
        assertEquals(200, first.get(10, TimeUnit.SECONDS).statusCode());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void theAnswerIsKeptBeforeItIsSeen() throws Exception {
        ask(PATH, chat("openai/" + model, false));
        assertEquals(1, gateway.count("SELECT count(*) FROM answers WHERE key = '" + PATH + " " + key + "' AND body IS NOT NULL"));
    }
}
