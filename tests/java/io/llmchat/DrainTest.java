package io.llmchat;

import static io.llmchat.support.GatewayProcess.freePort;
import static io.llmchat.support.GatewayProcess.readTo;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.Answer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.OwnStores;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.ConnectException;
import java.net.SocketException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How a gateway ends: what runs comes to its end, or is told; nothing that must be kept is lost. */
class DrainTest {

    @TempDir
    Path folder;

    private final String model = "m-" + UUID.randomUUID();
    private final CountDownLatch begun = new CountDownLatch(1);
    private final CountDownLatch enough = new CountDownLatch(1);
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private FakeProvider provider;
    private Process gateway;
    private int port;

    /** A gateway on the stores of the shared one, so that what it left there can be read when it has ended. */
    private void start(Map<String, String> more) throws Exception {
        port = freePort();
        Map<String, String> settings = new HashMap<>(Map.of("PORT", Integer.toString(port),
                "DB_HOST", "127.0.0.1", "DB_PORT", Integer.toString(TestGateway.shared().postgresPort()), "DB_USER", "postgres",
                "DB_NAME", "postgres", "REDIS_HOST", "127.0.0.1", "REDIS_PORT", Integer.toString(TestGateway.shared().redisPort()),
                "OPENAI_BASE_URL", provider.url() + "/v1", "OPENAI_API_KEY", "sk-of-the-gateway"));
        settings.putAll(more);
        gateway = GatewayProcess.start(folder, settings);
        readTo(gateway, "curl -N");
    }

    @BeforeEach
    void aProviderThatStreamsUntilItIsEnough() throws Exception {
        provider = new FakeProvider().on(model, this::untilItIsEnough);
    }

    private void untilItIsEnough(FakeProvider.Call call) throws Exception {
        call.sse();
        call.text("Once");
        begun.countDown();
        while (!enough.await(50, TimeUnit.MILLISECONDS)) {
            call.text(" more");
        }
        call.finish("stop");
        call.done();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        if (gateway != null) {
            gateway.destroyForcibly().waitFor();
        }
        client.shutdownNow();
        provider.close();
    }

    private CompletableFuture<HttpResponse<String>> ask(String path, String body) {
        return client.sendAsync(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
                .POST(HttpRequest.BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofString());
    }

    private void signal(String name) throws Exception {
        assertEquals(0, new ProcessBuilder("kill", "-" + name, Long.toString(gateway.pid())).start().waitFor());
    }

    private void itEndsWell() throws Exception {
        assertTrue(gateway.waitFor(20, TimeUnit.SECONDS));
        assertEquals(0, gateway.exitValue());
    }

    @Test
    void usageThatPostgresDoesNotTakeAtTheEndWaitsInTheRedisThatEndsAfterIt() throws Exception {
        Path data = folder.resolve("of-another");
        OwnStores stores = new OwnStores(data);
        try (TestGateway other = TestGateway.alone(data)) {
            Map<String, String> settings = new HashMap<>();
            settings.put("DB_PORT", Integer.toString(other.postgresPort()));
            settings.put("REDIS_HOST", "");
            start(settings);
            assertEquals(200, ask("/v1/chat/completions", chat("demo", false)).get().statusCode());
            assertEquals(200, ask("/v1/chat/completions", chat("demo", false)).get().statusCode());
            stores.pausePostgres();
            signal("TERM");
            itEndsWell();
            stores.killPostgres().again();
            settings.put("JDK_JAVA_OPTIONS", "-Dllmchat.record.recovery-interval=500");
            start(settings);
            until("it is written", () -> other.count("SELECT count(*) FROM usage_records") == 2);
            // with its Redis
            signal("TERM");
            itEndsWell();
        } finally {
            stores.stop();
        }
    }

    @Test
    void itSaysThatItLeavesTakesRequestsForAWhileAndLetsStreamsEnd() throws Exception {
        start(Map.of("DRAIN_DELAY", "4000"));
        CompletableFuture<HttpResponse<String>> stream = ask("/v1/chat/completions", chat("openai/" + model, true));
        assertTrue(begun.await(20, TimeUnit.SECONDS));
        try (RawHttp connection = new RawHttp(port)) {
            connection.send(RawHttp.head("GET", "/health/ready"));
            assertEquals(200, connection.read().status());
            signal("TERM");
            until("it is not ready", () -> {
                connection.send(RawHttp.head("GET", "/health/ready"));
                RawHttp.Response response = connection.read();
                return response.status() == 503 && response.json().path("status").asText().equals("draining");
            });
            try (RawHttp late = new RawHttp(port)) {
                late.send(RawHttp.post("/v1/chat/completions", chat("openai/fast", false)));
                assertEquals(200, late.read().status(), "who has not noticed is answered");
            }
            until("nobody new gets in", () -> {
                try (RawHttp refused = new RawHttp(port)) {
                    return false;
                } catch (ConnectException e) {
                    return true;
                } catch (SocketException e) {
                    // reset: it was in the queue as the door closed
                    return false;
                }
            });
            connection.send(RawHttp.post("/v1/chat/completions", chat("openai/fast", false)) + RawHttp.post("/v1/chat/completions", chat("openai/behind", false)));
            RawHttp.Response last = connection.read();
            assertEquals(200, last.status());
            assertEquals("close", last.header("Connection"));
            assertTrue(connection.closed(), "as it says");
        }
        assertFalse(stream.isDone());
        enough.countDown();
        Answer answer = new Answer(stream.get(10, TimeUnit.SECONDS));
        assertEquals(1, answer.ends());
        assertTrue(answer.text().startsWith("Once more"));
        itEndsWell();
        assertEquals(0, provider.calls("behind").size(), "what stood behind it was not done");
        assertEquals(1, TestGateway.shared().count("SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND outcome = 'completed'"));
    }

    @Test
    void anAnswerThatItsCallerHasNotTakenIsWaitedForToo() throws Exception {
        provider.on(model, call -> call.json(200, FakeProvider.completion("x".repeat(16_000_000))));
        start(Map.of());
        try (RawHttp slow = new RawHttp(port)) {
            slow.send(RawHttp.post("/v1/chat/completions", chat("openai/" + model, false)));
            until("it is being sent", slow::answered);
            signal("TERM");
            assertFalse(gateway.waitFor(12, TimeUnit.SECONDS), "longer than the server waits for what it closes");
            assertEquals(16_000_000, slow.read().json().at("/choices/0/message/content").asText().length());
        }
        itEndsWell();
    }

    @Test
    void whatStillRunsAfterTheGraceIsToldSoAndKept() throws Exception {
        start(Map.of("DRAIN_GRACE", "300"));
        CompletableFuture<HttpResponse<String>> stream = ask("/api/chat/completions", nativeChat("openai/" + model, true));
        assertTrue(begun.await(20, TimeUnit.SECONDS));
        CompletableFuture<HttpResponse<String>> other = ask("/v1/chat/completions", chat("openai/" + model, true));
        CompletableFuture<HttpResponse<String>> whole = ask("/v1/chat/completions", chat("openai/" + model, false));
        until("all are asked", () -> provider.calls(model).size() == 3);
        signal("TERM");
        Answer answer = new Answer(stream.get(20, TimeUnit.SECONDS));
        assertEquals("SHUTTING_DOWN", answer.events().getLast().json().path("code").asText());
        assertEquals(0, answer.ends());
        assertTrue(new Answer(other.get(20, TimeUnit.SECONDS)).events().getLast().data().startsWith("{\"error\":{\"message\":\"The gateway is shutting down.\""));
        assertEquals(503, whole.get(20, TimeUnit.SECONDS).statusCode());
        itEndsWell();
        assertEquals(3, TestGateway.shared().count("SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND outcome = 'SHUTTING_DOWN'"
                + " AND prompt_tokens > 0"), "what was asked is paid for");
        String chatId = answer.events().get(0).json().path("chatId").asText();
        assertEquals(1, TestGateway.shared().count("SELECT count(*) FROM chat_messages WHERE session_id = '" + chatId
                + "' AND role = 'assistant' AND status = 'interrupted' AND content LIKE 'Once%'"));
    }

    @Test
    void whoWaitsForAnotherInstancesAnswerIsToldOrCutWithoutAWait() throws Exception {
        TestGateway other = TestGateway.shared();
        other.provider().on(model, this::untilItIsEnough);
        start(Map.of("DRAIN_GRACE", "300"));
        String stream = chat("openai/" + model, true);
        String whole = chat("openai/" + model, false);
        String path = "/v1/chat/completions";
        try (Sse made = new Sse(other.port(), path, stream, "\r\nIdempotency-Key: s" + model);
                Sse alsoMade = new Sse(other.port(), path, whole, "\r\nIdempotency-Key: w" + model)) {
            until("both are asked", () -> other.provider().calls(model).size() == 2);
            try (Sse followed = new Sse(port, path, stream, "\r\nIdempotency-Key: s" + model);
                    RawHttp waiting = new RawHttp(port)) {
                waiting.send(RawHttp.head("POST", path, "Idempotency-Key: w" + model, "Content-Length: " + whole.length()) + whole);
                assertEquals(200, followed.status());
                // it would be answered by now if it were not to wait
                assertNotNull(followed.next());
                signal("INT");
                long ends = System.nanoTime();
                assertThrows(IOException.class, () -> {
                    while (followed.next() != null) {
                        assertTrue(System.nanoTime() - ends < TimeUnit.SECONDS.toNanos(30));
                    }
                });
                RawHttp.Response told = waiting.read();
                assertEquals(503, told.status());
                assertEquals("1", told.header("Retry-After"));
                assertTrue(System.nanoTime() - ends < TimeUnit.SECONDS.toNanos(5), "not when all is cut");
            }
            itEndsWell();
            enough.countDown();
        }
    }

    @Test
    void anAnswerThatPostgresCouldNotTakeIsStoredAtTheEnd() throws Exception {
        start(Map.of());
        TestGateway stores = TestGateway.shared();
        try (Sse made = new Sse(port, "/v1/chat/completions", chat("openai/" + model, true), "\r\nIdempotency-Key: " + model);
                Connection other = stores.bean(DataSource.class).getConnection()) {
            made.lineWith("more");
            other.setAutoCommit(false);
            other.createStatement().execute("LOCK TABLE answers IN SHARE ROW EXCLUSIVE MODE");
            enough.countDown();
            made.lineWith("[DONE]");
            other.rollback();
        }
        signal("INT");
        itEndsWell();
        assertEquals(1, stores.count("SELECT count(*) FROM answers WHERE key LIKE '%" + model + "' AND body IS NOT NULL"));
    }

    @Test
    void whoWaitsForTheNextAttemptIsTold() throws Exception {
        provider.on(model, FakeProvider.fails(503, "later", "Retry-After: 25"));
        start(Map.of("DRAIN_GRACE", "300"));
        CompletableFuture<HttpResponse<String>> waiting = ask("/v1/chat/completions", chat("openai/" + model, false));
        until("it was asked", () -> provider.calls(model).size() == 1);
        signal("INT");
        HttpResponse<String> told = waiting.get(20, TimeUnit.SECONDS);
        assertEquals(503, told.statusCode());
        assertTrue(told.body().contains("The gateway is shutting down."), told.body());
        itEndsWell();
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aSecondSignalEndsItAtOnce() throws Exception {
        start(Map.of("DRAIN_DELAY", "60000"));
        CompletableFuture<HttpResponse<String>> stream = ask("/v1/chat/completions", chat("openai/" + model, true));
        assertTrue(begun.await(20, TimeUnit.SECONDS));
        signal("TERM");
        assertFalse(gateway.waitFor(500, TimeUnit.MILLISECONDS));
        signal("TERM");
        assertEquals(1, new Answer(stream.get(20, TimeUnit.SECONDS)).errors());
        itEndsWell();
    }

    @Test
    void whatVersionsBeforeHaveInProgressIsNotedAtASecondSignalToo() throws Exception {
        RouteFolder routes = RouteFolder.in(folder.resolve("routes"));
        start(Map.of("ROUTES_DIR", routes.folder().toString(), "DRAIN_DELAY", "60000"));
        List<CompletableFuture<HttpResponse<String>>> streams = new ArrayList<>();
        for (int version = 1; version <= 4; version++) {
            int there = version;
            streams.add(ask("/v1/chat/completions", chat("openai/" + model, true)));
            until("it is asked", () -> provider.calls(model).size() == there);
            routes.edit("chat.camel.yaml", "description: ", "description: Edited. ");
            until("the next version serves", () -> client.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics")).build(),
                    HttpResponse.BodyHandlers.ofString()).body().contains("llmchat_routes_generation " + (there + 1) + ".0"));
        }
        signal("TERM");
        assertFalse(gateway.waitFor(500, TimeUnit.MILLISECONDS));
        signal("TERM");
        for (CompletableFuture<HttpResponse<String>> stream : streams) {
            assertEquals(1, new Answer(stream.get(20, TimeUnit.SECONDS)).errors());
        }
        itEndsWell();
        assertEquals(4, TestGateway.shared().count("SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND outcome = 'SHUTTING_DOWN'"));
    }

    @Test
    void onATerminalNobodyHasToNotice() throws Exception {
        start(Map.of("DRAIN_DELAY", "60000"));
        signal("INT");
        itEndsWell();
        assertThrows(ConnectException.class, () -> new RawHttp(port));
    }
}
