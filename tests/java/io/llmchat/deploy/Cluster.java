package io.llmchat.deploy;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Three gateways, processes of the built jar, behind a real nginx with the configuration of {@code deploy/}, on one
 * PostgreSQL and one Redis with theirs. Everything listens on free ports of loopback and ends with {@link #close()}.
 */
final class Cluster implements AutoCloseable {

    private static final Path NGINX = Path.of("deploy/nginx");

    private final Path folder;
    private final FakeProvider provider = new FakeProvider();
    private Stores.Database postgres;
    private Stores.Cache redis;
    private final List<Process> gateways = new ArrayList<>();
    private final List<Integer> ports = new ArrayList<>();
    private Process nginx;
    private final int port = GatewayProcess.freePort();
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /** @param settings environment variables of all three */
    Cluster(Path folder, Map<String, String> settings) throws Exception {
        this.folder = folder;
        try {
            postgres = Stores.postgres(folder);
            redis = Stores.redis(folder);
            for (int i = 0; i < 3; i++) {
                ports.add(GatewayProcess.freePort());
            }
            // the first brings the schema up to date, and the others find it so
            gateways.add(gateway(0, settings));
            serves(0);
            gateways.add(gateway(1, settings));
            gateways.add(gateway(2, settings));
            serves(1);
            serves(2);
            nginx = nginx();
            TestGateway.until("nginx listens", () -> Stores.listens(port));
        } catch (Throwable e) {
            close();
            throw e;
        }
    }

    private void serves(int i) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (!Stores.listens(ports.get(i))) {
            if (System.nanoTime() > end || !gateways.get(i).isAlive()) {
                throw new AssertionError("a gateway does not start:\n" + Files.readString(log(i)));
            }
            Thread.sleep(50);
        }
    }

    private Path log(int i) {
        return folder.resolve("gateway-" + i + ".log");
    }

    private Process gateway(int i, Map<String, String> settings) throws IOException {
        ProcessBuilder launcher = new ProcessBuilder(Path.of("llmchat").toAbsolutePath().toString(), "start")
                .redirectErrorStream(true).redirectOutput(log(i).toFile());
        Map<String, String> env = launcher.environment();
        env.putAll(Map.of("JAVA_HOME", System.getProperty("java.home"), "PORT", ports.get(i).toString(), "AUTH_MODE", "open",
                "DATA_DIR", folder.resolve("gateway-" + i).toString(),
                "OPENAI_BASE_URL", provider.url() + "/v1", "OPENAI_API_KEY", "sk-of-the-gateway",
                "RATE_LIMIT_MAX_REQUESTS", "0", "RATE_LIMIT_POINTS", "0", "TRUSTED_PROXIES", "127.0.0.1"));
        env.putAll(Map.of("DB_HOST", "127.0.0.1", "DB_PORT", Integer.toString(postgres.port()), "DB_USER", "postgres", "DB_NAME", "postgres",
                "DB_MAX_CONNECTIONS", "20", "REDIS_HOST", "127.0.0.1", "REDIS_PORT", Integer.toString(redis.port()),
                "REDIS_PASSWORD", Stores.PASSWORD));
        env.putAll(settings);
        return launcher.start();
    }

    /** nginx as it is deployed, but for ports, and files that only its own user could write. */
    private Process nginx() throws IOException {
        Path at = Files.createDirectories(folder.resolve("nginx"));
        String upstream = Files.readString(NGINX.resolve("upstream.conf"));
        for (int i = 0; i < 3; i++) {
            upstream = upstream.replace("127.0.0.1:" + (3001 + i), "127.0.0.1:" + ports.get(i));
        }
        Files.writeString(at.resolve("upstream.conf"), upstream);
        StringBuilder own = new StringBuilder("http {\n");
        for (String temporary : List.of("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) {
            own.append("    ").append(temporary).append("_temp_path ").append(at.resolve(temporary)).append(";\n");
        }
        Files.writeString(at.resolve("nginx.conf"), Files.readString(NGINX.resolve("nginx.conf"))
                .replace("http {\n", own).replace("/var/log/nginx/", at + "/").replace("listen 80 ", "listen 127.0.0.1:" + port + " "));
        try {
            return new ProcessBuilder("nginx", "-p", at.toString(), "-c", at.resolve("nginx.conf").toString(),
                    "-e", at.resolve("error.log").toString(), "-g", "daemon off; pid " + at.resolve("nginx.pid") + ";")
                    .redirectErrorStream(true).redirectOutput(at.resolve("nginx.out").toFile()).start();
        } catch (IOException e) {
            throw new AssertionError("nginx is needed for these tests, and there is none on the PATH: install it (apt-get install nginx-light).", e);
        }
    }

    /** The port of nginx. */
    int port() {
        return port;
    }

    FakeProvider provider() {
        return provider;
    }

    Stores.Cache redis() {
        return redis;
    }

    Process gateway(int i) {
        return gateways.get(i);
    }

    /** Posts through nginx; {@code headers} are names and values in turn. */
    HttpResponse<String> post(String path, String body, String... headers) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).timeout(Duration.ofSeconds(60))
                .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body));
        for (int i = 0; i < headers.length; i += 2) {
            request.header(headers[i], headers[i + 1]);
        }
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    /** Which gateway answered each request, by the request's id, as nginx writes it down at the end of each. */
    Map<String, Integer> gatewayOf() throws IOException {
        Map<String, Integer> gateways = new HashMap<>();
        for (String line : Files.readAllLines(folder.resolve("nginx/access.log"))) {
            String id = line.replaceAll(".* id=(\\S+) .*", "$1");
            // of several, the last one is the one that answered
            String address = line.replaceAll(".* gateway=(.*) first=.*", "$1").replaceAll(".*, ", "");
            if (address.startsWith("127.0.0.1:")) {
                gateways.put(id, ports.indexOf(Integer.parseInt(address.substring(address.indexOf(':') + 1))));
            }
        }
        return gateways;
    }

    @Override
    public void close() throws Exception {
        if (nginx != null) {
            nginx.destroy();
            nginx.waitFor(10, TimeUnit.SECONDS);
        }
        for (Process gateway : gateways) {
            gateway.destroyForcibly().waitFor();
        }
        if (redis != null) {
            redis.close();
        }
        if (postgres != null) {
            postgres.close();
        }
        provider.close();
    }
}
