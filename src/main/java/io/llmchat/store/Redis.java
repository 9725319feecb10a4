package io.llmchat.store;

import io.vertx.core.Vertx;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.redisson.Redisson;
import org.redisson.api.RedissonClient;
import org.redisson.api.options.OptionalOptions;
import org.redisson.client.codec.Codec;
import org.redisson.config.Config;
import org.redisson.config.EqualJitterDelay;
import org.redisson.config.FullJitterDelay;
import org.redisson.config.SingleServerConfig;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import redis.embedded.RedisServer;
import redis.embedded.core.ExecutableProvider;
import redis.embedded.core.RedisServerBuilder;

/**
 * Redis and its client: the server at {@code host}, or, without one, a real server of our own whose data stay in
 * {@code dataDir}. One per process; safe for all threads once started.
 */
public final class Redis {

    private static final Logger LOG = LoggerFactory.getLogger(Redis.class);
    private static final long BUSY_NANOS = 2_000_000_000L;

    private String dataDir;
    private String host;
    private int port;
    private String password;
    private int database;
    private int maxRetries;
    private Vertx vertx;
    private RedisServer embedded;
    private FileChannel lock;
    private Start start;
    private RedissonClient client;
    private RedisWatch watch;

    /** Begins to connect, starting a server first if there is none; {@link #client} and {@link #watch} wait for it. */
    public void start() {
        boolean own = host == null || host.isBlank();
        start = new Start("redis-start", own ? null : "Redis at " + host + ":" + port, () -> connect(own));
    }

    private Void connect(boolean own) throws IOException {
        int at = own ? startEmbedded(Path.of(dataDir, "redis").toAbsolutePath().normalize()) : port;
        Config config = new Config();
        // an answer that comes on the loop that reads requests costs no change of threads
        config.setEventLoopGroup(vertx.nettyEventLoopGroup());
        // for listeners, of which we have none: 16 by default, and each pause of the collector looks through all threads
        config.setThreads(2);
        // scripts go by their hash, once Redis has them
        config.setUseScriptCache(true);
        SingleServerConfig server = config.useSingleServer()
                .setAddress("redis://" + (own ? "127.0.0.1" : host) + ":" + at)
                .setDatabase(own ? 0 : database)
                // all from the start: in a burst of requests, opening more takes longer than waiting for one
                .setConnectionMinimumIdleSize(16)
                .setConnectionPoolSize(16)
                .setSubscriptionConnectionPoolSize(4)
                .setTimeout(1_000)
                .setConnectTimeout(2_000)
                .setRetryAttempts(maxRetries)
                // not a full jitter: all retries of a command have the delay that was drawn first, and ten of 1 ms are none
                .setRetryDelay(new EqualJitterDelay(Duration.ofMillis(100), Duration.ofSeconds(3)))
                // the tuning guide: exponential, three seconds at most
                .setReconnectionDelay(new FullJitterDelay(Duration.ofMillis(50), Duration.ofSeconds(3)));
        if (!own && password != null && !password.isBlank()) {
            server.setPassword(password);
        }
        client = Redisson.create(config);
        watch = new RedisWatch(client, vertx.nettyEventLoopGroup());
        watch.start();
        return null;
    }

    /** @throws java.util.concurrent.CompletionException why it cannot be connected to */
    public RedissonClient client() {
        start.await();
        return client;
    }

    /**
     * For scripts that are sent once: what is sent again when there is no answer is done as often when Redis comes to it, and
     * a replica, which only reads, says so at once and would count as one that does not answer while it is asked again.
     */
    public static OptionalOptions once(Codec codec) {
        return OptionalOptions.defaults().codec(codec).retryAttempts(0);
    }

    /** Whether Redis has answered lately; to be asked only after {@link #watch} or {@link #client}. */
    public boolean available() {
        return watch.available();
    }

    /** Whether it answers, and what other instances have changed. */
    public RedisWatch watch() {
        start.await();
        return watch;
    }

    /** Disconnects and stops the server, if it is ours. */
    public void stop() throws IOException {
        start.end();
        if (client != null) {
            watch.stop();
            client.shutdown(0, 2, TimeUnit.SECONDS);
        }
        if (embedded != null) {
            embedded.stop();
        }
        if (lock != null) {
            lock.close();
        }
    }

    private int startEmbedded(Path folder) throws IOException {
        LOG.info("Starting Redis in {}", folder);
        Files.createDirectories(folder);
        // held until the end: a server whose gateway lives is no orphan
        lock = FileChannel.open(folder.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        if (!locked(lock)) {
            lock.close();
            throw new IOException("Another gateway is using the data in " + folder + ". Stop it, or choose another DATA_DIR.");
        }
        Processes.endOrphan(folder.resolve("redis.pid"), "redis-server", "Redis");
        int free;
        try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            free = probe.getLocalPort();
        }
        ExecutableProvider server = ExecutableProvider.newJarResourceProvider(folder.toFile());
        embedded = new RedisServerBuilder()
                .executableProvider(() -> inItsOwnSession(server.get().toPath(), folder).toFile())
                .port(free)
                .setting("dir " + quoted(folder))
                .setting("pidfile " + quoted(folder.resolve("redis.pid")))
                .setting("appendonly yes")
                .setting("save \"\"")
                .build();
        startServer();
        return free;
    }

    /**
     * What was just written cannot be run while a process that began meanwhile, one of PostgreSQL's, has it open still: it
     * is tried again.
     */
    private void startServer() throws IOException {
        long began = System.nanoTime();
        while (true) {
            try {
                embedded.start();
                return;
            } catch (IOException e) {
                if (System.nanoTime() - began > BUSY_NANOS) {
                    throw e;
                }
                LockSupport.parkNanos(BUSY_NANOS / 20);
            }
        }
    }

    /** As redis.conf takes a path that may have blanks in it. */
    private static String quoted(Path path) {
        return '"' + path.toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static boolean locked(FileChannel file) throws IOException {
        try {
            return file.tryLock() != null;
        } catch (OverlappingFileLockException e) {
            return false;
        }
    }

    /** Ctrl-C goes to the whole process group of a terminal: the store must outlive the streams that are to end. */
    private static Path inItsOwnSession(Path server, Path folder) throws IOException {
        Path script = folder.resolve("start");
        Files.writeString(script, "#!/bin/sh\nexec setsid '" + server.toString().replace("'", "'\\''") + "' \"$@\"\n");
        return Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwx------"));
    }

    public void setVertx(Vertx vertx) {
        this.vertx = vertx;
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

    public void setPassword(String password) {
        this.password = password;
    }

    public void setDatabase(int database) {
        this.database = database;
    }

    public void setMaxRetries(int maxRetries) {
        this.maxRetries = maxRetries;
    }
}
