package io.llmchat.bench;

import io.llmchat.json.Json;
import io.llmchat.store.KeyHash;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.apache.camel.util.FileUtil;

/**
 * What a request costs with more and more of everything: {@code ./llmchat bench growth}. One gateway with stores of its
 * own, which are filled step by step; after each step the same load, so many requests a second whatever there is, and
 * the processor time that the gateway takes without it is taken off.
 */
public final class Growth implements AutoCloseable {

    private static final int WINDOWS = 5;
    private static final double WINDOW_SECONDS = 1.5;
    /** So many windows are not measured before the first step: each kind has code of its own to be compiled. */
    private static final int FIRST_WARM_UP = 6;
    /** Requests a second; those of sessions wait for the disk. */
    private static final double RATE = 1_000;
    private static final double SESSION_RATE = 200;
    /** So many of what there is are used in turn: that is what callers do, and what a cache can hold. */
    private static final int MOST_IN_USE = 1_000;
    private static final int MESSAGES_IN_SESSION = 20;
    private static final String MODEL = "bench-20-0-0";
    /** A token now, and one every ten seconds. */
    private static final String HELD = "openai/bench-100000-0-10000";
    private static final String SECRET = "the-bench-hashes-its-keys-with-this-secret";

    private static final List<String> SERIES = List.of("agents", "keys", "routes", "streams", "messages");

    /** One kind of thing of which there is more and more. */
    private record Series(String id, String title, double rate, int[] steps, Step step) {
    }

    /** Brings what there is from {@code before} to {@code now}; the requests that are to be sent then. */
    private interface Step {
        List<byte[]> fill(int before, int now) throws Exception;
    }

    private final Bench bench;
    private final Path routes = Bench.OUT.resolve("routes");
    private final GatewayUnderLoad gateway;
    private final Connection database;
    private final List<SocketChannel> held = new ArrayList<>();
    private final KeyHash hash = new KeyHash(null, SECRET);
    private final List<String> keys = new ArrayList<>();
    private final Results results;
    private final int ownFiles;

    private Growth(Bench bench) throws Exception {
        this.bench = bench;
        results = bench.results(settings());
        exportRoutes();
        gateway = new GatewayUnderLoad(Bench.HOME, Bench.OUT.resolve("data"), bench.cores(), settings());
        // on loopback, as the user whose it is: the line after the folder and the time is the port
        String port = Files.readAllLines(gateway.data().resolve("postgres/data/postmaster.pid")).get(3).trim();
        database = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres?reWriteBatchedInserts=true", "postgres", "");
        ownFiles = servingFiles();
    }

    private Map<String, String> settings() {
        Map<String, String> settings = new HashMap<>(bench.settings());
        // what fills a database has one of its own
        settings.putAll(Map.of("DB_HOST", "", "REDIS_HOST", "", "ROUTES_DIR", routes.toString(), "KEY_HASH_SECRET", SECRET,
                "HISTORY_MAX_MESSAGES", Integer.toString(MESSAGES_IN_SESSION), "STREAM_TIMEOUT", "3600000"));
        settings.put("LLMCHAT_HEAP", System.getenv().getOrDefault("LLMCHAT_HEAP", Bench.LARGE_HEAP));
        return settings;
    }

    private void exportRoutes() throws IOException, InterruptedException {
        // also what an earlier version had there
        if (Files.exists(routes)) {
            FileUtil.removeDir(routes.toFile());
        }
        Process export = new ProcessBuilder(Bench.HOME.resolve("llmchat").toString(), "routes", "export", routes.toString())
                .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        if (export.waitFor() != 0) {
            throw new IOException("The routes cannot be written to " + routes);
        }
    }

    @Override
    public void close() throws Exception {
        release();
        database.close();
        gateway.close();
    }

    private void release() throws IOException {
        for (SocketChannel stream : held) {
            stream.close();
        }
        held.clear();
    }

    private void run(Series series) throws Exception {
        int before = 0;
        for (int now : series.steps) {
            List<byte[]> requests = series.step.fill(before, now);
            before = now;
            for (int i = 0; i < (now == series.steps[0] ? FIRST_WARM_UP : 1); i++) {
                bench.generator().run(load(requests, series.rate), Bench.NOTHING);
            }
            List<Double> withoutLoad = new ArrayList<>();
            for (int i = 0; i < WINDOWS; i++) {
                double idle = idle();
                withoutLoad.add(idle);
                Map<Metric, Double> metrics = bench.measure(gateway, load(requests, series.rate), name(series, now));
                metrics.computeIfPresent(Metric.CPU, (m, cpu) -> Math.max(0, cpu - idle * 1e6 / series.rate));
                results.add(name(series, now), Results.GATEWAY, metrics);
            }
            Bench.say(String.format(Locale.ROOT, "%-24s CPU µs/request %-20s p50 ms %-20s complete %s %%, without load %.1f %% of a core", name(series, now),
                    results.get(name(series, now), Results.GATEWAY, Metric.CPU), results.get(name(series, now), Results.GATEWAY, Metric.P50),
                    results.get(name(series, now), Results.GATEWAY, Metric.COMPLETE), 100 * Spread.of(withoutLoad).median()));
        }
        release();
    }

    private static String name(Series series, int step) {
        return series.id + " " + label(step);
    }

    static String label(int number) {
        return number >= 1_000_000 && number % 1_000_000 == 0 ? number / 1_000_000 + "M"
                : number >= 1_000 && number % 100 == 0 ? (number % 1_000 == 0 ? "" + number / 1_000 : "" + number / 1_000.0) + "k" : "" + number;
    }

    private Load load(List<byte[]> requests, double rate) {
        return new Load(gateway.address(), requests, 256, rate, Duration.ZERO, Duration.ofMillis(Math.round(WINDOW_SECONDS * 1_000)), Duration.ofSeconds(10), 0);
    }

    private Load closed(byte[] request) {
        return new Load(gateway.address(), List.of(request), 16, 0, Duration.ZERO, Duration.ofSeconds(2), Duration.ofSeconds(5), 0);
    }

    /** How much of a core the gateway takes while nobody asks. */
    private double idle() throws InterruptedException {
        Duration before = gateway.cpu();
        long begun = System.nanoTime();
        Thread.sleep(1_500);
        return (double) gateway.cpu().minus(before).toNanos() / (System.nanoTime() - begun);
    }

    /** Requests for so many things that are spread evenly over all there are. */
    private static List<byte[]> requests(int all, IntFunction<byte[]> request) {
        int used = Math.min(all, MOST_IN_USE);
        return IntStream.range(0, used).mapToObj(i -> request.apply((int) ((long) i * all / used))).toList();
    }

    private static byte[] chat(String model, String headers) {
        return Bench.post("/v1/chat/completions", headers, "{\"model\":\"" + model + "\"," + Bench.MESSAGES + "}");
    }

    // --- what there is more of

    private List<byte[]> streams(int before, int now) throws IOException {
        byte[] request = Bench.post("/v1/chat/completions", "", "{\"stream\":true,\"model\":\"" + HELD + "\"," + Bench.MESSAGES + "}");
        for (int i = before; i < now; i++) {
            SocketChannel stream = SocketChannel.open(gateway.address());
            held.add(stream);
            stream.write(ByteBuffer.wrap(request));
            // it is open when its first token is there; what comes later is left in the buffers of the kernel
            ByteBuffer got = ByteBuffer.allocate(8_192);
            while (!new String(got.array(), 0, got.position(), StandardCharsets.UTF_8).contains("data:")) {
                if (stream.read(got) < 0) {
                    throw new IOException("a stream was refused: " + new String(got.array(), 0, got.position(), StandardCharsets.UTF_8));
                }
            }
        }
        return List.of(chat("openai/" + MODEL, ""));
    }

    private List<byte[]> agents(int before, int now) throws Exception {
        sql("INSERT INTO agent_configs (id, name, provider, model, system_prompt) SELECT 'agent-' || i, 'Agent ' || i, 'openai', '" + MODEL
                + "', 'Answer in one sentence.' FROM generate_series(" + before + ", " + (now - 1) + ") i");
        return requests(now, i -> chat("agent-" + i, ""));
    }

    private List<byte[]> keys(int before, int now) throws Exception {
        sql("INSERT INTO users (id, name) SELECT 'user-' || i, 'User ' || i FROM generate_series(" + before + ", " + (now - 1) + ") i");
        try (PreparedStatement insert = database.prepareStatement("INSERT INTO api_keys (id, user_id, name, prefix, hash) VALUES (?, ?, 'Key', ?, ?)")) {
            for (int i = before; i < now; i++) {
                String key = hash.make();
                keys.add(key);
                insert.setString(1, "key-" + i);
                insert.setString(2, "user-" + i);
                insert.setString(3, KeyHash.shown(key));
                insert.setBytes(4, hash.of(key));
                insert.addBatch();
                if (i % 1_000 == 999 || i == now - 1) {
                    insert.executeBatch();
                }
            }
        }
        tidy();
        return requests(now, i -> chat("openai/" + MODEL, "Authorization: Bearer " + keys.get(i) + "\r\n"));
    }

    private List<byte[]> messages(int before, int now) throws Exception {
        if (before == 0) {
            // with sessions that are gone before the first step: it would not be one of so few messages
            bench.settle(closed(session("")), Bench.MOST_WARM_UP);
            sql("TRUNCATE chat_sessions CASCADE");
        }
        int from = before / MESSAGES_IN_SESSION;
        int to = now / MESSAGES_IN_SESSION;
        String sessions = " FROM generate_series(" + from + ", " + (to - 1) + ") s";
        sql("INSERT INTO chat_sessions (id, user_id, agent_id, title) SELECT 'chat-' || s, 'anonymous', 'openai/" + MODEL + "', 'Chat ' || s" + sessions);
        sql("INSERT INTO chat_messages (id, session_id, role, content, created_at) SELECT s || '-' || m, 'chat-' || s,"
                + " CASE m % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, repeat('some words and ', 8) || m, now() - make_interval(secs => (" + to
                + " - s) * 60 - m)" + sessions + ", generate_series(0, " + (MESSAGES_IN_SESSION - 1) + ") m");
        return requests(to, i -> session("\"chatId\":\"chat-" + i + "\","));
    }

    private static byte[] session(String chat) {
        return Bench.post("/api/chat/completions", "", "{\"agentId\":\"openai/" + MODEL + "\"," + chat
                + "\"messages\":[{\"role\":\"user\",\"content\":\"And what if it does not arrive at all?\"}]}");
    }

    private List<byte[]> routes(int before, int now) throws Exception {
        Path beside = Files.createDirectories(Bench.OUT.resolve("extra"));
        for (int i = before; i < now; i++) {
            String name = "extra-" + i;
            Files.writeString(beside.resolve(name + ".camel.yaml"), """
                    - route:
                        id: %1$s
                        description: One more
                        from:
                          uri: direct:%1$s
                          steps:
                            - setProperty: {name: extra, expression: {simple: {expression: "${header.some}"}}}
                            - filter:
                                expression: {simple: {expression: "${exchangeProperty.extra} == 'x'"}}
                                steps:
                                  - to: direct:record
                    """.formatted(name));
        }
        for (int i = before; i < now; i++) {
            String file = "extra-" + i + ".camel.yaml";
            Files.move(beside.resolve(file), routes.resolve(file), StandardCopyOption.ATOMIC_MOVE);
        }
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (servingFiles() != ownFiles + now) {
            if (System.nanoTime() > end) {
                throw new IOException("The routes are not put to work: " + gateway.get("/health/detailed").body());
            }
            Thread.sleep(50);
        }
        return List.of(chat("openai/" + MODEL, ""));
    }

    /** From how many files the routes are that serve. */
    private int servingFiles() throws Exception {
        return Json.read(Json.utf8(gateway.get("/health/detailed").body())).findPath("routes").path("files").asInt();
    }

    private void sql(String statement) throws Exception {
        try (Statement s = database.createStatement()) {
            s.execute(statement);
        }
        tidy();
    }

    /** What PostgreSQL and the disk would do while we measure, they do now. */
    private void tidy() throws Exception {
        try (Statement s = database.createStatement()) {
            s.execute("VACUUM ANALYZE");
            s.execute("CHECKPOINT");
        }
        new ProcessBuilder("sync").start().waitFor();
    }

    private List<Series> series() throws IOException {
        int most = Bench.mostStreams();
        int[] streams = IntStream.of(10, 100, 1_000, 5_000, 10_000).map(n -> Math.min(n, most)).filter(n -> n > 0).distinct().toArray();
        if (most < 10_000) {
            Bench.say("Open files are limited (ulimit -Hn): " + most + " streams at most.");
        }
        return List.of(new Series("agents", "Agents", RATE, new int[] {10, 100, 1_000, 10_000}, this::agents),
                new Series("keys", "API keys, each with a user", RATE, new int[] {100, 1_000, 10_000, 100_000}, this::keys),
                new Series("routes", "Route files added", RATE, new int[] {25, 50, 100, 200}, this::routes),
                new Series("streams", "Open streams", RATE, streams, this::streams),
                // the last: PostgreSQL tidies up after it; the load itself writes some thousand
                new Series("messages", "Stored messages, chats in sessions", SESSION_RATE, new int[] {10_000, 100_000, 1_000_000}, this::messages));
    }

    /** Measures all of it, or what is named. */
    public static void main(String[] args) throws Exception {
        Files.createDirectories(Bench.OUT);
        List<String> named = List.of(args);
        if (!SERIES.containsAll(named)) {
            Bench.stop("bench growth takes names of " + SERIES + ", or none for all.");
        }
        try (Bench bench = new Bench(false); Growth growth = new Growth(bench)) {
            List<Series> all = growth.series().stream().filter(s -> named.isEmpty() || named.contains(s.id)).toList();
            bench.settle(growth.closed(chat("openai/" + MODEL, "")), Bench.MOST_WARM_UP);
            try {
                for (Series series : all) {
                    growth.run(series);
                }
            } finally {
                if (!growth.results.scenarios().isEmpty()) {
                    Bench.save(growth.results, growth.chart(all), "growth");
                }
            }
        }
    }

    private Chart chart(List<Series> all) {
        Chart chart = new Chart("What a request costs with more of everything", results.date() + "; medians of " + WINDOWS + " rounds, lines from the lowest to the highest", 2);
        for (Series series : all) {
            for (Metric metric : List.of(Metric.CPU, Metric.P50)) {
                chart.curve(series.title, metric.title, IntStream.of(series.steps).mapToObj(
                        n -> new Chart.Value(label(n), results.get(name(series, n), Results.GATEWAY, metric)))
                        .filter(value -> value.spread() != null).toList());
            }
        }
        return chart;
    }
}
