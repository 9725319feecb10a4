package io.llmchat.store;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import javax.sql.DataSource;
import org.apache.camel.Exchange;
import org.apache.camel.spi.IdempotentRepository;
import org.apache.camel.support.service.ServiceSupport;

/**
 * Answers by idempotency key, in PostgreSQL: who is answering, and, when it is complete, what was answered. Camel's
 * own repositories keep keys only; the answer to repeat is kept here. A claim that was not redeemed within
 * {@code claimMillis} (its instance has died) can be taken over. Safe for all threads.
 */
public final class AnswerRepository extends ServiceSupport implements IdempotentRepository {

    /** A kept answer; {@code body} is null while it is still being made. */
    public record Kept(byte[] fingerprint, byte[] body) {
    }

    private final DataSource database;
    private final Duration keep;
    private final Duration claim;

    /**
     * @param keepHours how long an answer is kept
     * @param claimMillis longer than any answer that is not streamed may take
     */
    public AnswerRepository(DataSource database, int keepHours, long claimMillis) {
        this.database = database;
        this.keep = Duration.ofHours(keepHours);
        this.claim = Duration.ofMillis(claimMillis);
    }

    /** Claims a key for this exchange; false if it is claimed or answered already. */
    @Override
    public boolean add(Exchange exchange, String key) {
        return update("""
                INSERT INTO answers (key, claimed_by) VALUES (?, ?)
                ON CONFLICT (key) DO UPDATE SET claimed_by = excluded.claimed_by, created_at = now(), fingerprint = NULL, body = NULL
                WHERE answers.created_at < now() - make_interval(secs => CASE WHEN answers.body IS NULL THEN ? ELSE ? END)
                """, key, exchange.getExchangeId(), claim.toSeconds(), keep.toSeconds()) == 1;
    }

    /** Gives up the claim of this exchange; somebody else's claim and a kept answer stay. */
    @Override
    public boolean remove(Exchange exchange, String key) {
        return update("DELETE FROM answers WHERE key = ? AND claimed_by = ? AND body IS NULL", key,
                exchange.getExchangeId()) == 1;
    }

    /** Notes which request the claim is for. */
    public void fingerprint(Exchange exchange, String key, byte[] fingerprint) {
        update("UPDATE answers SET fingerprint = ? WHERE key = ? AND claimed_by = ?", fingerprint, key,
                exchange.getExchangeId());
    }

    /** Keeps the answer; on return it is on disk. */
    public void keep(Exchange exchange, String key, byte[] body) {
        update("UPDATE answers SET body = ? WHERE key = ? AND claimed_by = ?", body, key, exchange.getExchangeId());
    }

    /** What is kept under a key, or null. */
    public Kept get(String key) {
        try (Connection c = database.getConnection();
                PreparedStatement s = c.prepareStatement("SELECT fingerprint, body FROM answers WHERE key = ?")) {
            s.setString(1, key);
            try (ResultSet row = s.executeQuery()) {
                return row.next() ? new Kept(row.getBytes(1), row.getBytes(2)) : null;
            }
        } catch (SQLException e) {
            throw new StoreUnavailable(e);
        }
    }

    private int update(String sql, Object... values) {
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                s.setObject(i + 1, values[i]);
            }
            return s.executeUpdate();
        } catch (SQLException e) {
            throw new StoreUnavailable(e);
        }
    }

    @Override
    public boolean add(String key) {
        throw new UnsupportedOperationException("a claim belongs to an exchange");
    }

    @Override
    public boolean contains(String key) {
        return get(key) != null;
    }

    @Override
    public boolean remove(String key) {
        return update("DELETE FROM answers WHERE key = ?", key) == 1;
    }

    @Override
    public boolean confirm(String key) {
        return true;
    }

    @Override
    public void clear() {
        update("DELETE FROM answers");
    }
}
