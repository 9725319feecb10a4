package io.llmchat.http;

import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;

/** Makes the one Vert.x of this process. */
public final class EventLoops {

    private EventLoops() {
    }

    /** An event loop for each core: they never block, so that more would only take turns. */
    public static Vertx vertx() {
        return Vertx.vertx(new VertxOptions().setEventLoopPoolSize(Runtime.getRuntime().availableProcessors()));
    }
}
