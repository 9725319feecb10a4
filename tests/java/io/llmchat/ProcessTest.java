package io.llmchat;

import static io.llmchat.support.GatewayProcess.freePort;
import static io.llmchat.support.GatewayProcess.readTo;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.GatewayProcess;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The gateway as a process: what it says at its start, and that it leaves nothing behind at its end. */
class ProcessTest {

    @TempDir
    Path folder;

    private Process start(Map<String, String> settings) throws IOException {
        return GatewayProcess.start(folder.resolve("data"), settings);
    }

    private static HttpResponse<String> ask(int port) throws Exception {
        return HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/v1/chat/completions"))
                .header("Idempotency-Key", "the-same").POST(HttpRequest.BodyPublishers.ofString(chat("demo", false))).build(),
                HttpResponse.BodyHandlers.ofString());
    }

    private ProcessHandle server(String pidFile) throws IOException {
        long pid = Long.parseLong(Files.readAllLines(folder.resolve("data").resolve(pidFile)).get(0).trim());
        return ProcessHandle.of(pid).orElseThrow(() -> new AssertionError(pidFile + " names no living process"));
    }

    @Test
    void itSaysWhereItIsAndHowToTryItAndStopsAllThatItStarted() throws Exception {
        int port = freePort();
        Process gateway = start(Map.of("PORT", Integer.toString(port)));
        String line = readTo(gateway, "curl -N").getLast();
        assertTrue(line.contains("http://127.0.0.1:" + port + "/v1/chat/completions"));
        assertEquals(200, ask(port).statusCode());
        ProcessHandle postgres = server("postgres/data/postmaster.pid");
        ProcessHandle redis = server("redis/redis.pid");

        gateway.destroy();
        assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        assertEquals(0, gateway.exitValue());
        until("PostgreSQL has ended", () -> !postgres.isAlive() || zombie(postgres));
        until("Redis has ended", () -> !redis.isAlive() || zombie(redis));
    }

    @Test
    void afterAKillItStartsAgainWithItsData() throws Exception {
        int port = freePort();
        Process first = start(Map.of("PORT", Integer.toString(port)));
        readTo(first, "curl -N");
        String answer = ask(port).body();
        first.destroyForcibly().waitFor();

        Process second = start(Map.of("PORT", Integer.toString(port)));
        try {
            readTo(second, "curl -N");
            HttpResponse<String> again = ask(port);
            assertEquals(answer, again.body());
            assertEquals("true", again.headers().firstValue("idempotent-replayed").orElseThrow());
        } finally {
            second.destroy();
            assertTrue(second.waitFor(30, TimeUnit.SECONDS));
        }
    }

    @Test
    void aSecondGatewayOnTheSameDataIsRefusedAndTheFirstGoesOn() throws Exception {
        int port = freePort();
        Process first = start(Map.of("PORT", Integer.toString(port)));
        readTo(first, "curl -N");
        ProcessHandle redis = server("redis/redis.pid");
        Process second = start(Map.of("PORT", Integer.toString(freePort())));
        readTo(second, "Another gateway is using the data in ");
        assertTrue(second.waitFor(30, TimeUnit.SECONDS));
        assertEquals(1, second.exitValue());
        assertTrue(redis.isAlive() && server("postgres/data/postmaster.pid").isAlive());
        assertEquals(200, ask(port).statusCode());
        first.destroy();
        assertTrue(first.waitFor(30, TimeUnit.SECONDS));
    }

    @Test
    void aPortInUseIsSaidInOneSentenceAndNothingIsLeftRunning() throws Exception {
        try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            Process gateway = start(Map.of("PORT", Integer.toString(taken.getLocalPort())));
            List<String> lines = readTo(gateway, "Cannot listen on 127.0.0.1:" + taken.getLocalPort());
            assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
            assertEquals(1, gateway.exitValue());
            assertFalse(String.join("\n", lines).contains("\tat "), "no stack trace");
            assertFalse(Files.exists(folder.resolve("data/postgres/data/postmaster.pid")), "PostgreSQL was stopped");
            assertFalse(Files.exists(folder.resolve("data/redis/redis.pid")), "Redis was stopped");
        }
    }

    @Test
    void aValueThatCannotBeUsedStopsTheStartWithOneLine() throws Exception {
        Process gateway = start(Map.of("REQUEST_TIMEOUT", "soon"));
        assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        assertEquals(2, gateway.exitValue());
        assertEquals(List.of("REQUEST_TIMEOUT is 'soon'; it takes a whole number from 1 to 3600000."),
                gateway.inputReader().lines().filter(l -> !l.startsWith("WARNING")).toList());
    }

    private static boolean zombie(ProcessHandle process) throws IOException {
        Path stat = Path.of("/proc", Long.toString(process.pid()), "stat");
        return Files.exists(stat) && Files.readString(stat).contains(") Z");
    }
}
