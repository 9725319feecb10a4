package io.llmchat.http;

import io.llmchat.chat.ChatException;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.dialect.Dialect;
import io.opentelemetry.api.trace.Span;
import io.vertx.core.Context;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.buffer.impl.BufferImpl;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.http.HttpHeaders;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpServerResponse;
import io.vertx.core.http.HttpVersion;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.Exchange;
import org.apache.camel.component.platform.http.vertx.HttpMessage;

/**
 * The caller's end of one request: its response head, its SSE events with back-pressure, its end. It writes to the
 * Vert.x response itself, because a body handed to Camel is collected in 16 KiB before it is sent.
 *
 * <p>It is the exchange property {@code client}, taken before the route begins. Nothing here throws when the caller has
 * left. The relay uses it on {@link #context()}; before and after that whoever runs the route does.
 */
public final class ClientStream {

    public static final String PROPERTY = "client";
    public static final CharSequence REQUEST_ID = HttpHeaders.createOptimized("X-Request-Id");
    /** Whom a chat was asked of, and what came of it. */
    public static final CharSequence ATTEMPTS = HttpHeaders.createOptimized("X-LLMChat-Attempts");

    /** Longer than most take to send what comes next: a request that meets the end of its connection fails, and is no fault of its sender's. */
    private static final long CLOSE_MILLIS = 2_000;
    private static final long WATCH_MILLIS = 250;
    /** Connections that are about to be closed, and after which stream. */
    private static final Map<HttpConnection, ClientStream> CLOSING = new ConcurrentHashMap<>();
    /** Without an empty line: where an event had an id, some SDKs take each of those for the end of another event. */
    private static final Buffer COMMENT = Buffer.buffer(": keep-alive\n");

    private final HttpServerRequest request;
    private final HttpServerResponse response;
    private final Context context;
    private final Dialect dialect;
    private final String requestId;
    private AnswerLog log;
    private Span span;
    private Runnable whenGone;
    /** Takes what follows the head in chunks; null: that goes the way of the head. */
    private WriteTogether chunks;
    private boolean committed;
    private long wroteAt = System.nanoTime();
    private volatile boolean gone;
    /** Ends when a caller who was let go has the rest, or has left; null: he was not. */
    private volatile CompletableFuture<Void> rest;

    private ClientStream(HttpMessage message, Dialect dialect) {
        this.request = message.getRequest();
        this.response = message.getResponse();
        this.context = Vertx.currentContext();
        this.dialect = dialect;
        this.requestId = response.headers().get(REQUEST_ID);
        response.exceptionHandler(e -> left());
        response.closeHandler(v -> left());
        if (response.closed()) {
            gone = true;
        }
    }

    /** The same caller, who has become one of those who follow. */
    private ClientStream(ClientStream caller) {
        this.request = caller.request;
        this.response = caller.response;
        this.context = caller.context;
        this.dialect = caller.dialect;
        this.requestId = caller.requestId;
        this.chunks = caller.chunks;
        this.committed = true;
        response.exceptionHandler(e -> left());
        response.closeHandler(v -> left());
    }

    /** Takes the client of an exchange that has just come in, speaking its dialect. */
    public static ClientStream open(Exchange exchange) {
        HttpMessage message = exchange.getMessage(HttpMessage.class);
        ClientStream client = new ClientStream(message, Gate.dialect(message.getRequest()));
        exchange.setProperty(PROPERTY, client);
        return client;
    }

    /** Whether it asks for a chat: such a request's line in the log is written by its route. */
    public boolean isChat() {
        return Gate.isChat(request);
    }

    /** The trace's span of this request; null where there are no traces. */
    public Span span() {
        return span;
    }

    void span(Span request) {
        span = request;
    }

    /** The client of this exchange, or null if {@link #open} was not called for it. */
    public static ClientStream of(Exchange exchange) {
        return exchange.getProperty(PROPERTY, ClientStream.class);
    }

    /** Keeps everything that is sent from now on; the answer goes on for those who follow it, though its caller leave. */
    public void record(AnswerLog answer) {
        this.log = answer;
    }

    private void left() {
        if (gone || response.ended()) {
            return;
        }
        gone = true;
        if (log != null) {
            log.callerLeft();
        }
        watch();
    }

    /** Says that nobody is there any more, as soon as that is so. */
    private void watch() {
        if (gone()) {
            Runnable action = whenGone;
            whenGone = null;
            if (action != null) {
                action.run();
            }
        } else if (!log.isOver()) {
            context.owner().setTimer(WATCH_MILLIS, t -> context.runOnContext(v -> watch()));
        }
    }

    /** The context on which this client's events happen. */
    public Context context() {
        return context;
    }

    public HttpServerRequest request() {
        return request;
    }

    public Dialect dialect() {
        return dialect;
    }

    public String requestId() {
        return requestId;
    }

    /** The status of the response, whether it was sent or is still to be. */
    public int status() {
        return response.getStatusCode();
    }

    /** The value of a header of the request, or null. */
    public String requestHeader(String name) {
        return request.getHeader(name);
    }

    /** Whether the caller has closed the connection before its answer was complete, and nobody else follows it. */
    public boolean gone() {
        return gone && (log == null || log.abandoned());
    }

    /** Whether the caller himself has left before his answer was complete, though others want it; who was let go has not, until nobody does. */
    public boolean hasLeft() {
        return gone && rest == null || gone();
    }

    /** Runs {@code action} once on {@link #context()} if the caller leaves; replaces an earlier one; null: nothing. */
    public void whenGone(Runnable action) {
        this.whenGone = action;
    }

    /** Whether the head of a stream was sent: from then on a failure can only be told as an event. */
    public boolean committed() {
        return committed;
    }

    /** Sets a header of a head that was not sent yet. */
    public void header(CharSequence name, String value) {
        if (!response.headWritten()) {
            response.putHeader(name, value);
        }
    }

    /** Sends the head of a stream. */
    public void commit() {
        committed = true;
        if (log != null) {
            log.begin();
        }
        if (gone) {
            return;
        }
        response.setChunked(true);
        chunks = request.version() == HttpVersion.HTTP_1_1 ? WriteTogether.of(request.connection()) : null;
        if (endsWithConnection()) {
            response.putHeader("Connection", "close");
        }
        response.headers()
                .set("Content-Type", "text/event-stream; charset=utf-8")
                .set("Cache-Control", "no-cache, no-transform")
                .set("X-Accel-Buffering", "no");
    }

    /** Sends events. */
    public void write(Buffer events) {
        wroteAt = System.nanoTime();
        if (log != null) {
            log.append(events);
        }
        if (gone) {
            return;
        }
        if (!response.headWritten()) {
            // an open stream does not keep a head that is sent, but for what the log asks for at its end
            response.write(events).onComplete(sent -> response.headers().clear().set(REQUEST_ID, requestId));
        } else if (chunks == null || response.ended() || !chunks.chunk(((BufferImpl) events).byteBuf())) {
            // null: nobody asks what became of it, so that nothing is made to tell
            response.write(events, null);
        }
    }

    /** Sends a comment line, so that nobody between takes the stream for dead; those who follow the answer get one too. */
    public void keepAlive() {
        wroteAt = System.nanoTime();
        if (log != null) {
            log.keepAlive();
        }
        if (!gone && !response.ended()) {
            response.write(COMMENT, null);
        }
    }

    /** When the caller, and those who follow, last got something. */
    public long wroteAt() {
        return wroteAt;
    }

    /** Whether a stream has begun whose end was not sent, and its caller waits for that here. */
    boolean isOpen() {
        return committed && !gone && !response.ended();
    }

    /** Whether the response is complete. */
    public boolean ended() {
        return response.ended();
    }

    /** Whether more is waiting to be sent than should be. */
    public boolean full() {
        return !gone && response.writeQueueFull();
    }

    /**
     * Where others follow the answer, a caller who is full has the rest of it as they do: at his own pace, of what is kept.
     *
     * @return whether that is so: then what is sent from now on waits for nobody
     */
    public boolean letGo() {
        if (gone || log == null || !log.isWantedByOthers()) {
            return false;
        }
        gone = true;
        rest = log.callerFollows(new ClientStream(this));
        watch();
        return true;
    }

    /** Runs {@code action} when the caller waits for nothing more of the answer that was made: now, unless he was let go. */
    void whenRead(Runnable action) {
        if (rest == null) {
            action.run();
        } else {
            rest.whenComplete((all, failure) -> action.run());
        }
    }

    /** Runs {@code action} once when there is room again. */
    public void whenDrained(Runnable action) {
        response.drainHandler(v -> {
            response.drainHandler(null);
            action.run();
        });
    }

    /** Sends the last events of a stream and ends it well. */
    public void end(Buffer events) {
        if (log != null) {
            log.complete(events);
        }
        if (!response.ended() && !gone) {
            send(events);
            closeIfThatIsTheEnd();
        }
    }

    /** Ends the response; what is long has its place in memory until it has gone, or the connection is closed. */
    private void send(Buffer last) {
        int length = last.length();
        if (length <= Memory.SMALL) {
            response.end(last, null);
            return;
        }
        Future<Void> sent = response.end(last);
        Memory.holdAnswer(length);
        sent.onComplete(done -> Memory.giveAnswer(length));
    }

    /** Where there are no chunks only the end of its connection is the end of a stream (RFC 9112, section 6.3). */
    private boolean endsWithConnection() {
        return committed && request.version() == HttpVersion.HTTP_1_0;
    }

    /** Closes the connection as soon as what was sent on it has gone. */
    private void closeIfThatIsTheEnd() {
        if (endsWithConnection()) {
            request.connection().close();
        }
    }

    /** The caller has left, and nobody else wants the answer: what there is of it is all, and who comes back is told so. */
    public void leave(ChatException why, ErrorTable table, AnswerWriter writer) {
        if (log != null) {
            if (committed) {
                lastEvent(why, table.of(why.code()), writer);
            }
            log.fail(why);
        }
        // who was let go has not got all that was sent
        if (rest == null && !response.ended()) {
            response.end();
            closeIfThatIsTheEnd();
        }
    }

    /** Answers with JSON. */
    public void json(int status, Buffer body) {
        if (log != null && status == 200) {
            log.complete(body);
        }
        if (!response.headWritten() && !response.ended()) {
            SecurityHeaders.addTo(response.headers());
            response.setStatusCode(status).putHeader("Content-Type", "application/json");
            send(body);
        }
    }

    /** Answers with an error: a response if nothing was sent yet, else the last event, and the connection's end. */
    public void fail(ChatException error, ErrorTable table, AnswerWriter writer) {
        ErrorTable.Entry entry = table.of(error.code());
        if (log != null && !committed) {
            log.fail(error);
        }
        if (!committed) {
            if (error.retryAfterSeconds() >= 0) {
                header("Retry-After", Integer.toString(error.retryAfterSeconds()));
            }
            if (entry.status() == 401) {
                // RFC 9110, section 15.5.2
                header("WWW-Authenticate", "Bearer");
            }
            json(error.status() != 0 ? error.status() : entry.status(), dialect.error(error, entry, requestId()));
        } else if (!response.ended()) {
            Buffer last = lastEvent(error, entry, writer);
            if (log != null) {
                log.fail(error);
            }
            endFailed(last);
        }
    }

    /** Ends a stream whose last event tells of a failure: here, or with {@code last}. */
    void endFailed(Buffer last) {
        if (!response.ended() && !gone) {
            // before the end: the next request may be here before we learn that the end is sent
            CLOSING.put(request.connection(), this);
            response.end(last).onComplete(v -> closeUnlessReused());
            closeIfThatIsTheEnd();
        }
    }

    /** What tells of a failure in a stream; those who come back for it get it too. */
    private Buffer lastEvent(ChatException error, ErrorTable.Entry entry, AnswerWriter writer) {
        Buffer last = Buffer.buffer();
        writer.error(error, entry, last);
        if (log != null) {
            log.append(last);
        }
        return last;
    }

    /**
     * The end of a failed stream is the end of its connection. The client cannot know, though: if it sends its next
     * request on it meanwhile, that one is answered, and the connection stays.
     */
    private void closeUnlessReused() {
        HttpConnection connection = request.connection();
        context.owner().setTimer(CLOSE_MILLIS, t -> {
            if (CLOSING.remove(connection, this)) {
                connection.close();
            }
        });
    }

    /** A request has come on this connection: it is not closed for an earlier one any more. */
    static void reused(HttpConnection connection) {
        if (!CLOSING.isEmpty()) {
            CLOSING.remove(connection);
        }
    }

    /** Cuts the connection: nobody shall take what was sent for the whole. What was not taken yet is not waited for. */
    public void abort() {
        gone = true;
        Connection.cut(request.connection());
    }
}
