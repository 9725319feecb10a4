package io.llmchat;

import static io.llmchat.support.GatewayProcess.freePort;
import static io.llmchat.support.GatewayProcess.readTo;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The gateway as a process: what it says at its start, and that it leaves nothing behind at its end. */
class ProcessTest {

    @TempDir
    Path folder;

    private final String key = "k-" + UUID.randomUUID();
    private final List<Process> started = new ArrayList<>();

    /** Where its data are: also a folder with blanks in its name will do. */
    private Path data() {
        return folder.resolve("my own data");
    }

    private Process start(Map<String, String> settings) throws IOException {
        started.add(GatewayProcess.start(data(), settings));
        return started.getLast();
    }

    /** What is started from now on need not unpack and make a PostgreSQL. */
    private void withPostgres() throws Exception {
        TestGateway.copyPostgres(data());
        TestGateway.copyServer(data());
    }

    /** One that makes no stores. */
    private Process startOnSharedStores(String name, String value) throws Exception {
        Map<String, String> settings = new HashMap<>(GatewayProcess.sharedStores());
        settings.put(name, value);
        return start(settings);
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        for (Process gateway : started) {
            gateway.destroy();
            if (!gateway.waitFor(30, TimeUnit.SECONDS)) {
                gateway.destroyForcibly().waitFor();
            }
        }
    }

    private HttpResponse<String> ask(int port) throws Exception {
        return HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/v1/chat/completions"))
                .header("Idempotency-Key", key).POST(HttpRequest.BodyPublishers.ofString(chat("demo", false))).build(),
                HttpResponse.BodyHandlers.ofString());
    }

    private ProcessHandle server(String pidFile) throws IOException {
        long pid = Long.parseLong(Files.readAllLines(data().resolve(pidFile)).get(0).trim());
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
        assertTrue(Files.exists(data().resolve("postgres/server/started")), "it need not be unpacked again");

        gateway.destroy();
        assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        assertEquals(0, gateway.exitValue());
        until("PostgreSQL has ended", () -> !postgres.isAlive() || zombie(postgres));
        until("Redis has ended", () -> !redis.isAlive() || zombie(redis));
    }

    @Test
    void whatItTellsToTryHasTheKeyThatIsNeededAndDoesNotShowIt() throws Exception {
        String admin = "admin-" + UUID.randomUUID();
        Map<String, String> settings = new HashMap<>(GatewayProcess.sharedStores());
        settings.putAll(Map.of("PORT", Integer.toString(freePort()), "AUTH_MODE", "keys", "ADMIN_API_KEY", admin));
        List<String> lines = readTo(start(settings), "curl -N");
        assertTrue(lines.getLast().contains(" -H \"Authorization: Bearer $ADMIN_API_KEY\" "), lines::toString);
        assertFalse(String.join("\n", lines).contains(admin), lines::toString);
    }

    @Test
    void theAdminKeyThatItMakesIsPrintedAtTheStartAndOpens() throws Exception {
        int port = freePort();
        Map<String, String> settings = new HashMap<>(GatewayProcess.sharedStores());
        settings.putAll(Map.of("PORT", Integer.toString(port), "AUTH_MODE", "keys"));
        String told = "Its admin key, made for this run and not shown again: ";
        String admin = readTo(start(settings), told).getLast().substring(told.length());
        HttpRequest.Builder make = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/api/keys"))
                .POST(HttpRequest.BodyPublishers.ofString("{\"name\":\"A\",\"userId\":\"u-" + key + "\"}"));
        HttpClient client = HttpClient.newHttpClient();
        assertEquals(401, client.send(make.setHeader("Authorization", "Bearer " + admin + "0").build(), HttpResponse.BodyHandlers.ofString()).statusCode());
        assertEquals(201, client.send(make.setHeader("Authorization", "Bearer " + admin).build(), HttpResponse.BodyHandlers.ofString()).statusCode());
    }

    @Test
    void allThatItSaysIsJsonWhereThatIsWantedALibrarysComplaintsToo() throws Exception {
        int port = freePort();
        Map<String, String> settings = new HashMap<>(GatewayProcess.sharedStores());
        settings.putAll(Map.of("PORT", Integer.toString(port), "AUTH_MODE", "keys", "LOG_FORMAT", "json", "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://127.0.0.1:" + freePort(), "OTEL_JAVA_EXPORTER_OTLP_RETRY_DISABLED", "true", "OTEL_BSP_SCHEDULE_DELAY", "50"));
        Process gateway = start(settings);
        List<String> lines = new ArrayList<>(readTo(gateway, "Its admin key, made for this run and not shown again: llmchat-admin-"));
        assertEquals(401, ask(port).statusCode());
        lines.addAll(readTo(gateway, "Failed to export 1 spans"));
        lines.removeIf(l -> l.startsWith("WARNING"));
        assertTrue(lines.stream().allMatch(l -> json(l).has("log.level")), lines::toString);
        assertTrue(lines.stream().anyMatch(l -> l.contains("LLMChat gateway is ready at http://127.0.0.1:" + port)), lines::toString);
    }

    @Test
    void bodiesThatDoNotEndLeaveMemoryForOthers() throws Exception {
        int port = freePort();
        Process gateway = startOnSharedStores("PORT", Integer.toString(port));
        List<RawHttp> callers = new ArrayList<>();
        try {
            readTo(gateway, "curl -N");
            byte[] allButOne = " ".repeat((1 << 20) - 1).getBytes(StandardCharsets.US_ASCII);
            for (int i = 0; i < 40; i++) {
                RawHttp caller = new RawHttp(port);
                callers.add(caller);
                caller.send(RawHttp.head("POST", "/v1/chat/completions", "Content-Length: " + (1 << 20)));
                caller.send(allButOne);
            }
            until("there is no room for all of them", () -> {
                for (RawHttp caller : callers) {
                    if (caller.answered()) {
                        return true;
                    }
                }
                return false;
            });
            RawHttp.Response refused = null;
            for (RawHttp caller : callers) {
                refused = refused == null && caller.answered() ? caller.read() : refused;
            }
            assertEquals(503, refused.status(), refused.text());
            assertEquals("1", refused.header("Retry-After"));
            for (RawHttp caller : callers) {
                caller.close();
            }
            until("there is room again", () -> ask(port).statusCode() == 200);
        } finally {
            gateway.destroy();
            assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        }
        assertEquals(0, gateway.exitValue());
    }

    @Test
    void afterAKillItStartsAgainWithItsData() throws Exception {
        withPostgres();
        int port = freePort();
        Process first = start(Map.of("PORT", Integer.toString(port)));
        readTo(first, "curl -N");
        String answer = ask(port).body();
        first.destroyForcibly().waitFor();

        Process second = start(Map.of("PORT", Integer.toString(port)));
        readTo(second, "curl -N");
        HttpResponse<String> again = ask(port);
        assertEquals(answer, again.body());
        assertEquals("true", again.headers().firstValue("idempotent-replayed").orElseThrow());
    }

    /** As after a restart of the machine, or of a container, where threads of the gateway have the ids of what ran before. */
    @Test
    void whoHasTheIdOfAServerThatWasKilledIsNotTakenForIt() throws Exception {
        withPostgres();
        Files.createDirectories(data().resolve("redis"));
        List<Process> others = new ArrayList<>();
        for (String[] server : new String[][] {{"postgres", "postgres/data/postmaster.pid"}, {"redis-server", "redis/redis.pid"}}) {
            // waits for its input for ever
            Path program = Files.copy(Path.of("/bin/bash"), folder.resolve(server[0]));
            others.add(new ProcessBuilder(program.toString(), "-c", "read").start());
            started.add(others.getLast());
            Files.writeString(data().resolve(server[1]), others.getLast().pid() + "\n");
        }
        readTo(start(Map.of("PORT", Integer.toString(freePort()))), "curl -N");
        for (Process other : others) {
            assertTrue(other.isAlive(), other.info().toString());
        }
    }

    @Test
    void whyPostgresDoesNotStartIsToldAndHalfOfAServerThatAStartWhichWasCutHasUnpackedIsUnpackedAgain() throws Exception {
        TestGateway.copyServer(data());
        Path server = data().resolve("postgres/server");
        Files.delete(server.resolve("started"));
        try (Stream<Path> files = Files.walk(server)) {
            Files.write(files.filter(f -> f.endsWith("bin/initdb")).findFirst().orElseThrow(), new byte[10]);
        }
        Files.createDirectories(data().resolve("postgres/data/of somebody else"));
        Process gateway = start(Map.of());
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, gateway.exitValue());
        assertEquals("The gateway does not start: PostgreSQL does not start in " + data().resolve("postgres") + ": directory \""
                + data().resolve("postgres/data") + "\" exists but is not empty", gateway.inputReader().lines().toList().getLast());
    }

    @Test
    void whatWasSaidUntilAKillIsThereAfterItAndIsSaidOnceInTheEnd() throws Exception {
        withPostgres();
        int port = freePort();
        try (FakeProvider provider = new FakeProvider()) {
            CountDownLatch never = new CountDownLatch(1);
            provider.on("slow", call -> {
                call.sse();
                for (int i = 0; i < 1_000 && never.getCount() > 0; i++) {
                    call.text(i + " ");
                    Thread.sleep(10);
                }
            });
            Map<String, String> settings = Map.of("PORT", Integer.toString(port), "OPENAI_API_KEY", "k", "OPENAI_BASE_URL", provider.url() + "/v1",
                    "JDK_JAVA_OPTIONS", "-Dllmchat.deduplicate.lease=1000 -Dllmchat.deduplicate.renew=300 -Dllmchat.record.partial-interval=300");
            Process first = start(settings);
            readTo(first, "curl -N");
            HttpClient client = HttpClient.newHttpClient();
            String whole = client.send(post(port, "/api/chat/completions", nativeChat("openai/quick", false), "k1"),
                    HttpResponse.BodyHandlers.ofString()).body();
            String chatId;
            int[] told = {0};
            try (Sse stream = new Sse(port, "/api/chat/completions", nativeChat("openai/slow", true), "\r\nIdempotency-Key: k2")) {
                chatId = json(stream.lineWith("data: {\"chatId\"").substring(6)).path("chatId").asText();
                until("much of it is kept", () -> {
                    told[0] = words(history(client, port, chatId));
                    return told[0] > 60;
                });
                first.destroyForcibly().waitFor();
            }
            never.countDown();
            provider.on("slow", FakeProvider.says(List.of("all of it")));
            readTo(start(settings), "curl -N");
            JsonNode messages = history(client, port, chatId);
            assertEquals("Hi", messages.path(0).path("content").asText());
            assertEquals("interrupted", messages.path(1).path("status").asText());
            assertEquals(2, messages.size());
            assertTrue(words(messages) >= told[0], "kept " + words(messages) + " of " + told[0]);
            String again = client.send(post(port, "/api/chat/completions", nativeChat("openai/quick", false), "k1"),
                    HttpResponse.BodyHandlers.ofString()).body();
            assertEquals(whole, again);
            assertEquals(1, provider.calls("quick").size());
            String made = client.send(post(port, "/api/chat/completions", nativeChat("openai/slow", true), "k2"),
                    HttpResponse.BodyHandlers.ofString()).body();
            assertTrue(made.contains("all of it") && made.contains("event: end"), made);
            assertEquals(2, provider.calls("slow").size());
        }
    }

    /** How many words of the answer there are. */
    private static int words(JsonNode messages) {
        return messages.path(1).path("content").asText().trim().split(" ").length;
    }

    private static HttpRequest post(int port, String path, String body, String key) {
        return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).header("Idempotency-Key", key)
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
    }

    private static JsonNode history(HttpClient client, int port, String chatId) throws Exception {
        return json(client.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/api/chat/history/" + chatId)).build(),
                HttpResponse.BodyHandlers.ofString()).body()).path("data").path("messages");
    }

    @Test
    void aSecondGatewayOnTheSameDataIsRefusedAndTheFirstGoesOn() throws Exception {
        withPostgres();
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
    }

    @Test
    void whoIsToldToEndWhileItStartsLeavesNoStoreBehind() throws Exception {
        Process gateway = start(Map.of("PORT", Integer.toString(freePort())));
        readTo(gateway, "Creating PostgreSQL in ");
        gateway.destroy();
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        assertEquals(0, gateway.exitValue());
        assertTrue(Files.exists(data().resolve("postgres/data/PG_VERSION")), "it was made");
        String data = data().toString();
        until("no process has its data", () -> ProcessHandle.allProcesses().noneMatch(p -> p.info().commandLine().orElse("").contains(data)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "HUP"})
    void aCheckOfRoutesThatIsInterruptedLeavesNothingBehind(String signal) throws Exception {
        ProcessBuilder java = GatewayProcess.started("-Djava.io.tmpdir=" + folder, "io.llmchat.CheckRoutes",
                RouteFolder.in(folder.resolve("routes")).folder().toString());
        java.command().addAll(0, List.of("env", "--default-signal=HUP"));
        Process check = java.redirectErrorStream(true).start();
        readTo(check, "Creating PostgreSQL in ");
        assertEquals(0, new ProcessBuilder("kill", "-" + signal, Long.toString(check.pid())).start().waitFor());
        assertTrue(check.waitFor(60, TimeUnit.SECONDS));
        assertEquals(130, check.exitValue());
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(), left.map(f -> f.getFileName().toString()).filter(f -> f.startsWith("llmchat-check")).toList());
        }
        String data = folder.resolve("llmchat-check").toString();
        until("no process has its data", () -> ProcessHandle.allProcesses().noneMatch(p -> p.info().commandLine().orElse("").contains(data)));
    }

    @Test
    void aPortInUseIsSaidInOneSentenceAndNothingIsLeftRunning() throws Exception {
        withPostgres();
        try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            Process gateway = start(Map.of("PORT", Integer.toString(taken.getLocalPort())));
            List<String> lines = readTo(gateway, "Cannot listen on 127.0.0.1:" + taken.getLocalPort());
            assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
            assertEquals(1, gateway.exitValue());
            assertFalse(String.join("\n", lines).contains("\tat "), () -> "no stack trace in " + lines);
            assertFalse(Files.exists(data().resolve("postgres/data/postmaster.pid")), "PostgreSQL was stopped");
            assertFalse(Files.exists(data().resolve("redis/redis.pid")), "Redis was stopped");
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

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "HOST          | no.such.host.invalid | The gateway does not start: HOST is 'no.such.host.invalid', which cannot be resolved.",
        "HOST          | 203.0.113.1          | Cannot listen on 203.0.113.1:3001: Cannot assign requested address. HOST takes an address of this machine, and PORT one that is allowed.",
        "DEFAULT_MODEL | grok/4               | DEFAULT_MODEL is 'grok/4'; it takes an agent's id, or <provider>/<model> of one of ",
        "DEFAULT_FALLBACKS | demo/a, opnai/b  | DEFAULT_FALLBACKS is 'demo/a, opnai/b'; it takes a comma-separated list of <provider>/<model> of one of "})
    void aValueThatIsFoundToBeOfNoUseLaterStopsTheStartWithASentenceToo(String name, String value, String said) throws Exception {
        Process gateway = startOnSharedStores(name, value);
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, gateway.exitValue());
        String last = gateway.inputReader().lines().toList().getLast();
        assertTrue(last.startsWith(said), last);
    }

    @Test
    void aKeysFileThatCannotBeUsedStopsTheStartWithASentence() throws Exception {
        Path keys = folder.resolve("keys.yaml");
        Files.writeString(keys, "- {name: CI, userId: builder, key: short}\n");
        Process gateway = startOnSharedStores("KEYS_FILE", keys.toString());
        assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        assertEquals(1, gateway.exitValue());
        List<String> lines = gateway.inputReader().lines().toList();
        assertEquals("The gateway does not start: KEYS_FILE " + keys + ", entry 1 (CI): key must have at least 32 visible characters.", lines.getLast());
        assertFalse(String.join("\n", lines).contains("\tat "), "no stack trace");
    }

    @Test
    void aStoreThatCannotBeReachedIsNamedAndTheOneOfOursIsNotLeftBehind() throws Exception {
        int nobody = freePort();
        TestGateway.copyServer(data());
        // tried twice: ten times take half a minute
        Process gateway = start(Map.of("REDIS_HOST", "127.0.0.1", "REDIS_PORT", Integer.toString(nobody), "REDIS_MAX_RETRIES", "1"));
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, gateway.exitValue());
        String last = gateway.inputReader().lines().toList().getLast();
        assertTrue(last.startsWith("The gateway does not start: Redis at 127.0.0.1:" + nobody + " cannot be used: "), last);
        assertTrue(Files.exists(data().resolve("postgres/data/PG_VERSION")), "it was made");
        assertFalse(Files.exists(data().resolve("postgres/data/postmaster.pid")), "and has ended");
        gateway = start(Map.of("DB_HOST", "127.0.0.1", "DB_PORT", Integer.toString(nobody)));
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        last = gateway.inputReader().lines().toList().getLast();
        assertTrue(last.startsWith("The gateway does not start: PostgreSQL at 127.0.0.1:" + nobody + " cannot be used: "), last);
    }

    private static boolean zombie(ProcessHandle process) throws IOException {
        Path stat = Path.of("/proc", Long.toString(process.pid()), "stat");
        return Files.exists(stat) && Files.readString(stat).contains(") Z");
    }
}
