package io.llmchat.http;

import io.llmchat.chat.ChatException;
import io.llmchat.dialect.Dialect;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.vertx.core.Vertx;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.http.impl.HttpServerConnection;
import io.vertx.core.http.impl.headers.HeadersAdaptor;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;

/**
 * All connections of callers: so many at most, and none of them without end. One timer looks at all of them every
 * {@value #LOOK_MILLIS} milliseconds, because a timer for each would be set and cancelled with every request. Vert.x' own
 * idle time-outs know no difference between a caller who sends nothing and one who waits for a slow answer.
 */
public final class Connections {

    private static final long LOOK_MILLIS = 250;

    /** Nanoseconds without progress, after which a connection is closed. */
    record Patience(long head, long body, long idle, long write) {
    }

    private final int max;
    private final Patience patience;
    private final Counter refused;
    private final AtomicInteger open = new AtomicInteger();
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();
    private Supplier<ErrorTable> errors;

    /**
     * @param max how many may be open; one more is closed at once
     * @param head milliseconds for a request head, from its first byte, or, of the first one, from the connection on
     * @param body milliseconds between two pieces of a request body
     * @param idle milliseconds between two requests
     * @param write milliseconds in which the caller takes nothing of what is sent
     */
    public Connections(int max, long head, long body, long idle, long write, MeterRegistry registry) {
        this.max = max;
        this.patience = new Patience(TimeUnit.MILLISECONDS.toNanos(head), TimeUnit.MILLISECONDS.toNanos(body),
                TimeUnit.MILLISECONDS.toNanos(idle), TimeUnit.MILLISECONDS.toNanos(write));
        this.refused = Counter.builder("llmchat.connections.refused").register(registry);
        Gauge.builder("llmchat.connections.open", open, AtomicInteger::get).register(registry);
    }

    /** From now on connections are looked at; ends with {@code vertx}. */
    public void start(Vertx vertx, Supplier<ErrorTable> table) {
        errors = table;
        vertx.setPeriodic(LOOK_MILLIS, t -> {
            long now = System.nanoTime();
            connections.forEach(c -> c.look(now));
        });
    }

    /** Whether there is a caller who has not taken all that was sent. */
    public boolean areSending() {
        return connections.stream().anyMatch(Connection::isSending);
    }

    /** A connection has come. */
    public void accept(HttpConnection accepted) {
        var channel = ((HttpServerConnection) accepted).channel();
        if (open.incrementAndGet() > max) {
            open.decrementAndGet();
            refused.increment();
            channel.close();
            return;
        }
        Connection connection = new Connection(channel, patience, this::timedOut);
        connections.add(connection);
        WriteTogether.on(accepted);
        channel.pipeline().addBefore("handler", "patience", connection).addFirst("head-lines", new HeadLines(connection));
        channel.closeFuture().addListener(f -> {
            connections.remove(connection);
            open.decrementAndGet();
        });
    }

    /** What is said to a caller whose request does not come to its end. */
    private FullHttpResponse timedOut(String path, String requestId) {
        ChatException error = new ChatException("REQUEST_TIMEOUT", "The request did not come to its end in time.");
        String id = Gate.requestId(requestId);
        ErrorTable.Entry entry = errors.get().of(error.code());
        byte[] body = Dialect.of(RequestHead.route(path), header -> null).error(error, entry, id).getBytes();
        FullHttpResponse response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.valueOf(entry.status()),
                Unpooled.wrappedBuffer(body));
        response.headers().set(ClientStream.REQUEST_ID, id).set("Content-Type", "application/json")
                .set("Content-Length", body.length).set("Connection", "close");
        SecurityHeaders.addTo(new HeadersAdaptor(response.headers()));
        return response;
    }
}
