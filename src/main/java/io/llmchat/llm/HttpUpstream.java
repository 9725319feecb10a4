package io.llmchat.llm;

import io.llmchat.json.Bytes;
import io.vertx.core.MultiMap;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientRequest;
import io.vertx.core.http.HttpClientResponse;
import io.vertx.core.http.HttpHeaders;
import io.vertx.core.http.HttpVersion;
import io.vertx.core.http.RequestOptions;
import io.vertx.core.impl.ContextInternal;
import java.util.function.Function;

/** A call over HTTP. Redirects are not followed: they could carry our key to somebody else. */
final class HttpUpstream implements Upstream {

    /** How long a provider that has said all may take to end its response; then its connection is closed. */
    private static final long LINGER_MILLIS = 1_000;
    private static final CharSequence KEEP_ALIVE = HttpHeaders.createOptimized("Keep-Alive");

    private final Function<ContextInternal, HttpClient> clients;
    private final RequestOptions options;
    /** Until it is sent. */
    private Buffer body;
    private final boolean streamed;
    private Receiver receiver;
    private HttpClientRequest request;
    private HttpClientResponse response;
    /**
     * Takes the data of a stream, if it comes in chunks, and pauses it. The response itself is not paused: it could end
     * behind what is not taken yet, and its connection be another call's already. Null: this is no stream.
     */
    private ChunkDecoder chunks;
    private boolean over;
    private long closing = -1;
    private ContextInternal context;

    /**
     * @param clients of the context that asks
     * @param streamed whether a stream is asked for
     */
    HttpUpstream(Function<ContextInternal, HttpClient> clients, RequestOptions options, Buffer body, boolean streamed) {
        this.clients = clients;
        this.options = options;
        this.body = body;
        this.streamed = streamed;
    }

    @Override
    public void start(Receiver to) {
        receiver = to;
        context = (ContextInternal) Vertx.currentContext();
        clients.apply(context).request(options).onComplete(opened -> {
            if (opened.failed()) {
                broken(opened.cause());
                return;
            }
            request = opened.result();
            request.exceptionHandler(this::fails);
            if (receiver == null) {
                request.reset();
                return;
            }
            if (streamed) {
                chunks = ChunkDecoder.of(request.connection());
                chunks.expect();
            }
            request.response().onComplete(answered -> {
                if (answered.failed()) {
                    broken(answered.cause());
                } else {
                    receive(answered.result());
                }
            });
            request.end(body);
            body = null;
        });
    }

    /** A connection that breaks says so on its own event loop, whatever the context is: here it is that of who asked, after what has come. */
    private void fails(Throwable cause) {
        context.emit(cause, this::broken);
    }

    private void receive(HttpClientResponse answer) {
        if (receiver == null) {
            return;
        }
        response = answer;
        answer.exceptionHandler(this::fails);
        answer.handler(bytes -> data(Bytes.of(bytes)));
        answer.endHandler(v -> {
            over = true;
            if (chunks != null) {
                // the next call's
                chunks.resume();
            }
            if (closing >= 0) {
                context.owner().cancelTimer(closing);
            }
            Receiver to = receiver;
            receiver = null;
            if (to != null) {
                to.end();
            }
        });
        boolean stream = receiver.head(answer.statusCode(), answer.headers());
        if (chunks != null && !(stream && inChunks(answer) && take())) {
            chunks.forget();
            chunks = stream && chunks.isHere() ? chunks : null;
        }
        if (stream) {
            forget(request.headers());
            forget(answer.headers());
        }
    }

    private static boolean inChunks(HttpClientResponse answer) {
        return answer.version() == HttpVersion.HTTP_1_1
                && HttpHeaders.CHUNKED.toString().equalsIgnoreCase(answer.getHeader(HttpHeaders.TRANSFER_ENCODING));
    }

    private boolean take() {
        return chunks.take(bytes -> context.emit(bytes, this::data));
    }

    private void data(byte[] bytes) {
        if (receiver != null) {
            receiver.data(bytes);
        }
    }

    /** Of a head that was sent or read, only what says whether the connection stays is kept. */
    private static void forget(MultiMap head) {
        String connection = head.get(HttpHeaders.CONNECTION);
        String keepAlive = head.get(KEEP_ALIVE);
        head.clear();
        if (connection != null) {
            head.set(HttpHeaders.CONNECTION, connection);
        }
        if (keepAlive != null) {
            head.set(KEEP_ALIVE, keepAlive);
        }
    }

    private void broken(Throwable cause) {
        over = true;
        Receiver to = receiver;
        receiver = null;
        if (to != null) {
            to.broken(cause);
        }
    }

    @Override
    public boolean sent() {
        return request != null;
    }

    @Override
    public void pause() {
        if (receiver == null) {
            return;
        }
        if (chunks == null) {
            response.pause();
        } else {
            chunks.pause();
        }
    }

    @Override
    public void resume() {
        if (receiver != null) {
            goOn();
        }
    }

    private void goOn() {
        if (chunks == null) {
            response.resume();
        } else {
            chunks.resume();
        }
    }

    @Override
    public void release() {
        receiver = null;
        if (!over) {
            goOn();
            closing = context.owner().setTimer(LINGER_MILLIS, t -> abort());
        }
    }

    @Override
    public void abort() {
        receiver = null;
        if (request != null && !over) {
            over = true;
            request.reset();
        }
    }
}
