package io.llmchat.http;

import io.vertx.core.Handler;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.RoutingContext;
import io.vertx.ext.web.impl.RoutingContextInternal;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Reads a request body into memory, up to a limit; a longer one is answered with 413, and what comes of it still is
 * passed over, so that the connection stays usable. The bodies of all requests that are read or answered may have a quarter of
 * the heap: one for which there is no room is answered with 503. Does less than Vert.x' own handler, which also knows forms
 * and uploads.
 */
public final class BodyReader implements Handler<RoutingContext> {

    private static final long MAX_IN_MEMORY = Runtime.getRuntime().maxMemory() / 4;
    /** Of all gateways of this process, as its heap is. */
    private static final AtomicLong IN_MEMORY = new AtomicLong();

    private final long max;
    private final AtomicInteger requests;

    /**
     * @param max bytes
     * @param requests counts the requests that have come and were not answered; those that are handed on stay in it
     */
    public BodyReader(long max, AtomicInteger requests) {
        this.max = max;
        this.requests = requests;
    }

    @Override
    public void handle(RoutingContext ctx) {
        requests.incrementAndGet();
        new Reading(ctx).start();
    }

    /** A request that was handed on has been answered. */
    static void answered(RoutingContext ctx) {
        Buffer body = ctx.body().buffer();
        if (body != null) {
            IN_MEMORY.addAndGet(-body.length());
        }
    }

    private static boolean longer(String contentLength, long max) {
        return contentLength != null && contentLength.length() < 19 && contentLength.chars().allMatch(Character::isDigit)
                && !contentLength.isEmpty() && Long.parseLong(contentLength) > max;
    }

    private final class Reading {
        private final RoutingContext ctx;
        private Buffer body;
        private boolean over;

        Reading(RoutingContext ctx) {
            this.ctx = ctx;
        }

        void start() {
            HttpServerRequest request = ctx.request();
            request.handler(this::add);
            request.endHandler(v -> complete());
            request.exceptionHandler(e -> giveUp());
            if (longer(request.getHeader("Content-Length"), max)) {
                refuse(413);
            }
        }

        private void add(Buffer bytes) {
            if (over) {
                return;
            }
            if (length() + bytes.length() > max) {
                refuse(413);
            } else if (IN_MEMORY.addAndGet(bytes.length()) > MAX_IN_MEMORY) {
                IN_MEMORY.addAndGet(-bytes.length());
                refuse(503);
            } else {
                body = body == null ? bytes : body.appendBuffer(bytes);
            }
        }

        private int length() {
            return body == null ? 0 : body.length();
        }

        private void complete() {
            if (!over) {
                over = true;
                ((RoutingContextInternal) ctx).setBody(body);
                ctx.next();
            }
        }

        private void refuse(int status) {
            giveUp();
            ctx.fail(status);
        }

        private void giveUp() {
            if (!over) {
                over = true;
                requests.decrementAndGet();
                IN_MEMORY.addAndGet(-length());
                body = null;
            }
        }
    }
}
