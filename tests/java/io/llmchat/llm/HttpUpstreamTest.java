package io.llmchat.llm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.json.Json;
import io.llmchat.support.LogLines;
import io.llmchat.support.TestGateway;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.TooLongHttpHeaderException;
import io.vertx.core.Context;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.dns.AddressResolverOptions;
import io.vertx.core.net.NetClientOptions;
import io.vertx.core.net.NetServer;
import io.vertx.core.net.NetServerOptions;
import io.vertx.core.net.NetSocket;
import io.vertx.core.net.PfxOptions;
import io.vertx.core.net.impl.ConnectionBase;
import java.io.IOException;
import java.lang.ref.WeakReference;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Calls over HTTP, and the connections that they use. */
class HttpUpstreamTest {

    private static final int MAX = 8;
    private static final String OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    private static final String PASSWORD = "changeit";

    private final Vertx vertx = Vertx.vertx(new VertxOptions().setEventLoopPoolSize(1)
            .setAddressResolverOptions(new AddressResolverOptions().setHostsValue(Buffer.buffer("127.0.0.1 provider.test other.test\n"))));
    private final Context context = vertx.getOrCreateContext();
    private final ProviderConnections connections = new ProviderConnections(vertx, new NetClientOptions().setConnectTimeout(5_000), MAX);
    /** Those that the provider has, all that ever were; and the requests that came on them, each told with its number. */
    private final List<NetSocket> sockets = new CopyOnWriteArrayList<>();
    private final List<String> requests = new CopyOnWriteArrayList<>();

    @AfterEach
    void close() throws Exception {
        get(vertx.close());
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
    }

    /** A provider that does this with each request. */
    private ProviderAddress provider(BiConsumer<NetSocket, String> answers) throws Exception {
        return provider(new NetServerOptions(), "127.0.0.1", answers);
    }

    private ProviderAddress provider(NetServerOptions options, String host, BiConsumer<NetSocket, String> answers) throws Exception {
        NetServer server = get(vertx.createNetServer(options).connectHandler(socket -> {
            sockets.add(socket);
            socket.handler(bytes -> {
                requests.add(sockets.indexOf(socket) + " " + bytes);
                answers.accept(socket, bytes.toString());
            });
        }).listen(0, "127.0.0.1"));
        return new ProviderAddress(options.isSsl(), host, server.actualPort());
    }

    private ProviderAddress says(String... answer) throws Exception {
        return provider((socket, request) -> socket.write(answer[Math.min(requests.size(), answer.length) - 1]));
    }

    /** Ends with all that it got: the status, the body, and that it ended. */
    private class Answer extends CompletableFuture<String> implements Upstream.Receiver {
        private final StringBuilder got = new StringBuilder();
        protected HttpUpstream call;

        @Override
        public void head(int status, HttpHeaders headers) {
            got.append(status).append(' ');
        }

        @Override
        public void data(byte[] bytes) {
            got.append(new String(bytes, StandardCharsets.UTF_8));
        }

        @Override
        public void end() {
            assertSame(context, Vertx.currentContext());
            complete(got.toString());
        }

        @Override
        public void broken(Throwable cause) {
            completeExceptionally(cause);
        }
    }

    private <T extends Answer> T start(ProviderConnections by, ProviderAddress to, boolean streamed, T answer) {
        answer.call = new HttpUpstream(by, to, to.post("/v1/chat", Map.of()), Json.utf8("{}"), streamed);
        context.runOnContext(v -> answer.call.start(answer));
        return answer;
    }

    private Answer start(ProviderAddress to, boolean streamed) {
        return start(connections, to, streamed, new Answer());
    }

    private String ask(ProviderAddress to) throws Exception {
        return start(to, false).get(10, TimeUnit.SECONDS);
    }

    private Throwable failure(Answer answer) {
        return assertThrows(ExecutionException.class, () -> answer.get(10, TimeUnit.SECONDS)).getCause();
    }

    /** Waits until the loop has done what it was given. */
    private void inTurn(Runnable step) throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        context.runOnContext(v -> {
            step.run();
            context.runOnContext(w -> done.complete(null));
        });
        done.get(10, TimeUnit.SECONDS);
    }

    // --- what is sent

    @Test
    void aRequestIsJustTheseBytes() throws Exception {
        ProviderAddress to = says(OK);
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put("Content-Type", "application/json");
        headers.put("x-api-key", "sk-é");
        byte[] head = to.post("/v1/chät?a=b%20c", headers);
        Answer answer = new Answer();
        HttpUpstream call = new HttpUpstream(connections, to, head, Json.utf8("{\"a\":\"ä\"}"), false);
        assertFalse(call.sent());
        context.runOnContext(v -> call.start(answer));
        assertEquals("200 ok", answer.get(10, TimeUnit.SECONDS));
        assertTrue(call.sent());
        assertEquals("0 POST /v1/chät?a=b%20c HTTP/1.1\r\nHost: 127.0.0.1:" + to.port() + "\r\nContent-Type: application/json\r\n"
                + "x-api-key: sk-\ufffd\r\nContent-Length: 10\r\n\r\n{\"a\":\"ä\"}", requests.get(0));
    }

    @Test
    void theHostHasItsPortUnlessItIsTheUsualOne() {
        Map<ProviderAddress, String> hosts = Map.of(new ProviderAddress(true, "a.test", 443), "a.test", new ProviderAddress(true, "a.test", 80), "a.test:80",
                new ProviderAddress(false, "a_b", 80), "a_b", new ProviderAddress(false, "[::1]", 8080), "[::1]:8080");
        hosts.forEach((address, host) -> assertEquals("POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: ",
                new String(address.post("", Map.of()), StandardCharsets.US_ASCII)));
    }

    @Test
    void noPathAndNoHeaderCanBeginAnotherLineOrAnotherRequest() {
        ProviderAddress to = new ProviderAddress(false, "a.test", 80);
        for (String bad : List.of("a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\u007fb")) {
            assertThrows(IllegalArgumentException.class, () -> to.post("/", Map.of("x", bad)));
            assertThrows(IllegalArgumentException.class, () -> to.post("/", Map.of(bad, "x")));
            assertThrows(IllegalArgumentException.class, () -> to.post("/" + bad, Map.of()));
        }
        for (String name : List.of("", "a b", "a:", "a(", "ä")) {
            assertThrows(IllegalArgumentException.class, () -> to.post("/", Map.of(name, "x")), name);
        }
        assertThrows(IllegalArgumentException.class, () -> to.post("/a b", Map.of()));
        assertThrows(IllegalArgumentException.class, () -> to.post("/", Map.of("x", "\u20ac")), "it would be said as another one");
        String inLatin = new String(to.post("/\u010a", Map.of("x", "\u00e9")), StandardCharsets.ISO_8859_1);
        assertEquals(4, inLatin.split("\r\n", -1).length, inLatin);
        assertEquals(4, inLatin.split("[\r\n]+", -1).length, inLatin);
    }

    // --- what is answered

    @Test
    void whatComesBeforeTheResponseIsPassedOver() throws Exception {
        String early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        for (boolean streamed : new boolean[] {false, true}) {
            ProviderAddress to = says(early + OK);
            sockets.clear();
            assertEquals("200 ok", start(to, streamed).get(10, TimeUnit.SECONDS));
            assertEquals("200 ok", start(to, streamed).get(10, TimeUnit.SECONDS), "also on a connection that was used before");
            assertEquals(1, sockets.size());
        }
    }

    @Test
    void aHeadMayBeAsLongAsProxiesMakeIt() throws Exception {
        String policy = "Content-Security-Policy: " + "x".repeat(30_000) + "\r\n";
        assertEquals("200 ok", ask(says(OK.replaceFirst("\r\n", "\r\n" + policy + policy))));
        assertInstanceOf(TooLongHttpHeaderException.class, failure(start(says(OK.replaceFirst("\r\n", "\r\n" + policy + policy + policy)), false)));
    }

    @Test
    void aBodyEndsAsTheProviderSays() throws Exception {
        // what a chunk begins with may stand in a body without chunks too
        for (boolean streamed : new boolean[] {false, true}) {
            for (String text : List.of("Content-Length: 2\r\n\r\n0A", "Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n1\r\nA\r\n0\r\n\r\n",
                    "Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n0\r\n1\r\nA\r\n0\r\nTrailer: 1\r\n\r\n")) {
                requests.clear();
                ProviderAddress to = says("HTTP/1.1 200 OK\r\n" + text);
                sockets.clear();
                assertEquals("200 0A", start(to, streamed).get(10, TimeUnit.SECONDS), text);
                assertEquals("200 0A", start(to, streamed).get(10, TimeUnit.SECONDS), text);
                assertEquals(1, sockets.size(), text);
            }
            ProviderAddress closes = provider((socket, request) -> socket.end(Buffer.buffer("HTTP/1.1 200 OK\r\n\r\n0A")));
            assertEquals("200 0A", start(closes, streamed).get(10, TimeUnit.SECONDS));
        }
        for (int status : new int[] {204, 304}) {
            ProviderAddress empty = says("HTTP/1.1 " + status + " X\r\n\r\n");
            assertEquals(status + " ", ask(empty));
            assertEquals(status + " ", ask(empty));
        }
    }

    @Test
    void whatIsNoResponseBreaksTheCall() throws Exception {
        for (boolean streamed : new boolean[] {false, true}) {
            for (String bad : List.of("HTTP/2.0 200 OK\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "HTTP/1.1 200 OK\r\nX: " + "x".repeat(70_000) + "\r\n\r\n",
                    "HTTP/1.1 200 " + "x".repeat(5_000) + "\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n")) {
                failure(start(says(bad), streamed));
            }
            failure(start(provider((socket, request) -> socket.end(Buffer.buffer("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"))), streamed));
            failure(start(provider((socket, request) -> socket.close()), streamed));
        }
        TestGateway.until("all are closed", () -> sockets.stream().allMatch(this::isClosed));
    }

    /** A request that is more than lies between two sockets. */
    private Answer startLong(ProviderAddress to) {
        Answer answer = new Answer();
        answer.call = new HttpUpstream(connections, to, to.post("/v1/chat", Map.of()), new byte[32 << 20], false);
        context.runOnContext(v -> answer.call.start(answer));
        return answer;
    }

    @Test
    void whatIsAnsweredBeforeTheRequestHasBeenReadIsTheAnswer() throws Exception {
        String refused = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
        ProviderAddress to = provider((socket, request) -> socket.end(Buffer.buffer(refused)));
        for (int i = 0; i < 5; i++) {
            assertEquals("413 no", startLong(to).get(10, TimeUnit.SECONDS));
        }
        failure(startLong(provider((socket, request) -> socket.close())));
        TestGateway.until("all are closed", () -> sockets.stream().allMatch(this::isClosed));
    }

    /** Whether the gateway has closed it. */
    private boolean isClosed(NetSocket socket) {
        return !((ConnectionBase) socket).channel().isActive();
    }

    // --- which connection is used

    @Test
    void aConnectionIsUsedAgainTheNewestFirst() throws Exception {
        ProviderAddress to = says(OK);
        assertEquals("200 ok", ask(to));
        assertEquals("200 ok", ask(to));
        assertEquals(1, sockets.size());
        List<Answer> both = List.of(new Answer(), new Answer());
        // in one turn: neither has ended when the other one begins
        inTurn(() -> both.forEach(answer -> {
            answer.call = new HttpUpstream(connections, to, to.post("/v1/chat", Map.of()), Json.utf8("{}"), false);
            answer.call.start(answer);
        }));
        for (Answer answer : both) {
            answer.get(10, TimeUnit.SECONDS);
        }
        assertEquals(2, sockets.size());
        assertEquals("200 ok", ask(to));
        assertEquals("200 ok", ask(to));
        assertEquals(2, sockets.size());
        assertEquals(requests.get(4), requests.get(5), "the other one is left to end");
        assertEquals("200 ok", ask(new ProviderAddress(false, "provider.test", to.port())));
        assertEquals(3, sockets.size(), "another name is another provider");
    }

    @Test
    void anotherVersionOfTheRoutesHasTheSameConnections() {
        assertSame(ProviderConnections.of(vertx, 1_000), ProviderConnections.of(vertx, 1_000));
        assertNotSame(ProviderConnections.of(vertx, 1_000), ProviderConnections.of(vertx, 2_000));
    }

    @Test
    void aConnectionThatDoesNotStayIsNotUsedAgain() throws Exception {
        try (LogLines log = LogLines.text()) {
            for (String head : List.of("HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", "HTTP/1.0 200 OK\r\n",
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n")) {
                String status = head.substring(9, 12);
                ProviderAddress to = says(head + (status.equals("101") ? "\r\n" : "Content-Length: 2\r\n\r\nok"));
                int before = sockets.size();
                assertTrue(ask(to).startsWith(status), head);
                assertTrue(ask(to).startsWith(status), head);
                assertEquals(before + 2, sockets.size(), head);
            }
            TestGateway.until("all are closed", () -> sockets.stream().allMatch(this::isClosed));
            ProviderAddress old = says("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
            int before = sockets.size();
            ask(old);
            ask(old);
            assertEquals(before + 1, sockets.size());
            assertEquals(List.of(), log.with("ERROR"));
        }
    }

    @Test
    void aConnectionIsClosedWhenItHasWaitedAsLongAsTheProviderSays() throws Exception {
        ProviderAddress to = says("HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=1\r\nContent-Length: 2\r\n\r\nok");
        ask(to);
        ask(to);
        assertEquals(1, sockets.size());
        TestGateway.until("it is closed", () -> isClosed(sockets.get(0)));
        ProviderAddress never = says("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok");
        ask(never);
        ask(never);
        assertEquals(3, sockets.size());
        TestGateway.until("so are those that come later", () -> sockets.stream().allMatch(this::isClosed));
    }

    @Test
    void aConnectionThatTheProviderClosesIsNotUsedAgain() throws Exception {
        ProviderAddress to = says(OK);
        ask(to);
        inTurn(() -> sockets.get(0).close());
        TestGateway.until("its end is seen", () -> {
            try {
                return ask(to).equals("200 ok");
            } catch (ExecutionException e) {
                // asked before it had come
                return false;
            }
        });
        assertEquals(2, sockets.size());
    }

    @Test
    void aConnectionWhoseRequestHasNotBeenReadIsNotUsedAgain() throws Exception {
        ProviderAddress to = provider((socket, request) -> {
            if (sockets.size() == 1) {
                socket.pause();
            }
            socket.write(OK);
        });
        assertEquals("200 ok", startLong(to).get(10, TimeUnit.SECONDS));
        assertEquals("200 ok", ask(to));
        assertEquals(2, sockets.size());
        inTurn(() -> sockets.get(0).resume());
        TestGateway.until("the first is closed", () -> isClosed(sockets.get(0)));
    }

    @Test
    void anAnswerThatNobodyHasAskedForIsNotTakenForAnother() throws Exception {
        String other = OK.replace("ok", "no");
        for (String surplus : List.of(other, other.substring(0, 9), "x")) {
            for (boolean streamed : new boolean[] {false, true}) {
                requests.clear();
                ProviderAddress to = says(OK + surplus, OK);
                int before = sockets.size();
                assertEquals("200 ok", start(to, streamed).get(10, TimeUnit.SECONDS));
                assertEquals("200 ok", start(to, streamed).get(10, TimeUnit.SECONDS));
                assertEquals(before + 2, sockets.size(), surplus);
                inTurn(() -> sockets.get(before + 1).write(surplus));
                TestGateway.until("it is closed", () -> isClosed(sockets.get(before + 1)));
                assertEquals("200 ok", start(to, streamed).get(10, TimeUnit.SECONDS));
                assertEquals(before + 3, sockets.size(), surplus);
            }
        }
    }

    // --- who gives up

    @Test
    void aCallThatIsGivenUpBeforeItHasAConnectionIsNotSentAndLeavesItToTheNext() throws Exception {
        ProviderAddress to = says(OK);
        try (LogLines log = LogLines.text()) {
            Answer answer = new Answer();
            HttpUpstream call = new HttpUpstream(connections, to, to.post("/given-up", Map.of()), Json.utf8("{}"), false);
            // in one turn: so it cannot have a connection in between
            inTurn(() -> {
                call.start(answer);
                call.abort();
            });
            TestGateway.until("there is a connection", () -> sockets.size() == 1);
            inTurn(() -> { });
            assertEquals("200 ok", ask(to));
            assertFalse(call.sent());
            assertFalse(answer.isDone());
            assertEquals(1, sockets.size());
            assertEquals(1, requests.size());
            assertEquals(List.of(), log.with("ERROR"));
        }
    }

    @Test
    void aRequestThatIsGivenUpDoesNotStayUntilThereIsAConnection() throws Exception {
        ProviderAddress to = says(OK);
        List<WeakReference<byte[]>> bodies = new ArrayList<>();
        List<HttpUpstream> calls = new ArrayList<>();
        // in one turn: so it cannot have a connection in between
        inTurn(() -> {
            byte[] body = Json.utf8("{}");
            bodies.add(new WeakReference<>(body));
            calls.add(new HttpUpstream(connections, to, to.post("/given-up", Map.of()), body, false));
            body = null;
            calls.get(0).start(new Answer());
            calls.get(0).abort();
            System.gc();
            if (bodies.get(0).get() == null) {
                bodies.clear();
            }
        });
        assertEquals(List.of(), bodies);
        assertFalse(calls.get(0).sent());
    }

    @Test
    void whoCannotConnectIsToldSo() throws Exception {
        ProviderAddress to = says(OK);
        // those that were not made are not among those that there are
        for (int i = 0; i <= MAX; i++) {
            Answer answer = start(new ProviderAddress(false, "127.0.0.1", 1), false);
            assertInstanceOf(IOException.class, failure(answer));
            assertFalse(answer.call.sent());
        }
        assertInstanceOf(UnknownHostException.class, failure(start(new ProviderAddress(false, "nobody.invalid", to.port()), false)));
    }

    @Test
    void noMoreConnectionsAreMadeThanMayBe() throws Exception {
        ProviderAddress to = provider((socket, request) -> {
            if (sockets.size() > MAX) {
                socket.write(OK);
            }
        });
        List<Answer> all = new ArrayList<>();
        for (int i = 0; i < MAX; i++) {
            all.add(start(to, false));
        }
        assertInstanceOf(IllegalStateException.class, failure(start(to, false)));
        TestGateway.until("all are asked", () -> requests.size() == MAX);
        inTurn(() -> all.get(0).call.abort());
        assertEquals("200 ok", ask(to), "there is room for another one");
    }

    @Test
    void whoHasAllThatMattersWaitsASecondForTheEnd() throws Exception {
        String head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        ProviderAddress to = says(head + "text", head + "te");
        Releasing one = start(connections, to, false, new Releasing());
        TestGateway.until("it is released", () -> one.released);
        Releasing two = start(connections, to, false, new Releasing());
        TestGateway.until("it is released", () -> two.released);
        assertEquals(1, sockets.size(), "the end of the first has come");
        assertFalse(isClosed(sockets.get(0)));
        TestGateway.until("it is closed: the end of the second has not", () -> isClosed(sockets.get(0)));
        assertFalse(one.isDone() || two.isDone());
    }

    private final class Releasing extends Answer {
        private volatile boolean released;

        @Override
        public void data(byte[] bytes) {
            if (!released) {
                call.release();
                released = true;
            }
        }
    }

    /** Pauses its call at the first of what it gets if it shall. */
    private final class Reader extends Answer {
        private final Runnable paused;

        Reader(Runnable paused) {
            this.paused = paused;
        }

        @Override
        public void data(byte[] more) {
            boolean first = !super.got.toString().contains("data");
            super.data(more);
            if (paused != null && first) {
                // in a turn of its own, as the relay does
                context.runOnContext(v -> {
                    call.pause();
                    paused.run();
                });
            }
        }
    }

    @Test
    void whoIsGivenUpWhileItIsPausedDoesNotEndTheCallOfAnother() throws Exception {
        ProviderAddress to = provider((socket, request) -> socket.write("HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\ndata: 1\n\n"));
        List<Reader> readers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            int number = i;
            CompletableFuture<Void> paused = new CompletableFuture<>();
            Reader reader = start(connections, to, true, new Reader(i % 2 > 0 ? null : () -> paused.complete(null)));
            readers.add(reader);
            TestGateway.until("it is asked", () -> requests.size() == number + 1);
            if (i == 1) {
                context.runOnContext(v -> readers.get(0).call.abort());
            }
            if (i % 2 == 0) {
                paused.get(10, TimeUnit.SECONDS);
            }
            sockets.get(Math.min(i, 1)).write("data: 2\n\n");
            if (i == 0) {
                // time for the end to come, if it were read
                assertThrows(TimeoutException.class, () -> reader.get(100, TimeUnit.MILLISECONDS));
            } else {
                if (i == 2) {
                    assertThrows(TimeoutException.class, () -> reader.get(100, TimeUnit.MILLISECONDS));
                    context.runOnContext(v -> reader.call.resume());
                }
                assertEquals("200 data: 1\n\ndata: 2\n\n", reader.get(10, TimeUnit.SECONDS), "call " + i);
            }
        }
        assertFalse(readers.get(0).isDone());
        assertEquals(2, sockets.size(), "all but the first were on one connection");
    }

    // --- TLS

    @Test
    void aProviderHasToShowATrustedCertificateForItsNameWhichItIsTold(@TempDir Path folder) throws Exception {
        String keys = folder.resolve("keys.p12").toString();
        Process keytool = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(), "-genkeypair", "-alias", "a", "-keyalg", "EC",
                "-dname", "CN=provider.test", "-ext", "san=dns:provider.test", "-storetype", "PKCS12", "-keystore", keys, "-storepass", PASSWORD)
                .redirectErrorStream(true).start();
        String said = new String(keytool.getInputStream().readAllBytes());
        assertEquals(0, keytool.waitFor(), said);
        PfxOptions store = new PfxOptions().setPath(keys).setPassword(PASSWORD);
        List<String> told = new CopyOnWriteArrayList<>();
        ProviderAddress to = provider(new NetServerOptions().setSsl(true).setSni(true).setKeyCertOptions(store), "provider.test", (socket, request) -> {
            told.add(String.valueOf(socket.indicatedServerName()));
            socket.write(OK);
        });
        ProviderConnections trusting = new ProviderConnections(vertx, new NetClientOptions().setTrustOptions(store), MAX);
        assertEquals("200 ok", start(trusting, to, false, new Answer()).get(10, TimeUnit.SECONDS));
        assertEquals("200 ok", start(trusting, to, true, new Answer()).get(10, TimeUnit.SECONDS));
        assertEquals(List.of("provider.test", "provider.test"), told);
        assertEquals(1, sockets.size());
        for (String host : List.of("other.test", "127.0.0.1", "localhost")) {
            Answer answer = start(trusting, new ProviderAddress(true, host, to.port()), false, new Answer());
            assertInstanceOf(SSLException.class, failure(answer), host);
            assertFalse(answer.call.sent());
        }
        assertInstanceOf(SSLException.class, failure(start(to, false)), "nobody trusts it");
        assertEquals(2, requests.size(), "nothing was sent to a stranger");
    }
}
