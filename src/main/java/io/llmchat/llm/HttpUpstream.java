package io.llmchat.llm;

import io.vertx.core.MultiMap;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientRequest;
import io.vertx.core.http.HttpClientResponse;
import io.vertx.core.http.HttpHeaders;
import io.vertx.core.http.RequestOptions;

/** A call over HTTP. Redirects are not followed: they could carry our key to somebody else. */
final class HttpUpstream implements Upstream {

    /** How long a provider that has said all may take to end its response; then its connection is closed. */
    private static final long LINGER_MILLIS = 1_000;
    private static final CharSequence KEEP_ALIVE = HttpHeaders.createOptimized("Keep-Alive");

    private final Vertx vertx;
    private final HttpClient client;
    private final RequestOptions options;
    private final Buffer body;
    private Receiver receiver;
    private HttpClientRequest request;
    private HttpClientResponse response;
    private boolean over;
    private long closing = -1;

    HttpUpstream(Vertx vertx, HttpClient client, RequestOptions options, Buffer body) {
        this.vertx = vertx;
        this.client = client;
        this.options = options;
        this.body = body;
    }

    @Override
    public void start(Receiver to) {
        receiver = to;
        client.request(options).onComplete(opened -> {
            if (opened.failed()) {
                broken(opened.cause());
                return;
            }
            request = opened.result();
            request.exceptionHandler(this::broken);
            if (receiver == null) {
                request.reset();
                return;
            }
            request.response().onComplete(answered -> {
                if (answered.failed()) {
                    broken(answered.cause());
                } else {
                    receive(answered.result());
                }
            });
            request.end(body);
        });
    }

    private void receive(HttpClientResponse answer) {
        if (receiver == null) {
            return;
        }
        response = answer;
        answer.exceptionHandler(this::broken);
        answer.handler(bytes -> {
            if (receiver != null) {
                receiver.data(bytes);
            }
        });
        answer.endHandler(v -> {
            over = true;
            if (closing >= 0) {
                vertx.cancelTimer(closing);
            }
            Receiver to = receiver;
            receiver = null;
            if (to != null) {
                to.end();
            }
        });
        if (receiver.head(answer.statusCode(), answer.headers())) {
            forget(request.headers());
            forget(answer.headers());
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
    public void pause() {
        if (receiver != null) {
            response.pause();
        }
    }

    @Override
    public void resume() {
        if (receiver != null) {
            response.resume();
        }
    }

    @Override
    public void release() {
        receiver = null;
        if (!over) {
            response.resume();
            closing = vertx.setTimer(LINGER_MILLIS, t -> abort());
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
