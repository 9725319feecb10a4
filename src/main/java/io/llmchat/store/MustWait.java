package io.llmchat.store;

import io.vertx.core.Context;

/** Raised where something would be waited for on an event loop, before anything is begun. */
public final class MustWait extends RuntimeException {

    private static final long serialVersionUID = 1L;

    private MustWait() {
        super("an event loop must not wait", null, false, false);
    }

    /**
     * What follows waits for a store.
     *
     * @throws MustWait on an event loop
     */
    public static void here() {
        if (Context.isOnEventLoopThread()) {
            throw new MustWait();
        }
    }
}
