package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import io.llmchat.support.AnthropicScript;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.SdkScripts;
import io.llmchat.support.TestGateway;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The SDKs for Node.js against the gateway: the tests in {@code tests/clients}, one file an SDK. */
class NodeSdksTest {

    private static final Path CLIENTS = Path.of("tests", "clients");
    private static final Pattern RESULT = Pattern.compile("(ok|not ok) \\d+ - (.*)");
    private static final String NEEDED = "Node.js 20 or later with npm is needed for the client tests.";
    private static final Duration INSTALL_LIMIT = Duration.ofMinutes(5);
    private static final Duration RUN_LIMIT = Duration.ofSeconds(60);
    /** Models that say nothing more until the gateway closes the connection. */
    private static final List<String> HANGING = List.of("sdk-aborted", "sdk-left");

    private static TestGateway gateway;
    private static FakeProvider provider;

    /** How a process ended, and all it wrote. */
    private record Run(boolean inTime, int exitCode, String output) {
    }

    @BeforeAll
    static void start() throws Exception {
        install();
        // not the shared one: it has other scripts
        gateway = SdkScripts.gateway();
        provider = gateway.provider();
    }

    @AfterAll
    static void stop() throws Exception {
        if (gateway != null) {
            gateway.close();
        }
    }

    @TestFactory
    Stream<DynamicContainer> theSdksWorkAsTheyAre() throws Exception {
        List<String> files;
        try (Stream<Path> all = Files.list(CLIENTS)) {
            files = all.map(f -> f.getFileName().toString()).filter(f -> f.endsWith(".test.mjs")).sorted().toList();
        }
        assertFalse(files.isEmpty(), "no tests in " + CLIENTS);
        // a file runs when its turn comes: what it asked the provider is looked at before the next one
        return Stream.concat(files.stream().map(file -> dynamicContainer(file, testsOf(file))),
                Stream.of(dynamicContainer("all of them", List.of(
                        dynamicTest("the provider was asked once for an idempotency key",
                                () -> assertEquals(2, provider.calls("sdk-once").size(), "two keys, of three requests")),
                        dynamicTest("Anthropic was asked as its reference says", NodeSdksTest::askedAsAnthropicSays)))));
    }

    private static List<DynamicTest> testsOf(String file) {
        int before = hanging().size();
        Run run;
        try {
            run = run(RUN_LIMIT, file + ".tap", Path.of(""), "node", "--test", "--test-reporter=tap", CLIENTS.resolve(file).toString());
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
        List<Call> left = hanging().subList(before, hanging().size());
        List<DynamicTest> tests = new ArrayList<>();
        run.output().lines().map(RESULT::matcher).filter(Matcher::matches)
                .forEach(result -> tests.add(dynamicTest(result.group(2),
                        () -> assertEquals("ok", result.group(1), () -> result.group(2) + "\n" + run.output()))));
        tests.add(dynamicTest("all of it ends well and in time", () -> {
            assertTrue(run.inTime(), () -> "still running after " + RUN_LIMIT.toSeconds() + " s:\n" + run.output());
            assertEquals(0, run.exitCode(), () -> "the exit code of node\n" + run.output());
            assertTrue(tests.size() > 2, () -> "no test was run:\n" + run.output());
        }));
        tests.add(dynamicTest("the provider is told to stop when the caller leaves", () -> {
            assertFalse(left.isEmpty(), "nobody left");
            for (Call call : left) {
                assertTrue(call.leftWithin(10_000), () -> "still connected: " + call.line() + " " + call.text());
            }
        }));
        return tests;
    }

    private static void askedAsAnthropicSays() {
        List<Call> calls = provider.calls().stream().filter(AnthropicScript::spoken).toList();
        assertFalse(calls.isEmpty(), "nothing was asked");
        for (Call call : calls) {
            String asked = call.line() + " " + call.text();
            assertEquals("sk-ant-of-the-gateway", call.header("x-api-key"), asked);
            assertNull(call.header("Authorization"), asked);
            assertTrue(call.header("anthropic-version").matches("\\d{4}-\\d\\d-\\d\\d"), asked);
            assertEquals("user", call.body().at("/messages/0/role").asText(), asked);
            assertEquals(!call.line().endsWith("/count_tokens"), call.body().path("max_tokens").isInt(), asked);
        }
    }

    private static List<Call> hanging() {
        return HANGING.stream().flatMap(model -> provider.calls(model).stream()).sorted((a, b) -> Long.compare(a.at(), b.at())).toList();
    }

    /** Installs what the lockfile names, unless that was done since it was written. */
    private static void install() throws Exception {
        File lock = CLIENTS.resolve("package-lock.json").toFile();
        File installed = CLIENTS.resolve("node_modules").resolve(".package-lock.json").toFile();
        String version = run(RUN_LIMIT, "node-version.txt", Path.of(""), "node", "--version").output().trim();
        assertTrue(Integer.parseInt(version.replaceAll("v(\\d+).*", "$1")) >= 20, () -> NEEDED + " This is " + version + ".");
        if (!installed.exists() || lock.lastModified() > installed.lastModified()) {
            Run npm = run(INSTALL_LIMIT, "npm-ci.txt", CLIENTS, "npm", "ci");
            assertTrue(npm.inTime() && npm.exitCode() == 0, () -> "npm ci failed in " + CLIENTS + ":\n" + npm.output());
        }
    }

    private static Run run(Duration limit, String log, Path directory, String... command) throws Exception {
        File output = Files.createDirectories(Path.of("target", "clients")).resolve(log).toFile();
        ProcessBuilder builder = new ProcessBuilder(command).directory(directory.toAbsolutePath().toFile())
                .redirectErrorStream(true).redirectOutput(output);
        if (gateway != null) {
            builder.environment().put("GATEWAY_URL", gateway.url());
        }
        Process process;
        try {
            process = builder.start();
        } catch (IOException e) {
            return fail(NEEDED);
        }
        boolean inTime = process.waitFor(limit.toSeconds(), TimeUnit.SECONDS);
        if (!inTime) {
            // node runs each test file in a process of its own
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().waitFor();
        }
        return new Run(inTime, process.exitValue(), Files.readString(output.toPath()));
    }
}
