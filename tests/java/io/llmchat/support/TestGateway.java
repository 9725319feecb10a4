package io.llmchat.support;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.host.Gateway;
import io.llmchat.json.Json;
import io.llmchat.store.Postgres;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.sql.DataSource;

/**
 * A gateway in the test's own process, on a free port, with a fake provider behind all providers that have a key. Its
 * stores are real; all gateways of a test run share them. {@link #shared()} serves all tests that need no settings.
 */
public final class TestGateway implements AutoCloseable {

    /** What the administrator of {@link #inKeyMode} shows. */
    public static final String ADMIN_KEY = "the-admin-key-of-the-test";
    /** The header with it, as a name and a value. */
    public static final String[] ADMIN = {"Authorization", "Bearer " + ADMIN_KEY};

    /** Of the process that runs these tests: two run at a time, and each has its own. */
    private static final String PROCESS = System.getProperty("tests.process", "1");
    private static final Path DATA = Path.of("target", "test-data", PROCESS).toAbsolutePath();

    private static TestGateway shared;
    private static Path empty;

    private final FakeProvider provider;
    private final Gateway gateway;
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private TestGateway(Map<String, String> settings, String... more) throws Exception {
        provider = new FakeProvider();
        Map<String, String> all = new HashMap<>(Map.of(
                "llmchat.http.port", "0",
                "llmchat.store.data-dir", DATA.toString(),
                "llmchat.openai.base-url", provider.url() + "/v1",
                "llmchat.openai.api-key", "sk-of-the-gateway",
                "llmchat.admit.max-requests", "1000000",
                "llmchat.limit.points", "1000000",
                "llmchat.retry.base-delay", "1",
                "llmchat.retry.max-delay", "5",
                "llmchat.retry.budget-floor", "1000",
                "llmchat.record.batch-interval", "50"));
        all.putAll(Map.of(
                "llmchat.anthropic.base-url", provider.url(),
                "llmchat.anthropic.api-key", "sk-ant-of-the-gateway",
                "llmchat.dify.base-url", provider.url() + "/v1",
                "llmchat.dify.api-key", "app-of-the-gateway",
                "llmchat.fastgpt.base-url", provider.url() + "/api",
                "llmchat.fastgpt.api-key", "fastgpt-of-the-gateway"));
        all.putAll(settings);
        for (int i = 0; i < more.length; i += 2) {
            all.put(more[i], more[i + 1]);
        }
        gateway = new Gateway(all);
        gateway.start();
    }

    /** The gateway of all tests that can live with its settings; ends with the JVM. */
    public static synchronized TestGateway shared() throws Exception {
        if (shared == null) {
            shared = new TestGateway(Map.of());
            Runtime.getRuntime().addShutdownHook(new Thread(shared.gateway::stop));
        }
        return shared;
    }

    /** A gateway of its own with these properties, on the PostgreSQL and Redis of the shared one. */
    public static TestGateway with(String... settings) throws Exception {
        Map<String, String> map = new HashMap<>();
        map.put("llmchat.postgres.host", "127.0.0.1");
        map.put("llmchat.postgres.port", Integer.toString(shared().postgresPort()));
        map.put("llmchat.postgres.user", "postgres");
        map.put("llmchat.postgres.name", "postgres");
        map.put("llmchat.postgres.max-connections", "5");
        map.put("llmchat.redis.host", "127.0.0.1");
        map.put("llmchat.redis.port", Integer.toString(shared().redisPort()));
        return new TestGateway(map, settings);
    }

    /** One of these that asks everybody for a key, and has {@link #ADMIN_KEY}. */
    public static TestGateway inKeyMode(String... more) throws Exception {
        String[] settings = Arrays.copyOf(more, more.length + 4);
        System.arraycopy(new String[] {"llmchat.admit.auth-mode", "keys", "llmchat.admit.admin-key", ADMIN_KEY}, 0, settings, more.length, 4);
        return with(settings);
    }

    /** Where the PostgreSQL of this gateway listens; its user and its database are {@code postgres}. */
    public int postgresPort() throws SQLException {
        var postgres = (org.postgresql.ds.PGSimpleDataSource) bean(DataSource.class)
                .unwrap(com.zaxxer.hikari.HikariDataSource.class).getDataSource();
        return postgres.getPortNumbers()[0];
    }

    public int redisPort() {
        return URI.create(bean(org.redisson.api.RedissonClient.class).getConfig().useSingleServer().getAddress()).getPort();
    }

    /** A gateway with stores of its own in this folder, which need not be there. */
    public static TestGateway alone(Path data, String... settings) throws Exception {
        // Camel keeps the first context of a process in static places: that one must not be stopped
        shared();
        if (!Files.exists(data.resolve("postgres/data"))) {
            copyPostgres(data);
        }
        return new TestGateway(Map.of("llmchat.store.data-dir", data.toString()), settings);
    }

    /** Puts the data of an empty PostgreSQL where a gateway whose data are in this folder has them. */
    public static void copyPostgres(Path data) throws Exception {
        copy(emptyPostgres(), data);
    }

    /** Puts the programs of PostgreSQL where a process whose data are in this folder has them: to unpack them takes seconds. */
    public static void copyServer(Path data) throws Exception {
        shared();
        copy(DATA.resolve("postgres/server"), data);
    }

    private static void copy(Path from, Path data) throws Exception {
        Files.createDirectories(data.resolve("postgres"));
        new ProcessBuilder("cp", "-a", from.toString(), data.resolve("postgres").toString()).inheritIO().start().waitFor();
    }

    /** The data of a PostgreSQL that has the schema and nothing else, and does not run: to make them takes seconds. */
    private static synchronized Path emptyPostgres() throws Exception {
        if (empty == null) {
            // it unpacks what all of this process run
            shared();
            Path data = Path.of("target", "empty-stores", PROCESS).toAbsolutePath();
            Postgres postgres = new Postgres();
            postgres.setDataDir(data.toString());
            postgres.setMaxConnections(1);
            postgres.start();
            try {
                postgres.dataSource();
            } finally {
                postgres.stop();
            }
            empty = data.resolve("postgres/data");
        }
        return empty;
    }

    public FakeProvider provider() {
        return provider;
    }

    public String url() {
        return "http://127.0.0.1:" + gateway.port();
    }

    public int port() {
        return gateway.port();
    }

    public <T> T bean(Class<T> type) {
        return gateway.bean(type);
    }

    /** Sends a request with a JSON body and returns the whole response; {@code headers} are names and values in turn. */
    public HttpResponse<String> send(String method, String path, String body, String... headers) throws IOException, InterruptedException {
        return client.send(request(method, path, body, headers), HttpResponse.BodyHandlers.ofString());
    }

    public HttpResponse<String> post(String path, String body, String... headers) throws IOException, InterruptedException {
        return send("POST", path, body, headers);
    }

    public HttpResponse<String> get(String path, String... headers) throws IOException, InterruptedException {
        return send("GET", path, null, headers);
    }

    public HttpRequest request(String method, String path, String body, String... headers) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url() + path)).timeout(Duration.ofSeconds(30))
                .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
                .header("Content-Type", "application/json");
        for (int i = 0; i < headers.length; i += 2) {
            request.header(headers[i], headers[i + 1]);
        }
        return request.build();
    }

    /** A chat on the OpenAI dialect with one user message. */
    public static String chat(String model, boolean stream) {
        return "{\"model\":\"" + model + "\",\"stream\":" + stream + ",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    }

    /** A chat on the native dialect with one user message. */
    public static String nativeChat(String agent, boolean stream) {
        return "{\"agentId\":\"" + agent + "\",\"stream\":" + stream + ",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    }

    public static JsonNode json(String text) {
        try {
            return Json.read(text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new AssertionError("not JSON: " + text, e);
        }
    }

    /** One number from the database. */
    public long count(String sql) throws SQLException {
        try (Connection c = bean(DataSource.class).getConnection(); var s = c.createStatement(); var row = s.executeQuery(sql)) {
            row.next();
            return row.getLong(1);
        }
    }

    /** Runs a statement on the database, and tells how many rows it has changed. */
    public int execute(String sql) throws SQLException {
        try (Connection c = bean(DataSource.class).getConnection(); var s = c.createStatement()) {
            s.execute(sql);
            return s.getUpdateCount();
        }
    }

    /** The value of a metric, by its name and labels as Prometheus writes them; 0 if it is not there. */
    public double metric(String name) throws IOException, InterruptedException {
        return get("/metrics").body().lines().filter(l -> l.startsWith(name + " ")).findFirst()
                .map(l -> Double.parseDouble(l.substring(name.length() + 1))).orElse(0.0);
    }

    /** Has it answer some chats, so that what a cold JVM takes is not taken for a provider that is slow. */
    public TestGateway warm() throws IOException, InterruptedException {
        for (int i = 0; i < 20; i++) {
            post("/v1/chat/completions", chat("openai/warm", i % 2 == 0));
        }
        return this;
    }

    /** Does something, mostly a request, on a thread of its own. */
    public static <T> CompletableFuture<T> begun(Callable<T> work) {
        CompletableFuture<T> done = new CompletableFuture<>();
        Thread.ofVirtual().start(() -> {
            try {
                done.complete(work.call());
            } catch (Throwable e) {
                done.completeExceptionally(e);
            }
        });
        return done;
    }

    /** Waits until something holds, ten seconds at most. */
    public static void until(String what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(10).toNanos();
        while (!holds.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("did not happen within 10 s: " + what);
            }
            Thread.sleep(10);
        }
    }

    /** Fails if what a change leads to takes a second or longer; a machine that stood still meanwhile may have it tried once more. */
    public static void withinASecond(Callable<Callable<Boolean>> change) throws Exception {
        long took = Long.MAX_VALUE;
        for (int i = 0; i < 2 && took >= 1_000_000_000L; i++) {
            Callable<Boolean> seen = change.call();
            long begun = System.nanoTime();
            until("it is seen", seen);
            took = System.nanoTime() - begun;
        }
        if (took >= 1_000_000_000L) {
            throw new AssertionError("took " + took + " ns");
        }
    }

    /** Waits until midnight, wherever it is, is not just to come: what is counted by days is not to be counted by two. */
    public static void farFromMidnight() throws InterruptedException {
        long halfAnHour = Duration.ofMinutes(30).toMillis();
        while (System.currentTimeMillis() % halfAnHour > halfAnHour - 20_000) {
            Thread.sleep(100);
        }
    }

    /** Waits until a number grows no more. */
    public static void untilStill(String what, AtomicInteger number) throws Exception {
        int[] last = {-1};
        until(what, () -> {
            int before = last[0];
            last[0] = number.get();
            TimeUnit.MILLISECONDS.sleep(200);
            return before == last[0];
        });
    }

    @Override
    public void close() throws Exception {
        gateway.stop();
        provider.close();
    }
}
