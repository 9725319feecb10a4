package io.llmchat.store;

import io.llmchat.chat.Chat;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import javax.sql.DataSource;
import org.apache.camel.Exchange;
import org.apache.camel.spi.IdempotentRepository;
import org.apache.camel.support.service.ServiceSupport;

/**
 * Answers by idempotency key and by answer id, in PostgreSQL: who is answering, and, when it is complete, what was
 * answered. Camel's own repositories keep keys only; the answer to repeat is kept here. A claim is a lease: it is
 * renewed while its answer is made, and can be taken over when its instance has died; but not just after PostgreSQL was
 * away, when nobody could renew. Safe for all threads.
 */
public final class AnswerRepository extends ServiceSupport implements IdempotentRepository {

    /**
     * A kept answer.
     *
     * @param body null while it is still being made
     * @param stream whether it was given as a stream
     * @param claimed whether somebody is making it
     */
    public record Kept(byte[] fingerprint, String answerId, byte[] body, boolean stream, String owner, boolean claimed) {
    }

    private final WatchedPool database;
    private final Duration keep;
    private final Duration lease;
    /** The keys whose answers are being made here, and the claim to each. */
    private final Map<String, String> claims = new ConcurrentHashMap<>();

    /**
     * @param keepHours how long an answer is kept
     * @param leaseMillis how long a claim lasts unless it is renewed
     */
    public AnswerRepository(DataSource database, int keepHours, long leaseMillis) {
        try {
            this.database = database.unwrap(WatchedPool.class);
        } catch (SQLException e) {
            throw new IllegalArgumentException("a pool that nobody watches", e);
        }
        this.keep = Duration.ofHours(keepHours);
        this.lease = Duration.ofMillis(leaseMillis);
    }

    /**
     * Claims a key for this exchange; false if it is claimed or answered already. All instances know it at once; the disk,
     * which would know it a millisecond later, is not waited for, because the kept answer's row comes after it.
     */
    @Override
    public boolean add(Exchange exchange, String key) {
        if (claims.containsKey(key)) {
            // also where it could not be renewed
            return false;
        }
        Chat chat = Chat.of(exchange);
        boolean first = update("""
                INSERT INTO answers (key, claimed_by, fingerprint, answer_id, owner, claimed_until)
                SELECT ?, ?, ?, ?, ?, now() + make_interval(secs => ?) FROM set_config('synchronous_commit', 'off', true)
                ON CONFLICT (key) DO UPDATE SET claimed_by = excluded.claimed_by, fingerprint = excluded.fingerprint,
                answer_id = excluded.answer_id, owner = excluded.owner, claimed_until = excluded.claimed_until, created_at = now(),
                body = NULL, stream = NULL
                WHERE answers.body IS NULL AND answers.claimed_until < now() AND ?
                OR answers.created_at < now() - make_interval(secs => ?)
                """, key, exchange.getExchangeId(), chat.fingerprint(), chat.answerId(), chat.userId(), lease.toSeconds(),
                // who is alive renews three times in a lease
                database.availableFor(lease.dividedBy(2)), keep.toSeconds()) == 1;
        if (first) {
            claims.put(key, exchange.getExchangeId());
        }
        return first;
    }

    /**
     * Gives up the claim of this exchange; somebody else's claim and a kept answer stay. Where PostgreSQL is away the claim
     * ends by itself.
     */
    @Override
    public boolean remove(Exchange exchange, String key) {
        giveUp(exchange.getExchangeId(), key);
        try {
            return update("DELETE FROM answers WHERE key = ? AND claimed_by = ? AND body IS NULL", key,
                    exchange.getExchangeId()) == 1;
        } catch (StoreUnavailable e) {
            return false;
        }
    }

    /** A claim to a key is not renewed any more: it ends by itself. */
    public void giveUp(String claim, String key) {
        claims.remove(key, claim);
    }

    /** Renews the claims of all answers that are being made here. */
    public void renew() {
        Map<String, String> now = Map.copyOf(claims);
        if (now.isEmpty()) {
            return;
        }
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement("""
                UPDATE answers SET claimed_until = now() + make_interval(secs => ?)
                FROM unnest(?, ?) AS mine (key, claim)
                WHERE answers.key = mine.key AND answers.claimed_by = mine.claim AND answers.body IS NULL""")) {
            s.setLong(1, lease.toSeconds());
            s.setArray(2, c.createArrayOf("text", now.keySet().toArray()));
            s.setArray(3, c.createArrayOf("text", now.values().toArray()));
            s.executeUpdate();
        } catch (SQLException e) {
            throw new StoreUnavailable();
        }
    }

    /** Keeps the answer to a key that {@code claim}, the id of an exchange, has claimed; on return it is on disk. */
    public void keep(String claim, String key, byte[] body, boolean stream) {
        update("UPDATE answers SET body = ?, stream = ?, created_at = now() WHERE key = ? AND claimed_by = ?", body, stream, key, claim);
        giveUp(claim, key);
    }

    /** Keeps an answer that has no key, for callers that come back for it. */
    public void keepWithoutKey(String answerId, String owner, byte[] body) {
        // nothing, where it is there: PostgreSQL may have taken it and not have come to say so
        update("""
                INSERT INTO answers (key, claimed_by, answer_id, owner, claimed_until, body, stream) VALUES (?, '', ?, ?, now(), ?, true)
                ON CONFLICT DO NOTHING""", "answer " + answerId, answerId, owner, body);
    }

    /** What is kept under a key, or null. */
    public Kept get(String key) {
        return find("key", key);
    }

    /** The answer of this id, or null. */
    public Kept ofId(String answerId) {
        return find("answer_id", answerId);
    }

    private Kept find(String column, String value) {
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement(
                "SELECT fingerprint, answer_id, body, coalesce(stream, false), owner, claimed_until > now() FROM answers WHERE " + column + " = ?")) {
            s.setString(1, value);
            try (ResultSet row = s.executeQuery()) {
                return row.next() ? new Kept(row.getBytes(1), row.getString(2), row.getBytes(3), row.getBoolean(4), row.getString(5),
                        row.getBoolean(6)) : null;
            }
        } catch (SQLException e) {
            throw new StoreUnavailable();
        }
    }

    private int update(String sql, Object... values) {
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                s.setObject(i + 1, values[i]);
            }
            return s.executeUpdate();
        } catch (SQLException e) {
            throw new StoreUnavailable();
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
