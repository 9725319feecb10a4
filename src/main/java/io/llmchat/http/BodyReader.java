package io.llmchat.http;

import io.vertx.core.Handler;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.RoutingContext;
import io.vertx.ext.web.impl.RoutingContextInternal;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;

/**
 * Reads a request body into memory, up to a limit; a longer one is answered with 413, and what comes of it still is
 * passed over, so that the connection stays usable. One for which there is no room in memory, beside those of all requests that
 * are read or answered, is answered with 503; what strangers send at length has little room, as long as they send it. Does
 * less than Vert.x' own handler, which also knows forms and uploads.
 */
public final class BodyReader implements Handler<RoutingContext> {

    private final long max;
    private final AtomicInteger requests;
    private final Predicate<HttpServerRequest> strange;

    /**
     * @param max bytes
     * @param requests counts the requests that have come and were not answered; those that are handed on stay in it
     * @param strange whether nothing is known of who sends this; asked, on the event loop, for long bodies only
     */
    public BodyReader(long max, AtomicInteger requests, Predicate<HttpServerRequest> strange) {
        this.max = max;
        this.requests = requests;
        this.strange = strange;
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
            (body.length() <= Memory.SMALL ? Memory.SMALL_BODIES : Memory.LARGE_BODIES).give(body.length());
        }
    }

    private final class Reading {
        private final RoutingContext ctx;
        private Buffer body;
        /** Where it has its place. */
        private Memory room = Memory.SMALL_BODIES;
        private boolean over;

        Reading(RoutingContext ctx) {
            this.ctx = ctx;
        }

        void start() {
            HttpServerRequest request = ctx.request();
            request.handler(this::add);
            request.endHandler(v -> complete());
            request.exceptionHandler(e -> giveUp());
            // the codec takes no length but a number
            String length = request.getHeader("Content-Length");
            if (length != null && Long.parseLong(length) > max) {
                refuse(413);
            }
        }

        private void add(Buffer bytes) {
            if (over) {
                return;
            }
            int length = length() + bytes.length();
            if (length > max) {
                refuse(413);
                return;
            }
            Memory next = length <= Memory.SMALL || room != Memory.SMALL_BODIES ? room
                    : strange.test(ctx.request()) ? Memory.STRANGERS : Memory.LARGE_BODIES;
            if (take(next, length)) {
                body = body == null ? bytes : body.appendBuffer(bytes);
            }
        }

        /** Has its place, of so many bytes, there from now on; false, and it is refused, if there is no room. */
        private boolean take(Memory next, int length) {
            int before = length();
            boolean moves = next != room;
            if (!next.take(moves ? length : length - before, moves ? 0 : before)) {
                refuse(503);
                return false;
            }
            if (moves) {
                room.give(before);
                room = next;
            }
            return true;
        }

        private int length() {
            return body == null ? 0 : body.length();
        }

        private void complete() {
            // all of it is there: who has sent it will soon be known
            if (!over && (room != Memory.STRANGERS || take(Memory.LARGE_BODIES, length()))) {
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
                room.give(length());
                body = null;
            }
        }
    }
}
