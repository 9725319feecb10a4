package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.TestGateway;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The official OpenAI SDK for Node.js against the gateway: the tests of {@code tests/clients/openai.test.mjs}. */
class OpenAiSdkTest {

    private static final Path CLIENTS = Path.of("tests", "clients");
    private static final Pattern RESULT = Pattern.compile("(ok|not ok) \\d+ - (.*)");
    private static final Duration INSTALL_LIMIT = Duration.ofMinutes(5);
    private static final Duration RUN_LIMIT = Duration.ofSeconds(60);

    private static TestGateway gateway;
    private static FakeProvider provider;

    /** How a process ended, and all it wrote. */
    private record Run(boolean inTime, int exitCode, String output) {
    }

    @BeforeAll
    static void start() throws Exception {
        install();
        // not the shared one: the failures scripted here would count in the breaker that other tests use
        gateway = TestGateway.with("llmchat.retry.max", "0");
        provider = gateway.provider();
        script();
    }

    @AfterAll
    static void stop() throws Exception {
        if (gateway != null) {
            gateway.close();
        }
    }

    @TestFactory
    List<DynamicTest> theSdkWorksAsItIs() throws Exception {
        Run run = run(RUN_LIMIT, "openai-sdk.tap", Path.of(""), "node", "--test", "--test-reporter=tap",
                CLIENTS.resolve("openai.test.mjs").toString());
        List<DynamicTest> tests = new ArrayList<>();
        run.output().lines().map(RESULT::matcher).filter(Matcher::matches)
                .forEach(result -> tests.add(dynamicTest(result.group(2),
                        () -> assertEquals("ok", result.group(1), () -> result.group(2) + "\n" + run.output()))));
        tests.add(dynamicTest("all of it ends well and in time", () -> {
            assertTrue(run.inTime(), () -> "still running after " + RUN_LIMIT.toSeconds() + " s:\n" + run.output());
            assertEquals(0, run.exitCode(), () -> "the exit code of node\n" + run.output());
            assertTrue(tests.size() > 1, () -> "no test was run:\n" + run.output());
        }));
        for (String model : List.of("sdk-aborted", "sdk-left")) {
            tests.add(dynamicTest("the provider is told to stop: " + model,
                    () -> assertTrue(provider.call(model).leftWithin(10_000))));
        }
        tests.add(dynamicTest("the provider is asked once for an idempotency key",
                () -> assertEquals(2, provider.calls("sdk-once").size(), "two keys, of three requests")));
        return tests;
    }

    private static void script() {
        provider.on("sdk-split", OpenAiSdkTest::everyByteAlone)
                .on("sdk-tool", OpenAiSdkTest::askForTheTool)
                .on("sdk-image", call -> {
                    JsonNode image = call.body().at("/messages/0/content/1/image_url");
                    call.json(200, FakeProvider.completion(image.path("detail").asText() + " " + image.path("url").asText()));
                })
                .on("sdk-once", call -> call.json(200,
                        FakeProvider.completion("Once").replace("chatcmpl-1", "chatcmpl-" + UUID.randomUUID())))
                .on("sdk-refused", call -> call.error(400, "its_code"))
                .on("sdk-limited", call -> call.error(429, "too_many", "Retry-After: 7"))
                .on("sdk-failing", call -> call.error(500, "broken"))
                .on("sdk-hanging-up", Call::cut)
                .on("sdk-cut", call -> {
                    call.sse();
                    call.text("Half an");
                    call.cut();
                })
                .on("sdk-aborted", OpenAiSdkTest::oneWordAndSilence)
                .on("sdk-left", OpenAiSdkTest::oneWordAndSilence);
    }

    private static void oneWordAndSilence(Call call) throws IOException {
        call.sse();
        call.text("One");
        call.hang();
    }

    private static void everyByteAlone(Call call) throws IOException {
        call.sse();
        String event = "data: " + Call.chunk("{\"content\":\"Grüße 你好 🌍\"}", "null") + "\n\n";
        for (byte b : event.getBytes(StandardCharsets.UTF_8)) {
            call.bytes(new byte[] {b});
        }
        call.finish("stop");
        call.done();
    }

    /** Calls the tool that the request offers; tells its result once the request has one. */
    private static void askForTheTool(Call call) throws IOException {
        JsonNode last = call.body().path("messages").path(call.body().path("messages").size() - 1);
        String tool = call.body().at("/tools/0/function/name").asText();
        if (last.path("role").asText().equals("tool")) {
            call.json(200, FakeProvider.completion(last.path("tool_call_id").asText() + ": " + last.path("content").asText()));
        } else if (call.body().path("stream").asBoolean()) {
            call.sse();
            call.event(Call.chunk("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"call-1\","
                    + "\"type\":\"function\",\"function\":{\"name\":\"" + tool + "\",\"arguments\":\"\"}}]}", "null"));
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\":\"}}]}", "null"));
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"Oslo\\\"}\"}}]}", "null"));
            call.finish("tool_calls");
            call.done();
        } else {
            call.json(200, "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"fake-1\","
                    + "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call-1\","
                    + "\"type\":\"function\",\"function\":{\"name\":\"" + tool + "\",\"arguments\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}]},"
                    + "\"finish_reason\":\"tool_calls\"}]}");
        }
    }

    /** Installs what the lockfile names, unless that was done since it was written. */
    private static void install() throws Exception {
        File lock = CLIENTS.resolve("package-lock.json").toFile();
        File installed = CLIENTS.resolve("node_modules").resolve(".package-lock.json").toFile();
        run(RUN_LIMIT, "node-version.txt", Path.of(""), "node", "--version");
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
            return fail("Node.js 20 or later with npm is needed for the client tests.");
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
