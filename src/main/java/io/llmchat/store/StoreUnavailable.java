package io.llmchat.store;

import io.llmchat.chat.ChatException;

/** PostgreSQL is away, and the request needs it. */
public final class StoreUnavailable extends ChatException {

    private static final int RETRY_AFTER_SECONDS = 5;

    public StoreUnavailable() {
        super("STORE_UNAVAILABLE", "The database cannot be reached at the moment.");
        retryAfter(RETRY_AFTER_SECONDS);
    }
}
