package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A caller whose connection broke comes back for the rest of its answer. */
class ResumeTest {

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "r-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    private HttpResponse<String> resume(String answerId, int event) throws Exception {
        return gateway.get("/api/chat/completions/" + answerId, "Last-Event-ID", answerId + ":" + event);
    }

    private static String answerId(String line) {
        return line.substring("id: ".length(), line.lastIndexOf(':'));
    }

    @Test
    void fromEveryEventOnExactlyTheRestIsGiven() throws Exception {
        String whole = gateway.post("/api/chat/completions", nativeChat("openai/" + model, true)).body();
        String[] events = whole.split("(?<=\n\n)");
        String id = answerId(events[0].lines().findFirst().orElseThrow());
        assertTrue(events.length > 4);
        for (int cut = 0; cut <= events.length; cut++) {
            StringBuilder rest = new StringBuilder();
            for (int i = cut; i < events.length; i++) {
                rest.append(events[i]);
            }
            HttpResponse<String> response = resume(id, cut);
            assertEquals(200, response.statusCode());
            assertEquals(rest.toString(), response.body(), "after event " + cut);
        }
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void whoLeavesAndComesBackInTimeGetsTheLiveRest() throws Exception {
        CountDownLatch left = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("one ");
            left.await(10, TimeUnit.SECONDS);
            call.text("two ");
            call.text("three");
            call.finish("stop");
            call.done();
        });
        String id;
        try (Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
        }
        try (Sse back = Sse.get(gateway.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
            left.countDown();
            assertEquals("id: " + id + ":4", back.lineWith("id: "));
            assertTrue(back.lineWith("data: ").contains("two"));
            back.lineWith("event: end");
        }
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void anotherInstanceGivesTheLiveRestToo() throws Exception {
        CountDownLatch more = new CountDownLatch(1);
        CountDownLatch end = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("one ");
            more.await(10, TimeUnit.SECONDS);
            call.text("two ");
            end.await(10, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        try (TestGateway other = TestGateway.with();
                Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            String id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
            TestGateway.until("the other instance knows it", () -> {
                try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":2")) {
                    return back.lineWith("HTTP/1.1").contains("200");
                }
            });
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
                more.countDown();
                assertEquals("id: " + id + ":4", back.lineWith("id: "));
                assertTrue(back.lineWith("data: ").contains("two"));
                end.countDown();
                back.lineWith("event: end");
            }
        }
    }

    @Test
    void openAiStreamsAreNumberedAndResumedWhereTheCallerAsksForIt() throws Exception {
        String plain = gateway.post("/v1/chat/completions", chat("openai/" + model, true)).body();
        assertFalse(plain.contains("id: "));
        String whole = gateway.post("/v1/chat/completions", chat("openai/" + model, true), "X-Resumable", "true").body();
        String id = answerId(whole.lines().findFirst().orElseThrow());
        assertTrue(whole.startsWith("id: " + id + ":1\ndata: {"));
        assertEquals(whole.substring(whole.indexOf("id: " + id + ":2\n")), resume(id, 1).body());
        assertTrue(resume(id, 1).body().endsWith("data: [DONE]\n\n"));
    }

    @Test
    void whoDoesNotComeBackInTimeClosesTheProvidersConnection() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.deduplicate.resume-grace", "300")) {
            own.provider().on(model, call -> {
                call.sse();
                call.text("one ");
                call.hang();
            });
            String id;
            try (Sse client = new Sse(own.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
                id = answerId(client.lineWith("id: "));
                client.lineWith("one ");
            }
            assertTrue(own.provider().call(model).leftWithin(3_000));
            TestGateway.until("what there is of it is kept", () -> own.get("/api/chat/completions/" + id).body().contains("one "));
            assertTrue(own.get("/api/chat/completions/" + id).body().contains("CLIENT_CLOSED"), "who comes back later is told that it broke off");
        }
    }

    @Test
    void anAnswerThatIsNotThereIsNotFound() throws Exception {
        assertEquals(404, gateway.get("/api/chat/completions/nothing").statusCode());
        String whole = gateway.post("/api/chat/completions", nativeChat("openai/" + model, true)).body();
        String id = answerId(whole.lines().findFirst().orElseThrow());
        HttpResponse<String> wrong = gateway.get("/api/chat/completions/" + id, "Last-Event-ID", "other:1");
        assertEquals(400, wrong.statusCode());
        assertTrue(wrong.body().contains("Last-Event-ID"));
    }
}
