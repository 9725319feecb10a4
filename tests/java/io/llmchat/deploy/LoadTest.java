package io.llmchat.deploy;

import static io.llmchat.support.TestGateway.json;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.GatewayProcess;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The load tests: Artillery's for real, in a shortened form, against the gateway as a process: {@code ./llmchat test load}. */
@Tag("load")
@Timeout(value = 15, unit = TimeUnit.MINUTES)
class LoadTest {

    private static final Path SCRIPTS = Path.of("tests", "load");
    private static final Path OUT = Path.of("target", "load");

    private static void run(Duration limit, String log, Map<String, String> environment, String... command) throws Exception {
        File output = OUT.resolve(log).toFile();
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output);
        builder.environment().putAll(environment);
        Process process;
        try {
            process = builder.start();
        } catch (IOException e) {
            throw new AssertionError("Node.js 20 or later with npm is needed for the load tests.", e);
        }
        boolean inTime = process.waitFor(limit.toSeconds(), TimeUnit.SECONDS);
        if (!inTime) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().waitFor();
        }
        assertTrue(inTime, () -> "still running after " + limit.toSeconds() + " s; see " + output);
        assertEquals(0, process.exitValue(), () -> command[0] + " " + command[1] + " failed; see " + output);
    }

    @Test
    void artillerysThresholdsHoldAndEveryAnswerIsAsExpected() throws Exception {
        Files.createDirectories(OUT);
        File lock = SCRIPTS.resolve("package-lock.json").toFile();
        File installed = SCRIPTS.resolve("node_modules").resolve(".package-lock.json").toFile();
        if (!installed.exists() || lock.lastModified() > installed.lastModified()) {
            run(Duration.ofMinutes(5), "npm-ci.txt", Map.of(), "npm", "ci", "--ignore-scripts", "--prefix", SCRIPTS.toString());
        }
        int port = GatewayProcess.freePort();
        ProcessBuilder launcher = new ProcessBuilder(Path.of("llmchat").toAbsolutePath().toString(), "start")
                .redirectErrorStream(true).redirectOutput(OUT.resolve("gateway.txt").toFile());
        launcher.environment().putAll(Map.of("JAVA_HOME", System.getProperty("java.home"), "PORT", Integer.toString(port), "AUTH_MODE", "open",
                "DATA_DIR", OUT.resolve("data").toAbsolutePath().toString(), "RATE_LIMIT_MAX_REQUESTS", "0", "RATE_LIMIT_POINTS", "0"));
        Process gateway = launcher.start();
        try {
            long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (!Stores.listens(port)) {
                assertTrue(gateway.isAlive() && System.nanoTime() < end, "the gateway does not start; see " + OUT.resolve("gateway.txt"));
                Thread.sleep(50);
            }
            // exits with 1 if a threshold or a condition of the configuration does not hold
            run(Duration.ofMinutes(3), "artillery.txt", Map.of("GATEWAY_URL", "http://127.0.0.1:" + port, "ARTILLERY_DISABLE_TELEMETRY", "true"),
                    SCRIPTS.resolve("node_modules/.bin/artillery").toString(), "run", "-e", "short", "-o", OUT.resolve("report.json").toString(),
                    SCRIPTS.resolve("artillery-config.yml").toString());
        } finally {
            gateway.destroy();
            gateway.waitFor(60, TimeUnit.SECONDS);
        }
        JsonNode all = json(Files.readString(OUT.resolve("report.json"))).path("aggregate");
        JsonNode counters = all.path("counters");
        assertEquals(0, counters.path("vusers.failed").asInt());
        assertTrue(counters.path("http.codes.200").asInt() > 1_000, counters.toString());
        assertTrue(counters.path("plugins.expect.ok").asInt() > 2_000, counters.toString());
        assertTrue(all.at("/summaries/http.response_time/p95").isNumber());
    }

    /** k6 itself is no npm package; its script is parsed, and its stages and thresholds are those of the tuning guide. */
    @Test
    void theScriptOfK6IsJavaScriptWithTheStagesAndThresholdsOfTheTuningGuide() throws Exception {
        Files.createDirectories(OUT);
        Path script = SCRIPTS.resolve("k6-stress-test.js");
        run(Duration.ofSeconds(30), "k6.txt", Map.of(), "node", "--check", script.toString());
        Matcher stages = Pattern.compile("duration: '(\\d+)m', target: (\\d+)").matcher(Files.readString(script));
        StringBuilder found = new StringBuilder();
        while (stages.find()) {
            found.append(stages.group(2)).append('/').append(stages.group(1)).append(' ');
        }
        assertEquals("100/1 300/2 600/3 1000/3 600/2 300/2 0/1 ", found.toString());
        for (String threshold : new String[] {"p(95)<1000", "p(99)<2000", "rate<0.02"}) {
            assertTrue(Files.readString(script).contains("'" + threshold + "'"), threshold);
        }
    }
}
