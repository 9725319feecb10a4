package io.llmchat.store;

import io.llmchat.chat.Chat;
import io.llmchat.http.Memory;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import java.time.Duration;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.sql.DataSource;
import org.apache.camel.Exchange;
import org.apache.camel.spi.IdempotentRepository;
import org.apache.camel.support.service.ServiceSupport;
import org.postgresql.PGStatement;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers by idempotency key and by answer id, in PostgreSQL: who is answering, and, when it is complete, what was
 * answered. Camel's own repositories keep keys only; the answer to repeat is kept here. A claim is a lease: it is
 * renewed while its answer is made, and can be taken over when its instance has died; but not just after PostgreSQL was
 * away, or its table locked, when nobody could renew. Safe for all threads.
 */
public final class AnswerRepository extends ServiceSupport implements IdempotentRepository {

    /**
     * A kept answer.
     *
     * @param length of its body, in bytes; -1: it is still being made
     * @param body null also where it is long: {@link AnswerRepository#body} has it, for whom there is room
     * @param stream whether it was given as a stream
     * @param claimed whether somebody is making it
     */
    public record Kept(String key, byte[] fingerprint, String answerId, int length, byte[] body, boolean stream, String owner, boolean claimed) {
    }

    private static final Logger LOG = LoggerFactory.getLogger(AnswerRepository.class);

    private final WatchedPool database;
    private final Duration keep;
    private final Duration lease;
    /** The keys whose answers are being made here, and the claim to each. */
    private final Map<String, Claim> claims = new ConcurrentHashMap<>();
    /** Claims that were given up while PostgreSQL could not be told, or that it may have without having said so, and the key of each. */
    private final Map<String, String> givenUp = new ConcurrentHashMap<>();
    /** When PostgreSQL last refused to renew the claims of this instance. */
    private volatile long refusedAt;

    /** @param by the id of the exchange that makes the answer */
    private record Claim(String by, byte[] fingerprint, String answerId, String owner) {
    }

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
        this.refusedAt = System.nanoTime() - lease.toNanos();
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
        boolean first;
        try {
            first = claim(exchange.getExchangeId(), chat, key);
        } catch (StoreUnavailable e) {
            if (!(e.getCause() instanceof SQLTransientConnectionException)) {
                // it was sent: a server that only stood still does it when it goes on
                givenUp.put(exchange.getExchangeId(), key);
            }
            throw e;
        }
        if (first) {
            claims.put(key, new Claim(exchange.getExchangeId(), chat.fingerprint(), chat.answerId(), chat.userId()));
        }
        return first;
    }

    private boolean claim(String by, Chat chat, String key) {
        return update("""
                INSERT INTO answers (key, claimed_by, fingerprint, answer_id, owner, claimed_until)
                SELECT ?, ?, ?, ?, ?, now() + make_interval(secs => ?) FROM set_config('synchronous_commit', 'off', true)
                ON CONFLICT (key) DO UPDATE SET claimed_by = excluded.claimed_by, fingerprint = excluded.fingerprint,
                answer_id = excluded.answer_id, owner = excluded.owner, claimed_until = excluded.claimed_until, created_at = now(),
                body = NULL
                WHERE answers.body IS NULL AND answers.claimed_until < now() AND ?
                OR answers.created_at < now() - make_interval(secs => ?)
                """, key, by, chat.fingerprint(), chat.answerId(), chat.userId(), lease.toSeconds(),
                // who is alive renews three times in a lease: a lock may end a third of one after it was met here, and he comes a third later
                database.availableFor(afterwards()) && System.nanoTime() - refusedAt > lease.toNanos(), keep.toSeconds()) == 1;
    }

    /** For so long after PostgreSQL was away others may not have told it yet what they could not tell it. */
    private Duration afterwards() {
        return lease.dividedBy(2);
    }

    /** Runs {@code action} as soon as PostgreSQL is back; what it does not take then waits for the next time. */
    public void whenBack(Runnable action) {
        database.whenBack(() -> {
            try {
                action.run();
            } catch (StoreUnavailable e) {
                LOG.debug("PostgreSQL was back for a moment", e);
            }
        });
    }

    /** Whether answers that were made while PostgreSQL was away may still wait to be kept. */
    public boolean mayMissSome() {
        return database.wasAwayWithin(afterwards());
    }

    /**
     * Gives up the claim of this exchange; somebody else's claim and a kept answer stay. Where PostgreSQL is away it is told
     * when it is back: until a claim ends by itself others would wait for its answer, or be given how it failed.
     *
     * @return whether there was one: who could not claim, as PostgreSQL did not answer, does not wait for it once more
     */
    @Override
    public boolean remove(Exchange exchange, String key) {
        MustWait.here();
        String claim = exchange.getExchangeId();
        if (!giveUp(claim, key)) {
            return false;
        }
        try {
            return delete(key, claim);
        } catch (StoreUnavailable e) {
            givenUp.put(claim, key);
            return false;
        }
    }

    /** A claim to a key is not renewed any more: it ends by itself. False if it was none. */
    public boolean giveUp(String claim, String key) {
        Claim is = claims.get(key);
        return is != null && is.by.equals(claim) && claims.remove(key, is);
    }

    /**
     * Renews the claims of all answers that are being made here, makes anew what PostgreSQL has lost in a crash, and gives up
     * what could not be. It asks also where there are none: whether others could renew theirs is to be known.
     */
    public void renew() {
        Map<String, Claim> now = Map.copyOf(claims);
        Set<String> lost = new HashSet<>(now.keySet());
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement("""
                UPDATE answers SET claimed_until = now() + make_interval(secs => ?)
                FROM unnest(?, ?) AS mine (key, claim)
                WHERE answers.key = mine.key AND answers.claimed_by = mine.claim RETURNING answers.key""")) {
            s.setLong(1, lease.toSeconds());
            s.setArray(2, c.createArrayOf("text", now.keySet().toArray()));
            s.setArray(3, c.createArrayOf("text", now.values().stream().map(Claim::by).toArray()));
            try (ResultSet rows = s.executeQuery()) {
                while (rows.next()) {
                    lost.remove(rows.getString(1));
                }
            }
        } catch (SQLException e) {
            refusedAt = System.nanoTime();
            throw new StoreUnavailable(e);
        }
        lost.forEach(key -> claimAnew(key, now.get(key)));
        givenUp.forEach((claim, key) -> {
            delete(key, claim);
            givenUp.remove(claim);
        });
    }

    private void claimAnew(String key, Claim claim) {
        if (claims.get(key) != claim) {
            return;
        }
        update("""
                INSERT INTO answers (key, claimed_by, fingerprint, answer_id, owner, claimed_until)
                VALUES (?, ?, ?, ?, ?, now() + make_interval(secs => ?)) ON CONFLICT DO NOTHING""",
                key, claim.by, claim.fingerprint, claim.answerId, claim.owner, lease.toSeconds());
        if (claims.get(key) != claim) {
            // given up meanwhile: nobody would renew it
            delete(key, claim.by);
        }
    }

    private boolean delete(String key, String claim) {
        return update("DELETE FROM answers WHERE key = ? AND claimed_by = ? AND body IS NULL", key, claim) == 1;
    }

    /**
     * Keeps the answer to a key that {@code claim}, the id of an exchange, has claimed; on return it is on disk, also where
     * the claim was lost in a crash. Where another instance has taken it over, because this one stood still, the key's answer
     * is the other one's, and a stream is kept for who comes back for it.
     */
    public void keep(String claim, String key, byte[] body, boolean stream) {
        Claim mine = claims.get(key);
        if (mine != null && mine.by.equals(claim)) {
            boolean taken = update("""
                    INSERT INTO answers (key, claimed_by, fingerprint, answer_id, owner, claimed_until, body, stream)
                    VALUES (?, ?, ?, ?, ?, now(), ?, ?) ON CONFLICT (key) DO UPDATE
                    SET body = excluded.body, stream = excluded.stream, created_at = now() WHERE answers.claimed_by = excluded.claimed_by""",
                    key, claim, mine.fingerprint, mine.answerId, mine.owner, body, stream) == 0;
            if (taken && stream) {
                keepWithoutKey(mine.answerId, mine.owner, body);
            }
        }
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
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement("SELECT key, fingerprint, answer_id,"
                + " coalesce(octet_length(body), -1), CASE WHEN octet_length(body) <= " + Memory.SMALL + " THEN body END,"
                + " coalesce(stream, false), owner, claimed_until > now() FROM answers WHERE " + column + " = ?"
                // of an answer whose claim could not be given up there are two
                + " ORDER BY body IS NULL LIMIT 1")) {
            s.setString(1, value);
            try (ResultSet row = s.executeQuery()) {
                return row.next() ? new Kept(row.getString(1), row.getBytes(2), row.getString(3), row.getInt(4), row.getBytes(5),
                        row.getBoolean(6), row.getString(7), row.getBoolean(8)) : null;
            }
        } catch (SQLException e) {
            throw new StoreUnavailable(e);
        }
    }

    /** The body of a kept answer; null: it has been removed since. */
    public byte[] body(Kept kept) {
        if (kept.body != null) {
            return kept.body;
        }
        try (Connection c = database.getConnection(); PreparedStatement s = c.prepareStatement(
                "SELECT body FROM answers WHERE key = ? AND answer_id = ?")) {
            // as bytes: their digits, which would come the first few times, take two more times the memory
            s.unwrap(PGStatement.class).setPrepareThreshold(-1);
            s.setString(1, kept.key);
            s.setString(2, kept.answerId);
            try (ResultSet row = s.executeQuery()) {
                return row.next() ? row.getBytes(1) : null;
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
