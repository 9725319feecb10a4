package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Memory;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FullMemory;
import io.llmchat.support.LogLines;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RawHttp.Response;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import io.netty.buffer.PoolArenaMetric;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.channel.SingleThreadEventLoop;
import io.vertx.core.Vertx;
import java.io.EOFException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.net.Socket;
import java.net.SocketException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Callers who are slow, silent or too many: none of them holds a place for ever, and none who waits for us is cut off. */
class ConnectionsTest {

    private static final String POST = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n";

    private static TestGateway gateway;

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.with("llmchat.http.head-timeout", "1000", "llmchat.http.body-timeout", "2000", "llmchat.http.idle-timeout", "4000",
                "llmchat.http.write-timeout", "1000");
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
    }

    private static Response timedOut(RawHttp http, String code) throws Exception {
        Response response = http.read();
        assertEquals(408, response.status());
        assertTrue(response.text().contains(code), response.text());
        assertEquals("close", response.header("Connection"));
        assertEquals("nosniff", response.header("X-Content-Type-Options"));
        assertTrue(response.header("X-Request-Id").matches("[A-Za-z0-9._-]+"), response.head());
        assertTrue(http.closed());
        return response;
    }

    @Test
    void connectionsComeToAllEventLoopsInTurn() throws Exception {
        TestGateway gateway = TestGateway.shared();
        List<Integer> before = connectionsOfLoops(gateway);
        List<RawHttp> callers = new ArrayList<>();
        try {
            for (int i = 0; i < 4 * before.size(); i++) {
                RawHttp http = new RawHttp(gateway.port());
                callers.add(http);
                http.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
                assertEquals(200, http.read().status());
            }
            List<Integer> now = connectionsOfLoops(gateway);
            for (int i = 0; i < now.size(); i++) {
                // connections of other tests may have ended since
                assertTrue(now.get(i) > before.get(i), before + " " + now);
            }
        } finally {
            for (RawHttp http : callers) {
                http.close();
            }
        }
    }

    private static List<Integer> connectionsOfLoops(TestGateway gateway) throws Exception {
        List<Integer> connections = new ArrayList<>();
        for (var loop : gateway.bean(Vertx.class).nettyEventLoopGroup()) {
            connections.add(loop.submit(((SingleThreadEventLoop) loop)::registeredChannels).get());
        }
        return connections;
    }

    @Test
    void halfAHeadIsAnsweredWith408() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send("POST /v1/chat/comp");
            timedOut(http, "REQUEST_TIMEOUT");
        }
    }

    @Test
    void aHeadThatComesByteByByteHasNoMoreTime() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            long started = System.nanoTime();
            Thread trickle = Thread.ofVirtual().start(() -> {
                try {
                    for (char c : (POST + "X-Slow: " + "x".repeat(1_000)).toCharArray()) {
                        http.send(Character.toString(c));
                        Thread.sleep(50);
                    }
                } catch (Exception e) {
                    // the connection was closed, as it should be
                }
            });
            timedOut(http, "REQUEST_TIMEOUT");
            assertTrue(System.nanoTime() - started < 20_000_000_000L);
            trickle.interrupt();
        }
    }

    @Test
    void aConnectionOnWhichNothingComesIsClosed() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            timedOut(http, "REQUEST_TIMEOUT");
        }
    }

    @Test
    void halfABodyIsAnsweredWith408InTheCallersDialect() throws Exception {
        String counted = "http_requests_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"408\"}";
        double before = gateway.metric(counted);
        try (RawHttp http = new RawHttp(gateway.port()); LogLines log = LogLines.text()) {
            http.send(POST + "Content-Length: 100\r\n\r\n{\"model\":");
            String id = timedOut(http, "invalid_request_error").header("X-Request-Id");
            until("it has its line", () -> log.with("id=" + id + " method=POST path=/v1/chat/completions status=408 ").size() == 1);
            until("it is counted", () -> gateway.metric(counted) == before + 1);
        }
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(POST + "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n{}");
            assertEquals("mine", timedOut(http, "invalid_request_error").header("X-Request-Id"));
        }
    }

    @Test
    void aBodyThatComesByteByByteHasItsTime() throws Exception {
        long started = System.nanoTime();
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(POST + "Content-Length: 1000\r\n\r\n");
            Thread trickle = Thread.ofVirtual().start(() -> {
                try {
                    for (int i = 0; i < 1_000; i++) {
                        http.send(" ");
                        Thread.sleep(50);
                    }
                } catch (Exception e) {
                    // the connection was closed, as it should be
                }
            });
            assertEquals(408, http.read().status());
            assertTrue(System.nanoTime() - started < 20_000_000_000L, "short as it is, it is not waited for several times");
            trickle.interrupt();
        }
    }

    @Test
    void aBodyHasItsPlaceInMemoryUntilItsCallerLeavesOrIsAnswered() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(POST + "Content-Length: 1000\r\n\r\n" + " ".repeat(500));
            until("it has a place", () -> !isEmpty(Memory.SMALL_BODIES));
        }
        until("it is given back", () -> isEmpty(Memory.SMALL_BODIES));
        String model = "left-" + UUID.randomUUID();
        gateway.provider().on(model, FakeProvider.Call::hang);
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.post("/v1/chat/completions", chat("openai/" + model, true)));
            until("it is asked", () -> !gateway.provider().calls(model).isEmpty());
        }
        until("also of one that was whole, once", () -> isEmpty(Memory.SMALL_BODIES));
        assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false).replace("\"Hi\"", "\"" + "y".repeat(100_000) + "\"")).statusCode());
        until("a long one leaves that of long ones", () -> isEmpty(Memory.SMALL_BODIES) && isEmpty(Memory.LARGE_BODIES));
    }

    /** Only who is alone has as much as that. */
    private static boolean isEmpty(Memory memory) {
        boolean empty = memory.take(Integer.MAX_VALUE, 0);
        if (empty) {
            memory.give(Integer.MAX_VALUE);
        }
        return empty;
    }

    @Test
    void aHeadOfLinesWithoutEndIsClosed() throws Exception {
        for (String line : List.of("a:\r\n", " \r\n")) {
            try (RawHttp http = new RawHttp(gateway.port())) {
                http.send("GET /health HTTP/1.1\r\nHost: x\r\nX: y\r\n");
                try {
                    for (int i = 0; i < 100; i++) {
                        http.send(line.repeat(100));
                        Thread.sleep(2);
                    }
                } catch (SocketException e) {
                    // it was closed while more was sent
                }
                assertEquals("", http.rest(), "not because its time is over");
            }
        }
    }

    @Test
    void aBodyThatComesSlowlyButComesIsRead() throws Exception {
        String body = chat("demo", false);
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(POST + "Content-Length: " + body.length() + "\r\n\r\n");
            int piece = body.length() / 9;
            for (int i = 0; i < body.length(); i += piece) {
                http.send(body.substring(i, Math.min(body.length(), i + piece)));
                Thread.sleep(250);
            }
            assertEquals(200, http.read().status());
        }
    }

    @Test
    void aConnectionIsKeptBetweenTwoRequestsButNotForEver() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            for (int i = 0; i < 2; i++) {
                http.send(RawHttp.head("GET", "/v1/models", "X-Request-Id: before"));
                assertEquals(200, http.read().status());
                Thread.sleep(1_200);
            }
            http.send("GET /hea");
            assertNotEquals("before", timedOut(http, "\"code\":\"REQUEST_TIMEOUT\"").header("X-Request-Id"));
        }
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", "/health/live"));
            assertEquals(200, http.read().status());
            assertTrue(http.closed(), "closed without a word: nobody has asked anything");
        }
    }

    @Test
    void whoWaitsForAnAnswerMayBeSilent() throws Exception {
        gateway.provider().on("slow", call -> {
            call.sse();
            call.text("first");
            Thread.sleep(3_000);
            call.text("last");
            call.finish("stop");
            call.done();
        });
        gateway.provider().on("thinking", call -> {
            Thread.sleep(3_000);
            call.json(200, FakeProvider.completion("Hi"));
        });
        try (Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/slow", true));
                RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("POST", "/v1/chat/completions", "Content-Length: " + chat("openai/thinking", false).length())
                    + chat("openai/thinking", false));
            stream.lineWith("first");
            stream.lineWith("last");
            stream.lineWith("[DONE]");
            assertEquals(200, http.read().status());
        }
    }

    @Test
    void pipelinedRequestsAreAllAnswered() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", "/health/live").repeat(20));
            for (int i = 0; i < 20; i++) {
                assertEquals(200, http.read().status());
            }
        }
    }

    @Test
    void aConnectionWhoseRequestWasAnsweredAtOnceIsKeptAsLongAsAnyOther() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", "/nothing"));
            assertEquals(404, http.read().status());
            Thread.sleep(1_200);
            http.send(RawHttp.head("GET", "/nothing"));
            assertEquals(404, http.read().status());
            assertTrue(http.closed(), "closed without a word: nobody has asked anything");
        }
    }

    /** A model that answers when the latch that is returned is counted down. */
    private static CountDownLatch answersWhenTold(String model) {
        CountDownLatch go = new CountDownLatch(1);
        gateway.provider().on(model, call -> {
            go.await(20, TimeUnit.SECONDS);
            call.json(200, FakeProvider.completion("Hi"));
        });
        return go;
    }

    @Test
    void moreRequestsThanMayWaitCloseTheConnection() throws Exception {
        CountDownLatch go = answersWhenTold("waiting");
        try (RawHttp http = new RawHttp(gateway.port())) {
            String body = chat("openai/waiting", false);
            http.send(RawHttp.post("/v1/chat/completions", body));
            http.send(RawHttp.head("GET", "/health/live").repeat(200));
            assertTrue(http.closed());
        } finally {
            go.countDown();
        }
    }

    @Test
    void moreBytesOfRequestsThanThereIsRoomForCloseTheConnection() throws Exception {
        CountDownLatch go = answersWhenTold("waiting");
        String body = chat("openai/waiting", false);
        String first = RawHttp.post("/v1/chat/completions", body);
        try (FullMemory left = new FullMemory(Memory.BEHIND, 100_000);
                RawHttp large = new RawHttp(gateway.port()); RawHttp small = new RawHttp(gateway.port())) {
            try {
                large.send(first + RawHttp.head("GET", "/health/live", "X: " + "x".repeat(16_000)).repeat(31));
                assertEquals("", large.rest());
            } catch (SocketException e) {
                // closed before all was sent
            }
            until("its room is free again", () -> {
                boolean free = Memory.BEHIND.take(90_000, 0);
                if (free) {
                    Memory.BEHIND.give(90_000);
                }
                return free;
            });
            small.send(first + RawHttp.head("GET", "/health/live").repeat(31));
            go.countDown();
            for (int i = 0; i < 32; i++) {
                assertEquals(200, small.read().status());
            }
        } finally {
            go.countDown();
        }
    }

    /** A stream without end. */
    private static void streamsUntilLeft(FakeProvider.Call call) throws Exception {
        call.sse();
        while (true) {
            call.text("more");
            Thread.sleep(20);
        }
    }

    @Test
    void whoLeavesWithHalfARequestBehindAStreamLeavesBoth() throws Exception {
        gateway.provider().on("left", ConnectionsTest::streamsUntilLeft);
        List<String> halves = List.of(POST + "Content-Length: 65536\r\n\r\n" + "x".repeat(60_000), "GET /hea", "GET / x HTTP/1.1\r\n\r\n");
        for (int i = 0; i < halves.size(); i++) {
            int streams = i + 1;
            try (FullMemory left = new FullMemory(Memory.SMALL_BODIES, 100_000)) {
                try (RawHttp http = new RawHttp(gateway.port())) {
                    http.send(RawHttp.post("/v1/chat/completions", chat("openai/left", true)));
                    until("it has begun", http::answered);
                    http.send(halves.get(i));
                }
                until("it was asked", () -> gateway.provider().calls("left").size() == streams);
                assertTrue(gateway.provider().calls("left").getLast().leftWithin(10_000), halves.get(i).substring(0, 8));
                until("nothing has a place any more", () -> {
                    boolean free = Memory.SMALL_BODIES.take(99_000, 0);
                    if (free) {
                        Memory.SMALL_BODIES.give(99_000);
                    }
                    return free;
                });
            }
        }
    }

    @Test
    void whatWaitsBehindAStreamIsNotDoneForWhoHasLeft() throws Exception {
        gateway.provider().on("first-left", ConnectionsTest::streamsUntilLeft);
        String agent = "left-" + System.nanoTime();
        String body = "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"demo\",\"model\":\"demo\"}";
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.post("/v1/chat/completions", chat("openai/first-left", true)));
            until("it has begun", http::answered);
            http.send(RawHttp.post("/api/agents", body));
        }
        until("it was asked", () -> gateway.provider().calls("first-left").size() == 1);
        assertTrue(gateway.provider().call("first-left").leftWithin(10_000));
        // what was done would be done by now
        assertEquals(201, gateway.post("/api/agents", body.replace("left-", "asked-")).statusCode());
        assertEquals(404, gateway.get("/api/agents/" + agent).statusCode());
    }

    @Test
    void aBodyThatWaitsForItsTurnIsNotLate() throws Exception {
        CountDownLatch go = answersWhenTold("first");
        gateway.provider().on("second", call -> call.json(200, FakeProvider.completion("Hi")));
        String body = chat("openai/first", false);
        String next = chat("openai/second", false).replace("{", "{" + " ".repeat(400_000));
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.post("/v1/chat/completions", body)
                    + RawHttp.head("POST", "/v1/chat/completions", "Content-Length: " + next.length()));
            Thread rest = Thread.ofVirtual().start(() -> {
                try {
                    http.send(next);
                } catch (java.io.IOException e) {
                    // the connection was closed, as it should not be
                }
            });
            Thread.sleep(2_500);
            go.countDown();
            assertEquals(200, http.read().status());
            assertEquals(200, http.read().status());
            rest.join();
        } finally {
            go.countDown();
        }
    }

    @Test
    void aBodyWhoseTurnItIsHasItsTimeFromThenOn() throws Exception {
        CountDownLatch go = answersWhenTold("before");
        String body = chat("openai/before", false);
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.post("/v1/chat/completions", body)
                    + POST + "Content-Length: 1000\r\n\r\n{");
            Thread.sleep(2_500);
            go.countDown();
            assertEquals(200, http.read().status());
            timedOut(http, "invalid_request_error");
        } finally {
            go.countDown();
        }
    }

    @Test
    void whatComesBehindTheLastRequestOfAConnectionIsNeitherAnsweredNorKept() throws Exception {
        CountDownLatch go = answersWhenTold("last");
        String agent = "behind-" + System.nanoTime();
        try (RawHttp http = new RawHttp(gateway.port())) {
            String body = chat("openai/last", false);
            String second = "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"demo\",\"model\":\"demo\"}";
            http.send(RawHttp.head("POST", "/v1/chat/completions", "Connection: close", "Content-Length: " + body.length()) + body
                    + RawHttp.post("/api/agents", second)
                    + RawHttp.head("POST", "/api/agents", "Content-Length: 100000000"));
            until("it was asked", () -> gateway.provider().calls("last").size() > 0);
            long before = inUse();
            byte[] more = new byte[1 << 20];
            for (int i = 0; i < 64; i++) {
                http.send(more);
            }
            long kept = inUse() - before;
            assertTrue(kept < 16 << 20, kept + " bytes of 64 MB are kept");
            go.countDown();
            assertEquals(200, http.read().status());
            assertTrue(http.closed());
        } finally {
            go.countDown();
        }
        assertEquals(404, gateway.get("/api/agents/" + agent).statusCode());
    }

    @Test
    void whatComesBehindARequestThatIsReadInTwoWaysIsNotKept() throws Exception {
        for (String last : List.of("HTTP/1.2\r\nHost: x", "HTTP/2.0\r\nHost: x", "HTTP/1.0\r\nHost: x\r\nConnection: keep-alive, x")) {
            byte[] behind = ("GET /health/live " + last + "\r\n\r\n" + POST + "Content-Length: 100000000\r\n\r\n" + "x".repeat(64_000))
                    .getBytes(StandardCharsets.ISO_8859_1);
            long before = inUse();
            for (int i = 0; i < 200; i++) {
                try (RawHttp http = new RawHttp(gateway.port())) {
                    http.send(behind);
                    http.read();
                } catch (SocketException reset) {
                    // what came behind it was not read
                }
            }
            until("nothing is kept behind " + last, () -> inUse() - before < 2 << 20);
        }
    }

    @Test
    void theRequestThatClosesItsConnectionMaySayMoreOfIt() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", "/health/live", "Connection: TE, close"));
            assertEquals("close", http.read().header("Connection"));
            assertTrue(http.closed());
        }
        try (RawHttp http = new RawHttp(gateway.port())) {
            for (int i = 0; i < 2; i++) {
                http.send("GET /health/live HTTP/1.0\r\nHost: x\r\nConnection: keep-alive, x\r\n\r\n");
                assertEquals("keep-alive", http.read().header("Connection"));
            }
        }
    }

    /** Bytes of the buffers that connections are read into. */
    private static long inUse() {
        return PooledByteBufAllocator.DEFAULT.metric().directArenas().stream().mapToLong(PoolArenaMetric::numActiveBytes).sum();
    }

    @Test
    void whoDoesNotReadIsLeft() throws Exception {
        // one piece, far more than sockets hold
        gateway.provider().on("big", call -> call.json(200, FakeProvider.completion("x".repeat(16_000_000))));
        gateway.provider().on("endless", call -> {
            call.sse();
            for (int i = 0; i < 20_000; i++) {
                call.text("x".repeat(1_000));
            }
        });
        for (String model : new String[] {"big", "endless"}) {
            until("there is only the one on which this is asked", () -> gateway.metric("llmchat_connections_open") == 1);
            try (RawHttp http = new RawHttp(gateway.port())) {
                String body = chat("openai/" + model, model.equals("endless"));
                http.send(RawHttp.post("/v1/chat/completions", body));
                until("it was asked", () -> gateway.provider().calls(model).size() > 0);
                until(model + " is left", () -> gateway.metric("llmchat_connections_open") == 1);
                if (model.equals("big")) {
                    assertTrue(http.rest().length() < 16_000_000, "what he has not read is not kept for him");
                }
            }
        }
    }

    @Test
    void aLongAnswerHasItsPlaceInMemoryUntilItsCallerHasTakenIt() throws Exception {
        gateway.provider().on("long", call -> call.json(200, FakeProvider.completion("x".repeat(16_000_000))));
        String body = chat("openai/long", false);
        try (FullMemory left = new FullMemory(Memory.ANSWERS, 20_000_000)) {
            try (Socket slow = new Socket("127.0.0.1", gateway.port()); LogLines log = LogLines.text()) {
                slow.getOutputStream().write((RawHttp.head("POST", "/v1/chat/completions", "X-Request-Id: slow",
                        "Content-Length: " + body.length()) + body).getBytes(StandardCharsets.ISO_8859_1));
                until("it is made", () -> {
                    slow.getInputStream().readNBytes(50_000);
                    return !log.with("id=slow ").isEmpty();
                });
                assertEquals(503, gateway.post("/v1/chat/completions", body).statusCode());
            }
            until("what nobody takes any more has no place", () -> gateway.post("/v1/chat/completions", body).statusCode() == 200);
        }
    }

    @Test
    void moreConnectionsThanAreAllowedAreClosedAtOnce() throws Exception {
        List<RawHttp> all = new ArrayList<>();
        try (TestGateway own = TestGateway.with("llmchat.http.max-connections", "40")) {
            double refused = own.metric("llmchat_connections_refused_total");
            for (int i = 0; i < 45; i++) {
                all.add(new RawHttp(own.port()));
            }
            // which ones it is that are one more the event loops decide
            int closed = 0;
            for (RawHttp http : all) {
                closed += isServed(http) ? 0 : 1;
            }
            assertEquals(6, closed, "the metrics were asked for on a connection that is kept");
            assertEquals(200, own.get("/health/live").statusCode());
            assertEquals(closed, own.metric("llmchat_connections_refused_total") - refused);
        } finally {
            for (RawHttp http : all) {
                http.close();
            }
        }
    }

    private static boolean isServed(RawHttp http) throws Exception {
        try {
            http.send(RawHttp.head("GET", "/health/live"));
            assertEquals(200, http.read().status());
            return true;
        } catch (EOFException | SocketException e) {
            // closed without a word
            return false;
        }
    }
}
