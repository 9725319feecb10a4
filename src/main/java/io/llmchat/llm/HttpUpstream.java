package io.llmchat.llm;

import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientRequest;
import io.vertx.core.http.HttpClientResponse;
import io.vertx.core.http.RequestOptions;

/** A call over HTTP. Redirects are not followed: they could carry our key to somebody else. */
final class HttpUpstream implements Upstream {

    private final HttpClient client;
    private final RequestOptions options;
    private final Buffer body;
    private Receiver receiver;
    private HttpClientRequest request;
    private HttpClientResponse response;

    HttpUpstream(HttpClient client, RequestOptions options, Buffer body) {
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
            if (receiver == null) {
                request.reset();
                return;
            }
            request.exceptionHandler(this::broken);
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
            Receiver to = receiver;
            receiver = null;
            if (to != null) {
                to.end();
            }
        });
        receiver.head(answer.statusCode(), answer.headers());
    }

    private void broken(Throwable cause) {
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
    public void abort() {
        receiver = null;
        if (request != null) {
            request.reset();
        }
    }
}
