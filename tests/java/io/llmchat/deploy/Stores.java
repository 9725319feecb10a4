package io.llmchat.deploy;

import io.llmchat.support.GatewayProcess;
import io.llmchat.support.TestGateway;
import io.zonky.test.db.postgres.embedded.EmbeddedPostgres;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import org.redisson.Redisson;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;
import redis.embedded.core.ExecutableProvider;

/** The real servers with the configurations of {@code deploy/}; only address, folder and password are the test's. */
final class Stores {

    static final String PASSWORD = "of-the-test";

    private Stores() {
    }

    /** A PostgreSQL. */
    record Database(EmbeddedPostgres server) implements AutoCloseable {
        int port() {
            return server.getPort();
        }

        Connection connection() throws SQLException {
            return server.getPostgresDatabase().getConnection();
        }

        @Override
        public void close() throws IOException {
            server.close();
        }
    }

    /** A Redis. */
    record Cache(Process server, int port) implements AutoCloseable {
        /** A client; it need not be closed before the server. */
        RedissonClient client() {
            Config config = new Config();
            config.useSingleServer().setAddress("redis://127.0.0.1:" + port).setPassword(PASSWORD).setRetryAttempts(0)
                    .setConnectionMinimumIdleSize(1).setConnectionPoolSize(2).setSubscriptionConnectionPoolSize(1)
                    .setSubscriptionConnectionMinimumIdleSize(1);
            return Redisson.create(config);
        }

        @Override
        public void close() throws InterruptedException {
            server.destroy();
            server.waitFor();
        }
    }

    static Database postgres(Path folder) throws IOException {
        return new Database(EmbeddedPostgres.builder()
                .setDataDirectory(folder.resolve("postgres"))
                .setServerConfig("config_file", Path.of("deploy/postgres/postgresql.conf").toAbsolutePath().toString())
                .setServerConfig("listen_addresses", "127.0.0.1")
                .setServerConfig("unix_socket_directories", "")
                .setPGStartupWait(Duration.ofSeconds(60))
                .start());
    }

    static Cache redis(Path folder) throws Exception {
        Path files = Files.createDirectories(folder.resolve("redis"));
        int port = GatewayProcess.freePort();
        Process server = new ProcessBuilder(ExecutableProvider.newJarResourceProvider(files.toFile()).get().getAbsolutePath(),
                Path.of("deploy/redis/redis.conf").toAbsolutePath().toString(), "--bind", "127.0.0.1", "--port", Integer.toString(port),
                "--dir", files.toString(), "--requirepass", PASSWORD)
                .redirectErrorStream(true).redirectOutput(files.resolve("redis.log").toFile()).start();
        TestGateway.until("Redis listens", () -> listens(port));
        return new Cache(server, port);
    }

    /** Whether something accepts connections on this port. */
    static boolean listens(int port) {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return socket.isConnected();
        } catch (IOException e) {
            return false;
        }
    }
}
