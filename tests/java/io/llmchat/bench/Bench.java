package io.llmchat.bench;

import io.llmchat.json.Json;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Measures the gateway beside the provider without it, in turn: {@code ./llmchat bench}. Three processes: the gateway,
 * {@link Provider}, and this one, which makes the load.
 */
public final class Bench implements AutoCloseable {

    /** By chance alone three rounds lie apart from three others in one of ten comparisons, five from five in one of 126. */
    private static final int ROUNDS = 5;
    /** Files that a process has open beside two for each stream, also where requests wait a second for it. */
    private static final int OTHER_FILES = 2_000;
    /** The usual heap has room for so many streams. */
    private static final int STREAMS_IN_USUAL_HEAP = 4_000;
    static final String LARGE_HEAP = "512m";
    /** Cores that others may use before figures are doubted. */
    private static final double NOISY = 0.2;
    /** So many loads of some seconds at most are given to who still gets faster. */
    static final int MOST_WARM_UP = 20;
    /** So many in a row that are no faster are enough. */
    private static final int CALM = 6;
    static final Path HOME = Path.of(System.getProperty("bench.home", ".")).toAbsolutePath().normalize();
    static final Path OUT = HOME.resolve("target/bench");

    /** Some hundred tokens of question, as people ask. */
    static final String MESSAGES = "\"temperature\":0.2,\"max_tokens\":256,\"messages\":[{\"role\":\"system\",\"content\":\"You are a concise"
            + " assistant for the support desk of a small web shop. Answer in at most three sentences, say so when you do not know, and never invent"
            + " order numbers, prices or delivery dates.\"},{\"role\":\"user\",\"content\":\"My parcel was due on Tuesday and has still not arrived. The"
            + " tracking page has said 'in transit' for four days. What can I do, and when should I ask for a refund?\"}]";

    /**
     * One load that is measured.
     *
     * @param tokens of an answer; {@code first}, {@code gap}: milliseconds to the first one and between two
     * @param rate requests a second, 0: a closed loop of {@code connections}
     * @param metrics what it is about, in the order of the table; the first three are in the chart
     * @param usual whether it is part of a run that names no scenarios
     */
    record Scenario(String id, String title, boolean stream, int tokens, int first, int gap, int connections, double rate, double seconds,
            List<Metric> metrics, boolean usual) {

        List<Metric> columns() {
            List<Metric> all = new ArrayList<>(metrics);
            all.addAll(List.of(Metric.COMPLETE, Metric.CPU, Metric.RSS));
            return all;
        }

        boolean hasMoreStreamsThan(int most) {
            return id.startsWith("streams-") && connections > most;
        }
    }

    private static final List<Scenario> SCENARIOS = List.of(
            new Scenario("json-64", "whole answers, 64 connections", false, 20, 0, 0, 64, 0, 5, List.of(Metric.RATE, Metric.P50, Metric.P99), true),
            // few requests leave the compiler time to go on: the first ones have to be many
            new Scenario("json-1", "whole answers, 1 connection", false, 20, 0, 0, 1, 0, 5, List.of(Metric.RATE, Metric.P50, Metric.P99), true),
            new Scenario("open-500", "whole answers, 500 requests a second, which the provider takes 20 ms for", false, 20, 20, 0, 512, 500, 5,
                    List.of(Metric.P50, Metric.P99), true),
            new Scenario("sse-64", "streams of 20 tokens at once, 64 connections", true, 20, 0, 0, 64, 0, 5,
                    List.of(Metric.RATE, Metric.FIRST_P50, Metric.FIRST_P99), true),
            streams(1_000, true), streams(5_000, false), streams(10_000, false));

    private static Scenario streams(int n, boolean usual) {
        return new Scenario("streams-" + n, n + " streams within 5 s, 50 tokens each, one in 100 ms", true, 50, 200, 100, n, n / 5.0, 5,
                List.of(Metric.FIRST_P50, Metric.FIRST_P99, Metric.GAP_P99), usual);
    }

    private final boolean quick;
    private final Cores cores;
    /** Before this process is bound to some of them. */
    private final int processors = Runtime.getRuntime().availableProcessors();
    private final Process provider;
    private final int providerPort;
    private final LoadGenerator generator = new LoadGenerator();

    Bench(boolean quick) throws IOException, InterruptedException {
        this.quick = quick;
        this.cores = Cores.find();
        say("Placing: " + cores + ".");
        double others = Cores.atWork();
        if (others > NOISY) {
            say(String.format(Locale.ROOT, "Something else keeps %.1f cores at work: what is measured now says little.", others));
        }
        cores.bindThisProcess();
        // with the options of this JVM
        List<String> java = new ArrayList<>(Cores.on(cores.others(), Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        java.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        java.addAll(List.of("-cp", System.getProperty("java.class.path"), Provider.class.getName()));
        provider = new ProcessBuilder(java).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        providerPort = Integer.parseInt(provider.inputReader().readLine());
    }

    @Override
    public void close() throws InterruptedException {
        generator.close();
        provider.destroy();
        provider.waitFor();
    }

    /** Settings of a gateway with our provider behind {@code openai}. */
    Map<String, String> settings() {
        return Map.of("OPENAI_BASE_URL", "http://127.0.0.1:" + providerPort + "/v1", "OPENAI_API_KEY", "sk-bench");
    }

    Cores cores() {
        return cores;
    }

    LoadGenerator generator() {
        return generator;
    }

    /** @param settings of the gateway; what they leave out is that of this process */
    Map<String, String> machine(Map<String, String> settings) {
        Map<String, String> machine = new LinkedHashMap<>();
        machine.put("processors", Integer.toString(processors));
        machine.put("placing", cores.toString());
        machine.put("Java", System.getProperty("java.vendor.version", "") + " " + System.getProperty("java.vm.version"));
        machine.put("system", System.getProperty("os.name") + " " + System.getProperty("os.version") + " " + System.getProperty("os.arch"));
        machine.put("stores", set("DB_HOST", settings).equals(Results.NOT_SET) ? "embedded" : "external");
        for (String name : List.of("LLMCHAT_HEAP", "JAVA_OPTS")) {
            machine.put(name, set(name, settings));
        }
        machine.put("length", quick ? "quick" : "full");
        return machine;
    }

    static String set(String name, Map<String, String> settings) {
        String value = settings.getOrDefault(name, System.getenv().getOrDefault(name, ""));
        return value.isEmpty() ? Results.NOT_SET : value;
    }

    /** How many streams there may be: each has two files in the gateway. */
    static int mostStreams() throws IOException {
        try (var limits = Files.lines(Path.of("/proc/self/limits"))) {
            String[] files = limits.filter(l -> l.startsWith("Max open files")).findFirst().orElseThrow().trim().split("\\s+");
            return files[4].equals("unlimited") ? Integer.MAX_VALUE : mostStreams(Integer.parseInt(files[4]));
        }
    }

    static int mostStreams(int files) {
        return Math.max(0, (files - OTHER_FILES) / 200 * 100);
    }

    /** With as many streams as there may be where a scenario has more; without those for which there is no room at all. */
    static List<Scenario> possible(List<Scenario> scenarios, int most) {
        if (scenarios.stream().anyMatch(s -> s.hasMoreStreamsThan(most))) {
            say("Open files are limited (ulimit -Hn): " + most + " streams at most.");
        }
        return scenarios.stream().map(s -> s.hasMoreStreamsThan(most) ? streams(most, s.usual) : s).filter(s -> s.connections > 0).distinct().toList();
    }

    /** A POST of a chat; {@code headers} end with a line break each. */
    static byte[] post(String path, String headers, String body) {
        return Json.utf8("POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + headers
                + "Content-Length: " + Json.utf8(body).length + "\r\n\r\n" + body);
    }

    private static byte[] request(Scenario s, boolean direct) {
        String model = "bench-" + s.tokens + "-" + s.first + "-" + s.gap;
        return post("/v1/chat/completions", "Authorization: Bearer bench\r\n", "{\"model\":\"" + (direct ? "" : "openai/") + model + "\","
                + (s.stream ? "\"stream\":true," : "") + MESSAGES + "}");
    }

    private Load load(Scenario s, InetSocketAddress to, boolean direct) {
        double part = quick && s.rate == 0 ? 0.3 : 1;
        return new Load(to, List.of(request(s, direct)), s.connections, s.rate, s.rate == 0 ? millis(500) : Duration.ZERO, millis(s.seconds * 1_000 * part),
                millis(s.gap * s.tokens + 10_000), s.stream ? s.tokens + 2 : 0);
    }

    /** Load that nobody measures: who has waited for his turn begins slowly. */
    private Load leadIn(Scenario s, InetSocketAddress to, boolean direct, double seconds) {
        Scenario warm = new Scenario("", "", s.stream, 20, 0, 0, 16, 0, seconds, List.of(), false);
        return new Load(to, List.of(request(warm, direct)), 16, 0, Duration.ZERO, millis(seconds * 1_000), millis(5_000), warm.stream ? 22 : 0);
    }

    /** Repeats a load until whoever gets it, who compiles meanwhile, gets no faster, or so many times. */
    void settle(Load load, int most) throws Exception {
        double best = 0;
        int calm = 0;
        for (int i = 0; i < most && calm < CALM; i++) {
            double rate = generator.run(load, NOTHING).metrics().get(Metric.RATE);
            calm = rate > 1.05 * best ? 0 : calm + 1;
            best = Math.max(best, rate);
        }
    }

    private static Duration millis(double millis) {
        return Duration.ofMillis(Math.round(millis));
    }

    static final LoadGenerator.Watch NOTHING = new LoadGenerator.Watch() {
        @Override
        public void begin() {
            // nobody watches
        }

        @Override
        public void end() {
            // nobody watches
        }
    };

    /** Measures a load that a gateway gets, and what that costs it. */
    Map<Metric, Double> measure(GatewayUnderLoad gateway, Load load, String what) throws Exception {
        Duration[] cpu = new Duration[2];
        gateway.forgetPeak();
        Measured measured = generator.run(load, new LoadGenerator.Watch() {
            @Override
            public void begin() {
                cpu[0] = gateway.cpu();
            }

            @Override
            public void end() {
                cpu[1] = gateway.cpu();
            }
        });
        Map<Metric, Double> metrics = metrics(measured, what);
        metrics.put(Metric.CPU, (cpu[1].toNanos() - cpu[0].toNanos()) / 1e3 / Math.max(1, measured.sent()));
        metrics.put(Metric.RSS, gateway.peakMiB());
        return metrics;
    }

    private static Map<Metric, Double> metrics(Measured measured, String what) {
        if (!measured.errors().isEmpty()) {
            System.out.println("  " + what + ": " + measured.errors());
        }
        return measured.metrics();
    }

    /** What is measured now on a gateway with these settings. */
    Results results(Map<String, String> settings) {
        return new Results(DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm").format(LocalDateTime.now()), machine(settings));
    }

    private Map<String, String> settings(List<Scenario> scenarios) {
        Map<String, String> settings = new HashMap<>(settings());
        if (scenarios.stream().anyMatch(s -> s.hasMoreStreamsThan(STREAMS_IN_USUAL_HEAP))) {
            settings.put("LLMCHAT_HEAP", System.getenv().getOrDefault("LLMCHAT_HEAP", LARGE_HEAP));
        }
        return settings;
    }

    private void run(List<Scenario> scenarios, Map<String, String> settings, Results results) throws Exception {
        InetSocketAddress direct = new InetSocketAddress("127.0.0.1", providerPort);
        try (GatewayUnderLoad gateway = new GatewayUnderLoad(HOME, OUT.resolve("data"), cores, settings)) {
            say("Warming up ...");
            for (boolean stream : new boolean[] {false, true}) {
                Scenario warm = scenarios.stream().filter(s -> s.stream == stream).findFirst().orElse(null);
                if (warm != null) {
                    settle(leadIn(warm, direct, true, 1), quick ? 2 : MOST_WARM_UP);
                    settle(leadIn(warm, gateway.address(), false, 2), quick ? 4 : MOST_WARM_UP);
                }
            }
            for (Scenario s : scenarios) {
                for (int round = 1; round <= (quick ? 1 : ROUNDS); round++) {
                    say(s.id + ", round " + round + " ...");
                    generator.run(leadIn(s, direct, true, 1), NOTHING);
                    results.add(s.id, Results.DIRECT, metrics(generator.run(load(s, direct, true), NOTHING), "direct"));
                    generator.run(leadIn(s, gateway.address(), false, quick ? 1 : 2), NOTHING);
                    results.add(s.id, Results.GATEWAY, measure(gateway, load(s, gateway.address(), false), "gateway"));
                }
            }
        }
    }

    /** What was measured, also if it is not all. */
    private static void tell(Results results, List<Scenario> scenarios) throws IOException {
        List<Scenario> measured = scenarios.stream().filter(s -> results.scenarios().containsKey(s.id)).toList();
        for (Scenario s : measured) {
            say(String.format(Locale.ROOT, "%n### %s: %s%n%n%s", s.id, s.title, results.table(s.id, s.columns())));
        }
        if (!measured.isEmpty()) {
            save(results, chart(results, measured), "bench");
        }
    }

    static void say(String line) {
        System.out.println(line);
    }

    private static Chart chart(Results results, List<Scenario> scenarios) {
        Chart chart = new Chart("The gateway beside the provider without it", results.date() + ", " + results.machine().get("placing")
                + "; medians of the rounds, lines from the lowest to the highest", 3);
        for (Scenario s : scenarios) {
            chart.newRow();
            for (Metric metric : s.metrics.subList(0, Math.min(3, s.metrics.size()))) {
                List<Chart.Value> values = new ArrayList<>();
                for (String of : List.of(Results.DIRECT, Results.GATEWAY)) {
                    Spread spread = results.get(s.id, of, metric);
                    if (spread != null) {
                        values.add(new Chart.Value(of, spread));
                    }
                }
                chart.bars(s.id, metric.title, values);
            }
        }
        return chart;
    }

    /** Writes what was measured, and its picture. */
    static void save(Results results, Chart chart, String name) throws IOException {
        Path json = OUT.resolve(name + "-" + results.date().replaceAll("[^0-9]", "") + ".json");
        Path svg = OUT.resolve(name + ".svg");
        results.write(json);
        Files.writeString(svg, chart.svg());
        say("The figures are in " + json + ", a picture of them in " + svg + ".");
    }

    /** Exits with 1 if something is worse than in the run that it is compared with, with 2 if an option is none. */
    public static void main(String[] args) throws Exception {
        boolean quick = false;
        Results earlier = null;
        List<Scenario> scenarios = SCENARIOS.stream().filter(Scenario::usual).toList();
        for (int i = 0; i < args.length; i++) {
            String value = i + 1 < args.length ? args[i + 1] : "";
            switch (args[i]) {
                case "--quick" -> quick = true;
                case "--compare" -> {
                    earlier = read(value);
                    i++;
                }
                case "--scenarios" -> {
                    scenarios = named(value);
                    i++;
                }
                default -> stop("bench takes --quick, --scenarios a,b and --compare FILE, not '" + args[i] + "'.");
            }
        }
        scenarios = possible(scenarios, mostStreams());
        if (earlier != null && scenarios.stream().map(Scenario::id).noneMatch(earlier::has)) {
            stop("There is nothing to compare: the earlier run has " + earlier.scenarios().keySet() + ", and not "
                    + scenarios.stream().map(Scenario::id).toList() + ".");
        }
        Files.createDirectories(OUT);
        Results results;
        try (Bench bench = new Bench(quick)) {
            Map<String, String> settings = bench.settings(scenarios);
            results = bench.results(settings);
            try {
                bench.run(scenarios, settings, results);
            } finally {
                tell(results, scenarios);
            }
        }
        if (earlier != null) {
            results.compare(earlier).forEach(Bench::say);
            if (results.changesSince(earlier, Results.GATEWAY).stream().anyMatch(Results.Change::worse)) {
                System.exit(1);
            }
        }
    }

    static List<Scenario> named(String names) {
        List<Scenario> found = new ArrayList<>();
        for (String name : names.split(",")) {
            SCENARIOS.stream().filter(s -> s.id.equals(name)).findFirst().ifPresentOrElse(found::add,
                    () -> stop("There is no scenario '" + name + "'; there are " + Arrays.toString(SCENARIOS.stream().map(Scenario::id).toArray()) + "."));
        }
        return found;
    }

    private static Results read(String file) {
        try {
            return Results.read(Path.of(file));
        } catch (IOException e) {
            stop("--compare takes a file of an earlier run, and '" + file + "' is none: " + e.getMessage());
            throw new IllegalStateException(e);
        }
    }

    static void stop(String why) {
        System.err.println(why);
        System.exit(2);
    }
}
