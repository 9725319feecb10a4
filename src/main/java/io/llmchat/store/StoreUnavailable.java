package io.llmchat.store;

import io.llmchat.chat.ChatException;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import org.postgresql.util.PSQLException;

/** PostgreSQL does not do what the request needs: as a rule it is away. */
public final class StoreUnavailable extends ChatException {

    private static final int RETRY_AFTER_SECONDS = 5;
    /** What SQLSTATEs of connections begin with. */
    private static final String CONNECTION = "08";

    private final SQLException cause;

    StoreUnavailable(SQLException cause) {
        super("STORE_UNAVAILABLE", "The database cannot be reached at the moment.");
        this.cause = cause;
        retryAfter(RETRY_AFTER_SECONDS);
    }

    @Override
    public synchronized Throwable getCause() {
        return cause;
    }

    /**
     * What PostgreSQL has refused, though it is there: in its words but for values of rows, with the SQLSTATE.
     *
     * @return null if it has refused nothing, or was away
     */
    public static String refusal(Throwable failure) {
        Throwable at = failure;
        // why the pool got no connection is behind what it says itself
        while (at != null && (!(at instanceof SQLException) || at instanceof SQLTransientConnectionException)) {
            at = at.getCause();
        }
        if (!(at instanceof SQLException refused) || refused.getSQLState() == null || refused.getSQLState().startsWith(CONNECTION)) {
            return null;
        }
        String said = refused instanceof PSQLException p && p.getServerErrorMessage() != null
                ? p.getServerErrorMessage().getMessage() : refused.getMessage();
        return said + " (SQLSTATE " + refused.getSQLState() + ")";
    }
}
