package io.llmchat.llm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.fail;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.LogLines;
import io.llmchat.support.TestGateway;
import io.vertx.core.Context;
import io.vertx.core.MultiMap;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientResponse;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.PoolOptions;
import io.vertx.core.http.RequestOptions;
import io.vertx.core.impl.VertxInternal;
import io.vertx.core.net.NetServer;
import io.vertx.core.net.NetSocket;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class HttpUpstreamTest {

    /** For a call of which nothing is to be heard any more. */
    private static final Upstream.Receiver NOBODY = new Upstream.Receiver() {
        @Override
        public boolean head(int status, MultiMap headers) {
            return fail("the head came");
        }

        @Override
        public void data(byte[] bytes) {
            fail("data came");
        }

        @Override
        public void end() {
            fail("the end came");
        }

        @Override
        public void broken(Throwable cause) {
            fail("it is said to have broken", cause);
        }
    };

    @Test
    void aCallThatIsGivenUpBeforeItHasAConnectionIsNoError() throws Exception {
        Vertx vertx = Vertx.vertx();
        try (FakeProvider provider = new FakeProvider(); LogLines log = LogLines.text()) {
            HttpClient client = vertx.createHttpClient(new PoolOptions().setHttp1MaxSize(1));
            RequestOptions options = new RequestOptions().setMethod(HttpMethod.POST).setAbsoluteURI(provider.url() + "/v1/chat/completions");
            Upstream call = new HttpUpstream(context -> client, options, Buffer.buffer("{}"), false);
            CompletableFuture<Void> givenUp = new CompletableFuture<>();
            // on an event loop, as all of its calls: so it cannot have a connection in between
            vertx.runOnContext(v -> {
                call.start(NOBODY);
                call.abort();
                givenUp.complete(null);
            });
            givenUp.get(10, TimeUnit.SECONDS);
            // there is one connection: the second call gets it when the first has given it back
            int status = client.request(options).compose(r -> r.send("{}")).toCompletionStage().toCompletableFuture()
                    .get(10, TimeUnit.SECONDS).statusCode();
            assertEquals(200, status);
            assertEquals(List.of(), log.with("ERROR"));
        } finally {
            vertx.close().toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
        }
    }

    /** Ends with the head of the answer, as there is of it then. */
    private static final class Stream extends CompletableFuture<MultiMap> implements Upstream.Receiver {
        private final boolean stream;
        private MultiMap head;

        Stream(boolean stream) {
            this.stream = stream;
        }

        @Override
        public boolean head(int status, MultiMap headers) {
            assertEquals("for a while", headers.get("X-Needed"));
            head = headers;
            return stream;
        }

        @Override
        public void data(byte[] bytes) {
        }

        @Override
        public void end() {
            complete(head);
        }

        @Override
        public void broken(Throwable cause) {
            completeExceptionally(cause);
        }
    }

    @Test
    void thatItBrokeIsToldOnTheLoopThatAskedWhateverLoopHasTheConnection() throws Exception {
        Vertx vertx = Vertx.vertx(new VertxOptions().setEventLoopPoolSize(2));
        try (FakeProvider provider = new FakeProvider()) {
            provider.on("m", call -> {
                call.sse();
                call.text("Hel");
                Thread.sleep(200);
                call.reset();
            });
            HttpClient client = vertx.httpClientBuilder().with(new PoolOptions().setHttp1MaxSize(1)).withConnectHandler(ChunkDecoder::on).build();
            RequestOptions options = new RequestOptions().setMethod(HttpMethod.POST).setAbsoluteURI(provider.url() + "/v1/chat/completions");
            Context one = ((VertxInternal) vertx).createEventLoopContext();
            CompletableFuture<Thread> makesIt = new CompletableFuture<>();
            one.runOnContext(v -> client.request(options).compose(r -> r.send("{\"model\":\"other\"}")).compose(HttpClientResponse::body)
                    .onComplete(answer -> makesIt.complete(Thread.currentThread())));
            Thread first = makesIt.get(10, TimeUnit.SECONDS);
            List<Thread> told = new CopyOnWriteArrayList<>();
            CompletableFuture<Void> broken = new CompletableFuture<>();
            ((VertxInternal) vertx).createEventLoopContext().runOnContext(v -> {
                told.add(Thread.currentThread());
                new HttpUpstream(context -> client, options, Buffer.buffer("{\"model\":\"m\",\"stream\":true}"), true).start(new Upstream.Receiver() {
                    @Override
                    public boolean head(int status, MultiMap headers) {
                        return true;
                    }

                    @Override
                    public void data(byte[] bytes) {
                        told.add(Thread.currentThread());
                    }

                    @Override
                    public void end() {
                        fail("it ended well");
                    }

                    @Override
                    public void broken(Throwable cause) {
                        told.add(Thread.currentThread());
                        broken.complete(null);
                    }
                });
            });
            broken.get(10, TimeUnit.SECONDS);
            assertNotEquals(first, told.get(0), "two loops");
            assertEquals(Set.of(told.get(0)), Set.copyOf(told));
        } finally {
            vertx.close().toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
        }
    }

    @Test
    void ofTheHeadOfAStreamOnlyWhatSaysWhetherTheConnectionStaysIsKept() throws Exception {
        Vertx vertx = Vertx.vertx();
        try {
            AtomicInteger connections = new AtomicInteger();
            NetServer server = vertx.createNetServer().connectHandler(caller -> {
                connections.incrementAndGet();
                // it does not close the connection, though it says so
                caller.handler(request -> caller.write("HTTP/1.1 200 OK\r\nX-Needed: for a while\r\nConnection: close\r\n"
                        + "Content-Length: 9\r\n\r\ndata: 1\n\n"));
            }).listen(0, "127.0.0.1").toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
            HttpClient client = vertx.createHttpClient(new PoolOptions().setHttp1MaxSize(1));
            RequestOptions options = new RequestOptions().setMethod(HttpMethod.POST)
                    .setAbsoluteURI("http://127.0.0.1:" + server.actualPort() + "/");
            for (boolean stream : List.of(true, false)) {
                Stream answer = new Stream(stream);
                HttpUpstream call = new HttpUpstream(context -> client, options, Buffer.buffer("{}"), false);
                assertFalse(call.sent());
                call.start(answer);
                MultiMap head = answer.get(10, TimeUnit.SECONDS);
                assertTrue(call.sent());
                assertEquals(stream ? 1 : 3, head.size());
                assertEquals("close", head.get("Connection"));
            }
            assertEquals(2, connections.get());
        } finally {
            vertx.close().toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
        }
    }

    /** Counts what it gets, and pauses its call at the first of it if it shall. */
    private static final class Reader extends CompletableFuture<Integer> implements Upstream.Receiver {
        private final HttpUpstream call;
        private final Runnable paused;
        private int bytes;

        Reader(HttpUpstream call, Runnable paused) {
            this.call = call;
            this.paused = paused;
        }

        @Override
        public boolean head(int status, MultiMap headers) {
            return true;
        }

        @Override
        public void data(byte[] more) {
            bytes += more.length;
            if (paused != null && bytes == more.length) {
                // in a turn of its own, as the relay does
                Vertx.currentContext().runOnContext(v -> {
                    call.pause();
                    paused.run();
                });
            }
        }

        @Override
        public void end() {
            complete(bytes);
        }

        @Override
        public void broken(Throwable cause) {
            completeExceptionally(cause);
        }
    }

    @Test
    void whoIsGivenUpWhileItIsPausedDoesNotEndTheCallOfAnother() throws Exception {
        Vertx vertx = Vertx.vertx(new VertxOptions().setEventLoopPoolSize(1));
        try {
            AtomicInteger connections = new AtomicInteger();
            List<NetSocket> asked = new CopyOnWriteArrayList<>();
            NetServer server = vertx.createNetServer().connectHandler(caller -> {
                connections.incrementAndGet();
                caller.handler(request -> {
                    caller.write("HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\ndata: 1\n\n");
                    asked.add(caller);
                });
            }).listen(0, "127.0.0.1").toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
            HttpClient client = vertx.httpClientBuilder().with(new PoolOptions().setHttp1MaxSize(2)).withConnectHandler(ChunkDecoder::on).build();
            RequestOptions options = new RequestOptions().setMethod(HttpMethod.POST)
                    .setAbsoluteURI("http://127.0.0.1:" + server.actualPort() + "/");
            Context context = vertx.getOrCreateContext();
            List<HttpUpstream> calls = new ArrayList<>();
            List<Reader> readers = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                int number = i;
                CompletableFuture<Void> paused = new CompletableFuture<>();
                HttpUpstream call = new HttpUpstream(c -> client, options, Buffer.buffer("{}"), true);
                calls.add(call);
                readers.add(new Reader(call, i % 2 > 0 ? null : () -> paused.complete(null)));
                context.runOnContext(v -> call.start(readers.get(number)));
                TestGateway.until("it is asked", () -> asked.size() == number + 1);
                if (i == 1) {
                    context.runOnContext(v -> calls.get(0).abort());
                }
                if (i % 2 == 0) {
                    paused.get(10, TimeUnit.SECONDS);
                }
                asked.get(i).write("data: 2\n\n");
                if (i == 0) {
                    // time for the end to come, if it were read
                    assertThrows(TimeoutException.class, () -> readers.get(0).get(100, TimeUnit.MILLISECONDS));
                } else {
                    if (i == 2) {
                        context.runOnContext(v -> call.resume());
                    }
                    assertEquals(18, readers.get(i).get(10, TimeUnit.SECONDS), "call " + i);
                }
            }
            assertFalse(readers.get(0).isDone());
            assertEquals(2, connections.get(), "all but the first were on one connection");
        } finally {
            vertx.close().toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
        }
    }
}
