package io.llmchat.store;

import io.llmchat.chat.ChatException;
import java.sql.SQLException;

/** PostgreSQL is away, and the request needs it. */
public final class StoreUnavailable extends ChatException {

    public StoreUnavailable(SQLException cause) {
        super("STORE_UNAVAILABLE", "The database cannot be reached at the moment.");
        initCause(cause);
    }
}
