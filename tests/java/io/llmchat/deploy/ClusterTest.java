package io.llmchat.deploy;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.RawHttp;
import io.llmchat.support.Sse;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.redisson.api.RedissonClient;
import org.redisson.api.options.KeysScanOptions;
import org.redisson.client.codec.StringCodec;

/** Three gateways behind nginx behave as one: {@code ./llmchat test cluster}. */
@Tag("cluster")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class ClusterTest {

    @TempDir
    static Path shared;
    @TempDir
    Path folder;

    /** For tests that end none of its gateways and set nothing. */
    private static Cluster cluster;

    @BeforeAll
    static void start() throws Exception {
        cluster = new Cluster(shared, Map.of());
    }

    @AfterAll
    static void stop() throws Exception {
        if (cluster != null) {
            cluster.close();
        }
    }

    private final ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor();

    private <T> List<T> atOnce(int times, Callable<T> call) throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        List<Future<T>> all = new ArrayList<>();
        for (int i = 0; i < times; i++) {
            all.add(callers.submit(() -> {
                go.await();
                return call.call();
            }));
        }
        go.countDown();
        List<T> results = new ArrayList<>();
        for (Future<T> one : all) {
            results.add(one.get(60, TimeUnit.SECONDS));
        }
        return results;
    }

    @Test
    void streamsPassUnbufferedAndNginxSaysItsOwnErrorsInOurForm() throws Exception {
        CountDownLatch seen = new CountDownLatch(3);
        cluster.provider().on("slow", call -> {
            call.sse();
            call.text("first ");
            seen.await(20, TimeUnit.SECONDS);
            call.text("second");
            call.finish("stop");
            call.done();
        });
        String messages = "{\"model\":\"openai/slow\",\"stream\":true,\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
        String headers = "\r\nAccept-Encoding: gzip\r\nX-Request-Id: slow-";
        try (Sse openAi = new Sse(cluster.port(), "/v1/chat/completions", chat("openai/slow", true), headers + "1");
                Sse anthropic = new Sse(cluster.port(), "/v1/messages", messages, headers + "2");
                Sse ours = new Sse(cluster.port(), "/api/chat/completions", nativeChat("openai/slow", true), headers + "3")) {
            for (Sse each : List.of(openAi, anthropic, ours)) {
                each.lineWith("first");
                seen.countDown();
            }
            for (Sse each : List.of(openAi, anthropic, ours)) {
                each.lineWith("second");
            }
        }

        // least_conn: three gateways, three open streams, one each
        List<String> ids = List.of("slow-1", "slow-2", "slow-3");
        until("nginx has written the streams down", () -> cluster.gatewayOf().keySet().containsAll(ids));
        assertEquals(Set.of(0, 1, 2), ids.stream().map(cluster.gatewayOf()::get).collect(Collectors.toSet()));

        HttpResponse<String> named = cluster.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", "of-the-caller");
        assertEquals("of-the-caller", named.headers().firstValue("x-request-id").orElseThrow());
        HttpResponse<String> large = cluster.post("/v1/chat/completions", " ".repeat(11 << 20));
        assertEquals(413, large.statusCode());
        assertTrue(large.body().startsWith("{\"code\":\"PAYLOAD_TOO_LARGE\""), large.body());
        assertTrue(large.headers().firstValue("x-request-id").isPresent());
        try (RawHttp http = new RawHttp(cluster.port())) {
            for (String path : List.of("/metrics", "/health/detailed", "/nothing", "/nothing.html", "/assets/nothing.js")) {
                http.send(RawHttp.head("GET", path, "X-Request-Id: of \"the\" caller"));
                RawHttp.Response nothing = http.read();
                assertEquals(404, nothing.status(), path);
                assertEquals("application/json", nothing.header("Content-Type"), path);
                assertEquals("NOT_FOUND", nothing.json().path("code").asText(), path);
                assertTrue(nothing.header("X-Request-Id").matches("[0-9a-f]{32}"), nothing.head());
                assertEquals(nothing.header("X-Request-Id"), nothing.json().path("requestId").asText());
            }
            http.send(RawHttp.head("GET", "/health"));
            assertEquals("healthy", http.read().json().path("status").asText());
        }
    }

    @Test
    void aCallersLimitHoldsAcrossAllOfThem() throws Exception {
        try (Cluster limited = new Cluster(folder, Map.of("RATE_LIMIT_POINTS", "60", "RATE_LIMIT_DURATION", "600"))) {
            List<Integer> statuses = atOnce(200, () -> limited.post("/v1/chat/completions", chat("openai/limited", false)).statusCode());
            Map<Integer, Long> counts = statuses.stream().collect(Collectors.groupingBy(s -> s, TreeMap::new, Collectors.counting()));
            assertEquals(Map.of(200, 60L, 429, 140L), counts);
            assertEquals(60, limited.provider().calls("limited").size());
        }
    }

    @Test
    void anAnswerToAKeyIsMadeOnceWhoeverIsAsked() throws Exception {
        cluster.provider().on("once", call -> {
            Thread.sleep(300);
            call.json(200, FakeProvider.completion("made once"));
        });
        List<String> answers = atOnce(50, () -> cluster.post("/v1/chat/completions", chat("openai/once", false),
                "Idempotency-Key", "the-same").body());
        assertEquals(1, new HashSet<>(answers).size(), () -> new HashSet<>(answers).toString());
        assertTrue(answers.get(0).contains("made once"));
        assertEquals(1, cluster.provider().calls("once").size());

        cluster.provider().on("stream-once", FakeProvider.says(List.of("one ", "two ", "three")));
        List<String> streams = atOnce(50, () -> cluster.post("/v1/chat/completions", chat("openai/stream-once", true),
                "Idempotency-Key", "the-same-stream").body());
        assertEquals(1, new HashSet<>(streams).size(), () -> new HashSet<>(streams).toString());
        assertTrue(streams.get(0).endsWith("data: [DONE]\n\n"));
        assertEquals(1, cluster.provider().calls("stream-once").size());
    }

    /** What became of a stream: its events' last id, and whether it came to its end. */
    private record Outcome(String requestId, String lastEvent, boolean ended) {
        String answerId() {
            return lastEvent.substring(0, lastEvent.lastIndexOf(':'));
        }

        int number() {
            return Integer.parseInt(lastEvent.substring(lastEvent.lastIndexOf(':') + 1));
        }
    }

    @Test
    void ofOneThatIsKilledAndOneThatIsDrainedOnlyTheKilledOnesStreamsBreakAndGoOnElsewhere() throws Exception {
        try (Cluster own = new Cluster(folder, Map.of())) {
            CountDownLatch begun = new CountDownLatch(100);
            CountDownLatch goOn = new CountDownLatch(1);
            own.provider().on("long", call -> {
                call.sse();
                for (int i = 1; i <= 5; i++) {
                    call.text("token-" + i + " ");
                }
                goOn.await(60, TimeUnit.SECONDS);
                call.text("the-rest");
                call.finish("stop");
                call.done();
            });
            List<Future<Outcome>> streams = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                String id = "stream-" + i;
                streams.add(callers.submit(() -> stream(own, id, begun)));
            }
            assertTrue(begun.await(30, TimeUnit.SECONDS), "100 streams are open");
            RedissonClient redis = own.redis().client();
            until("all that they have said is in Redis", () -> {
                String[] keys = redis.getKeys().getKeysStream(KeysScanOptions.defaults().pattern("llmchat:answer:{*}")).toArray(String[]::new);
                return redis.getBuckets(StringCodec.INSTANCE).<String>get(keys).values().stream().filter(s -> s.contains("token-5")).count() == 100;
            });
            redis.shutdown();
            own.gateway(0).destroyForcibly();
            own.gateway(1).destroy();

            // new requests meanwhile: the one that is killed or drained hands them on, or is not asked
            List<Integer> others = atOnce(60, () -> own.post("/v1/chat/completions", chat("openai/other", false)).statusCode());
            goOn.countDown();
            List<Outcome> outcomes = new ArrayList<>();
            for (Future<Outcome> stream : streams) {
                outcomes.add(stream.get(60, TimeUnit.SECONDS));
            }
            Map<String, Integer> gateways = new TreeMap<>();
            until("nginx has written all streams down", () -> {
                gateways.putAll(own.gatewayOf());
                return outcomes.stream().allMatch(o -> gateways.containsKey(o.requestId));
            });
            Map<Integer, Long> ended = outcomes.stream().filter(Outcome::ended)
                    .collect(Collectors.groupingBy(o -> gateways.get(o.requestId), TreeMap::new, Collectors.counting()));
            Map<Integer, Long> broken = outcomes.stream().filter(o -> !o.ended)
                    .collect(Collectors.groupingBy(o -> gateways.get(o.requestId), TreeMap::new, Collectors.counting()));
            assertEquals(Set.of(0), broken.keySet(), "broken, by gateway: " + broken + ", whole: " + ended);
            assertEquals(Set.of(1, 2), ended.keySet());
            assertEquals(100, ended.get(1) + ended.get(2) + broken.get(0));
            assertEquals(Set.of(200), new HashSet<>(others));

            assertTrue(own.gateway(1).waitFor(30, TimeUnit.SECONDS), "the drained one has ended");
            assertEquals(0, own.gateway(1).exitValue());

            // whose stream broke comes back: another gateway has what the killed one had sent, and says where it goes on
            for (Outcome stream : outcomes.stream().filter(o -> !o.ended).limit(5).toList()) {
                int known = stream.number() - 2;
                try (Sse back = Sse.get(own.port(), "/api/chat/completions/" + stream.answerId(),
                        "Last-Event-ID: " + stream.answerId() + ":" + known)) {
                    assertEquals("id: " + stream.answerId() + ":" + (known + 1), back.lineWith("id: "));
                    assertTrue(back.lineWith("data: ").contains("token-4"));
                    assertTrue(back.lineWith("data: ").contains("token-5"));
                }
            }

            // nobody is left
            own.gateway(2).destroyForcibly().waitFor();
            HttpResponse<String> nobody = own.post("/v1/chat/completions", chat("demo", false));
            assertEquals(502, nobody.statusCode());
            assertTrue(nobody.body().startsWith("{\"code\":\"UPSTREAM_ERROR\""), nobody.body());
            assertTrue(nobody.headers().firstValue("retry-after").isPresent());
        }
    }

    /** Reads a resumable stream to its end, or to where it breaks off. */
    private static Outcome stream(Cluster at, String requestId, CountDownLatch begun) throws Exception {
        String last = null;
        try (Sse stream = new Sse(at.port(), "/api/chat/completions", nativeChat("openai/long", true),
                "\r\nX-Request-Id: " + requestId)) {
            String line = "";
            for (int i = 1; i <= 5; i++) {
                do {
                    line = stream.lineWith("");
                    last = line.startsWith("id: ") ? line.substring(4) : last;
                } while (!line.contains("token-" + i));
            }
            begun.countDown();
            stream.patience(60);
            String next = null;
            try {
                next = stream.lineWith("event: end");
            } catch (AssertionError | java.io.IOException e) {
                // it broke off
            }
            return new Outcome(requestId, last, next != null);
        }
    }
}
