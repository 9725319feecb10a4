package io.llmchat;

import static io.llmchat.support.TestGateway.until;
import static io.llmchat.support.TestGateway.withinASecond;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.store.NearCache;
import io.llmchat.store.Redis;
import io.llmchat.store.RedisAway;
import io.llmchat.store.RedisWatch;
import io.llmchat.support.LogLines;
import io.llmchat.support.OwnStores;
import io.llmchat.support.OwnStores.Restart;
import io.llmchat.support.TestGateway;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.redisson.api.RBucket;
import org.redisson.api.RStream;
import org.redisson.api.RedissonClient;
import org.redisson.api.StreamMessageId;
import org.redisson.api.options.KeysScanOptions;
import org.redisson.api.redisnode.RedisNodes;
import org.redisson.api.redisnode.RedisSingle;
import org.redisson.api.stream.StreamAddArgs;
import org.redisson.client.codec.StringCodec;

/** Caches of two instances over one Redis: what one has read the other need not read, what one writes the other drops. */
class CachesTest {

    private static TestGateway other;
    private static Redis here;
    private static Redis there;

    private final MeterRegistry meters = new SimpleMeterRegistry();
    private final String name = "test-" + UUID.randomUUID();
    private final Map<String, String> source = new ConcurrentHashMap<>();
    private final AtomicInteger reads = new AtomicInteger();
    private final NearCache<String> one = new NearCache<>(name, here, meters, 60, Function.identity());
    private final NearCache<String> two = new NearCache<>(name, there, new SimpleMeterRegistry(), 60, Function.identity());

    @BeforeAll
    static void start() throws Exception {
        here = TestGateway.shared().bean(Redis.class);
        other = TestGateway.with();
        there = other.bean(Redis.class);
    }

    @AfterAll
    static void stop() throws Exception {
        other.close();
    }

    private String read(String id) {
        reads.incrementAndGet();
        return source.get(id);
    }

    private String get(NearCache<String> cache, String id) throws Exception {
        return cache.get(id, () -> read(id));
    }

    @Test
    void whatOneInstanceHasReadAnotherNeedNotRead() throws Exception {
        source.put("a", "1");
        assertEquals("1", get(one, "a"));
        assertEquals("1", get(one, "a"));
        until("Redis has it", () -> {
            int before = reads.get();
            return get(new NearCache<>(name, there, new SimpleMeterRegistry(), 60, Function.identity()), "a").equals("1") && reads.get() == before;
        });
        assertEquals(1, meters.get("cache.hits").tag("cache", name).counter().count());
        assertEquals(1, meters.get("cache.misses").tag("cache", name).counter().count());
    }

    @Test
    void aChangeIsSeenEverywhereWithinASecond() throws Exception {
        source.put("a", "old");
        source.put("b", "old");
        get(one, "a");
        get(two, "a");
        get(two, "b");
        withinASecond(() -> {
            String now = UUID.randomUUID().toString();
            source.put("a", now);
            one.changed("a");
            assertEquals(now, get(one, "a"));
            return () -> get(two, "a").equals(now);
        });
        source.put("b", "new");
        assertEquals("old", get(two, "b"), "what did not change is kept");
        one.allChanged();
        until("all are dropped", () -> get(two, "b").equals("new"));
    }

    @Test
    void aChangeIsSeenWhereRedisHasForgottenThoseBeforeItAndItsClockIsBehind() throws Exception {
        source.put("a", "old");
        get(two, "a");
        RStream<String, String> changes = here.client().getStream("llmchat:changes", StringCodec.INSTANCE);
        changes.add(new StreamMessageId(System.currentTimeMillis() + 600_000), StreamAddArgs.entry("test", "of a clock that is ahead"));
        source.put("a", "new");
        one.changed("a");
        until("the next one is seen", () -> get(two, "a").equals("new"));
        changes.delete();
        source.put("a", "newer");
        one.changed("a");
        until("so is one by a clock that is right", () -> get(two, "a").equals("newer"));
    }

    @Test
    void whatWasReadBeforeAChangeIsNotKeptAfterIt() throws Exception {
        source.put("a", "old");
        CountDownLatch reading = new CountDownLatch(1);
        CountDownLatch changed = new CountDownLatch(1);
        CompletableFuture<String> slow = TestGateway.begun(() -> one.get("a", () -> {
            String old = read("a");
            reading.countDown();
            changed.await(10, TimeUnit.SECONDS);
            return old;
        }));
        assertTrue(reading.await(10, TimeUnit.SECONDS));
        source.put("a", "new");
        two.changed("a");
        changed.countDown();
        slow.get(10, TimeUnit.SECONDS);
        until("it is read again", () -> get(one, "a").equals("new"));
        assertEquals("new", get(two, "a"), "not from Redis either");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whoAsksAfterAChangeDoesNotWaitForWhatWasReadBeforeIt(boolean ofAll) throws Exception {
        source.put("a", "old");
        CountDownLatch reading = new CountDownLatch(1);
        CountDownLatch asked = new CountDownLatch(1);
        CompletableFuture<String> before = TestGateway.begun(() -> one.get("a", () -> {
            String old = read("a");
            reading.countDown();
            asked.await(10, TimeUnit.SECONDS);
            return old;
        }));
        assertTrue(reading.await(10, TimeUnit.SECONDS));
        source.put("a", "new");
        if (ofAll) {
            one.allChanged();
        } else {
            one.changed("a");
        }
        CompletableFuture<String> after = TestGateway.begun(() -> get(one, "a"));
        until("both ask", () -> meters.get("cache.misses").tag("cache", name).counter().count() == 2);
        asked.countDown();
        assertEquals("new", after.get(10, TimeUnit.SECONDS));
        before.get(10, TimeUnit.SECONDS);
        assertEquals("new", get(one, "a"));
    }

    @Test
    void oneReadsAndTheOthersWaitForIt() throws Exception {
        source.put("a", "1");
        CountDownLatch go = new CountDownLatch(1);
        List<CompletableFuture<String>> all = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            all.add(TestGateway.begun(() -> one.get("a", () -> {
                go.await(10, TimeUnit.SECONDS);
                return read("a");
            })));
        }
        until("all ask", () -> meters.get("cache.misses").tag("cache", name).counter().count() == 50);
        go.countDown();
        for (CompletableFuture<String> got : all) {
            assertEquals("1", got.get(10, TimeUnit.SECONDS));
        }
        assertEquals(1, reads.get());
    }

    @Test
    void whatIsNotThereIsNotKeptAndWhatCannotBeReadIsSaid() throws Exception {
        assertNull(get(one, "a"));
        source.put("a", "1");
        assertEquals("1", get(one, "a"));
        assertEquals("no way", assertThrows(IllegalStateException.class, () -> one.get("b", () -> {
            throw new IllegalStateException("no way");
        })).getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"maxmemory", "min-replicas-to-write"})
    void whatChangesWhileRedisTakesNothingNewIsSeenByAllWithinSecondsToo(String setting, @TempDir Path data) throws Exception {
        try (TestGateway first = TestGateway.alone(data);
             TestGateway second = TestGateway.with("llmchat.redis.port", Integer.toString(first.redisPort()), "llmchat.limit.points", "30",
                     "llmchat.limit.instances", "3"); LogLines log = LogLines.text()) {
            NearCache<String> its = new NearCache<>(name, first.bean(Redis.class), new SimpleMeterRegistry(), 60, Function.identity());
            NearCache<String> others = new NearCache<>(name, second.bean(Redis.class), new SimpleMeterRegistry(), 60, Function.identity());
            RedisSingle redis = first.bean(RedissonClient.class).getRedisNodes(RedisNodes.SINGLE);
            source.putAll(Map.of("a", "old", "b", "old"));
            for (String id : List.of("a", "b")) {
                get(its, id);
                until("Redis has it", () -> first.bean(RedissonClient.class).getBucket("llmchat:cache:" + name + ":0:" + id, StringCodec.INSTANCE)
                        .get().equals("old"));
                get(others, id);
            }
            redis.getInstance().setConfig(setting, "1");
            source.putAll(Map.of("a", "new", "b", "new"));
            its.changed("a");
            assertEquals("new", get(its, "a"));
            its.allChanged();
            assertEquals("new", get(its, "b"), "what Redis could not drop is not taken from it");
            // each instance meets it with the next request, whose limits are counted in Redis
            assertEquals(200, second.post("/v1/chat/completions", TestGateway.chat("demo", false)).statusCode());
            until("the other one sees it", () -> get(others, "a").equals("new") && get(others, "b").equals("new"));
            assertEquals("\"default\";q=10;w=60", second.post("/v1/chat/completions", TestGateway.chat("demo", false)).headers()
                    .firstValue("ratelimit-policy").orElseThrow(), "its share");
            assertTrue(second.metric("llmchat_limiter_local_total") > 0);
            assertTrue(log.with("Redis takes nothing new (").size() >= 2, "each of them says so");

            redis.getInstance().setConfig(setting, "0");
            // by each of them: both have missed what Redis could not be told
            until("it is written down that all has changed", () -> "2".equals(first.bean(RedissonClient.class)
                    .getBucket("llmchat:cache:" + name, StringCodec.INSTANCE).get()));
            until("both rely on it again", () -> first.bean(Redis.class).watch().tellsChanges() && second.bean(Redis.class).watch().tellsChanges());
            assertFalse(log.with("Redis takes new entries again").isEmpty(), "and that it is over");
        }
    }

    /** Redis 7 says of a script that may not write what it says of a command; the one of the tests is older, and says more. */
    private static ServerSocket asRedis7(int port) throws IOException {
        ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        Thread.startVirtualThread(() -> {
            try {
                while (true) {
                    Socket client = server.accept();
                    Socket redis = new Socket(InetAddress.getLoopbackAddress(), port);
                    Thread.startVirtualThread(() -> pass(client, redis));
                    Thread.startVirtualThread(() -> pass(redis, client));
                }
            } catch (IOException e) {
                // the test is over
            }
        });
        return server;
    }

    private static void pass(Socket from, Socket to) {
        try (from; to) {
            byte[] some = new byte[65_536];
            for (int read = from.getInputStream().read(some); read > 0; read = from.getInputStream().read(some)) {
                to.getOutputStream().write(new String(some, 0, read, StandardCharsets.ISO_8859_1)
                        .replaceAll("-ERR Error running script[^\r]*-READONLY", "-READONLY").getBytes(StandardCharsets.ISO_8859_1));
            }
        } catch (IOException e) {
            // one of them has left
        }
    }

    @Test
    void aRedisThatHasBecomeAReplicaTakesNothingNewAndIsNotTakenForOneThatDoesNotAnswer(@TempDir Path data) throws Exception {
        try (TestGateway owner = TestGateway.alone(data); ServerSocket seven = asRedis7(owner.redisPort());
             TestGateway gateway = TestGateway.with("llmchat.redis.port", Integer.toString(seven.getLocalPort()));
             Socket redis = new Socket("127.0.0.1", owner.redisPort()); LogLines log = LogLines.text()) {
            RedisWatch watch = gateway.bean(Redis.class).watch();
            NearCache<String> its = new NearCache<>(name, gateway.bean(Redis.class), new SimpleMeterRegistry(), 60, Function.identity());
            AtomicInteger looks = new AtomicInteger();
            watch.listen((kind, id) -> { }, () -> { }, looks::incrementAndGet);
            // a stream that another instance makes
            owner.bean(RedissonClient.class).getMap("llmchat:answer:{a}:of", StringCodec.INSTANCE).put("owner", "anonymous");
            redis.getOutputStream().write("REPLICAOF 127.0.0.1 1\r\n".getBytes(StandardCharsets.UTF_8));
            assertEquals('+', redis.getInputStream().read());
            assertEquals(503, gateway.get("/api/chat/completions/a").statusCode());
            // is tried again at each look
            its.changed("a");
            int before = looks.get();
            until("it was looked at some times", () -> looks.get() > before + 4);
            assertFalse(log.with("Redis takes nothing new (READONLY").isEmpty());
            assertEquals(List.of(), log.with("Redis is away"));
        }
    }

    @Test
    void aRedisThatStoodStillForAMomentMakesNobodyReadAnythingAgain(@TempDir Path data) throws Exception {
        OwnStores stores = new OwnStores(data);
        try (TestGateway gateway = TestGateway.alone(data)) {
            Redis redis = gateway.bean(Redis.class);
            RBucket<String> drops = redis.client().getBucket("llmchat:cache:" + name, StringCodec.INSTANCE);
            NearCache<String> its = new NearCache<>(name, redis, meters, 60, Function.identity());
            // what was read before the changes were for the first time is not kept
            until("changes are read", () -> redis.watch().roundTripNanos() > 0);
            source.putAll(Map.of("a", "1", "b", "1"));
            get(its, "a");
            get(its, "b");
            // what is older than a second is what a Redis that is away would have read again
            Thread.sleep(1_100);
            long paused;
            do {
                until("it is there", redis::available);
                stores.pauseRedis();
                paused = System.nanoTime();
                try {
                    assertThrows(RedisAway.class, () -> redis.watch().ask(drops::getAsync));
                    assertFalse(redis.available());
                    assertEquals("1", get(its, "a"));
                } finally {
                    stores.resumeRedis();
                }
                // a machine that has no time may take longer than what is told is good for
            } while (reads.get() > 2 && System.nanoTime() - paused > 500_000_000 && reads.getAndSet(2) > 0);
            assertEquals(2, reads.get(), "not while it stands still");
            until("it is back", redis::available);
            assertEquals("1", get(its, "b"));
            assertEquals(2, reads.get(), "nor when it is back");
            assertNull(drops.get(), "and nobody else was told to");
        }
    }

    @Test
    void aRedisThatComesBackWithWhatItHadBeforeGivesNoRevokedKeyBack(@TempDir Path data) throws Exception {
        OwnStores stores = new OwnStores(data);
        String[] admin = {"Authorization", "Bearer the-admin-key-of-the-test"};
        try (TestGateway gateway = TestGateway.alone(data, "llmchat.admit.auth-mode", "keys", "llmchat.admit.admin-key", "the-admin-key-of-the-test")) {
            JsonNode key = TestGateway.json(gateway.post("/api/keys", "{\"name\":\"K\",\"userId\":\"ada\"}", admin).body()).path("data");
            String[] shown = {"Authorization", "Bearer " + key.path("key").asText()};
            assertEquals(200, gateway.get("/v1/models", shown).statusCode());
            RedissonClient redis = gateway.bean(RedissonClient.class);
            until("Redis has it", () -> redis.getKeys().getKeys(KeysScanOptions.defaults().pattern("llmchat:cache:keys:*")).iterator().hasNext());
            Path kept = data.resolve("redis/appendonly.aof");
            Path before = Files.copy(kept, data.resolve("before"));
            assertEquals(200, gateway.send("DELETE", "/api/keys/" + key.path("id").asText(), null, admin).statusCode());
            assertEquals(401, gateway.get("/v1/models", shown).statusCode());
            Restart again = stores.killRedis();
            until("it is away", () -> !gateway.bean(Redis.class).available());
            Files.copy(before, kept, StandardCopyOption.REPLACE_EXISTING);
            again.again();
            until("it is back", () -> gateway.bean(Redis.class).watch().tellsChanges());
            until("nobody gets in", () -> gateway.get("/v1/models", shown).statusCode() == 401);
        } finally {
            stores.stop();
        }
    }

    @Test
    void anAgentThatIsChangedOnOneInstanceIsChangedOnAllWithinASecond() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String agent = "c-" + UUID.randomUUID().toString().substring(0, 8);
        String body = "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"before\"}";
        assertEquals(201, gateway.post("/api/agents", body).statusCode());
        String chat = TestGateway.chat(agent, false);
        assertEquals(200, other.post("/v1/chat/completions", chat).statusCode());
        assertEquals("before", other.provider().calls().getLast().model());
        withinASecond(() -> {
            String after = "m-" + UUID.randomUUID();
            assertEquals(200, gateway.send("PUT", "/api/agents/" + agent, "{\"model\":\"" + after + "\"}").statusCode());
            return () -> {
                other.post("/v1/chat/completions", chat);
                return other.provider().calls().getLast().model().equals(after);
            };
        });
    }
}
