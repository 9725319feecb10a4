package io.llmchat;

import static io.llmchat.support.TestGateway.begun;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Memory;
import io.llmchat.store.AnswerRepository;
import io.llmchat.store.AnswerRepository.Kept;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FullMemory;
import io.llmchat.support.LogLines;
import io.llmchat.support.RawHttp;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.io.InputStream;
import java.net.SocketTimeoutException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.redisson.api.RedissonClient;

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

    /** The answer to an SDK's first attempt, kept for the next ones as soon as it is sent: no SDK asks again sooner. */
    private HttpResponse<String> over(String path, String body) throws Exception {
        try (LogLines log = LogLines.text()) {
            HttpResponse<String> answer = gateway.post(path, body, "X-Stainless-Retry-Count", "0");
            until("its line is there", () -> !log.with("id=" + answer.headers().firstValue("x-request-id").orElseThrow()).isEmpty());
            return answer;
        }
    }

    private static boolean replayed(HttpResponse<?> answer) {
        return answer.headers().firstValue("idempotent-replayed").isPresent();
    }

    /** A question in the dialect of a path. */
    private String question(String path, boolean stream) {
        return "{\"" + (path.startsWith("/api") ? "agentId" : "model") + "\":\"openai/" + model + "\",\"stream\":" + stream + ","
                + (path.endsWith("responses") ? "\"input\"" : "\"max_tokens\":9,\"messages\"") + ":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    }

    @ParameterizedTest
    @CsvSource({"/v1/chat/completions,data: [DONE]", "/v1/messages,event: message_stop", "/v1/responses,event: response.completed",
        "/api/chat/completions,event: end"})
    void everyChatIsRepeatedAsItWas(String path, String end) throws Exception {
        HttpResponse<String> whole = over(path, question(path, false));
        HttpResponse<String> retried = gateway.post(path, question(path, false), "X-Stainless-Retry-Count", "1");
        assertEquals(200, whole.statusCode(), whole.body());
        assertEquals(whole.body(), retried.body(), "an SDK's own retry");
        assertTrue(replayed(retried));
        assertEquals(1, provider.calls(model).size());
        HttpResponse<String> first = ask(path, question(path, true));
        HttpResponse<String> again = ask(path, question(path, true));
        assertTrue(first.body().contains(end), first.body());
        assertEquals(first.body(), again.body());
        assertTrue(replayed(again) && !replayed(first));
        assertEquals(2, provider.calls(model).size());
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
    void thatItsCallerWasOverALimitIsNotKept() throws Exception {
        try (TestGateway own = TestGateway.inKeyMode()) {
            String caller = "Bearer " + json(own.post("/api/keys", "{\"name\":\"K\",\"userId\":\"" + model
                    + "\",\"limits\":{\"points\":1,\"duration\":4}}", TestGateway.ADMIN).body()).at("/data/key").asText();
            assertEquals(200, own.post(PATH, chat("openai/" + model, false), "Authorization", caller).statusCode());
            String[] headers = {"Authorization", caller, "Idempotency-Key", key};
            assertEquals(429, own.post(PATH, chat("openai/" + model, false), headers).statusCode());
            TestGateway.until("it may ask again", () -> own.post(PATH, chat("openai/" + model, false), headers).statusCode() == 200);
            assertEquals(2, own.provider().calls(model).size());
        }
    }

    @Test
    void aKeyForWhoseAnswerThereIsNoMemoryIsRefusedBeforeAnybodyIsAsked() throws Exception {
        try (FullMemory none = new FullMemory(Memory.KEPT_ANSWERS)) {
            HttpResponse<String> refused = ask(PATH, chat("openai/" + model, true));
            assertEquals(503, refused.statusCode(), refused.body());
            assertEquals("1", refused.headers().firstValue("retry-after").orElseThrow());
            assertEquals(0, provider.calls(model).size());
        }
        assertEquals(200, ask(PATH, chat("openai/" + model, true)).statusCode());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aLongAnswerIsNotGivenAgainWhileThoseThatAreNotTakenLeaveNoMemory() throws Exception {
        provider.on(model, call -> call.json(200, FakeProvider.completion("x".repeat(100_000))));
        assertEquals(200, ask(PATH, chat("openai/" + model, false)).statusCode());
        try (FullMemory none = new FullMemory(Memory.ANSWERS)) {
            HttpResponse<String> refused = ask(PATH, chat("openai/" + model, false));
            assertEquals(503, refused.statusCode(), refused.body());
            assertEquals("1", refused.headers().firstValue("retry-after").orElseThrow());
        }
        assertTrue(replayed(ask(PATH, chat("openai/" + model, false))));
    }

    private static void untilNoAnswerHasAPlace() throws Exception {
        TestGateway.until("all that were given are taken", () -> hasRoom(Memory.ANSWERS, Integer.MAX_VALUE));
    }

    @Test
    void aLongAnswerThatIsKeptIsReadWhenItHasItsPlaceInMemory() throws Exception {
        provider.on(model, call -> call.json(200, FakeProvider.completion("x".repeat(100_000))));
        String first = ask(PATH, chat("openai/" + model, false)).body();
        untilNoAnswerHasAPlace();
        try (FullMemory less = new FullMemory(Memory.ANSWERS, 50_000)) {
            assertEquals(503, ask(PATH, chat("openai/" + model, false)).statusCode());
        }
        try (FullMemory enough = new FullMemory(Memory.ANSWERS, 150_000)) {
            for (int i = 0; i < 3; i++) {
                TestGateway.until("its place is free again", () -> ask(PATH, chat("openai/" + model, false)).body().equals(first));
            }
        }
        Kept kept = gateway.bean(AnswerRepository.class).get("anonymous " + PATH + " " + key);
        assertNull(kept.body());
        assertEquals(first.length(), kept.length());
    }

    @Test
    void aStreamThatCouldNotBeKeptReachesItsCallerAndIsMadeAgainForItsKey() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        CountDownLatch end = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("one ");
            go.await(10, TimeUnit.SECONDS);
            call.text("two");
            end.await(10, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        String header = "\r\nIdempotency-Key: " + key;
        try (Sse first = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
            first.lineWith("one ");
            try (Sse joined = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
                joined.lineWith("one ");
                try (FullMemory none = new FullMemory(Memory.KEPT_ANSWERS)) {
                    go.countDown();
                    first.lineWith("two");
                    end.countDown();
                    first.lineWith("[DONE]");
                    Throwable seen = assertThrows(Throwable.class, () -> joined.lineWith("[DONE]"));
                    assertFalse(seen instanceof SocketTimeoutException, "who has joined it sees that something is missing");
                }
            }
        }
        assertEquals(200, ask(PATH, chat("openai/" + model, true)).statusCode());
        assertEquals(2, provider.calls(model).size());
    }

    @ParameterizedTest
    @CsvSource({"400, 400", "413, 413", "429, 429", "503, 502"})
    void anErrorIsNotKept(int said, int told) throws Exception {
        provider.on(model, call -> call.error(said, "bad"));
        assertEquals(told, ask(PATH, chat("openai/" + model, false)).statusCode());
        provider.on(model, call -> call.json(200, FakeProvider.completion("well")));
        HttpResponse<String> answer = ask(PATH, chat("openai/" + model, false));
        assertEquals(200, answer.statusCode(), answer.body());
        assertFalse(replayed(answer));
    }

    @Test
    void requestsWithTheSameKeyJoinTheOneThatIsBeingAnswered() throws Exception {
        try (TestGateway own = TestGateway.with(); HttpClient callers = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            CountDownLatch asked = new CountDownLatch(1);
            CountDownLatch go = new CountDownLatch(1);
            own.provider().on(model, whenItMay(asked, go));
            HttpRequest request = own.request("POST", PATH, chat("openai/" + model, false), "Idempotency-Key", key);
            List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                all.add(callers.sendAsync(request, HttpResponse.BodyHandlers.ofString()));
                assertTrue(asked.await(10, TimeUnit.SECONDS));
            }
            TestGateway.until("all are there", () -> own.metric("llmchat_connections_open") > 20);
            go.countDown();
            int joined = -1;
            for (CompletableFuture<HttpResponse<String>> each : all) {
                HttpResponse<String> response = each.get(10, TimeUnit.SECONDS);
                assertEquals(200, response.statusCode());
                assertEquals("well", json(response.body()).path("choices").path(0).path("message").path("content").asText());
                joined += replayed(response) ? 0 : 1;
            }
            assertTrue(joined > 0, "who came when it was there has a replay");
            assertEquals(1, own.provider().calls(model).size());
        }
    }

    @Test
    void streamsAreJoinedFromTheirFirstEventOn() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, FakeProvider.waits("Hel", go, "lo"));
        HttpRequest request = gateway.request("POST", PATH, chat("openai/" + model, true), "Idempotency-Key", key);
        try (HttpClient callers = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            List<HttpResponse<InputStream>> all = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                // returns when it has begun
                all.add(callers.send(request, HttpResponse.BodyHandlers.ofInputStream()));
            }
            go.countDown();
            String first = null;
            for (HttpResponse<InputStream> response : all) {
                assertEquals("text/event-stream; charset=utf-8", response.headers().firstValue("content-type").orElseThrow());
                String body = new String(response.body().readAllBytes(), StandardCharsets.UTF_8);
                first = first == null ? body : first;
                assertEquals(first, body);
            }
            assertTrue(first.contains("Hel") && first.endsWith("data: [DONE]\n\n"), first);
        }
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aStreamIsRepeatedAsTheStreamThatItWas() throws Exception {
        HttpResponse<String> first = ask(PATH, chat("openai/" + model, true));
        HttpResponse<String> again = ask(PATH, chat("openai/" + model, true));
        assertEquals(first.body(), again.body());
        assertTrue(again.body().endsWith("data: [DONE]\n\n"));
        assertEquals("true", again.headers().firstValue("idempotent-replayed").orElseThrow());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aStreamThatBrokeOffIsMadeAgain() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.cut();
        });
        assertTrue(ask(PATH, chat("openai/" + model, true)).body().contains("\"error\""));
        provider.on(model, call -> {
            call.sse();
            call.text("Whole");
            call.finish("stop");
            call.done();
        });
        HttpResponse<String> again = ask(PATH, chat("openai/" + model, true));
        assertTrue(again.body().contains("Whole") && again.headers().firstValue("idempotent-replayed").isEmpty());
        assertEquals(again.body(), ask(PATH, chat("openai/" + model, true)).body());
    }

    @Test
    void anotherInstanceGivesTheSameAnswer() throws Exception {
        try (TestGateway other = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1")) {
            CountDownLatch asked = new CountDownLatch(1);
            CountDownLatch go = new CountDownLatch(1);
            provider.on(model, whenItMay(asked, go));
            CompletableFuture<HttpResponse<String>> first = asked(gateway);
            assertTrue(asked.await(10, TimeUnit.SECONDS));
            CompletableFuture<HttpResponse<String>> second = asked(other);
            untilItIsWantedElsewhere(key);
            go.countDown();
            assertEquals(first.get(10, TimeUnit.SECONDS).body(), second.get(10, TimeUnit.SECONDS).body());
            assertEquals(1, provider.calls(model).size());
        }
    }

    @Test
    void aStreamIsJoinedOnAnotherInstanceBeforeItHasEnded() throws Exception {
        try (TestGateway other = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1")) {
            CountDownLatch go = new CountDownLatch(1);
            CountDownLatch asked = new CountDownLatch(1);
            provider.on(model, call -> {
                asked.countDown();
                call.sse();
                call.text("Hel");
                go.await(10, TimeUnit.SECONDS);
                call.text("lo");
                call.finish("stop");
                call.done();
            });
            String header = "\r\nIdempotency-Key: " + key;
            try (Sse first = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
                assertTrue(asked.await(10, TimeUnit.SECONDS));
                first.lineWith("Hel");
                try (Sse second = new Sse(other.port(), PATH, chat("openai/" + model, true), header)) {
                    second.lineWith("Hel");
                    go.countDown();
                    second.lineWith("lo");
                    second.lineWith("[DONE]");
                    assertEquals("", second.rest().strip(), "its end is told there too");
                }
                first.lineWith("[DONE]");
            }
            assertEquals(1, provider.calls(model).size());
        }
    }

    @Test
    void whoJoinsALongStreamHasItInPiecesThatAreNotLong() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            for (int i = 0; i < 100; i++) {
                call.text("x".repeat(8_000));
            }
            go.await(10, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        String body = chat("openai/" + model, true);
        String request = RawHttp.head("POST", PATH, "Idempotency-Key: " + key, "Connection: close", "Content-Length: " + body.length()) + body;
        try (TestGateway other = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1");
                Sse first = new Sse(gateway.port(), PATH, body, "\r\nIdempotency-Key: " + key);
                RawHttp here = new RawHttp(gateway.port()); RawHttp elsewhere = new RawHttp(other.port())) {
            for (int i = 0; i < 100; i++) {
                first.lineWith("xxx");
            }
            var mirrored = gateway.bean(RedissonClient.class).getBucket("llmchat:answer:{" + answerId(key) + "}");
            TestGateway.until("all of it is in Redis", () -> mirrored.size() > 800_000);
            for (RawHttp joined : List.of(here, elsewhere)) {
                joined.send(request);
                TestGateway.until("it has joined", joined::answered);
            }
            go.countDown();
            for (RawHttp joined : List.of(here, elsewhere)) {
                List<Integer> chunks = chunks(joined.rest());
                assertTrue(chunks.stream().mapToInt(c -> c).sum() > 800_000);
                assertTrue(chunks.stream().allMatch(c -> c <= Memory.SMALL), chunks::toString);
            }
        }
    }

    /** How long the chunks of a response are. */
    private static List<Integer> chunks(String response) {
        List<Integer> chunks = new ArrayList<>();
        for (int at = response.indexOf("\r\n\r\n") + 4; at < response.length();) {
            int line = response.indexOf("\r\n", at);
            chunks.add(Integer.parseInt(response.substring(at, line), 16));
            at = line + chunks.getLast() + 4;
        }
        return chunks;
    }

    @Test
    void aStreamThatIsFollowedOnAnotherInstanceOutlivesItsOwnCaller() throws Exception {
        // nobody is waited for who might come back
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1", "llmchat.deduplicate.resume-grace", "0")) {
            CountDownLatch go = new CountDownLatch(1);
            provider.on(model, FakeProvider.waits("Hel", go, "lo"));
            String header = "\r\nIdempotency-Key: " + key;
            try (Sse first = new Sse(own.port(), PATH, chat("openai/" + model, true), header)) {
                first.lineWith("Hel");
                try (Sse second = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
                    second.lineWith("Hel");
                    first.close();
                    assertFalse(provider.call(model).leftWithin(2_000), "somebody reads it");
                    go.countDown();
                    second.lineWith("lo");
                    second.lineWith("[DONE]");
                }
            }
            assertEquals(1, provider.calls(model).size());
        }
    }

    /** Says "well" when it may; {@code asked} tells that it is at work. */
    private static FakeProvider.Script whenItMay(CountDownLatch asked, CountDownLatch go) {
        return call -> {
            asked.countDown();
            go.await(10, TimeUnit.SECONDS);
            FakeProvider.says(List.of("well")).play(call);
        };
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void whoHasLostItsConnectionAndAsksAgainGetsTheAnswerThatIsBeingMade(boolean stream) throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, whenItMay(asked, go));
        try (Sse first = new Sse(gateway.port(), PATH, chat("openai/" + model, stream), "\r\nIdempotency-Key: " + key)) {
            assertTrue(asked.await(10, TimeUnit.SECONDS));
        }
        assertFalse(provider.call(model).leftWithin(1_000), "it gave a key to ask again with");
        go.countDown();
        assertTrue(ask(PATH, chat("openai/" + model, stream)).body().contains("well"));
        assertEquals(1, provider.calls(model).size());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void whoWaitsOnAnotherInstanceKeepsAnAnswerGoingThatHasNotBegun(boolean stream) throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1", "llmchat.deduplicate.resume-grace", "0")) {
            CountDownLatch go = new CountDownLatch(1);
            CountDownLatch asked = new CountDownLatch(1);
            provider.on(model, whenItMay(asked, go));
            CompletableFuture<HttpResponse<String>> second;
            try (Sse first = new Sse(own.port(), PATH, chat("openai/" + model, stream), "\r\nIdempotency-Key: " + key)) {
                assertTrue(asked.await(10, TimeUnit.SECONDS));
                second = begun(() -> ask(PATH, chat("openai/" + model, stream)));
                untilItIsWantedElsewhere(key);
            }
            assertFalse(provider.call(model).leftWithin(2_000), "somebody waits for it");
            go.countDown();
            assertTrue(second.get(10, TimeUnit.SECONDS).body().contains("well"));
            assertEquals(1, provider.calls(model).size());
        }
    }

    /** Waits until a request on another instance waits for the answer to this key. */
    private static void untilItIsWantedElsewhere(String key) throws Exception {
        var wanted = gateway.bean(RedissonClient.class).getBucket("llmchat:answer:{" + answerId(key) + "}:wanted");
        TestGateway.until("the other one says so", wanted::isExists);
    }

    private static String answerId(String key) throws Exception {
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.createStatement();
                var row = s.executeQuery("SELECT answer_id FROM answers WHERE key LIKE '%" + key + "'")) {
            assertTrue(row.next());
            return row.getString(1);
        }
    }

    /** As after a crash of PostgreSQL: what was not on disk yet is gone. */
    private void loseTheClaim() throws Exception {
        assertEquals(1, gateway.execute("DELETE FROM answers WHERE key LIKE '%" + key + "'"));
    }

    @Test
    void anAnswerIsKeptThoughItsClaimWasLost() throws Exception {
        provider.on(model, call -> {
            loseTheClaim();
            call.json(200, FakeProvider.completion("well"));
        });
        HttpResponse<String> first = ask(PATH, chat("openai/" + model, false));
        assertEquals(first.body(), ask(PATH, chat("openai/" + model, false)).body());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aStreamWhoseClaimWasTakenOverIsThereForWhoComesBackForIt() throws Exception {
        provider.on(model, call -> {
            // as another instance does it where this one has stood still for longer than a claim lasts
            assertEquals(1, gateway.execute("UPDATE answers SET claimed_by = 'another', answer_id = 'another' WHERE key LIKE '%" + key + "'"));
            FakeProvider.says(List.of("well")).play(call);
        });
        String given = gateway.post(PATH, chat("openai/" + model, true), "Idempotency-Key", key, "X-Resumable", "true").body();
        Kept kept = gateway.bean(AnswerRepository.class).ofId(given.lines().findFirst().orElseThrow().replaceAll("id: |:\\d+$", ""));
        assertEquals(given, new String(kept.body(), StandardCharsets.UTF_8));
        assertEquals("another", answerId(key), "the key's answer is the other one's");
    }

    @Test
    void theClaimOfWhoTookItOverIsNeitherRenewedNorGivenUpHere() throws Exception {
        String row = " WHERE key LIKE '%" + key + "' AND claimed_by = 'another'";
        provider.on(model, call -> {
            gateway.execute("UPDATE answers SET claimed_by = 'another', claimed_until = now() - interval '1 s' WHERE key LIKE '%" + key + "'");
            gateway.bean(AnswerRepository.class).renew();
            assertEquals(1, gateway.count("SELECT count(*) FROM answers" + row + " AND claimed_until < now()"), "whoever has it may have died");
            call.error(400, "bad");
        });
        assertEquals(400, ask(PATH, chat("openai/" + model, false)).statusCode());
        assertEquals(1, gateway.count("SELECT count(*) FROM answers" + row), "its answer is being made");
    }

    @Test
    void anAnswerThatIsKeptDoesNotGoWithTheClaimToIt() throws Exception {
        provider.on(model, call -> {
            // as where PostgreSQL has taken it and not come to say so
            gateway.execute("UPDATE answers SET body = 'well' WHERE key LIKE '%" + key + "'");
            call.error(400, "bad");
        });
        assertEquals(400, ask(PATH, chat("openai/" + model, false)).statusCode());
        assertEquals(1, gateway.count("SELECT count(*) FROM answers WHERE key LIKE '%" + key + "' AND body IS NOT NULL"));
    }

    @Test
    void whoIsRefusedWithAKeyThatIsBeingAnsweredTakesNothingFromTheOneWhoIs() throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, whenItMay(asked, go));
        CompletableFuture<HttpResponse<String>> first = asked(gateway);
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        assertEquals(422, ask(PATH, chat("openai/" + model + "2", false)).statusCode());
        go.countDown();
        assertEquals(200, first.get(10, TimeUnit.SECONDS).statusCode());
        assertTrue(replayed(ask(PATH, chat("openai/" + model, false))));
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void anInstanceThatHasJustBegunTakesNoClaimOver() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.deduplicate.in-flight", "reject", "llmchat.deduplicate.lease", "600000")) {
            HttpResponse<String> refused = own.post(PATH, claimedByTheDead(-1), "Idempotency-Key", key);
            assertEquals(409, refused.statusCode(), "whoever has it may not have been able to renew it");
            assertEquals(0, own.provider().calls(model).size());
        }
    }

    @Test
    void thatTheDiskIsNotWaitedForEndsWithItsStatement() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.postgres.max-connections", "2")) {
            assertEquals(200, own.post(PATH, chat("openai/" + model, false), "Idempotency-Key", key).statusCode());
            assertEquals(200, own.post("/api/chat/completions", nativeChat("openai/" + model, false), "Idempotency-Key", key).statusCode());
            DataSource database = own.bean(DataSource.class);
            try (Connection one = database.getConnection(); Connection other = database.getConnection()) {
                for (Connection each : List.of(one, other)) {
                    var setting = each.createStatement().executeQuery("SHOW synchronous_commit");
                    setting.next();
                    assertEquals("on", setting.getString(1));
                }
            }
        }
    }

    @Test
    void aClaimThatWasLostIsMadeAnew() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1", "llmchat.deduplicate.renew", "100")) {
            CountDownLatch go = new CountDownLatch(1);
            provider.on(model, FakeProvider.waits("Hel", go, "lo"));
            try (Sse first = new Sse(own.port(), PATH, chat("openai/" + model, true), "\r\nIdempotency-Key: " + key)) {
                first.lineWith("Hel");
                loseTheClaim();
                TestGateway.until("it is there again", () -> gateway.count("SELECT count(*) FROM answers WHERE key LIKE '%" + key + "'") == 1);
                go.countDown();
                first.lineWith("[DONE]");
            }
            assertEquals("true", ask(PATH, chat("openai/" + model, true)).headers().firstValue("idempotent-replayed").orElseThrow());
            assertEquals(1, provider.calls(model).size());
        }
    }

    @Test
    void whoJoinsIsNotHeldUpByAFirstCallerWhoReadsNothing() throws Exception {
        String text = "x".repeat(8_000);
        CountDownLatch joined = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("Hel");
            joined.await(10, TimeUnit.SECONDS);
            for (int i = 0; i < 2_000; i++) {
                call.text(text);
            }
            call.finish("stop");
            call.done();
        });
        String header = "\r\nIdempotency-Key: " + key;
        String body = chat("openai/" + model, true).replace("\"Hi\"", "\"" + "y".repeat(70_000) + "\"");
        try (Sse first = new Sse(gateway.port(), PATH, body, header)) {
            first.lineWith("Hel");
            try (Sse second = new Sse(gateway.port(), PATH, body, header)) {
                second.lineWith("Hel");
                joined.countDown();
                for (int i = 0; i < 2_000; i++) {
                    second.lineWith("xxx");
                }
                second.lineWith("[DONE]");
            }
            assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
            assertFalse(noLongBody(), "his request is in progress until he has read its answer");
            // he has all of it, when he reads
            for (int i = 0; i < 2_000; i++) {
                first.lineWith("xxx");
            }
            first.lineWith("[DONE]");
            TestGateway.until("it is over", IdempotencyTest::noLongBody);
        }
        assertEquals(1, provider.calls(model).size());
    }

    /** Whether no request is in progress whose body is long. */
    private static boolean noLongBody() {
        return hasRoom(Memory.LARGE_BODIES, Integer.MAX_VALUE);
    }

    private static boolean hasRoom(Memory memory, int bytes) {
        boolean room = memory.take(bytes, 0);
        if (room) {
            memory.give(bytes);
        }
        return room;
    }

    @Test
    void whereNoMoreIsKeptAFirstCallerWhoReadsNothingIsCutWithThoseWhoHaveJoined() throws Exception {
        String text = "x".repeat(8_000);
        CountDownLatch joined = new CountDownLatch(1);
        CountDownLatch full = new CountDownLatch(1);
        String header = "\r\nIdempotency-Key: " + key;
        try (TestGateway own = TestGateway.with()) {
            own.provider().on(model, call -> {
                call.sse();
                call.text("Hel");
                joined.await(10, TimeUnit.SECONDS);
                // more than the connection of one who does not read takes
                for (int i = 0; i < 2_000; i++) {
                    call.text(text);
                }
                full.await(20, TimeUnit.SECONDS);
                call.text("lo");
                call.hang();
            });
            try (Sse first = new Sse(own.port(), PATH, chat("openai/" + model, true), header)) {
                first.lineWith("Hel");
                try (Sse second = new Sse(own.port(), PATH, chat("openai/" + model, true), header)) {
                    second.lineWith("Hel");
                    joined.countDown();
                    for (int i = 0; i < 2_000; i++) {
                        second.lineWith("xxx");
                    }
                    double open = own.metric("llmchat_connections_open");
                    try (FullMemory none = new FullMemory(Memory.KEPT_ANSWERS)) {
                        full.countDown();
                        TestGateway.until("both are cut", () -> own.metric("llmchat_connections_open") == open - 2);
                    }
                }
            }
            assertTrue(own.provider().call(model).leftWithin(10_000), "it is made for nobody");
        }
    }

    @Test
    void anAnswerThatIsMadeHereIsNotTakenOverBecauseItsClaimCouldNotBeRenewed() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, FakeProvider.waits("Hel", go, "lo"));
        String header = "\r\nIdempotency-Key: " + key;
        String row = " WHERE key = 'anonymous " + PATH + " " + key + "'";
        try (Sse first = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
            first.lineWith("Hel");
            assertEquals(1, gateway.execute("UPDATE answers SET claimed_until = now() - interval '1 s'" + row));
            try (Sse second = new Sse(gateway.port(), PATH, chat("openai/" + model, true), header)) {
                second.lineWith("Hel");
                assertEquals(1, provider.calls(model).size());
                go.countDown();
                second.lineWith("[DONE]");
            }
            first.lineWith("[DONE]");
        }
        assertEquals(1, gateway.count("SELECT count(*) FROM answers" + row + " AND body IS NOT NULL"));
    }

    /** Asks it for an answer that is not streamed. */
    private CompletableFuture<HttpResponse<String>> asked(TestGateway at) {
        return begun(() -> at.post(PATH, chat("openai/" + model, false), "Idempotency-Key", key));
    }

    @Test
    void whereJoiningIsOffASecondRequestIsAskedToWait() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.deduplicate.in-flight", "reject")) {
            CountDownLatch asked = new CountDownLatch(1);
            CountDownLatch go = new CountDownLatch(1);
            own.provider().on(model, whenItMay(asked, go));
            CompletableFuture<HttpResponse<String>> first = asked(own);
            assertTrue(asked.await(10, TimeUnit.SECONDS));
            HttpResponse<String> second = own.post(PATH, chat("openai/" + model, false), "Idempotency-Key", key);
            assertEquals(409, second.statusCode());
            assertTrue(second.headers().firstValue("retry-after").isPresent());
            String header = "\r\nIdempotency-Key: " + key;
            try (Sse nativeFirst = new Sse(own.port(), "/api/chat/completions", nativeChat("openai/" + model, true), header)) {
                TestGateway.until("it is asked too", () -> own.provider().calls(model).size() == 2);
                HttpResponse<String> nativeSecond = own.post("/api/chat/completions", nativeChat("openai/" + model, true), "Idempotency-Key", key);
                assertEquals(409, nativeSecond.statusCode());
                assertEquals("IDEMPOTENCY_IN_FLIGHT", json(nativeSecond.body()).path("code").asText());
                go.countDown();
                nativeFirst.lineWith("event: end");
            }
            assertEquals(200, first.get(10, TimeUnit.SECONDS).statusCode());
        }
    }

    @Test
    void theClaimOfAnInstanceThatDiedEndsByItself() throws Exception {
        gateway.execute("INSERT INTO answers (key, claimed_by, claimed_until) VALUES ('anonymous " + PATH + " " + key + "', 'dead', now() - interval '1 s')");
        assertEquals(200, ask(PATH, chat("openai/" + model, false)).statusCode());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aLongAnswerIsNotKeptForAnSdkThatMayAskAgain() throws Exception {
        provider.on(model, FakeProvider.says(List.of("long ".repeat(60_000))));
        for (String retry : List.of("0", "1")) {
            assertEquals(200, gateway.post(PATH, chat("openai/" + model, false), "X-Stainless-Retry-Count", retry).statusCode());
        }
        assertEquals(2, provider.calls(model).size());
    }

    @Test
    void whatAnSdkRepeatsByItselfIsRecognisedWithoutAKey() throws Exception {
        HttpResponse<String> first = gateway.post(PATH, chat("openai/" + model, false), "X-Stainless-Retry-Count", "0");
        HttpResponse<String> same = gateway.post(PATH, chat("openai/" + model, false), "X-Stainless-Retry-Count", "0");
        assertEquals(2, provider.calls(model).size(), "the same question twice is two questions");
        HttpResponse<String> again = gateway.post(PATH, chat("openai/" + model, false), "X-Stainless-Retry-Count", "1");
        assertEquals(same.body(), again.body());
        assertEquals("true", again.headers().firstValue("idempotent-replayed").orElseThrow());
        assertEquals(2, provider.calls(model).size());
        assertEquals(200, first.statusCode());
        gateway.post(PATH, chat("openai/" + model + "x", false), "X-Stainless-Retry-Count", "1");
        assertEquals(1, provider.calls(model + "x").size(), "a retry of what was not answered is a question");
    }

    @Test
    void theAnswerIsKeptBeforeItIsSeen() throws Exception {
        String full = "anonymous " + PATH + " " + key;
        String slow = "slow_" + model.replace("-", "");
        gateway.execute("CREATE FUNCTION " + slow + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$");
        gateway.execute("CREATE TRIGGER " + slow + " BEFORE INSERT OR UPDATE ON answers FOR EACH ROW WHEN (NEW.key = '" + full
                + "' AND NEW.body IS NOT NULL) EXECUTE FUNCTION " + slow + "()");
        try {
            assertEquals(200, ask(PATH, chat("openai/" + model, false)).statusCode());
            assertEquals(1, gateway.count("SELECT count(*) FROM answers WHERE key = '" + full + "' AND body IS NOT NULL"));
        } finally {
            gateway.execute("DROP FUNCTION " + slow + " CASCADE");
        }
    }

    @Test
    void aLongAnswerHasItsPlaceInMemoryWhileItWaitsToBeKept() throws Exception {
        untilNoAnswerHasAPlace();
        try (Connection other = gateway.bean(DataSource.class).getConnection(); FullMemory left = new FullMemory(Memory.ANSWERS, 300_000)) {
            other.setAutoCommit(false);
            provider.on(model, call -> {
                other.createStatement().execute("SELECT FROM answers WHERE key LIKE '%" + key + "' FOR UPDATE");
                call.json(200, FakeProvider.completion("x".repeat(100_000)));
            });
            CompletableFuture<HttpResponse<String>> answer = asked(gateway);
            TestGateway.until("it waits", () -> gateway.count("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0);
            assertFalse(hasRoom(Memory.ANSWERS, 250_000));
            other.rollback();
            assertEquals(200, answer.get(10, TimeUnit.SECONDS).statusCode());
            TestGateway.until("its place is free again", () -> hasRoom(Memory.ANSWERS, 250_000));
        }
    }

    @Test
    void whatAnSdkRepeatsIsRecognisedByAnotherInstanceToo() throws Exception {
        try (TestGateway other = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1")) {
            for (boolean stream : new boolean[] {false, true}) {
                String body = chat("openai/" + model + stream, stream);
                HttpResponse<String> first = gateway.post(PATH, body, "X-Stainless-Retry-Count", "0");
                TestGateway.until("the other instance knows it", () -> {
                    HttpResponse<String> again = other.post(PATH, body, "X-Stainless-Retry-Count", "1");
                    return again.headers().firstValue("idempotent-replayed").isPresent() && again.body().equals(first.body());
                });
            }
        }
    }

    @Test
    void fiftyEqualRequestsToTwoInstancesAreOneCall() throws Exception {
        try (TestGateway other = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1", "llmchat.postgres.max-connections", "20")) {
            for (boolean stream : new boolean[] {false, true}) {
                String body = chat("openai/" + model + stream, stream);
                CountDownLatch go = new CountDownLatch(1);
                provider.on(model + stream, call -> {
                    go.await(10, TimeUnit.SECONDS);
                    FakeProvider.says(List.of("one ", "two")).play(call);
                });
                List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
                for (int i = 0; i < 50; i++) {
                    TestGateway at = i % 2 == 0 ? gateway : other;
                    all.add(begun(() -> at.post(PATH, body, "Idempotency-Key", key + stream)));
                }
                TestGateway.until("it is asked", () -> !provider.calls(model + stream).isEmpty());
                untilItIsWantedElsewhere(key + stream);
                go.countDown();
                String answer = null;
                int joined = -1;
                for (CompletableFuture<HttpResponse<String>> response : all) {
                    HttpResponse<String> given = response.get(10, TimeUnit.SECONDS);
                    assertEquals(200, given.statusCode(), given.body());
                    answer = answer == null ? given.body() : answer;
                    assertEquals(answer, given.body());
                    joined += replayed(given) ? 0 : 1;
                }
                assertTrue(joined > 0, "who came when it was there has a replay");
                assertEquals(1, provider.calls(model + stream).size());
            }
        }
    }

    @Test
    void whoWaitsForAnInstanceThatDiesIsAnsweredByItsOwn() throws Exception {
        String body = claimedByTheDead(1);
        HttpResponse<String> answer = ask(PATH, body);
        assertEquals(200, answer.statusCode(), answer.body());
        assertEquals(1, provider.calls(model).size());
        assertEquals(answer.body(), ask(PATH, body).body());
    }

    @Test
    void whoHasWaitedForAnInstanceThatDiedHasAllTheTimeForAnAnswer() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.complete.deadline", "3500", "llmchat.deduplicate.lease", "4000")) {
            own.provider().on(model, call -> {
                Thread.sleep(500);
                call.json(200, FakeProvider.completion("Hello"));
            });
            HttpResponse<String> answer = own.post(PATH, claimedByTheDead(4), "Idempotency-Key", key);
            assertEquals(200, answer.statusCode(), answer.body());
        }
    }

    /** A request whose answer an instance has begun that will not renew its claim any more. */
    private String claimedByTheDead(int seconds) throws Exception {
        String full = "anonymous " + PATH + " " + key;
        String body = chat("openai/" + model, false);
        byte[] fingerprint = java.security.MessageDigest.getInstance("SHA-256").digest(body.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.prepareStatement(
                "INSERT INTO answers (key, claimed_by, fingerprint, answer_id, owner, claimed_until) VALUES (?, 'dead', ?, 'x', 'anonymous', now() + ? * interval '1 second')")) {
            s.setString(1, full);
            s.setBytes(2, fingerprint);
            s.setInt(3, seconds);
            s.executeUpdate();
        }
        return body;
    }

    @Test
    void aMessageIsAnsweredOnceMoreOnceForOneKey() throws Exception {
        HttpResponse<String> begun = gateway.post("/api/chat/completions", nativeChat("openai/" + model, false));
        String chatId = json(begun.body()).path("data").path("chatId").asText();
        String answer = json(gateway.get("/api/chat/history/" + chatId).body()).path("data").path("messages").path(1).path("id").asText();
        String path = "/api/chat/history/" + chatId + "/retry";
        String body = "{\"messageId\":\"" + answer + "\"}";
        HttpResponse<String> first = ask(path, body);
        assertEquals(200, first.statusCode(), first.body());
        HttpResponse<String> again = ask(path, body);
        assertEquals(first.body(), again.body(), "though the message it names is gone");
        assertEquals(2, provider.calls(model).size());
        assertEquals(422, ask(path, body.replace("}", ",\"stream\":false}")).statusCode());
    }
}
