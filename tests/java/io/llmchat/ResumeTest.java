package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Memory;
import io.llmchat.store.Redis;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FullMemory;
import io.llmchat.support.RawHttp;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.io.EOFException;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.StringCodec;

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
    void whatRedisHasLostIsThereAgainForOtherInstances() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        provider.on(model, FakeProvider.waits("one ", end, "two "));
        var redis = gateway.bean(RedissonClient.class);
        try (TestGateway other = TestGateway.with();
                Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            String id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
            var bytes = redis.<String>getBucket("llmchat:answer:{" + id + "}", StringCodec.INSTANCE);
            TestGateway.until("it is mirrored", bytes::isExists);
            bytes.delete();
            end.countDown();
            client.lineWith("event: end");
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":1")) {
                assertEquals("id: " + id + ":2", back.lineWith("id: "));
                back.lineWith("event: end");
            }
            TestGateway.until("all of it is mirrored", () -> bytes.isExists() && bytes.get().contains("event: end"));
        }
    }

    @Test
    void whoComesBackToAnotherInstanceKeepsTheAnswerGoing() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        try (TestGateway maker = TestGateway.with("llmchat.deduplicate.resume-grace", "2000"); TestGateway other = TestGateway.with()) {
            maker.provider().on(model, FakeProvider.waits("one ", end, "two "));
            String id;
            try (Sse client = new Sse(maker.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
                id = answerId(client.lineWith("id: "));
                client.lineWith("one ");
            }
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
                assertFalse(maker.provider().call(model).leftWithin(4_000), "somebody reads it");
                end.countDown();
                assertTrue(back.lineWith("data: ").contains("two"));
                back.lineWith("event: end");
            }
        }
    }

    @Test
    void whatTheOtherInstanceHasNotHeardOfYetIsNotGivenTwice() throws Exception {
        var redis = gateway.bean(RedissonClient.class);
        String key = "llmchat:answer:{" + model + "}";
        var bytes = redis.<String>getBucket(key, StringCodec.INSTANCE);
        var of = redis.<String, String>getMap(key + ":of", StringCodec.INSTANCE);
        String[] events = {event(1), event(2), event(3), event(4), event(5)};
        bytes.set(events[0] + events[1]);
        of.putAll(Map.of("owner", "anonymous", "over", "0"));
        // it has three events already, from the instance that makes the answer
        try (Sse back = Sse.get(gateway.port(), "/api/chat/completions/" + model, "Last-Event-ID: " + model + ":3")) {
            var read = redis.getBucket(key + ":wanted", StringCodec.INSTANCE);
            TestGateway.until("two were read", read::isExists);
            bytes.set(events[0] + events[1] + events[2]);
            read.delete();
            TestGateway.until("the third was read", read::isExists);
            bytes.set(String.join("", events));
            of.put("over", "1");
            assertEquals("id: " + model + ":4", back.lineWith("id: "));
            assertEquals("id: " + model + ":5", back.lineWith("id: "));
        }
    }

    @Test
    void whatHasEndedElsewhereStaysForWhoStillReadsIt() throws Exception {
        var redis = gateway.bean(RedissonClient.class);
        String key = "llmchat:answer:{" + model + "}";
        var bytes = redis.<String>getBucket(key, StringCodec.INSTANCE);
        var of = redis.<String, String>getMap(key + ":of", StringCodec.INSTANCE);
        bytes.set(event(1) + event(2).replace("{}", "x".repeat(16 << 20)) + event(3), Duration.ofSeconds(15));
        of.putAll(Map.of("owner", "anonymous", "over", "1"));
        of.expire(Duration.ofSeconds(15));
        TestGateway.until("so much at once has not kept Redis from answering", () -> gateway.bean(Redis.class).available());
        try (Sse slow = Sse.get(gateway.port(), "/api/chat/completions/" + model, "Accept: */*")) {
            assertEquals("id: " + model + ":1", slow.lineWith("id: "));
            TestGateway.until("he has all the time that he needs", () -> Math.min(bytes.remainTimeToLive(), of.remainTimeToLive()) > 20_000);
            assertEquals("id: " + model + ":2", slow.lineWith("id: "));
            assertEquals("id: " + model + ":3", slow.lineWith("id: "));
        }
    }

    @Test
    void whoFollowsGetsTheHeadAtOnceAndCommentsWhileNothingComes() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        try (TestGateway maker = TestGateway.with("camel.component.llm.heartbeat", "200");
                TestGateway other = TestGateway.with("camel.component.llm.heartbeat", "200")) {
            maker.provider().on(model, call -> {
                call.sse();
                call.text("one ");
                end.await(20, TimeUnit.SECONDS);
                call.finish("stop");
                call.done();
            });
            try (Sse client = new Sse(maker.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
                String id = answerId(client.lineWith("id: "));
                client.lineWith("one ");
                for (TestGateway at : List.of(maker, other)) {
                    TestGateway.until("it is known there", () -> {
                        try (Sse back = Sse.get(at.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
                            return back.lineWith("HTTP/1.1").contains("200");
                        }
                    });
                    try (Sse back = Sse.get(at.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
                        back.lineWith("text/event-stream");
                        for (int i = 0; i < 3; i++) {
                            assertEquals(": keep-alive", back.lineWith("keep-alive"));
                        }
                    }
                }
                try (TestGateway calm = TestGateway.with();
                        Sse back = Sse.get(calm.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":3")) {
                    back.lineWith("text/event-stream");
                }
                end.countDown();
                client.lineWith("event: end");
            }
        }
    }

    private String event(int n) {
        return "id: " + model + ":" + n + "\nevent: chunk\ndata: {}\n\n";
    }

    @Test
    void whoWasSlowAndLeftGetsTheRestWhenHeComesBack() throws Exception {
        AtomicInteger written = new AtomicInteger();
        provider.on(model, FakeProvider.writes(2_000, written));
        String id;
        try (Sse slow = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            id = answerId(slow.lineWith("id: "));
            slow.lineWith("xxx");
            TestGateway.untilStill("the provider is held up", written);
            assertTrue(written.get() < 2_000);
        }
        try (Sse back = Sse.get(gateway.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":2")) {
            assertEquals("id: " + id + ":3", back.lineWith("id: "));
            back.lineWith("event: end");
        }
        assertEquals(2_000, written.get());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void whoReadsNothingHoldsUpNobodyWhoComesBackHereOrElsewhere() throws Exception {
        try (TestGateway maker = TestGateway.with(); TestGateway other = TestGateway.with()) {
            for (TestGateway at : List.of(maker, other)) {
                AtomicInteger written = new AtomicInteger();
                String name = model + (at == maker ? "" : "-elsewhere");
                maker.provider().on(name, FakeProvider.writes(2_000, written));
                try (Sse slow = new Sse(maker.port(), "/api/chat/completions", nativeChat("openai/" + name, true))) {
                    String id = answerId(slow.lineWith("id: "));
                    slow.lineWith("xxx");
                    TestGateway.untilStill("the provider is held up", written);
                    assertTrue(written.get() < 2_000);
                    try (Sse back = Sse.get(at.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":2")) {
                        assertEquals("id: " + id + ":3", back.lineWith("id: "));
                        for (int i = 4; i < 2_000; i++) {
                            back.lineWith("id: ");
                            if (at == other) {
                                // all of it comes through Redis, as fast as it is read: in one go it would keep a busy machine's from answering
                                Thread.sleep(2);
                            }
                        }
                        back.lineWith("event: end");
                    }
                    // he has all of it, when he reads
                    for (int i = 4; i < 2_000; i++) {
                        assertEquals("id: " + id + ":" + i, slow.lineWith("id: "));
                    }
                    slow.lineWith("event: end");
                }
            }
        }
    }

    @Test
    void aCommentStandsInTheMidstOfNoEvent() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        try (TestGateway own = TestGateway.with("camel.component.llm.heartbeat", "100")) {
            own.provider().on(model, call -> {
                call.sse();
                for (int i = 0; i < 2_000; i++) {
                    call.text("x".repeat(8_000));
                }
                go.await(60, TimeUnit.SECONDS);
                call.finish("stop");
                call.done();
            });
            try (Sse client = new Sse(own.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
                String path = "/api/chat/completions/" + answerId(client.lineWith("id: "));
                try (Sse slow = Sse.get(own.port(), path, "Accept: */*"); Sse quick = Sse.get(own.port(), path, "Accept: */*")) {
                    slow.lineWith("id: ");
                    for (int i = 0; i < 3; i++) {
                        quick.lineWith("keep-alive");
                    }
                    go.countDown();
                    for (String line = slow.lineWith(""); !line.equals("event: end"); line = slow.lineWith("")) {
                        assertFalse(line.endsWith("keep-alive") && !line.equals(": keep-alive"), line);
                        assertFalse(line.startsWith("data: ") && !line.endsWith("}"), line);
                    }
                }
            }
        }
    }

    @Test
    void whereAStreamBreaksOffTheConnectionsOfThoseWhoFollowEndToo() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("one ");
            end.await(10, TimeUnit.SECONDS);
            call.cut();
        });
        try (Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true));
                RawHttp back = new RawHttp(gateway.port())) {
            String id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
            back.send(RawHttp.head("GET", "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":1"));
            TestGateway.until("it follows", back::answered);
            end.countDown();
            assertTrue(back.read().text().contains("event: error"));
            assertTrue(back.closed());
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
            assertTrue(own.provider().call(model).leftWithin(10_000));
            TestGateway.until("what there is of it is kept", () -> own.get("/api/chat/completions/" + id).body().contains("one "));
            assertTrue(own.get("/api/chat/completions/" + id).body().contains("CLIENT_CLOSED"), "who comes back later is told that it broke off");
        }
    }

    @Test
    void aStreamThatThereIsNoMemoryToKeepReachesItsCallerAllTheSame() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, FakeProvider.waits("one ", go, "two"));
        String id;
        try (FullMemory none = new FullMemory(Memory.KEPT_ANSWERS);
                Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
            // the last piece needs no room
            go.countDown();
            client.lineWith("two");
            client.lineWith("event: end");
        }
        assertEquals(404, resume(id, 1).statusCode());
    }

    @Test
    void whoFollowsOnAnotherInstanceIsCutAsSoonAsNoMoreIsKept() throws Exception {
        CountDownLatch full = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("one ");
            full.await(10, TimeUnit.SECONDS);
            for (int i = 0; i < 100; i++) {
                call.text("x".repeat(8_000));
            }
            call.hang();
        });
        try (TestGateway other = TestGateway.with();
                Sse client = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            String id = answerId(client.lineWith("id: "));
            client.lineWith("one ");
            try (Sse back = Sse.get(other.port(), "/api/chat/completions/" + id, "Last-Event-ID: " + id + ":1");
                    FullMemory none = new FullMemory(Memory.KEPT_ANSWERS)) {
                back.lineWith("one ");
                full.countDown();
                assertThrows(EOFException.class, back::rest, "it would wait in vain");
            }
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
