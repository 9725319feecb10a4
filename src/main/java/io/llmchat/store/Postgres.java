package io.llmchat.store;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import io.llmchat.ops.Cause;
import io.zonky.test.db.postgres.embedded.EmbeddedPostgres;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;
import javax.sql.DataSource;
import org.apache.camel.util.FileUtil;
import org.apache.camel.util.ObjectHelper;
import org.flywaydb.core.Flyway;
import org.flywaydb.core.api.FlywayException;
import org.postgresql.PGStatement;
import org.postgresql.ds.PGSimpleDataSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * PostgreSQL with its connection pool and its schema: the server at {@code host}, or, without one, a real server of
 * our own whose data stay in {@code dataDir}. Times in milliseconds. One per process; safe for all threads once
 * started.
 */
public final class Postgres {

    private static final Logger LOG = LoggerFactory.getLogger(Postgres.class);

    /** The last version of the migrations in {@code db/migration}. */
    public static final String SCHEMA = "10";

    /** A request that needs PostgreSQL learns within five seconds that it is away: no query takes longer than this. */
    private static final int ANSWER_SECONDS = 3;
    private static final int WATCH_SECONDS = 2;
    private static final int CONNECT_SECONDS = 2;
    /** A busy machine may not open the pool's first connection at once; nobody waits for an answer yet. */
    private static final int FIRST_CONNECTION_MILLIS = 10_000;
    /** For a minute or two. */
    private static final int MIGRATION_TRIES = 30;
    private static final long MIGRATION_PAUSE_MILLIS = 2_000;
    /** SQLSTATE lock_not_available (PostgreSQL manual, appendix A). */
    private static final String LOCK_NOT_AVAILABLE = "55P03";
    /** SQLSTATE invalid_sql_statement_name, duplicate_prepared_statement, and protocol_violation: that one takes other values. */
    private static final Set<String> ANOTHER_STATEMENT = Set.of("26000", "42P05", "08P01");
    /** As initdb and the server say why they end, among other lines. */
    private static final Pattern COMPLAINT = Pattern.compile("(?:error|FATAL|PANIC): +(.*)");

    private String dataDir;
    private String host;
    private int port;
    private String user;
    private String password;
    private String name;
    private int maxConnections;
    private int minConnections;
    private long idleTimeout;
    private long connectionTimeout;

    private Start start;
    private EmbeddedPostgres embedded;
    private WatchedPool pool;

    /**
     * Begins to connect, starting a server first if there is none, and to bring the schema up to date; {@link #dataSource}
     * waits for it.
     */
    public void start() {
        boolean own = host == null || host.isBlank();
        start = new Start("postgres-start", own ? null : "PostgreSQL at " + host + ":" + port, () -> connect(own));
    }

    private Void connect(boolean own) throws IOException, InterruptedException {
        if (own) {
            startEmbedded(Path.of(dataDir, "postgres").toAbsolutePath().normalize());
        }
        if (!current(server(own, ANSWER_SECONDS))) {
            migrate(server(own, 0));
        }
        if (!own) {
            mustKeepStatements(server(own, ANSWER_SECONDS));
        }
        HikariConfig config = new HikariConfig();
        config.setDataSource(server(own, ANSWER_SECONDS));
        // a little sooner than nobody waits for it any more: what waits for a lock would go on waiting, and be done in the end
        config.setConnectionInitSql("SET statement_timeout = " + ANSWER_SECONDS * 900);
        config.setPoolName("postgres");
        config.setMaximumPoolSize(maxConnections);
        config.setMinimumIdle(Math.min(minConnections, maxConnections));
        config.setIdleTimeout(idleTimeout);
        // so often whoever waits for a connection looks whether PostgreSQL is still there
        config.setConnectionTimeout(Math.clamp(connectionTimeout, 250, 1_000));
        config.setValidationTimeout(Math.clamp(connectionTimeout, 250, 1_000));
        config.setInitializationFailTimeout(FIRST_CONNECTION_MILLIS);
        pool = new WatchedPool(new HikariDataSource(config), server(own, WATCH_SECONDS), connectionTimeout);
        return null;
    }

    /**
     * Brings the schema up to date. Whoever uses a table waits behind a migration that waits for it: that is short, and tried
     * again. What it does itself takes its time, whatever the role or the database gives a statement.
     */
    private static void migrate(DataSource server) throws IOException, InterruptedException {
        Flyway flyway = Flyway.configure().dataSource(server).initSql("SET lock_timeout = '1s'; SET statement_timeout = 0").load();
        for (int tries = 1;; tries++) {
            try {
                flyway.migrate();
                return;
            } catch (FlywayException e) {
                SQLException refused = ObjectHelper.getException(SQLException.class, e);
                if (refused == null || !LOCK_NOT_AVAILABLE.equals(refused.getSQLState())) {
                    throw e;
                }
            }
            if (tries == MIGRATION_TRIES) {
                throw new IOException("the schema cannot be brought up to date while others use its tables, as a backup does (pg_stat_activity"
                        + " says who). Nothing is half done; start again when they have ended.");
            }
            LOG.warn("The schema waits to be brought up to date until others, such as a backup, no longer use its tables");
            Thread.sleep(MIGRATION_PAUSE_MILLIS);
        }
    }

    /**
     * A pooler between that gives each transaction a connection of its own, and knows nothing of prepared statements, would
     * have one of ours do what another one says, where that takes as many values, or be refused as it is there already.
     */
    private static void mustKeepStatements(DataSource server) throws IOException {
        String text = UUID.randomUUID().toString();
        // says by which names it is prepared where it is executed
        String sql = "SELECT '" + text + " ' || string_agg(name, ' ') FROM pg_prepared_statements WHERE statement LIKE '%" + text + "%'";
        try (Connection first = server.getConnection(); Connection second = server.getConnection();
                PreparedStatement kept = first.prepareStatement(sql); Statement other = second.createStatement()) {
            kept.unwrap(PGStatement.class).setPrepareThreshold(1);
            String before = said(kept);
            // has the connection on which it was prepared, if that was given back
            second.setAutoCommit(false);
            other.execute("SELECT 1");
            String after = said(kept);
            // one that is not there the driver prepares once more, by its next name; poolers that know of them have names of their own
            if (after.equals(before) || after.startsWith(text) && !after.contains(" S_")) {
                return;
            }
        } catch (SQLException e) {
            if (e.getSQLState() == null || !ANOTHER_STATEMENT.contains(e.getSQLState())) {
                LOG.debug("Whether statements stay prepared cannot be told", e);
                return;
            }
        }
        throw new IOException("what is between forgets prepared statements, or takes one for another. PgBouncer keeps them with"
                + " pool_mode = session, or, from 1.21 on, with max_prepared_statements.");
    }

    private static String said(PreparedStatement statement) throws SQLException {
        try (ResultSet row = statement.executeQuery()) {
            return row.next() ? String.valueOf(row.getString(1)) : "";
        }
    }

    /** Whether the schema is that of the last migration: a start that has nothing to migrate does without Flyway, which takes its time. */
    private static boolean current(DataSource server) {
        try (Connection connection = server.getConnection(); Statement statement = connection.createStatement();
                ResultSet applied = statement.executeQuery("SELECT 1 FROM flyway_schema_history WHERE success AND version = '" + SCHEMA + "'")) {
            return applied.next();
        } catch (SQLException e) {
            // no history yet, or no server: Flyway makes the one, and says what is wrong with the other
            return false;
        }
    }

    /** @param answerSeconds how long an answer is waited for, also from a server that has lost its power; 0: for ever */
    private PGSimpleDataSource server(boolean own, int answerSeconds) {
        PGSimpleDataSource server = new PGSimpleDataSource();
        server.setServerNames(new String[] {own ? "127.0.0.1" : host});
        server.setPortNumbers(new int[] {own ? embedded.getPort() : port});
        server.setDatabaseName(own ? "postgres" : name);
        server.setUser(own ? "postgres" : user);
        if (!own) {
            server.setPassword(password);
        }
        server.setSocketTimeout(answerSeconds);
        server.setConnectTimeout(CONNECT_SECONDS);
        server.setLoginTimeout(CONNECT_SECONDS);
        server.setTcpKeepAlive(true);
        // a server that was demoted, and only reads, is no server: its connections would be kept for half an hour
        server.setTargetServerType("primary");
        server.setHostRecheckSeconds(1);
        server.setApplicationName("llmchat");
        // the details of an error repeat the row, and with it what was said
        server.setLogServerErrorDetail(false);
        return server;
    }

    /** Whether PostgreSQL has answered lately; to be asked only after {@link #dataSource}. */
    public boolean available() {
        return pool.available();
    }

    /** Whether it was away, and has not been back for longer than this. */
    public boolean wasAwayWithin(Duration time) {
        return pool.wasAwayWithin(time);
    }

    /** @throws java.util.concurrent.CompletionException why it cannot be connected to */
    public DataSource dataSource() {
        start.await();
        return pool;
    }

    /** Closes the pool and stops the server, if it is ours. */
    public void stop() throws IOException {
        start.end();
        if (pool != null) {
            pool.close();
        }
        if (embedded != null) {
            embedded.close();
        }
    }

    private void startEmbedded(Path folder) throws IOException {
        boolean first = !Files.exists(folder.resolve("data/postgresql.conf"));
        LOG.info("{} PostgreSQL in {}", first ? "Creating" : "Starting", folder);
        Files.createDirectories(folder);
        Path lock = folder.resolve("data/epg-lock");
        if (Files.exists(lock) && inUse(lock)) {
            throw new IOException("Another gateway is using the data in " + folder + ". Stop it, or choose another DATA_DIR.");
        }
        Processes.endOrphan(folder.resolve("data/postmaster.pid"), "postgres", "PostgreSQL");
        // the library unpacks the server here; it also tidies the folders beside its own, so the data are not among them
        Path server = folder.resolve("server");
        System.setProperty("ot.epg.working-dir", server.toString());
        Path started = server.resolve("started");
        if (Files.exists(server) && !Files.deleteIfExists(started)) {
            // a start that was cut, or a full disk, may have left half of a file, which the library takes for all of it
            FileUtil.removeDir(server.toFile());
        }
        // with a line of ours, which takes the room for what is said when the disk gets full
        Path log = Files.writeString(folder.resolve("log"), Instant.now() + " PostgreSQL is started\n");
        try {
            embedded = EmbeddedPostgres.builder()
                    .setDataDirectory(folder.resolve("data"))
                    .setCleanDataDirectory(false)
                    .setRegisterShutdownHook(false)
                    // a busy machine, or a server that first has to recover, takes its time
                    .setPGStartupWait(Duration.ofSeconds(60))
                    .setOutputRedirector(ProcessBuilder.Redirect.appendTo(log.toFile()))
                    // the library trades durability for speed unless told otherwise
                    .setServerConfig("fsync", "on")
                    .setServerConfig("synchronous_commit", "on")
                    .setServerConfig("max_connections", "200")
                    .setServerConfig("log_error_verbosity", "terse")
                    // why it does not start or ends: its log does not grow, and has nothing of what is said
                    .setServerConfig("log_min_messages", "fatal")
                    .setServerConfig("listen_addresses", "127.0.0.1")
                    .setServerConfig("unix_socket_directories", "")
                    .start();
        } catch (IOException | RuntimeException e) {
            // the last one: before it, whoever asked too early was refused
            throw new IOException("PostgreSQL does not start in " + folder + ": "
                    + COMPLAINT.matcher(new String(Files.readAllBytes(log), StandardCharsets.UTF_8)).results().map(line -> line.group(1))
                            .reduce((before, last) -> last).orElseGet(() -> Cause.of(e) + " (what it has said is in " + log + ")"));
        }
        Files.createDirectories(server);
        Files.createFile(started);
    }

    /** Whether a living gateway holds the lock of this data folder. */
    private static boolean inUse(Path lockFile) throws IOException {
        try (FileChannel channel = FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock lock = channel.tryLock()) {
            return lock == null;
        } catch (OverlappingFileLockException e) {
            return true;
        }
    }

    public void setDataDir(String dataDir) {
        this.dataDir = dataDir;
    }

    public void setHost(String host) {
        this.host = host;
    }

    public void setPort(int port) {
        this.port = port;
    }

    public void setUser(String user) {
        this.user = user;
    }

    public void setPassword(String password) {
        this.password = password;
    }

    public void setName(String name) {
        this.name = name;
    }

    public void setMaxConnections(int maxConnections) {
        this.maxConnections = maxConnections;
    }

    public void setMinConnections(int minConnections) {
        this.minConnections = minConnections;
    }

    public void setIdleTimeout(long idleTimeout) {
        this.idleTimeout = idleTimeout;
    }

    public void setConnectionTimeout(long connectionTimeout) {
        this.connectionTimeout = connectionTimeout;
    }
}
