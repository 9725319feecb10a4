package io.llmchat;

import static io.llmchat.support.TestGateway.begun;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.http.Memory;
import io.llmchat.store.AnswerRepository;
import io.llmchat.store.Postgres;
import io.llmchat.store.Redis;
import io.llmchat.store.StoreUnavailable;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FullMemory;
import io.llmchat.support.LogLines;
import io.llmchat.support.OwnStores;
import io.llmchat.support.OwnStores.Restart;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.redisson.api.RedissonClient;
import org.redisson.api.options.KeysScanOptions;
import org.redisson.api.redisnode.RedisNode;
import org.redisson.api.redisnode.RedisNodes;
import org.redisson.client.RedisConnectionException;
import org.redisson.client.RedisException;
import org.redisson.misc.CompletableFutureWrapper;

/** What is left of a gateway whose PostgreSQL or Redis pauses, or is killed, and comes back. */
class StoreFaultsTest {

    private static final String PATH = "/v1/chat/completions";
    private static final String WATCHED = "FROM pg_stat_activity WHERE query = 'SHOW transaction_read_only'";
    private static final int STREAMS = 200;
    private static final int TOKENS = 40;

    @TempDir
    Path data;

    private final String model = "m-" + UUID.randomUUID();
    private final String slow = "slow-" + UUID.randomUUID();
    private final AtomicBoolean go = new AtomicBoolean();
    private TestGateway gateway;
    private OwnStores stores;

    @BeforeEach
    void start() throws Exception {
        gateway = TestGateway.alone(data, "llmchat.record.recovery-interval", "500", "llmchat.deduplicate.renew", "500");
        stores = new OwnStores(data);
        // a token every 50 ms, and the last one when the fault is over
        gateway.provider().on(slow, call -> {
            call.sse();
            for (int i = 1; i < TOKENS; i++) {
                call.text("t" + i + " ");
                Thread.sleep(50);
            }
            while (!go.get()) {
                Thread.sleep(20);
            }
            call.text("t" + TOKENS);
            call.finish("stop");
            call.done();
        });
    }

    @AfterEach
    void stop() throws Exception {
        go.set(true);
        gateway.close();
        stores.stop();
    }

    /** The provider answers as soon as {@link #go} says so; what is returned is counted down when it is asked. */
    private CountDownLatch whenToldTo(TestGateway of, String model, FakeProvider.Script answer) {
        CountDownLatch asked = new CountDownLatch(1);
        of.provider().on(model, call -> {
            asked.countDown();
            while (!go.get()) {
                Thread.sleep(20);
            }
            answer.play(call);
        });
        return asked;
    }

    private List<CompletableFuture<HttpResponse<String>>> streams() throws Exception {
        List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
        for (int i = 0; i < STREAMS; i++) {
            boolean resumable = i % 2 == 0;
            String key = "k-" + UUID.randomUUID();
            all.add(begun(() -> resumable ? gateway.post(PATH, chat("openai/" + slow, true), "Idempotency-Key", key, "X-Resumable", "true")
                    : gateway.post(PATH, chat("openai/" + slow, true))));
        }
        until("all are asked", () -> gateway.provider().calls(slow).size() == STREAMS);
        return all;
    }

    private void allAreWhole(List<CompletableFuture<HttpResponse<String>>> streams) throws Exception {
        go.set(true);
        for (CompletableFuture<HttpResponse<String>> stream : streams) {
            HttpResponse<String> response = stream.get(20, TimeUnit.SECONDS);
            assertEquals(200, response.statusCode());
            for (int i = 1; i <= TOKENS; i++) {
                assertTrue(response.body().contains("\"t" + i + (i < TOKENS ? " " : "") + "\""), "no token " + i + " in " + response.body());
            }
            assertTrue(response.body().endsWith("data: [DONE]\n\n"));
        }
        assertEquals(STREAMS, gateway.provider().calls(slow).size(), "nobody was asked twice");
    }

    private String session(boolean stream) throws Exception {
        return json(gateway.post("/api/chat/completions", nativeChat("openai/" + model, stream)).body()).path("data").path("chatId").asText();
    }

    /** Sends so many requests with a key, one after the other; the times that they take, the shortest first. */
    private double[] times(int requests) throws Exception {
        double[] millis = new double[requests];
        for (int i = 0; i < requests; i++) {
            String key = "k-" + UUID.randomUUID();
            long begun = System.nanoTime();
            HttpResponse<String> first = gateway.post(PATH, chat("openai/" + model, false), "Idempotency-Key", key, "X-Resumable", "true");
            millis[i] = (System.nanoTime() - begun) / 1e6;
            assertEquals(200, first.statusCode(), first.body());
            assertEquals(first.body(), gateway.post(PATH, chat("openai/" + model, false), "Idempotency-Key", key).body(), "by PostgreSQL alone");
        }
        Arrays.sort(millis);
        return millis;
    }

    private void goesOnWithoutRedis(Restart back) throws Exception {
        double[] without = times(20);
        // whoever waits each time waits in the fastest request too
        assertTrue(without[4] - normal[4] < 60 && without[19] < 5_000, "usual " + Arrays.toString(normal) + ", without Redis " + Arrays.toString(without));
        assertNotEquals("", session(false));
        back.again();
        long begun = System.nanoTime();
        until("Redis is used again", () -> gateway.bean(Redis.class).available());
        assertTrue(System.nanoTime() - begun < 5_000_000_000L, "within 5 s");
    }

    private double[] normal;

    @Test
    void aPausedRedisBreaksNoStreamAndKeepsNobodyWaiting() throws Exception {
        var streams = streams();
        normal = times(20);
        stores.pauseRedis();
        goesOnWithoutRedis(stores::resumeRedis);
        allAreWhole(streams);
    }

    @Test
    void aKilledRedisBreaksNoStreamAndKeepsNobodyWaiting() throws Exception {
        var streams = streams();
        normal = times(20);
        goesOnWithoutRedis(stores.killRedis());
        allAreWhole(streams);
    }

    @Test
    void whyRedisIsAwayIsSaidInASentenceWithoutTheScriptThatItDidNotTake() throws Exception {
        try (LogLines logs = LogLines.text()) {
            var failed = CompletableFuture.failedFuture(new RedisConnectionException(
                    "Unable to write command into connection! Check CPU usage of the JVM. Command: (EVALSHA, cached script: local now\nif now == 0 then"));
            gateway.bean(Redis.class).watch().begin(() -> new CompletableFutureWrapper<>(failed));
            assertEquals(1, logs.with("Redis is away (Unable to write command into connection!); this instance goes on without it").size());
            var refused = CompletableFuture.failedFuture(new RedisException(
                    "command not allowed when used memory > 'maxmemory'. script: 4eb8, on @user_script:55.. command: (EVALSHA, cached script: local now\nif now == 0 then"));
            until("it is there again", gateway.bean(Redis.class)::available);
            gateway.bean(Redis.class).watch().begin(() -> new CompletableFutureWrapper<>(refused));
            assertEquals(1, logs.with("Redis takes nothing new (command not allowed when used memory > 'maxmemory'.); this instance relies").size());
        }
    }

    @Test
    void aClaimThatNobodyCouldRenewIsNotTakenOverWhenPostgresIsBack() throws Exception {
        String[] settings = {"llmchat.postgres.port", Integer.toString(gateway.postgresPort()), "llmchat.redis.port", Integer.toString(gateway.redisPort()),
            "llmchat.deduplicate.lease", "3000", "llmchat.deduplicate.renew", "1400"};
        try (TestGateway first = TestGateway.with(settings); TestGateway second = TestGateway.with(settings)) {
            CountDownLatch asked = whenToldTo(first, model, call -> call.json(200, FakeProvider.completion("Once")));
            second.provider().on(model, call -> call.json(200, FakeProvider.completion("Twice")));
            var answer = begun(() -> ask(first));
            assertTrue(asked.await(10, TimeUnit.SECONDS));
            stores.pausePostgres();
            try {
                // longer than the claim lasts
                Thread.sleep(3_300);
            } finally {
                stores.resumePostgres();
            }
            var repeated = begun(() -> {
                HttpResponse<String> got = ask(second);
                while (got.statusCode() == 503) {
                    got = ask(second);
                }
                return got;
            });
            until("PostgreSQL is used again", () -> gateway.bean(Postgres.class).available());
            until("the claim is renewed", () -> gateway.count("SELECT count(*) FROM answers WHERE body IS NULL AND claimed_until > now()") == 1
                    || gateway.count("SELECT count(*) FROM answers WHERE body IS NOT NULL") == 1);
            go.set(true);
            assertEquals(200, answer.get(10, TimeUnit.SECONDS).statusCode());
            assertTrue(answer.get().body().contains("Once"));
            assertEquals(answer.get().body(), repeated.get(10, TimeUnit.SECONDS).body());
            assertEquals(0, second.provider().calls(model).size(), "nobody pays twice");
        }
    }

    @Test
    void whatAnInstanceHasClaimedItTellsPostgresAsSoonAsThatIsBack() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.postgres.port", Integer.toString(gateway.postgresPort()),
                "llmchat.redis.port", Integer.toString(gateway.redisPort()), "llmchat.deduplicate.renew", "3600000")) {
            CountDownLatch asked = whenToldTo(own, model, call -> call.json(200, FakeProvider.completion("Once")));
            var answer = begun(() -> ask(own));
            assertTrue(asked.await(10, TimeUnit.SECONDS));
            // as in a crash that it has not come to the disk before
            assertEquals(1, gateway.execute("DELETE FROM answers"));
            Restart back = stores.killPostgres();
            until("it is away", () -> !own.bean(Postgres.class).available());
            back.again();
            until("it is back", () -> own.bean(Postgres.class).available() && gateway.bean(Postgres.class).available());
            until("it is claimed", () -> gateway.count("SELECT count(*) FROM answers WHERE body IS NULL AND claimed_until > now()") == 1);
            go.set(true);
            assertEquals(200, answer.get(10, TimeUnit.SECONDS).statusCode());
        }
    }

    @Test
    void aClaimThatALockKeptFromBeingRenewedIsNotTakenOverAtItsEnd() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        String[] settings = {"llmchat.postgres.port", Integer.toString(gateway.postgresPort()), "llmchat.redis.port", Integer.toString(gateway.redisPort()),
            "llmchat.deduplicate.lease", "8000", "llmchat.deduplicate.renew", "60000"};
        String key = "\r\nIdempotency-Key: " + model;
        try (TestGateway first = TestGateway.with(settings); TestGateway second = TestGateway.with(settings)) {
            first.provider().on(model, FakeProvider.waits("Hel", end, "lo"));
            gateway.execute("INSERT INTO answers (key, claimed_by, claimed_until) VALUES ('anonymous " + PATH + " dead" + model + "', 'dead', now())");
            until("an instance that has just begun takes claims over, too",
                    () -> second.post(PATH, chat("openai/another", false), "Idempotency-Key", "dead" + model).statusCode() == 200);
            try (Sse asked = new Sse(first.port(), PATH, chat("openai/" + model, true), key);
                    Connection other = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres", "postgres", "")) {
                asked.lineWith("Hel");
                other.setAutoCommit(false);
                other.createStatement().execute("LOCK TABLE answers IN ACCESS EXCLUSIVE MODE");
                var renewed = begun(() -> assertThrows(StoreUnavailable.class, second.bean(AnswerRepository.class)::renew, "though it makes no answer"));
                assertThrows(StoreUnavailable.class, first.bean(AnswerRepository.class)::renew);
                renewed.get(10, TimeUnit.SECONDS);
                other.createStatement().execute("UPDATE answers SET claimed_until = now() - interval '1 s'");
                other.commit();
                try (Sse repeated = new Sse(second.port(), PATH, chat("openai/" + model, true), key)) {
                    RedissonClient redis = first.bean(RedissonClient.class);
                    until("it waits for it", () -> redis.getKeys().getKeys(KeysScanOptions.defaults().pattern("llmchat:answer:*:wanted")).iterator().hasNext());
                    first.bean(AnswerRepository.class).renew();
                    repeated.lineWith("Hel");
                    end.countDown();
                    repeated.lineWith("lo");
                }
            }
            assertEquals(0, second.provider().calls(model).size(), "nobody pays twice");
        }
    }

    private HttpResponse<String> ask(TestGateway of) throws Exception {
        return of.post(PATH, chat("openai/" + model, false), "Idempotency-Key", model);
    }

    private void goesOnWithoutPostgres(Restart back) throws Exception {
        for (String path : List.of(PATH, "/api/chat/completions")) {
            long begun = System.nanoTime();
            HttpResponse<String> refused = path.equals(PATH) ? gateway.post(path, chat("openai/" + model, false), "Idempotency-Key", model)
                    : gateway.post(path, nativeChat("openai/" + model, false));
            assertEquals(503, refused.statusCode(), refused.body());
            assertTrue(refused.body().contains("The database cannot be reached at the moment."), refused.body());
            assertTrue(refused.headers().firstValue("retry-after").isPresent());
            long millis = (System.nanoTime() - begun) / 1_000_000;
            assertTrue(millis < 5_000, path + " is refused within 5 s, not " + millis + " ms");
        }
        HttpResponse<String> ready = gateway.get("/health/ready");
        assertEquals(200, ready.statusCode(), "the others have no PostgreSQL either");
        assertTrue(ready.body().contains("\"degraded\""), ready.body());
        String kept = "demo";
        for (int i = 0; i < 3; i++) {
            HttpResponse<String> stateless = gateway.post(PATH, chat(kept, false));
            assertEquals(200, stateless.statusCode(), stateless.body());
            // longer than a second: without Redis, what is kept is looked at again
            Thread.sleep(400);
        }
        back.again();
        long begun = System.nanoTime();
        until("PostgreSQL is used again", () -> gateway.post("/api/chat/completions", nativeChat("openai/" + model, false)).statusCode() == 200);
        assertTrue(System.nanoTime() - begun < 10_000_000_000L, "within 10 s");
    }

    private void everyRequestIsInTheRecords() throws Exception {
        try {
            until("the usage is written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + slow + "'") == STREAMS
                    && gateway.count("SELECT count(*) FROM usage_records WHERE agent_id = 'demo'") == 4);
        } catch (AssertionError e) {
            throw new AssertionError(gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + slow + "'") + " of the streams, "
                    + gateway.count("SELECT count(*) FROM usage_records WHERE agent_id = 'demo'") + " of the agent's", e);
        }
    }

    @Test
    void aPausedPostgresBreaksNoStreamAndIsSaidSoon() throws Exception {
        gateway.post(PATH, chat("demo", false));
        var streams = streams();
        stores.pausePostgres();
        goesOnWithoutPostgres(stores::resumePostgres);
        allAreWhole(streams);
        everyRequestIsInTheRecords();
    }

    @Test
    void wherePostgresStandsStillForAllButItsWatchNobodyWaitsForAConnectionThatNobodyHas() throws Exception {
        until("it is watched", () -> gateway.count("SELECT count(*) " + WATCHED) == 1);
        long watch = gateway.count("SELECT pid " + WATCHED);
        stores.pausePostgres();
        stores.resumePostgres(watch);
        for (int i = 0; i < 3; i++) {
            long begun = System.nanoTime();
            HttpResponse<String> refused = ask(gateway);
            assertEquals(503, refused.statusCode(), refused.body());
            long millis = (System.nanoTime() - begun) / 1_000_000;
            assertTrue(millis < 8_000, "it is refused soon, not after " + millis + " ms");
        }
        until("its watch, which has a connection, has seen that there are no others", () -> gateway.metric("llmchat_postgres_available") == 0);
        assertTrue(gateway.get("/health/ready").body().contains("\"degraded\""));
        stores.resumePostgres();
        until("it is answered", () -> ask(gateway).statusCode() == 200);
    }

    @Test
    void anAnswerThatIsPaidForReachesItsCallerAndLaterItsSession() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, model, call -> call.json(200, FakeProvider.completion("worth it")));
        var answer = begun(() -> gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), "Idempotency-Key", "the-same"));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        stores.pausePostgres();
        go.set(true);
        HttpResponse<String> given = answer.get(10, TimeUnit.SECONDS);
        assertEquals(200, given.statusCode(), given.body());
        stores.resumePostgres();
        String session = json(given.body()).path("data").path("chatId").asText();
        until("the session has it", () -> {
            HttpResponse<String> history = gateway.get("/api/chat/history/" + session);
            return history.statusCode() == 200 && json(history.body()).path("data").path("messages").path(1).path("content").asText().equals("worth it");
        });
        until("the key has it", () -> gateway.count("SELECT count(*) FROM answers WHERE body IS NOT NULL") == 1);
        assertEquals(given.body(), gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), "Idempotency-Key", "the-same").body());
        assertEquals(1, gateway.provider().calls(model).size());
    }

    @Test
    void anAnswerThatWaitsForPostgresIsThereForWhoComesBackForIt() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, model, FakeProvider.says(List.of("worth ", "it")));
        var answer = begun(() -> gateway.post(PATH, chat("openai/" + model, true), "Idempotency-Key", "the-same", "X-Resumable", "true"));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        stores.pausePostgres();
        go.set(true);
        String given = answer.get(10, TimeUnit.SECONDS).body();
        String path = "/api/chat/completions/" + given.lines().findFirst().orElseThrow().replaceAll("id: |:\\d+$", "");
        // nor does Redis, which forgets it soon, have to tell where it is
        stores.pauseRedis();
        try {
            assertEquals(given, gateway.get(path).body());
        } finally {
            stores.resumeRedis();
            stores.resumePostgres();
        }
        until("it is stored", () -> {
            assertEquals(given, gateway.get(path).body());
            return gateway.metric("llmchat_postgres_available") == 1 && gateway.count("SELECT count(*) FROM answers WHERE body IS NOT NULL") == 1;
        });
        assertEquals(given, gateway.get(path).body());
    }

    @Test
    void thatAnAnswerIsNotThereIsNotSaidJustAfterPostgresWasAway() throws Exception {
        String path = "/api/chat/completions/of-another-instance";
        assertEquals(404, gateway.get(path).statusCode());
        stores.pausePostgres();
        until("it is away", () -> !gateway.bean(Postgres.class).available());
        stores.resumePostgres();
        until("it is back", () -> gateway.bean(Postgres.class).available());
        HttpResponse<String> untold = gateway.get(path);
        assertEquals(503, untold.statusCode(), "another instance may have it, and come to store it");
        assertEquals("1", untold.headers().firstValue("retry-after").orElseThrow());
    }

    @ParameterizedTest
    @ValueSource(ints = {-60, 60})
    void anAnswerThatHadToWaitStandsBetweenItsQuestionAndTheNext(int secondsAhead) throws Exception {
        gateway.execute("CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                + " $$ SELECT pg_catalog.clock_timestamp() + " + secondsAhead + " * interval '1 second' $$");
        gateway.execute("ALTER TABLE chat_messages ALTER created_at SET DEFAULT public.clock_timestamp()");
        // of connections from now on
        gateway.execute("ALTER ROLE postgres SET search_path = public, pg_catalog");
        try (TestGateway own = TestGateway.with("llmchat.postgres.port", Integer.toString(gateway.postgresPort()),
                "llmchat.redis.port", Integer.toString(gateway.redisPort()), "llmchat.record.recovery-interval", "3000")) {
            CountDownLatch asked = whenToldTo(own, model, call -> call.json(200, FakeProvider.completion("late")));
            var answer = begun(() -> own.post("/api/chat/completions", nativeChat("openai/" + model, false)));
            assertTrue(asked.await(10, TimeUnit.SECONDS));
            Restart start = stores.killPostgres();
            go.set(true);
            String session = json(answer.get(10, TimeUnit.SECONDS).body()).path("data").path("chatId").asText();
            until("it could not be written at its first time either", () -> !own.bean(RedissonClient.class)
                    .getMap("llmchat:session-answers-completed").isEmpty());
            Instant back = Instant.now().plusSeconds(secondsAhead);
            start.again();
            own.provider().on(model, call -> call.json(200, FakeProvider.completion("next")));
            String next = nativeChat("openai/" + model, false).replace("Hi", "And?").replace("{\"agentId", "{\"chatId\":\"" + session + "\",\"agentId");
            until("the next is answered", () -> own.post("/api/chat/completions", next).statusCode() == 200);
            until("all is there", () -> json(own.get("/api/chat/history/" + session).body()).at("/data/messages").size() == 4);
            JsonNode messages = json(own.get("/api/chat/history/" + session).body()).at("/data/messages");
            assertEquals(List.of("user", "assistant", "user", "assistant"), messages.findValuesAsText("role"));
            assertEquals("late", messages.path(1).path("content").asText());
            assertTrue(Instant.parse(messages.path(1).path("createdAt").asText()).isBefore(back), "where it would have stood");
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aQuestionThatPostgresLosesInACrashStandsBeforeItsAnswer(boolean awayAtTheEnd) throws Exception {
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("first")));
        String session = session(false);
        CountDownLatch asked = whenToldTo(gateway, model, call -> call.json(200, FakeProvider.completion("second")));
        String next = nativeChat("openai/" + model, false).replace("Hi", "And?").replace("{\"agentId", "{\"chatId\":\"" + session + "\",\"agentId");
        var answer = begun(() -> gateway.post("/api/chat/completions", next));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        // as in a crash that it has not come to the disk before
        assertEquals(1, gateway.execute("DELETE FROM chat_messages WHERE content = 'And?'"));
        Restart back = stores.killPostgres();
        until("it is away", () -> !gateway.bean(Postgres.class).available());
        if (awayAtTheEnd) {
            go.set(true);
            answer.get(10, TimeUnit.SECONDS);
        }
        back.again();
        until("it is back", () -> gateway.bean(Postgres.class).available());
        go.set(true);
        assertEquals(200, answer.get(10, TimeUnit.SECONDS).statusCode());
        String path = "/api/chat/history/" + session;
        until("the session has the answer", () -> gateway.get(path).body().contains("second"));
        assertEquals(List.of("Hi", "first", "And?", "second"), json(gateway.get(path).body()).at("/data/messages").findValuesAsText("content"));
    }

    @Test
    void anAnswerThatPostgresCouldNotTakeAtThatMomentReachesItsCallerAndItsSession() throws Exception {
        gateway.execute("CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = '40001'; END $$");
        gateway.execute("CREATE TRIGGER busy BEFORE INSERT ON chat_messages FOR EACH ROW WHEN (NEW.role = 'assistant') EXECUTE FUNCTION busy()");
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("paid")));
        HttpResponse<String> answer = gateway.post("/api/chat/completions", nativeChat("openai/" + model, false));
        assertEquals(200, answer.statusCode(), answer.body());
        gateway.execute("DROP TRIGGER busy ON chat_messages");
        String session = json(answer.body()).path("data").path("chatId").asText();
        until("its session has it", () -> json(gateway.get("/api/chat/history/" + session).body()).at("/data/messages/1/content").asText().equals("paid"));
    }

    @Test
    void whatWaitsForALockIsGivenUpByPostgresTooAndNeverDone() throws Exception {
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("Hello")));
        session(false);
        long sessions = gateway.count("SELECT count(*) FROM chat_sessions");
        try (Connection other = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres", "postgres", "")) {
            other.setAutoCommit(false);
            other.createStatement().execute("LOCK TABLE chat_sessions IN ACCESS EXCLUSIVE MODE");
            for (int i = 0; i < 2; i++) {
                long begun = System.nanoTime();
                HttpResponse<String> refused = gateway.post("/api/chat/completions", nativeChat("openai/" + model, false));
                assertTrue(System.nanoTime() - begun < 5_000_000_000L, "within 5 s");
                assertEquals(503, refused.statusCode(), refused.body());
                assertEquals("STORE_UNAVAILABLE", json(refused.body()).path("code").asText());
                assertTrue(refused.headers().firstValue("retry-after").isPresent());
                assertEquals(0, gateway.count("SELECT count(*) FROM pg_locks WHERE NOT granted"), "nobody waits for it any more");
            }
            other.rollback();
        }
        assertEquals(200, gateway.post("/api/chat/completions", nativeChat("openai/" + model, false)).statusCode());
        assertEquals(sessions + 1, gateway.count("SELECT count(*) FROM chat_sessions"), "nothing of what was refused");
    }

    @Test
    void aServerThatOnlyReadsIsAwayUntilItTakesWritesAgain() throws Exception {
        gateway.post("/api/chat/completions", nativeChat("demo", false));
        try (Connection server = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres", "postgres", "");
                Statement admin = server.createStatement()) {
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on");
            admin.execute("SELECT pg_reload_conf()");
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
            until("it is away", () -> !gateway.bean(Postgres.class).available());
            HttpResponse<String> session = gateway.post("/api/chat/completions", nativeChat("demo", false));
            assertEquals(503, session.statusCode(), session.body());
            assertEquals("STORE_UNAVAILABLE", json(session.body()).path("code").asText());
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only");
            admin.execute("SELECT pg_reload_conf()");
        }
        until("it is back", () -> gateway.post("/api/chat/completions", nativeChat("demo", false)).statusCode() == 200);
    }

    @Test
    void eachReasonForWhichPostgresIsAwayIsSaidOnce() throws Exception {
        until("it is watched", () -> gateway.count("SELECT count(*) " + WATCHED) == 1);
        try (Connection server = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/template1", "postgres", "");
                Statement admin = server.createStatement(); LogLines logs = LogLines.text()) {
            admin.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false");
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'");
            until("why there is no other connection is said", () -> !logs.with("is not currently accepting connections").isEmpty());
            assertEquals(2, logs.with("WatchedPool - PostgreSQL is away: ").size(), "that it was lost, and that there is no other");
            String told = json(gateway.get("/health/detailed").body()).at("/components/database/error").asText();
            assertTrue(told.contains("PostgreSQL is away: ") && told.contains("is not currently accepting connections"), told);
            admin.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true");
            until("it is back", () -> gateway.bean(Postgres.class).available());
            assertEquals(2, logs.with("WatchedPool - PostgreSQL is away: ").size(), "once");
        }
    }

    @Test
    void aConnectionThatPostgresEndsIsToldByWhoeverNeededItAlone() throws Exception {
        try (LogLines logs = LogLines.text()) {
            assertThrows(SQLException.class, () -> gateway.count("SELECT count(pg_terminate_backend(pg_backend_pid()))"));
            assertEquals(List.of(), logs.with("SQLSTATE(57P01)"));
        }
    }

    @Test
    void anAnswerThatIsPaidForReachesItsCallerAndLaterItsSessionWherePostgresOnlyReadsMeanwhile() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, model, call -> call.json(200, FakeProvider.completion("worth it")));
        var answer = begun(() -> gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), "Idempotency-Key", "the-same"));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        try (Connection server = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres", "postgres", "");
                Statement admin = server.createStatement()) {
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on");
            admin.execute("SELECT pg_reload_conf()");
            until("it reads only", () -> {
                try (ResultSet reads = admin.executeQuery("SHOW default_transaction_read_only")) {
                    return reads.next() && reads.getString(1).equals("on");
                }
            });
            go.set(true);
            assertEquals(200, answer.get(10, TimeUnit.SECONDS).statusCode(), answer.get().body());
            until("it is away, though its connections are there", () -> !gateway.bean(Postgres.class).available());
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only");
            admin.execute("SELECT pg_reload_conf()");
        }
        until("it is back", gateway.bean(Postgres.class)::available);
        String session = json(answer.get().body()).path("data").path("chatId").asText();
        until("the session has it", () -> gateway.count("SELECT count(*) FROM chat_messages WHERE content = 'worth it' AND session_id = '" + session + "'") == 1);
        until("the key has it", () -> gateway.count("SELECT count(*) FROM answers WHERE body IS NOT NULL") == 1);
        assertEquals(1, gateway.provider().calls(model).size());
    }

    @Test
    void aKeyWhoseAnswerFailedWhilePostgresWasAwayIsNobodysAsSoonAsThatIsBack() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, model, call -> call.error(400, "invalid_value"));
        var answer = begun(() -> ask(gateway));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        stores.pausePostgres();
        until("it is away", () -> !gateway.bean(Postgres.class).available());
        go.set(true);
        assertEquals(400, answer.get(10, TimeUnit.SECONDS).statusCode());
        stores.resumePostgres();
        until("it is back", gateway.bean(Postgres.class)::available);
        until("the claim is given up", () -> gateway.count("SELECT count(*) FROM answers") == 0);
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("Now")));
        assertEquals(200, ask(gateway).statusCode());
    }

    @Test
    void aKeyThatWasBeingClaimedWhenPostgresStoodStillIsNobodysAsSoonAsThatGoesOn() throws Exception {
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("Now")));
        // a connection that was just used is not tried first
        assertEquals(200, gateway.post(PATH, chat("openai/" + model, false), "Idempotency-Key", slow).statusCode());
        stores.pausePostgres();
        try {
            assertEquals(503, ask(gateway).statusCode());
        } finally {
            stores.resumePostgres();
        }
        until("it is back", gateway.bean(Postgres.class)::available);
        assertEquals(200, begun(() -> ask(gateway)).get(10, TimeUnit.SECONDS).statusCode());
    }

    /** Another instance on the same stores. */
    private TestGateway another() throws Exception {
        return TestGateway.with("llmchat.postgres.port", Integer.toString(gateway.postgresPort()), "llmchat.redis.port", Integer.toString(gateway.redisPort()));
    }

    @Test
    void aKeyThatIsRevokedWhileRedisIsAwayIsSoonOfNoUseAnywhere() throws Exception {
        try (TestGateway other = another()) {
            JsonNode key = json(gateway.post("/api/keys", "{\"name\":\"A\",\"userId\":\"ada\"}").body()).path("data");
            String[] shown = {"Authorization", "Bearer " + key.path("key").asText()};
            assertEquals(200, gateway.get("/v1/models", shown).statusCode());
            assertEquals(200, other.get("/v1/models", shown).statusCode());
            stores.killRedis();
            assertEquals(200, gateway.send("DELETE", "/api/keys/" + key.path("id").asText(), null).statusCode());
            until("the other one refuses it", () -> other.get("/v1/models", shown).statusCode() == 401);
            assertEquals(401, gateway.get("/v1/models", shown).statusCode());
        }
    }

    @Test
    void whereAnAnswerIsMadeCannotBeToldWithoutRedisAndThatIsSaid() throws Exception {
        try (TestGateway other = another(); Sse stream = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + slow, true))) {
            String id = stream.lineWith("id: ").replaceAll("id: |:\\d+$", "");
            String path = "/api/chat/completions/" + id;
            assertEquals(404, other.get(path + "0").statusCode(), "with Redis it can be told");
            stores.pauseRedis();
            try {
                HttpResponse<String> untold = other.get(path, "Last-Event-ID", id + ":1");
                assertEquals(503, untold.statusCode(), untold.body());
                assertEquals("STORE_UNAVAILABLE", json(untold.body()).path("code").asText());
                assertEquals("1", untold.headers().firstValue("retry-after").orElseThrow());
            } finally {
                stores.resumeRedis();
            }
            until("Redis is used again", () -> other.bean(Redis.class).available());
            go.set(true);
            until("it can be told again", () -> other.get(path, "Last-Event-ID", id + ":1").body().contains("event: end"));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whoFollowsAStreamOfAnotherInstanceIsNotCutWhereRedisStandsStillForAMoment(boolean itEndsMeanwhile) throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        gateway.provider().on(model, FakeProvider.waits("one ", end, "two "));
        try (TestGateway other = another(); Sse stream = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            String id = stream.lineWith("id: ").replaceAll("id: |:\\d+$", "");
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":1")) {
                back.lineWith("one ");
                stores.pauseRedis();
                try {
                    until("it is away", () -> !other.bean(Redis.class).available() && !gateway.bean(Redis.class).available());
                    if (itEndsMeanwhile) {
                        end.countDown();
                        stream.lineWith("event: end");
                    }
                } finally {
                    stores.resumeRedis();
                }
                end.countDown();
                back.lineWith("two ");
                back.lineWith("event: end");
            }
        }
    }

    @Test
    void whoFollowsAStreamOfAnotherInstanceIsNotCutWhereRedisForgetsIt() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        gateway.provider().on(model, FakeProvider.waits("one ", end, "two "));
        try (TestGateway other = another(); Sse stream = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            String id = stream.lineWith("id: ").replaceAll("id: |:\\d+$", "");
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":1")) {
                back.lineWith("one ");
                gateway.bean(RedissonClient.class).getKeys().flushall();
                String reads = readsOfStreams();
                until("it is looked for, and not there", () -> !readsOfStreams().equals(reads));
                end.countDown();
                back.lineWith("two ");
                back.lineWith("event: end");
            }
        }
    }

    /** How often Redis was asked for more of a stream. */
    private String readsOfStreams() {
        return gateway.bean(RedissonClient.class).getRedisNodes(RedisNodes.SINGLE).getInstance().info(RedisNode.InfoSection.COMMANDSTATS)
                .getOrDefault("cmdstat_getrange", "").replaceAll(",.*", "");
    }

    @Test
    void anAnswerOfDifysReachesItsCallerThoughItsConversationCannotBeKept() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, "", call -> {
            call.sse();
            call.event("{\"event\":\"message\",\"conversation_id\":\"c-1\",\"answer\":\"worth it\"}");
            call.event("{\"event\":\"message_end\",\"conversation_id\":\"c-1\",\"metadata\":{}}");
            call.end();
        });
        var answer = begun(() -> gateway.post("/api/chat/completions", nativeChat("dify/app", false)));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        stores.pausePostgres();
        go.set(true);
        HttpResponse<String> given = answer.get(20, TimeUnit.SECONDS);
        stores.resumePostgres();
        assertEquals(200, given.statusCode(), given.body());
        assertTrue(given.body().contains("worth it"), given.body());
    }

    @Test
    void aKilledPostgresBreaksNoStreamAndIsSaidSoon() throws Exception {
        gateway.post(PATH, chat("demo", false));
        var streams = streams();
        goesOnWithoutPostgres(stores.killPostgres());
        allAreWhole(streams);
        everyRequestIsInTheRecords();
    }

    @Test
    void usageThatPostgresHasNotTakenIsWrittenByTheNextStart() throws Exception {
        gateway.post(PATH, chat("demo", false));
        until("the first is written", () -> gateway.count("SELECT count(*) FROM usage_records") == 1);
        Restart back = stores.killPostgres();
        until("it is noticed", () -> gateway.post("/api/chat/completions", nativeChat("demo", false)).statusCode() == 503);
        assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
        gateway.close();
        gateway = TestGateway.alone(data, "llmchat.record.recovery-interval", "500");
        until("what was left is written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE agent_id = 'demo' AND outcome = 'completed'") == 2);
    }

    @Test
    void usageThatNoStoreTakesIsWrittenWhenPostgresIsBack() throws Exception {
        Restart redis = stores.killRedis();
        usageIsWritten();
        redis.again();
    }

    @Test
    void usageThatAFullRedisDoesNotTakeIsWrittenWhenPostgresIsBack() throws Exception {
        fillRedis();
        usageIsWritten();
    }

    @Test
    void aRedisThatRemovesWhatItShouldKeepIsWarnedOfAtTheStart() throws Exception {
        RedisNode redis = gateway.bean(RedissonClient.class).getRedisNodes(RedisNodes.SINGLE).getInstance();
        try (LogLines log = LogLines.text()) {
            for (String policy : List.of("noeviction", "allkeys-lru")) {
                redis.setConfig("maxmemory-policy", policy);
                redis.setConfig("maxmemory", "1gb");
                TestGateway.with("llmchat.redis.port", Integer.toString(gateway.redisPort())).close();
            }
            assertEquals(1, log.with("when it is full (maxmemory-policy allkeys-lru)").size());
            assertEquals(1, log.with("when it is full").size());
        } finally {
            redis.setConfig("maxmemory-policy", "noeviction");
            redis.setConfig("maxmemory", "0");
        }
    }

    private void fillRedis() {
        gateway.bean(RedissonClient.class).getRedisNodes(RedisNodes.SINGLE).getInstance().setConfig("maxmemory", "1");
    }

    @Test
    void anAnswerOfASessionThatNoStoreTakesIsAnErrorOfTheStoresThoughRedisAnswers() throws Exception {
        CountDownLatch asked = whenToldTo(gateway, model, call -> call.json(200, FakeProvider.completion("lost")));
        var answer = begun(() -> gateway.post("/api/chat/completions", nativeChat("openai/" + model, false)));
        assertTrue(asked.await(10, TimeUnit.SECONDS));
        fillRedis();
        Restart postgres = stores.killPostgres();
        go.set(true);
        HttpResponse<String> refused = answer.get(20, TimeUnit.SECONDS);
        assertEquals(503, refused.statusCode(), refused.body());
        assertEquals("STORE_UNAVAILABLE", json(refused.body()).path("code").asText());
        assertTrue(refused.headers().firstValue("retry-after").isPresent());
        postgres.again();
    }

    @Test
    void usageThatPostgresTakesLongForWaitsInRedis() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.postgres.port", Integer.toString(gateway.postgresPort()),
                "llmchat.redis.port", Integer.toString(gateway.redisPort()), "llmchat.record.batch-size", "1", "llmchat.record.recovery-interval", "500");
                Connection other = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres", "postgres", "")) {
            own.provider().on(model, call -> call.json(200, FakeProvider.completion("Hello")));
            other.setAutoCommit(false);
            other.createStatement().execute("LOCK TABLE usage_records IN ACCESS EXCLUSIVE MODE");
            for (int i = 0; i < 20; i++) {
                assertEquals(200, own.post(PATH, chat("openai/" + model, false)).statusCode());
            }
            RedissonClient redis = own.bean(RedissonClient.class);
            // of those that wait for PostgreSQL each does so for almost three seconds
            until("all but some are there", () -> redis.getMap("llmchat:usage").size() + redis.getMap("llmchat:usage-completed").size() >= 14);
            other.rollback();
            until("all of it is written", () -> own.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 20);
        }
    }

    private void usageIsWritten() throws Exception {
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("Hello")));
        Restart postgres = stores.killPostgres();
        try (LogLines logs = LogLines.all()) {
            for (int i = 1; i <= 3; i++) {
                int tried = i;
                assertEquals(200, gateway.post(PATH, chat("openai/" + model, false)).statusCode());
                until("nobody takes it", () -> logs.with("On delivery attempt: 0 ").size() >= tried);
            }
            try (FullMemory none = new FullMemory(Memory.USAGE)) {
                assertEquals(200, gateway.post(PATH, chat("openai/lost-" + model, false)).statusCode());
                until("it is said that there is no room", () -> !logs.with("Usage is lost").isEmpty());
            }
        }
        postgres.again();
        until("PostgreSQL is used again", () -> gateway.bean(Postgres.class).available());
        until("all of it is written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 3);
        assertEquals(0, gateway.count("SELECT count(*) FROM usage_records WHERE model = 'lost-" + model + "'"));
    }
}
