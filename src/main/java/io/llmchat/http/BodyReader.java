package io.llmchat.http;

import io.vertx.core.Handler;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.RoutingContext;
import io.vertx.ext.web.impl.RoutingContextInternal;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Reads a request body into memory, up to a limit; a longer one is answered with 413, and what comes of it still is
 * passed over, so that the connection stays usable. One for which there is no room in memory, beside those of all requests that
 * are read or answered, is answered with 503. Does less than Vert.x' own handler, which also knows forms
 * and uploads.
 */
public final class BodyReader implements Handler<RoutingContext> {

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
            room(body.length()).give(body.length());
        }
    }

    /** Where a body of this length has its place. */
    private static Memory room(int length) {
        return length <= Memory.SMALL ? Memory.SMALL_BODIES : Memory.LARGE_BODIES;
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
            int before = length();
            int length = before + bytes.length();
            if (length > max) {
                refuse(413);
                return;
            }
            boolean moves = room(length) != room(before);
            if (!room(length).take(moves ? length : bytes.length(), moves ? 0 : before)) {
                refuse(503);
                return;
            }
            if (moves) {
                room(before).give(before);
            }
            body = body == null ? bytes : body.appendBuffer(bytes);
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
                room(length()).give(length());
                body = null;
            }
        }
    }
}
