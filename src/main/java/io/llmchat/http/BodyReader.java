package io.llmchat.http;

import io.vertx.core.Handler;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.RoutingContext;
import io.vertx.ext.web.impl.RoutingContextInternal;

/**
 * Reads a request body into memory, up to a limit; a longer one is answered with 413, and what comes of it still is
 * passed over, so that the connection stays usable. Does less than Vert.x' own handler, which also knows forms and
 * uploads.
 */
public final class BodyReader implements Handler<RoutingContext> {

    private final long max;

    /** @param max bytes */
    public BodyReader(long max) {
        this.max = max;
    }

    @Override
    public void handle(RoutingContext ctx) {
        HttpServerRequest request = ctx.request();
        Buffer[] body = {null};
        boolean[] refused = {tooLong(request.getHeader("Content-Length"))};
        request.handler(bytes -> {
            if (refused[0]) {
                return;
            }
            if ((body[0] == null ? 0 : body[0].length()) + bytes.length() > max) {
                refused[0] = true;
                body[0] = null;
                ctx.fail(413);
            } else {
                body[0] = body[0] == null ? bytes : body[0].appendBuffer(bytes);
            }
        });
        request.endHandler(v -> {
            if (!refused[0]) {
                ((RoutingContextInternal) ctx).setBody(body[0]);
                ctx.next();
            }
        });
        if (refused[0]) {
            ctx.fail(413);
        }
    }

    private boolean tooLong(String contentLength) {
        return contentLength != null && contentLength.length() < 19 && contentLength.chars().allMatch(Character::isDigit)
                && !contentLength.isEmpty() && Long.parseLong(contentLength) > max;
    }
}
