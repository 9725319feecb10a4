package io.llmchat.store;

import io.vertx.core.Context;

/**
 * Raised where something would be waited for on an event loop, before anything is begun: the step is run once more, on a
 * virtual thread. It must have changed nothing until then that it would change again.
 */
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
