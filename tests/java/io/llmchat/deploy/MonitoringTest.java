package io.llmchat.deploy;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.llmchat.json.Json;
import io.llmchat.support.TestGateway;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Alerts and dashboard ask for metrics that a gateway really has, once it has served requests of each kind. */
class MonitoringTest {

    private static final Path PROMETHEUS = Path.of("deploy/prometheus");
    /** PromQL's own words, which can stand where a metric could. */
    private static final Set<String> WORDS = Set.of("sum", "max", "min", "avg", "rate", "increase", "max_over_time", "histogram_quantile", "by",
            "and", "or", "unless", "on", "without", "for");
    /** Prometheus makes them for each target. */
    private static final Set<String> MADE_BY_PROMETHEUS = Set.of("up", "instance", "job");

    /** The metrics that an expression names: its words without what stands in braces, brackets, or after {@code by}. */
    static Set<String> metrics(String expression) {
        String bare = expression.replaceAll("\"[^\"]*\"", "").replaceAll("\\{[^}]*}", "").replaceAll("\\[[^]]*]", "")
                .replaceAll("\\b(by|on|without)\\s*\\([^)]*\\)", "");
        return Pattern.compile("[a-zA-Z_:][a-zA-Z0-9_:]*").matcher(bare).results().map(m -> m.group())
                .filter(w -> !WORDS.contains(w)).collect(Collectors.toCollection(TreeSet::new));
    }

    /** The labels of a metric that an expression, or a line of Prometheus, names: in its braces, and after {@code by} and the like. */
    static Set<String> labels(String metric, String expression) {
        String bare = expression.replaceAll("\"[^\"]*\"", "\"\"");
        return Pattern.compile("\\b" + metric + "\\{([^}]*)}|\\b(?:by|on|without)\\s*\\(([^)]*)\\)").matcher(bare).results()
                .flatMap(m -> Pattern.compile("\\w+").matcher(m.group(1) == null ? m.group(2) : m.group(1)).results())
                .map(m -> m.group()).collect(Collectors.toCollection(TreeSet::new));
    }

    /** The alerts by their names. */
    private static Map<String, JsonNode> rules() throws IOException {
        Map<String, JsonNode> rules = new TreeMap<>();
        new YAMLMapper().readTree(PROMETHEUS.resolve("alerts.yml").toFile()).at("/groups/0/rules")
                .forEach(rule -> rules.put(rule.path("alert").asText(), rule));
        return rules;
    }

    private static List<String> alerts() throws IOException {
        return rules().values().stream().map(rule -> rule.path("expr").asText()).toList();
    }

    private static JsonNode dashboard() throws IOException {
        return Json.read(Files.readAllBytes(Path.of("deploy/grafana/llmchat.json")));
    }

    private static List<String> panels() throws IOException {
        List<String> all = new ArrayList<>();
        dashboard().findValues("expr").forEach(e -> all.add(e.asText()));
        all.add(dashboard().path("templating").path("list").get(1).path("query").asText().replaceAll("label_values\\((.*),.*\\)", "$1"));
        return all;
    }

    /** Every name under which the gateway has a value, with the labels of its values. */
    private static Map<String, Set<String>> served() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on("monitored-500", call -> call.json(500, "{}"));
        gateway.post("/v1/chat/completions", chat("openai/monitored", true));
        gateway.post("/v1/chat/completions", chat("openai/monitored-500", false));
        gateway.post("/v1/messages", "{\"model\":\"anthropic/monitored\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        gateway.post("/api/chat/completions", nativeChat("demo", false));
        gateway.get("/api/agents");
        gateway.get("/nowhere");
        // two of them come with the JVM's first collection and the first look at PostgreSQL
        System.gc();
        TestGateway.until("all is measured", () -> gateway.metric("db_server_backends") > 0
                && gateway.get("/metrics").body().contains("\njvm_gc_pause_seconds_max{"));
        Map<String, Set<String>> served = new TreeMap<>();
        gateway.get("/metrics").body().lines().filter(l -> !l.startsWith("#")).forEach(l -> {
            String name = l.split("[{ ]")[0];
            served.computeIfAbsent(name, n -> new TreeSet<>()).addAll(labels(name, l));
        });
        return served;
    }

    @Test
    void everyMetricThatTheyNameIsThereWithTheLabelsByWhichTheyAsk() throws Exception {
        Map<String, Set<String>> served = served();
        List<String> expressions = new ArrayList<>(alerts());
        expressions.addAll(panels());
        Set<String> missing = new TreeSet<>();
        for (String expression : expressions) {
            assertTrue(!metrics(expression).isEmpty(), expression);
            for (String metric : metrics(expression)) {
                if (MADE_BY_PROMETHEUS.contains(metric)) {
                    continue;
                }
                if (!served.containsKey(metric)) {
                    missing.add(metric);
                }
                for (String label : labels(metric, expression)) {
                    if (!MADE_BY_PROMETHEUS.contains(label) && !served.getOrDefault(metric, Set.of()).contains(label)) {
                        missing.add(metric + "{" + label + "}");
                    }
                }
            }
        }
        assertEquals(Set.of(), missing);
    }

    /** By which paths its requests are counted. */
    private static Set<String> paths(TestGateway gateway) throws Exception {
        return gateway.get("/metrics").body().lines().filter(l -> l.startsWith("http_requests_total{"))
                .map(l -> l.replaceAll(".*path=\"([^\"]*)\".*", "$1")).collect(Collectors.toSet());
    }

    @Test
    void whatAsksAProviderIsNoSlowRequest() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.post("/api/chat/completions", nativeChat("demo", false));
        gateway.post("/api/chat/history/some-id/retry", "{\"messageId\":\"x\"}");
        gateway.get("/api/chat/history");
        Set<String> paths = paths(gateway);
        assertTrue(paths.containsAll(List.of("/api/chat/history/{chatId}/retry", "/api/chat/history")), paths.toString());
        String slow = alerts().stream().filter(a -> a.contains("http_request_duration_seconds_bucket")).findFirst().orElseThrow();
        String leftOut = slow.replaceAll(".*path!~\"([^\"]*)\".*", "$1");
        for (String path : List.of("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/api/chat/completions",
                "/api/chat/history/{chatId}/retry", "/health", "/metrics")) {
            assertTrue(path.matches(leftOut), path);
        }
        assertTrue(!"/api/chat/history".matches(leftOut) && !"/api/agents".matches(leftOut), leftOut);
    }

    @Test
    void probesAndScrapesDoNotHideThatRequestsFail() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.get("/health/ready");
        gateway.get("/metrics");
        Set<String> paths = paths(gateway);
        assertTrue(paths.containsAll(List.of("/health", "/metrics")), paths.toString());
        List<String> shares = new ArrayList<>(alerts());
        shares.addAll(panels());
        shares.removeIf(e -> !metrics(e).containsAll(Set.of("http_request_errors_total", "http_requests_total")));
        assertEquals(3, shares.size());
        for (String share : shares) {
            assertEquals(2, share.split(Pattern.quote("path!~\"/health|/metrics\""), -1).length - 1, share);
        }
    }

    @Test
    void howLongProbesAndScrapesTakeIsNotHowLongRequestsDo() throws Exception {
        List<String> durations = new ArrayList<>(alerts());
        durations.addAll(panels());
        durations.removeIf(e -> !metrics(e).contains("http_request_duration_seconds_bucket"));
        assertEquals(4, durations.size());
        for (String duration : durations) {
            assertTrue(duration.contains("|/health|/metrics\"") || duration.contains("path!~\"/health|/metrics\""), duration);
        }
    }

    @Test
    void aReadThatRedisAnswersIsNotAlsoAHitOfTheMemoryThatMissedIt() throws Exception {
        List<MatchResult> hits = panels().stream().flatMap(e -> Pattern.compile("cache_hits_total(\\{[^}]*})?").matcher(e).results()).toList();
        assertFalse(hits.isEmpty());
        for (MatchResult hit : hits) {
            assertTrue(String.valueOf(hit.group(1)).contains("cache!~\".+-redis\""), hit.group());
        }
    }

    /** Each session that a provider begins has to be read once. */
    @Test
    void whatIsReadForTheFirstTimeIsNoLowHitRate() throws Exception {
        String expression = rules().get("LowHitRate").path("expr").asText();
        assertFalse(expression.replace("_total{cache=\"agents\"}", "").contains("_total"), expression);
    }

    /** A breaker that opens again and again is open only some of the time. */
    @Test
    void aBreakerThatKeepsOpeningIsToldOfAndOneThatHasOpenedOnceIsNot() throws Exception {
        JsonNode rule = rules().get("BreakerOpen");
        long range = seconds(rule.path("expr").asText().replaceAll(".*\\[(\\w+)].*", "$1"));
        long open = Long.parseLong(Files.readString(Path.of("application.properties"))
                .replaceAll("(?s).*CIRCUIT_BREAKER_RESET_TIMEOUT:(\\d+).*", "$1")) / 1000;
        assertTrue(range > 2 * open, "it ends between two openings");
        assertTrue(seconds(rule.path("for").asText()) > range + open, "it begins with the first one");
    }

    /** What ends takes no connections, and no scrapes, while its streams come to their end. */
    @Test
    void aGatewayThatDrainsWakesNobodyAndManyThatAreGoneDo() throws Exception {
        Map<String, JsonNode> down = rules();
        down.values().removeIf(rule -> !metrics(rule.path("expr").asText()).equals(Set.of("up")));
        String grace = Files.readString(Path.of("application.properties")).replaceAll("(?s).*DRAIN_GRACE:(\\d+).*", "$1");
        assertTrue(seconds(down.get("GatewayDown").path("for").asText()) * 1000 > Long.parseLong(grace));
        assertTrue(seconds(down.get("GatewaysDown").path("for").asText()) <= 60);
        assertEquals(2, down.size());
    }

    private static long seconds(String time) {
        return Long.parseLong(time.replaceAll("\\D", "")) * (time.endsWith("m") ? 60 : 1);
    }

    @Test
    void everyMetricOfTheGuideIsOnTheDashboard() throws Exception {
        Set<String> shown = panels().stream().flatMap(e -> metrics(e).stream()).collect(Collectors.toSet());
        for (String name : List.of("http_requests_total", "http_request_duration_seconds_bucket", "http_request_errors_total",
                "db_connections_active", "db_connections_idle", "db_connections_waiting", "cache_hits_total", "cache_misses_total",
                "cache_hit_rate", "circuit_breaker_open", "circuit_breaker_half_open")) {
            assertTrue(shown.contains(name), name);
        }
    }

    @Test
    void anExpressionIsReadForItsMetricsOnly() {
        assertEquals(Set.of("a_total", "b:c"), metrics("sum by (le, x) (rate(a_total{p=~\"q|r\"}[5m])) / max(b:c) > 0.5 and on (x) a_total"));
        assertEquals(Set.of("nobody_has_this"), metrics("nobody_has_this > 2"));
        String expression = "sum by (le, x) (rate(a_total{p=~\"q|r{s}\",t!=\"u\"}[5m])) / max(b:c) > 0.5";
        assertEquals(Set.of("le", "x", "p", "t"), labels("a_total", expression));
        assertEquals(Set.of("le", "x"), labels("b:c", expression));
    }

    @Test
    void anAlertNamesASectionOfTheOperatorsGuideThatNamesIt() throws Exception {
        Map<String, String> sections = new TreeMap<>();
        for (String section : Files.readString(Path.of("docs/operate.md")).split("(?m)^## ")) {
            sections.put("docs/operate.md#" + section.lines().findFirst().orElse("").toLowerCase(java.util.Locale.ROOT)
                    .replaceAll("[^a-z0-9 -]", "").replace(' ', '-'), section);
        }
        rules().forEach((alert, rule) -> {
            String runbook = rule.at("/annotations/runbook").asText();
            assertTrue(sections.getOrDefault(runbook, "").contains("`" + alert + "`"), alert + " in " + runbook);
        });
    }

    @Test
    void thePanelsStandBesideAndNotOverEachOther() throws Exception {
        Set<String> places = new TreeSet<>();
        Set<Integer> ids = new TreeSet<>();
        for (JsonNode panel : dashboard().path("panels")) {
            assertTrue(places.add(panel.path("gridPos").path("x") + "," + panel.path("gridPos").path("y")), panel.path("title").asText());
            assertTrue(ids.add(panel.path("id").asInt()));
        }
    }

    @Test
    void prometheusTakesThem() throws Exception {
        Path promtool = promtool();
        assumeTrue(promtool != null, "promtool is not on the PATH (Debian: apt-get install prometheus)");
        assertEquals("", faults(promtool, "check", "rules", "alerts.yml"));
        assertEquals("", faults(promtool, "check", "config", "--syntax-only", "prometheus.yml"));
        // and it is asked rightly
        assertThrows(AssertionError.class, () -> assertEquals("", faults(promtool, "check", "rules", "prometheus.yml")));
    }

    private static Path promtool() {
        for (String folder : System.getenv("PATH").split(File.pathSeparator)) {
            Path tool = Path.of(folder, "promtool");
            if (Files.isExecutable(tool)) {
                return tool;
            }
        }
        return null;
    }

    private static String faults(Path promtool, String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(promtool.toString()));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).directory(PROMETHEUS.toFile()).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes());
        return process.waitFor() == 0 ? "" : said;
    }
}
