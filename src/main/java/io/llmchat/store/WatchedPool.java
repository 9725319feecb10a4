package io.llmchat.store;

import com.zaxxer.hikari.HikariDataSource;
import com.zaxxer.hikari.HikariPoolMXBean;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import java.sql.Statement;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.postgresql.ds.PGSimpleDataSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.jdbc.datasource.DelegatingDataSource;

/**
 * The pool, asked only while PostgreSQL is there: where it is not, nobody waits for a connection that will not come. A
 * thread with a connection of its own asks it twice a second. Safe for all threads.
 */
final class WatchedPool extends DelegatingDataSource implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(WatchedPool.class);
    private static final long INTERVAL_MILLIS = 500;
    /** Where nobody gets a connection for so long though not all are in use, there are none to be had: one is opened within two seconds. */
    private static final long NONE_NANOS = TimeUnit.SECONDS.toNanos(3);
    /** SQLSTATE class 08: connection exception (PostgreSQL manual, appendix A). */
    static final String UNABLE_TO_CONNECT = "08001";
    /** More reasons than it can be away for, unless their text is never the same. */
    private static final int MAX_REASONS = 20;

    private final HikariDataSource pool;
    private final PGSimpleDataSource own;
    private final long patienceNanos;
    private final Thread thread;
    private volatile boolean available = true;
    /** In PostgreSQL's words, or the driver's, if it is away. */
    private volatile String why;
    /** Since when it is there, as far as this process knows. */
    private volatile long backNanos = System.nanoTime();
    private volatile boolean wasAway;
    private volatile Runnable whenBack = () -> { };
    private volatile long lastGivenNanos = System.nanoTime();
    /** Whether the pool gets no connections, which the thread's own one, opened long ago, does not tell. */
    private volatile boolean givesNone;
    private volatile boolean running = true;

    /**
     * @param own where the watching thread gets its connection
     * @param patienceMillis how long a connection is waited for while PostgreSQL is there and all are in use
     */
    WatchedPool(HikariDataSource pool, PGSimpleDataSource own, long patienceMillis) {
        super(pool);
        this.pool = pool;
        this.own = own;
        this.patienceNanos = TimeUnit.MILLISECONDS.toNanos(patienceMillis);
        this.thread = Thread.ofPlatform().daemon().name("postgres-watch").start(this::watch);
    }

    boolean available() {
        return available;
    }

    /** Whether it has been there for so long, as far as this process knows. */
    boolean availableFor(Duration time) {
        return available && System.nanoTime() - backNanos > time.toNanos();
    }

    /** Runs {@code action} each time that it is back, on a thread that may wait; replaces an earlier one. */
    void whenBack(Runnable action) {
        whenBack = action;
    }

    /** Whether it was away, and has not been back for longer than this. */
    boolean wasAwayWithin(Duration time) {
        return wasAway && !availableFor(time);
    }

    /**
     * @throws SQLTransientConnectionException at once if PostgreSQL is away; if it goes while this waits, or gives
     *         nobody a connection though not all are in use, within four seconds
     * @throws MustWait on an event loop
     */
    @Override
    public Connection getConnection() throws SQLException {
        MustWait.here();
        long begun = System.nanoTime();
        while (available) {
            try {
                Connection connection = pool.getConnection();
                lastGivenNanos = System.nanoTime();
                return connection;
            } catch (SQLTransientConnectionException e) {
                long waited = System.nanoTime() - begun;
                boolean none = waited >= Math.min(patienceNanos, NONE_NANOS) && hasNone();
                givesNone |= none;
                if (none || waited >= patienceNanos) {
                    throw e;
                }
            }
        }
        throw new SQLTransientConnectionException("PostgreSQL is away: " + why, UNABLE_TO_CONNECT);
    }

    private boolean hasNone() {
        HikariPoolMXBean now = pool.getHikariPoolMXBean();
        return System.nanoTime() - lastGivenNanos > NONE_NANOS && (now.getActiveConnections() == 0 || now.getIdleConnections() > 0);
    }

    private void watch() {
        Connection connection = null;
        Set<String> reasons = new HashSet<>();
        while (running) {
            try {
                Thread.sleep(INTERVAL_MILLIS);
                if (givesNone) {
                    // what was opened long ago says nothing
                    close(connection);
                    connection = null;
                }
                if (connection == null) {
                    connection = own.getConnection();
                    if (givesNone) {
                        // and another one, as there may be place for this thread's alone
                        own.getConnection().close();
                        givesNone = false;
                    }
                }
                try (Statement s = connection.createStatement(); ResultSet reads = s.executeQuery("SHOW transaction_read_only")) {
                    reads.next();
                    if (reads.getString(1).equals("on")) {
                        // as providers of PostgreSQL have it do where its disk gets full, without a restart
                        throw new SQLException("it only reads");
                    }
                }
                if (!available) {
                    backNanos = System.nanoTime();
                    available = true;
                    reasons.clear();
                    LOG.info("PostgreSQL is back");
                    Thread.ofVirtual().name("postgres-back").start(whenBack);
                }
            } catch (SQLException e) {
                close(connection);
                connection = null;
                if (running) {
                    why = e.getMessage();
                    wasAway = true;
                    available = false;
                    if (reasons.size() < MAX_REASONS && reasons.add(String.valueOf(e.getMessage()))) {
                        LOG.warn("PostgreSQL is away: {}", e.getMessage());
                    }
                }
            } catch (InterruptedException e) {
                break;
            }
        }
        close(connection);
    }

    private static void close(Connection connection) {
        try {
            if (connection != null) {
                connection.close();
            }
        } catch (SQLException e) {
            LOG.debug("A connection that was lost cannot be closed", e);
        }
    }

    @Override
    public void close() {
        running = false;
        thread.interrupt();
        pool.close();
    }
}
