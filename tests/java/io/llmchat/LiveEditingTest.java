package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.http.AnswerLog;
import io.llmchat.ops.RouteVersions;
import io.llmchat.support.Answer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.Living;
import io.llmchat.support.LogLines;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.lang.management.ManagementFactory;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.apache.camel.impl.DefaultCamelContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Route files are edited while the gateway serves: what can be used is put to work, what cannot is refused. */
class LiveEditingTest {

    private static final int STREAMS = 200;
    private static final int EDITS = 50;

    @TempDir
    Path temp;

    private final String model = "m-" + UUID.randomUUID();

    /** A bean whose class cannot be used. */
    public static final class Faulty {
        static {
            if (true) {
                throw new NoClassDefFoundError("a library of this version");
            }
        }
    }

    private static JsonNode routes(TestGateway gateway) throws Exception {
        return json(gateway.get("/health/detailed").body()).path("routes");
    }

    /** A route with one step. */
    private static String more(String id, String to) {
        return "- route:\n    id: " + id + "\n    from:\n      uri: direct:" + id + "\n      steps:\n        - to: " + to + "\n";
    }

    private static void untilLoaded(TestGateway gateway, int generation) throws Exception {
        until("generation " + generation + " serves", () -> gateway.bean(RouteVersions.class).generation() == generation);
    }

    @Test
    void whatIsSavedIsWhatHappens() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            assertEquals(1, routes(gateway).path("generation").asInt());
            assertEquals("", new Answer(gateway.post("/v1/chat/completions", chat("openai/" + model, false))).header("x-edited"));
            int connections = gateway.provider().connections();

            routes.edit("chat.camel.yaml", "        - to: direct:admit\n", """
                    - setProperty:
                        name: edited
                        expression:
                          simple: {expression: "${exchangeProperty.client.header('X-Edited', 'yes')}"}
                    - to: direct:admit
            """.indent(0));
            untilLoaded(gateway, 2);
            assertEquals("yes", new Answer(gateway.post("/v1/chat/completions", chat("openai/" + model, false))).header("x-edited"));
            assertEquals(connections, gateway.provider().connections(), "it has those of the version before");

            assertEquals(404, gateway.post("/v1/chat/completions", chat("extra/" + model, false)).statusCode());
            routes.save("providers/extra.camel.yaml", routes.read("providers/openai.camel.yaml")
                    .replace("provider-openai", "provider-extra").replace("id: openai", "id: extra").replace("provider: openai", "provider: extra"));
            untilLoaded(gateway, 3);
            assertEquals(200, gateway.post("/v1/chat/completions", chat("extra/" + model, false)).statusCode());

            routes.edit("kamelets/openai-chat-action.kamelet.yaml", "{{baseUrl}}", "{{baseUrl}}/edited");
            untilLoaded(gateway, 4);
            gateway.post("/v1/chat/completions", chat("extra/" + model, false));
            String line = gateway.provider().calls(model).getLast().line();
            assertTrue(line.contains("/v1/edited/chat/completions"), line);

            routes.delete("providers/extra.camel.yaml");
            untilLoaded(gateway, 5);
            assertEquals(404, gateway.post("/v1/chat/completions", chat("extra/" + model, false)).statusCode());

            routes.edit("chat.camel.yaml", "routeConfigurationId: entry", "routeConfigurationId: ent*,inner");
            untilLoaded(gateway, 6);
            routes.edit("chat.camel.yaml", "- to: direct:limit\n", "- to: direct:limit?timeout=1000\n");
            untilLoaded(gateway, 7);
        }
    }

    @Test
    void pricesAndErrorsAreEditedLikeTheRestAndBeansTakeARestart() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            routes.edit("prices.camel.yaml", "table: |\n", "table: |\n          openai/" + model + " 1000000 0\n");
            untilLoaded(gateway, 2);
            assertEquals(200, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
            until("it has its price", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model
                    + "' AND cost_usd = prompt_tokens") == 1);

            routes.edit("errors.camel.yaml", "AGENT_NOT_FOUND: 404 invalid_request_error model_not_found", "AGENT_NOT_FOUND: 410 invalid_request_error gone");
            untilLoaded(gateway, 3);
            HttpResponse<String> gone = gateway.post("/v1/chat/completions", chat("nobody", false));
            assertEquals(410, gone.statusCode());
            assertEquals("gone", json(gone.body()).at("/error/code").asText());

            assertEquals(List.of(), log.with("that takes a restart"));
            routes.save("beans.camel.yaml", routes.read("beans.camel.yaml") + "# edited\n");
            until("the log says so", () -> log.with("beans.camel.yaml was changed: that takes a restart").size() == 1);
        }
    }

    /** As Kubernetes mounts it: a link for each file, through one of the folder, which is exchanged for another one. */
    @Test
    void aMountedConfigMapIsExchangedAsOneChange() throws Exception {
        RouteFolder before = RouteFolder.in(temp.resolve("..before"));
        RouteFolder after = RouteFolder.in(temp.resolve("..after"));
        after.edit("chat.camel.yaml", "From a request", "From the request");
        after.edit("limit.camel.yaml", "description: ", "description: Now, ");
        Path mounted = Files.createDirectory(temp.resolve("mounted"));
        Files.createSymbolicLink(mounted.resolve("..data"), before.folder());
        for (String name : List.of(".", "providers", "kamelets")) {
            Path folder = Files.createDirectories(mounted.resolve(name).normalize());
            try (Stream<Path> files = Files.list(before.folder().resolve(name))) {
                for (Path file : files.filter(Files::isRegularFile).toList()) {
                    Files.createSymbolicLink(folder.resolve(file.getFileName()), mounted.resolve("..data").resolve(name).resolve(file.getFileName()));
                }
            }
        }
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", mounted.toString())) {
            Path next = Files.createSymbolicLink(mounted.resolve("..data_tmp"), after.folder());
            Files.move(next, mounted.resolve("..data"), StandardCopyOption.ATOMIC_MOVE);
            untilLoaded(gateway, 2);
            assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            assertEquals(1, gateway.metric("llmchat_routes_reloads_total{result=\"loaded\"}"));
        }
    }

    @Test
    void aFileThatCannotBeReadIsRefusedAndDoesNotHideLaterChanges() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            Files.createSymbolicLink(routes.folder().resolve("more.camel.yaml"), temp.resolve("nowhere"));
            until("it is refused", () -> gateway.metric("llmchat_routes_reloads_total{result=\"refused\"}") == 1);
            assertEquals("more.camel.yaml cannot be read.", routes(gateway).path("lastError").path("reason").asText());
            routes.delete("more.camel.yaml");
            untilLoaded(gateway, 2);
            Files.write(routes.folder().resolve("more.camel.yaml"), ("# für\n" + more("more", "direct:admit")).getBytes(StandardCharsets.ISO_8859_1));
            until("that too", () -> routes(gateway).path("lastError").path("reason").asText().equals("It is not UTF-8."));
        }
    }

    @Test
    void aKameletThatCannotBeReadAndAFolderWithoutHttpRoutesAreRefused() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            String kamelet = "kamelets/openai-chat-action.kamelet.yaml";
            routes.delete(kamelet);
            Files.createSymbolicLink(routes.folder().resolve(kamelet), temp.resolve("nowhere"));
            until("it is refused", () -> routes(gateway).path("lastError").path("reason").asText().equals(kamelet + " cannot be read."));
            routes.delete(kamelet);
            routes.delete("http.camel.yaml");
            until("that too", () -> routes(gateway).path("lastError").path("reason").asText().equals("There is no HTTP route (http.camel.yaml)."));
        }
    }

    @Test
    void whatIsNoListAndAKameletThatNobodyCallsAreReadToo() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            routes.save("more.camel.yaml", "later\n");
            until("a text is refused", () -> routes(gateway).path("lastError").path("reason").asText().startsWith("It is no list of routes and beans"));
            routes.delete("more.camel.yaml");
            untilLoaded(gateway, 2);
            // together: it is not the file that is named because no other was saved
            routes.save("kamelets/more-action.kamelet.yaml", routes.read("kamelets/openai-chat-action.kamelet.yaml").replace("labels:\n", "labels: [\n"));
            routes.save("more.camel.yaml", more("more", "direct:admit"));
            until("it is refused", () -> !routes(gateway).path("lastError").isNull());
            JsonNode error = routes(gateway).path("lastError");
            assertEquals("kamelets/more-action.kamelet.yaml", error.path("file").asText(), error.toString());
            assertTrue(error.path("line").asInt() > 0 && !error.path("reason").asText().contains("\n"), error.toString());
        }
    }

    /** An event loop must not wait for a route that is not there. */
    @Test
    void aRouteThatIsThereForSomeOnlyIsNotWaitedFor() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:limit\n", "        - to: direct:limit\n        - toD: \"direct:agent-${exchangeProperty.agentId}?failIfNoConsumers=false\"\n");
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            assertTimeout(Duration.ofSeconds(20), () -> assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode()));
        }
    }

    @Test
    void aChatThatARouteEndsWithoutAnAnswerIsAnErrorAndNotAnEmptyAnswer() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String file = "chat.camel.yaml";
        String good = routes.read(file);
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            int generation = 1;
            // what the caller has sent is no answer either
            for (String end : List.of("        - to: direct:complete\n", "        - process: {ref: readChat}\n")) {
                routes.save(file, good.replace(end, "        - stop: {}\n" + end));
                untilLoaded(gateway, ++generation);
                for (boolean stream : new boolean[] {false, true}) {
                    HttpResponse<String> nothing = gateway.post("/v1/chat/completions", chat("demo", stream));
                    assertEquals(500, nothing.statusCode(), nothing.body());
                    assertEquals("api_error", json(nothing.body()).at("/error/type").asText());
                }
            }
        }
    }

    @Test
    void whatIsMissingBeforeAStepIsSaidInTheLog() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String file = "chat.camel.yaml";
        String good = routes.read(file);
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            routes.save(file, good.replace("        - process: {ref: readChat}\n", ""));
            untilLoaded(gateway, 2);
            assertEquals(500, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            until("the step and what it needs are named", () -> log.with("The step at deduplicate.camel.yaml:9 needs the chat").size() == 1);
            routes.save(file, good.replace("        - to: direct:enrich\n", ""));
            untilLoaded(gateway, 3);
            assertEquals(500, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            until("so is who finds whom to ask", () -> log.with("'to: direct:enrich' has to come before").size() == 1);
            assertEquals(List.of(), log.with("NullPointerException"));
        }
    }

    @Test
    void aStepOfOnesOwnReadsTheChatAndMayRefuseIt() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:limit\n", """
                - to: direct:limit
                - log: "asks ${exchangeProperty.chat.request.model} for ${exchangeProperty.chat.agent.id}, ${exchangeProperty.chat.userId} at ${exchangeProperty.chat.name}"
                - filter:
                    simple: "${exchangeProperty.chat.request.prompt.conversation.toString()} contains 'forbidden'"
                    steps:
                      - setProperty: {name: errorCode, constant: FORBIDDEN}
                      - setProperty: {name: errorMessage, constant: "Not here."}
                      - throwException: {exceptionType: java.lang.IllegalArgumentException, message: refused}
                - filter:
                    simple: "${exchangeProperty.chat.request.prompt.conversation.toString()} regex '(.|;)*never'"
                    steps: [{stop: {}}]
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            String agent = "agent-" + model;
            assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                    + "\",\"systemPrompt\":\"Be brief.\"}").statusCode());
            assertEquals(200, gateway.post("/v1/chat/completions", chat(agent, false)).statusCode());
            assertEquals(1, log.with("asks " + agent + " for " + agent + ", anonymous at " + agent).size());
            String sent = gateway.provider().calls(model).getLast().body().toString();
            assertTrue(sent.contains("Be brief."), sent);
            HttpResponse<String> refused = gateway.post("/v1/chat/completions", chat(agent, false).replace("Hi", "a forbidden word"));
            assertEquals(403, refused.statusCode(), refused.body());
            assertTrue(refused.body().contains("Not here."), refused.body());
            // for which that expression has no room
            assertEquals(500, gateway.post("/v1/chat/completions", chat(agent, false).replace("Hi", "long ".repeat(12_000))).statusCode());
        }
    }

    @Test
    void aThrottleOfOnesOwnTellsWhatItTakes() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:limit\n", """
                - to: direct:limit
                - throttle: {timePeriodMillis: 30000, rejectExecution: true, expression: {constant: {expression: "1"}}}
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            Answer second = new Answer(gateway.post("/v1/chat/completions", chat("demo", false)));
            assertEquals(429, second.status());
            assertEquals("\"global-requests\";q=1;w=30", second.header("ratelimit-policy"));
            assertTrue(second.body().contains("This gateway takes 1 requests in 30000 ms."), second.body());
        }
    }

    @Test
    void aProviderMayBeNamedAsTheBeans() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String provider = routes.read("providers/openai.camel.yaml")
                .replace("provider-openai", "provider-extra").replace("id: openai", "id: extra").replace("provider: openai", "provider: extra");
        routes.save("providers/beans.camel.yaml", provider);
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat("extra/" + model, false)).statusCode());
            routes.save("providers/beans.camel.yaml", provider + "- beans:\n    - {name: prices, type: java.lang.Object}\n");
            until("it is refused", () -> routes(gateway).path("lastError").path("reason").asText().startsWith("The bean 'prices' is there twice."));
            assertEquals(List.of(), log.with("that takes a restart"));
        }
    }

    @Test
    void whatIsSavedWaitsWhereManyOldVersionsHaveStreamsStill() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        CountDownLatch go = new CountDownLatch(1);
        List<Sse> streams = new ArrayList<>();
        // a busy machine takes seconds for a version
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "camel.component.llm.idle-timeout", "120000");
                LogLines log = LogLines.text()) {
            gateway.provider().on(model, FakeProvider.waits("Once", new CountDownLatch(1), " never"));
            gateway.provider().on(model + "-first", FakeProvider.waits("Once", go, " and to the end"));
            for (int version = 1; version <= 8; version++) {
                Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model + (version == 1 ? "-first" : ""), true));
                streams.add(stream);
                stream.lineWith("Once");
                routes.save("more.camel.yaml", more("more" + version, "direct:admit"));
                untilLoaded(gateway, version + 1);
            }
            routes.save("more.camel.yaml", more("last", "direct:admit"));
            until("it waits", () -> !log.with("8 old versions").isEmpty());
            go.countDown();
            streams.get(0).lineWith("[DONE]");
            untilLoaded(gateway, 10);
        } finally {
            for (Sse stream : streams) {
                stream.close();
            }
        }
    }

    @Test
    void aFolderMayHaveAnyName() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("c++, 50%25 of a?"));
        routes.save("providers/a+b.camel.yaml", routes.read("providers/openai.camel.yaml")
                .replace("provider-openai", "provider-other").replace("id: openai", "id: other").replace("provider: openai", "provider: other"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.enrich.default-model", "other/" + model)) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat("nobody-knows", false)).statusCode());
            routes.save("more, more.camel.yaml", "- route:\n    id: more\n    from:\n      uri: direct:more\n      step: []\n");
            until("it is refused", () -> routes(gateway).path("lastError").path("file").asText().equals("more, more.camel.yaml"));
            routes.delete("more, more.camel.yaml");
            routes.delete("providers/a+b.camel.yaml");
            until("that too", () -> routes(gateway).path("lastError").path("reason").asText().startsWith("DEFAULT_MODEL is 'other/"));
            assertEquals(200, gateway.post("/v1/chat/completions", chat("nobody-knows", false)).statusCode());
        }
    }

    private static String job(String options, String steps) {
        return "- route:\n    id: job\n    from:\n      uri: timer:job?" + options + "\n      steps:\n" + steps.indent(8);
    }

    @Test
    void aJobRunsInTheNewestVersionOnlyWhileRequestsRunInTheOneBefore() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("job.camel.yaml", job("period=20", "- log: {message: job of version 1, logName: io.llmchat}"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            gateway.provider().on(model, FakeProvider.Call::hang);
            Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true));
            until("it is in progress", () -> gateway.provider().calls(model).size() == 1 && !log.with("job of version 1").isEmpty());
            routes.edit("job.camel.yaml", "version 1", "version 2");
            until("the new one works", () -> log.with("job of version 2").size() > 5);
            int before = log.with("job of version 1").size();
            int now = log.with("job of version 2").size();
            until("it goes on", () -> log.with("job of version 2").size() > now + 10);
            assertEquals(before, log.with("job of version 1").size());
            stream.close();
        }
    }

    @Test
    void aJobWaitsForNoTimeOfDayWhichMayBeSetBack() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("job.camel.yaml", job("period=20", "- log: {message: \"job on ${threadName}\", logName: io.llmchat}"));
        try (LogLines log = LogLines.text(); TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            until("it runs again and again", () -> log.with("job on ").size() > 5);
            assertTrue(log.with("job on ").getFirst().contains("job on timer job"), "not on a thread of Java's own timers: " + log.with("job on ").getFirst());
        }
    }

    @Test
    void aJobThatHasBegunWhenItsRouteIsEditedRunsToItsEnd() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("job.camel.yaml", job("delay=0&period=60000", """
                - log: {message: job of version 1 begins, logName: io.llmchat}
                - loop:
                    expression: {constant: {expression: 4}}
                    steps: [{to: "sql:SELECT count(pg_sleep(1))"}]
                - log: {message: job of version 1 has ended, logName: io.llmchat}
                """));
        try (LogLines log = LogLines.text(); TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            until("it has begun", () -> !log.with("job of version 1 begins").isEmpty());
            routes.edit("job.camel.yaml", "version 1", "version 2");
            until("it has ended, or broken off", () -> !log.with("job of version 1 has ended").isEmpty() || !log.with("has not been started").isEmpty());
            assertEquals(List.of(), log.with("has not been started"));
            assertEquals(1, log.with("job of version 2 begins").size(), "the new one did not wait for it");
        }
    }

    @Test
    void whatCannotBeUsedIsToldWithFileAndLineAndTheVersionBeforeGoesOn() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            String file = "chat.camel.yaml";
            String good = routes.read(file);
            int lines = (int) good.lines().count();
            int refused = 0;
            record Broken(String text, int line, String reason) {
            }
            for (Broken broken : List.of(
                    new Broken(good.replace("id: chat\n", "id: [chat\n"), 4, "expected ',' or ']'"),
                    new Broken(good.replace("steps:", "stepz:"), 8, "Unsupported field: stepz"),
                    new Broken(good.replace("ref: readChat", "ref: nobody"), 10, "No bean could be found in the registry for: nobody"),
                    new Broken(good.replace("direct:admit", "direkt:admit"), 9, "There is no component 'direkt': docs/routes.md says"),
                    new Broken(good.replace("- to: direct:limit\n", "- setBody: {jq: .model}\n"), 13, "There is no language 'jq': docs/routes.md says"),
                    new Broken(good.replace("- to: direct:limit\n", "- to: kamelet:log-action\n"), 13, "there is no kamelets/log-action.kamelet.yaml."),
                    new Broken(good.replace("- to: direct:limit\n", "- stop\n"), 13, "a step has a colon behind its name"),
                    new Broken(good.replace("direct:admit", "direct:nowhere"), 9, "there is no route from direct:nowhere"),
                    new Broken(good.replace("- to: direct:limit\n", "- wireTap: {uri: \"direct:nowhere\"}\n"), 13, "there is no route from direct:nowhere"),
                    new Broken(good.replace("- to: direct:limit\n", "- toD: {uri: \"direct:nowhere?block=false\"}\n"), 13, "there is no route from direct:nowhere"),
                    new Broken(good.replace("- to: direct:limit\n", "- wireTap: {uri: \"direct:provider-${exchangeProperty.provider}\"}\n"), 13, "a wireTap cannot ask a provider"),
                    new Broken(good + more("provider-more", "kamelet:openai-chat-action?provider=more&baseUrl=http://x&idleTimeout=10s"),
                            0, "It is called at chat.camel.yaml:" + (lines + 6) + "."),
                    new Broken(good.replace("- to: direct:limit\n", "- enrich: {constant: \"direct:nowhere\"}\n"), 13, "there is no route from direct:nowhere"),
                    new Broken(good + more("more", "direct:asleep") + more("asleep", "direct:admit").replace("id: asleep\n", "id: asleep\n    autoStartup: false\n"),
                            lines + 6, "there is no route from direct:asleep"),
                    new Broken(good.replace("- to: direct:limit\n", "- throttle: {mode: TotalRequests, rejectExecution: true, constant: 100000000}\n"), 13,
                            "a throttle takes 1000000 requests in a window at most"),
                    new Broken(good.replace("Id: entry", "Id: exit"), 2, "there is no routeConfiguration 'exit'"),
                    new Broken(good.replace("Id: entry", "Id: entry,exit"), 2, "there is no routeConfiguration 'exit'"),
                    new Broken(good.replace("Id: entry", "Id: ex*") + "- routeConfiguration: {errorHandler: {noErrorHandler: {}}}\n", 2, "there is no routeConfiguration 'ex*'"),
                    new Broken(good + "- beans:\n    - {name: broken, type: \"io.llmchat.LiveEditingTest$Faulty\"}\n", 0, "of this version"),
                    new Broken(good + "- route:\n    id: enrich\n    from: {uri: direct:enrich, steps: [{stop: {}}]}\n", 0, "The id 'enrich' is used twice"),
                    new Broken(good.replace("- to: direct:limit\n", "- to: {id: to-provider, uri: \"direct:limit\"}\n"), 0,
                            "The id 'to-provider' is used twice. The other place is chat.camel.yaml:13."),
                    new Broken(good.replace("- to: direct:limit\n", "- throwException: {exceptionType: io.acme.Nobody, message: no}\n"), 13, "There is no class io.acme.Nobody"),
                    new Broken(good.replace("- route:", "route:"), 1, "It is no list of routes and beans"),
                    new Broken(good + "- route:\n    id: more\n", lines + 1, "The route has no 'from'."),
                    // what is being written
                    new Broken(good + "- route:\n", lines + 1, "with a colon behind each name"),
                    new Broken(good + "-\n", lines + 1, "a step has a colon behind its name"),
                    new Broken(good + "- beans:\n    -\n", lines + 2, "with a colon behind each name"),
                    new Broken(good + "- from: direct:more\n", 0, "has no output processors"),
                    new Broken(good.replace("- to: direct:limit\n", "- filter:\n"), 13, "with a colon behind each name"),
                    new Broken(good.replace("- to: direct:limit\n", "- choice: {when: }\n"), 13, "with a hyphen before each part"),
                    new Broken(good.replace("- to: direct:limit\n", "- to: {uri: sql, parameters: {query: }}\n"), 13, "Option query is required"),
                    new Broken("[]\n", 1, "There is no route and no bean in it."),
                    new Broken(good + more("provider-more", "llm:openai?provider=more"), 0, "needs a baseUrl"),
                    new Broken(good + more("more", "kamelet:openai-chat-action?baseUrl=http://x"),
                            lines + 6, "mandatory parameters must be provided: provider"),
                    new Broken(good + more("more", "kamelet:openai-chat-action?provider=more&baseUrl=http://x&idleTimeout=0"),
                            0, "idleTimeout of provider 'more' is 0; it takes milliseconds"),
                    new Broken(good + more("provider-more", "kamelet:openai-chat-action?provider=more&baseUrl=http://x&idleTimout=5"),
                            lines + 6, "it has no parameter 'idleTimout'"),
                    new Broken(good + more("more", "direct:admit").replace("- to: direct:admit", "- kamelet: {name: openai-chat-action, parameters: {provider: more, baseUrl: \"http://x\", idleTimout: 5}}"),
                            lines + 6, "it has no parameter 'idleTimout'"),
                    new Broken(good + more("provider-more", "direct:admit").replace("- to: direct:admit", "- kamelet: {name: openai-chat-action, parameters: {provider: openai, baseUrl: \"http://x\"}}"),
                            lines + 6, "Route 'provider-more': it asks the provider 'openai'."),
                    new Broken(good + more("provider-mroe", "kamelet:openai-chat-action?provider=more&baseUrl=http://x"),
                            lines + 6, "there is no route from direct:provider-more"),
                    new Broken(good + more("provider-more", "kamelet:openai-chat-action?provider=openai&baseUrl=http://x"),
                            lines + 6, "Route 'provider-more': it asks the provider 'openai'."),
                    new Broken(good + more("more", "direct:admit").replace("- to: direct:admit", "- circuitBreaker: {steps: [{stop: {}}], onFallback: {steps: [{to: direct:nowhere}]}}"),
                            lines + 6, "there is no route from direct:nowhere"),
                    new Broken(good + "- route:\n    id: more\n    from: {uri: \"platform-http:/more?useStreaming=true\", steps: [{stop: {}}]}\n",
                            0, "useStreaming=true and useBodyHandler=false of '/more' cannot be used"),
                    new Broken(good + "- route:\n    id: more\n    from: {uri: \"platform-http:/more?useBodyHandler=false\", steps: [{stop: {}}]}\n",
                            0, "useStreaming=true and useBodyHandler=false of '/more' cannot be used"),
                    new Broken(good + "- route:\n    id: more\n    from: {uri: \"platform-http:/v1/models/{name}\", steps: [{stop: {}}]}\n",
                            lines + 1, "take the same requests: GET /v1/models/{"),
                    new Broken(good.replace("        - to: direct:complete\n", "        - circuitBreaker:\n            resilience4jConfiguration: {timeoutEnabled: true}\n"
                            + "            steps: [{to: direct:complete}]\n"), 15, "takes no timeoutEnabled"),
                    new Broken("- onException:\n    exception: [java.lang.Exception]\n    handled: {constant: true}\n    steps: [{stop: {}}]\n",
                            1, "'onException' is for the routes of its own file"),
                    new Broken(good + "- beans:\n    - {name: prices, type: java.lang.Object}\n", 0, "The bean 'prices' is there twice. The other place is chat.camel.yaml:" + (lines + 2) + "."),
                    new Broken(good + "- route:\n    id: more\n    from: {uri: \"timer:x?period=often\", steps: [{stop: {}}]}\n", lines + 1, "its period is no time"),
                    new Broken(good + "- route:\n    id: more\n    from: {uri: \"timer:x?colour=red\", steps: [{stop: {}}]}\n", lines + 1, "colour"))) {
                routes.save(file, broken.text);
                int expected = ++refused;
                until("refused: " + broken.reason, () -> gateway.metric("llmchat_routes_reloads_total{result=\"refused\"}") == expected);
                JsonNode error = routes(gateway).path("lastError");
                assertTrue(error.path("reason").asText().contains(broken.reason), error.toString());
                if (broken.line > 0) {
                    assertEquals(file + ":" + broken.line, error.path("file").asText() + ":" + error.path("line").asInt(), error.toString());
                }
                assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            }
            assertEquals(1, gateway.metric("llmchat_routes_generation"));
            assertEquals(1, gateway.metric("llmchat_routes_refused"));
            routes.save(file, good);
            untilLoaded(gateway, 2);
            assertEquals(0, gateway.metric("llmchat_routes_refused"));
            assertTrue(routes(gateway).path("lastError").isNull());
            assertEquals(1, gateway.metric("llmchat_routes_reloads_total{result=\"loaded\"}"));
        }
    }

    @Test
    void whatATemplateCallsMayBeItsParameter() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("kamelets/tapped-action.kamelet.yaml", """
                apiVersion: camel.apache.org/v1
                kind: Kamelet
                metadata: {name: tapped-action}
                spec:
                  definition:
                    required: [tap, then]
                    properties: {tap: {type: string}, then: {type: string}}
                  template:
                    from:
                      uri: kamelet:source
                      steps:
                        - wireTap: {uri: "direct:{{tap}}"}
                        - to: "{{then}}"
                """);
        routes.save("more.camel.yaml", """
                - route: {id: tap, from: {uri: "direct:tap", steps: [{log: {message: was tapped}}]}}
                - routeTemplate:
                    id: of-openai
                    parameters: [{name: name}]
                    route:
                      routeConfigurationId: inner
                      from:
                        uri: direct:provider-{{name}}
                        steps:
                          - circuitBreaker:
                              steps: [{to: {uri: kamelet:openai-chat-action, parameters: {provider: "{{name}}", baseUrl: "{{llmchat.openai.base-url}}", keyRequired: "false"}}}]
                - templatedRoute: {routeTemplateRef: of-openai, routeId: provider-templated, parameters: [{name: name, value: templated}]}
                """);
        routes.edit("chat.camel.yaml", "        - to: direct:limit\n", "        - to: {uri: \"kamelet:tapped-action\", parameters: {tap: tap, then: \"direct:limit\"}}\n");
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat("templated/" + model, false)).statusCode());
            until("it was tapped", () -> log.with("was tapped").size() == 1);
        }
    }

    @Test
    void theRoutesThatOnlyStepsAskForMustBeThere() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            int refused = 0;
            for (String[] asked : new String[][] {{"enrich-history", "direct:enrich-conversation"}, {"keys", "direct:enrich-key"}, {"enrich", "direct:enrich-agent"}}) {
                routes.edit(asked[0] + ".camel.yaml", asked[1] + "\n", "direct:nobody-knows-" + refused + "\n");
                int expected = ++refused;
                until("refused without " + asked[1], () -> gateway.metric("llmchat_routes_reloads_total{result=\"refused\"}") == expected);
                assertEquals("There is no route from " + asked[1] + ".", routes(gateway).path("lastError").path("reason").asText());
            }
        }
    }

    @Test
    void aStepThatWaitsMayBeAddedToAChat() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            String ask = "- to: \"sql:SELECT 42 AS answer?outputType=SelectOne&outputHeader=answer\"\n";
            routes.edit("chat.camel.yaml", "        - to: direct:limit\n", "        - to: direct:limit\n        " + ask);
            untilLoaded(gateway, 2);
            assertEquals(1, new Answer(gateway.post("/v1/chat/completions", chat("openai/" + model, true))).ends());
            routes.edit("providers/openai.camel.yaml", "            steps:\n", "            steps:\n              " + ask);
            untilLoaded(gateway, 3);
            assertEquals(200, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
        }
    }

    @Test
    void aStepBeforeTheReadingMayChangeWhatIsRead() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - process: {ref: readChat}\n", """
                - setBody: {simple: "${bodyAs(String).replaceAll('[a-z.]+@[a-z.]+', '***')}"}
                - filter:
                    simple: "${exchangeProperty.client.requestHeader('X-Group')} == 'b'"
                    steps:
                      - unmarshal: {json: {}}
                      - script: {simple: "${body.put('model', 'demo')}"}
                      - marshal: {json: {}}
                - process: {ref: readChat}
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            String asked = chat("openai/" + model, false).replace("Hi", "I am a.b@c.de");
            assertEquals(200, gateway.post("/v1/chat/completions", asked).statusCode());
            assertEquals("I am ***", gateway.provider().call(model).body().at("/messages/0/content").asText());
            assertEquals("demo=200", new Answer(gateway.post("/v1/chat/completions", asked, "X-Group", "b")).header("x-llmchat-attempts"));
        }
    }

    @Test
    void aProviderThatARouteCallsOutOfTurnIsTheOneThatHasAnswered() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("providers/more.camel.yaml", routes.read("providers/openai.camel.yaml")
                .replace("provider-openai", "provider-more").replace("id: openai", "id: more").replace("provider: openai", "provider: more"));
        routes.edit("chat.camel.yaml", "        - to: direct:complete\n", """
                - loadBalance:
                    roundRobinLoadBalancer: {}
                    steps:
                      - to: direct:provider-openai
                      - to: direct:provider-more
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.record.batch-size", "1")) {
            for (int i = 0; i < 2; i++) {
                assertEquals(200, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
            }
            for (String provider : List.of("openai", "more")) {
                until("what it was asked is its own", () -> gateway.count("SELECT count(*) FROM usage_records WHERE provider = '" + provider
                        + "' AND model = '" + model + "'") == 1);
            }
        }
    }

    /** A bean that waits. */
    public static final class Waiting {
        static Semaphore there = new Semaphore(0);
        static Semaphore go = new Semaphore(0);

        public void go() throws InterruptedException {
            there.release();
            go.acquire();
        }
    }

    @Test
    void aBeanThatWaitsKeepsNobodyElse() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String chat = routes.read("chat.camel.yaml");
        String bean = "io.llmchat.LiveEditingTest$Waiting";
        int chats = 8;
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString());
                ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
            int generation = 1;
            for (String step : List.of("bean: {beanType: \"" + bean + "\"}", "to: \"class:" + bean + "\"", "enrich: {constant: \"class:" + bean + "\"}",
                    "toD: \"class:" + bean + "?method=g${exchangeProperty.nothing}o\"", "recipientList: {constant: \"class:" + bean + "\"}")) {
                routes.save("chat.camel.yaml", chat.replace("- to: direct:limit\n", "- to: direct:limit\n        - " + step + "\n"));
                untilLoaded(gateway, ++generation);
                List<Future<HttpResponse<String>>> waiting = new ArrayList<>();
                for (int i = 0; i < chats; i++) {
                    waiting.add(callers.submit(() -> gateway.post("/v1/chat/completions", chat("demo", false))));
                }
                try {
                    assertTrue(Waiting.there.tryAcquire(chats, 10, TimeUnit.SECONDS), step);
                    for (int i = 0; i < chats; i++) {
                        assertEquals(200, gateway.get("/health").statusCode(), step);
                    }
                } finally {
                    Waiting.go.release(chats);
                }
                for (Future<HttpResponse<String>> each : waiting) {
                    assertEquals(200, each.get(10, TimeUnit.SECONDS).statusCode(), step);
                }
            }
        }
    }

    @Test
    void whatARouteAnswersItselfIsTheAnswerAndKeepsNobodyElsesUsageFromBeingWritten() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:complete\n", """
                - choice:
                    when:
                      - simple: "${exchangeProperty.chat.name} == 'demo'"
                        steps:
                          - setBody: {constant: "Not today."}
                      - simple: "${exchangeProperty.chat.name} == 'demo/none'"
                        steps:
                          - log: "nothing is done"
                    otherwise:
                      steps:
                        - to: direct:complete
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.record.batch-size", "7",
                "llmchat.record.batch-interval", "600000")) {
            HttpResponse<String> own = gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", "own-" + model);
            assertEquals("Not today.", own.body());
            assertEquals("Not today.", gateway.post("/api/chat/completions", nativeChat("demo", false)).body());
            assertEquals(500, gateway.post("/v1/chat/completions", chat("demo/none", false)).statusCode());
            assertEquals(500, gateway.post("/api/chat/completions", nativeChat("demo/none", false)).statusCode());
            gateway.post("/v1/chat/completions", chat("openai/" + model, false));
            until("both are written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 1);
            assertEquals(1, gateway.count("SELECT count(*) FROM usage_records WHERE request_id = 'own-" + model + "' AND outcome = 'unknown'"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"log: {message: it goes on}", "stop: {}"})
    void whatARouteAnswersItselfIsTheAnswerToItsKeyTooAndLeavesNothingBehind(String then) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:complete\n", """
                - filter:
                    simple: "${exchangeProperty.chat.name} == 'demo'"
                    steps:
                      - delay: {constant: 300}
                      - setBody: {constant: "Not today."}
                      - %s
                - filter:
                    simple: "${exchangeProperty.chat.name} != 'demo'"
                    steps:
                      - to: direct:complete
        """.formatted(then));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.deduplicate.resume-grace", "0")) {
            int before = Living.objects(AnswerLog.class);
            for (int i = 0; i < 2; i++) {
                HttpResponse<String> own = gateway.post("/v1/chat/completions", chat("demo", false), "Idempotency-Key", model);
                assertEquals("200 Not today.", own.statusCode() + " " + own.body());
            }
            assertEquals("Not today.", gateway.post("/api/chat/completions", nativeChat("demo", true)).body());
            until("nothing is kept of them", () -> Living.objects(AnswerLog.class) <= before);
        }
    }

    @Test
    void aStreamWhoseRouteStopsBeforeItsEndIsSentEndsWithAnError() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:record\n", "        - stop: {}\n");
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            assertEquals(500, gateway.post("/api/chat/completions", nativeChat("openai/" + model, false)).statusCode());
            String stream = TestGateway.begun(() -> gateway.post("/api/chat/completions", nativeChat("openai/" + model, true))).get(20, TimeUnit.SECONDS).body();
            assertTrue(stream.contains("event: error\ndata: {\"code\":\"INTERNAL_ERROR\""), stream);
            assertEquals(2, log.with("The route has ended, and nothing has").size());
            assertEquals(1, new Answer(gateway.post("/v1/chat/completions", chat("openai/" + model, true))).ends(), "what nothing is stored of");
        }
    }

    @Test
    void whatFailsInADoTryOfAChatIsToldAndSettledAsElsewhere() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String caught = "            doCatch: [{exception: [java.lang.IllegalStateException], steps: [{stop: {}}]}]\n";
        routes.edit("chat.camel.yaml", "        - to: direct:complete\n", """
                - doTry:
                    steps:
                      - to: direct:complete
        """.indent(0) + caught);
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            gateway.provider().on(model, FakeProvider.fails(400, "no such tool"));
            HttpResponse<String> refused = gateway.post("/v1/chat/completions", chat("openai/" + model, false));
            assertEquals(400, refused.statusCode(), refused.body());
            assertTrue(refused.body().contains("no such tool"), refused.body());
            until("its usage is recorded", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 1);

            String broken = "broken-" + model;
            gateway.provider().on(broken, FakeProvider.breaks(List.of("Half"), FakeProvider.Call::reset));
            HttpResponse<String> stream = gateway.post("/v1/chat/completions", chat("openai/" + broken, true), "Idempotency-Key", broken, "X-Resumable", "true");
            assertTrue(stream.body().contains("Half") && stream.body().contains("\"error\""), stream.body());
            until("its usage is recorded too", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + broken + "'") == 1);

            routes.edit("chat.camel.yaml", "              - to: direct:complete\n", "              - to: \"sql:SELECT 1 / 0\"\n");
            untilLoaded(gateway, 2);
            HttpResponse<String> away = gateway.post("/v1/chat/completions", chat("openai/" + model, false));
            assertEquals(503, away.statusCode(), away.body());
            assertTrue(away.body().contains("The database cannot be reached"), away.body());
        }
    }

    @Test
    void aThrottleThatKeepsChatsWaitingKeepsNobodyElse() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "        - to: direct:limit\n", """
                - log: {message: comes to the throttle}
                - throttle: {mode: ConcurrentRequests, expression: {constant: {expression: "1"}}}
                - to: direct:limit
        """.indent(0));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString()); LogLines log = LogLines.text()) {
            CountDownLatch go = new CountDownLatch(1);
            gateway.provider().on(model, FakeProvider.waits("one", go, "two"));
            ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor();
            Future<HttpResponse<String>> first = callers.submit(() -> gateway.post("/v1/chat/completions", chat("openai/" + model, true)));
            until("it is in progress", () -> gateway.provider().calls(model).size() == 1);
            List<Future<HttpResponse<String>>> others = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                others.add(callers.submit(() -> gateway.post("/v1/chat/completions", chat("demo", false))));
            }
            until("all have come to it", () -> log.with("INFO io.llmchat.routes.chat - comes to the throttle").size() == 9);
            for (int i = 0; i < 8; i++) {
                assertEquals(200, gateway.get("/health").statusCode());
            }
            assertTrue(others.stream().noneMatch(Future::isDone));
            go.countDown();
            assertEquals(200, first.get(10, TimeUnit.SECONDS).statusCode());
            for (Future<HttpResponse<String>> other : others) {
                assertEquals(200, other.get(10, TimeUnit.SECONDS).statusCode());
            }
            callers.shutdownNow();
        }
    }

    @Test
    void placesAreCountedAcrossVersions() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.admit.max-concurrent", "1")) {
            gateway.provider().on(model, FakeProvider.Call::hang);
            Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true));
            until("it is in progress", () -> gateway.provider().calls(model).size() == 1);
            routes.edit("admit.camel.yaml", "Who gets in", "Who may get in");
            untilLoaded(gateway, 2);
            assertEquals(503, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            stream.close();
            until("its place is free", () -> gateway.post("/v1/chat/completions", chat("demo", false)).statusCode() == 200);
        }
    }

    @Test
    void openBreakersAndAnswersInProgressOutliveAVersion() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.retry.max", "0")) {
            String broken = "broken-" + model;
            gateway.provider().on(broken, call -> call.error(500, "oops"));
            for (int i = 0; i < 5; i++) {
                assertEquals(502, gateway.post("/v1/chat/completions", chat("openai/" + broken, false)).statusCode());
            }
            CountDownLatch end = new CountDownLatch(1);
            gateway.provider().on(model, FakeProvider.waits("one ", end, "two "));
            String key = "\r\nIdempotency-Key: " + model;
            try (Sse first = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true), key)) {
                first.lineWith("one ");
                routes.edit("admit.camel.yaml", "Who gets in", "Who may get in");
                untilLoaded(gateway, 2);
                assertEquals("openai=open", new Answer(gateway.post("/v1/chat/completions", chat("openai/" + broken, false))).header("x-llmchat-attempts"));
                assertEquals(5, gateway.provider().calls(broken).size());
                try (Sse joined = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true), key)) {
                    joined.lineWith("one ");
                    end.countDown();
                    joined.lineWith("[DONE]");
                }
                first.lineWith("[DONE]");
            }
            assertEquals(1, gateway.provider().calls(model).size());
        }
    }

    @Test
    void theCheckSaysWhatIsWrongWithoutServing() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("chat.camel.yaml", "ref: readChat", "ref: nobody");
        Process check = GatewayProcess.started("-Xmx200m", "io.llmchat.CheckRoutes", routes.folder().toString()).redirectErrorStream(true).start();
        GatewayProcess.readTo(check, "chat.camel.yaml:10: Route 'chat': No bean could be found in the registry for: nobody");
        assertEquals(1, check.waitFor());
    }

    @Test
    void fiftyEditsUnderLoadCutNoStreamFailNoRequestAndLeaveNothingBehind() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.routes.dir", routes.folder().toString(),
                // each permit of the throttle is an object
                "llmchat.admit.max-requests", "0");
                HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            String slow = "slow-" + model;
            CountDownLatch enough = new CountDownLatch(1);
            AtomicInteger open = new AtomicInteger();
            gateway.provider().on(slow, call -> {
                call.sse();
                call.text("first");
                open.incrementAndGet();
                while (!enough.await(100, TimeUnit.MILLISECONDS)) {
                    call.text(" more");
                }
                call.finish("stop");
                call.done();
            });
            String good = routes.read("admit.camel.yaml");
            // what is made once, at the first edit, is no leak
            routes.save("admit.camel.yaml", good + "# 0\n");
            untilLoaded(gateway, 2);
            gateway.post("/v1/chat/completions", chat("openai/" + model, false));
            Footprint before = Footprint.now();

            List<CompletableFuture<HttpResponse<String>>> streams = new ArrayList<>();
            for (int i = 0; i < STREAMS; i++) {
                streams.add(client.sendAsync(gateway.request("POST", "/v1/chat/completions", chat("openai/" + slow, true)),
                        HttpResponse.BodyHandlers.ofString()));
            }
            until("all streams are open", () -> open.get() == STREAMS);
            AtomicBoolean over = new AtomicBoolean();
            AtomicInteger requests = new AtomicInteger(1);
            Queue<String> failures = new ConcurrentLinkedQueue<>();
            List<Thread> callers = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                callers.add(Thread.startVirtualThread(() -> {
                    while (!over.get()) {
                        try {
                            HttpResponse<String> response = gateway.post("/v1/chat/completions", chat("openai/" + model, false));
                            requests.incrementAndGet();
                            Thread.sleep(5);
                            if (response.statusCode() != 200) {
                                failures.add(response.statusCode() + " " + response.body());
                            }
                        } catch (Exception e) {
                            failures.add(e.toString());
                        }
                    }
                }));
            }
            RouteVersions versions = gateway.bean(RouteVersions.class);
            for (int i = 1; i <= EDITS; i++) {
                int generation = versions.generation();
                double refused = gateway.metric("llmchat_routes_reloads_total{result=\"refused\"}");
                boolean valid = i % 5 != 1;
                routes.save("admit.camel.yaml", good + (valid ? "# " + i + "\n" : "- route: {id: " + i + "}\n"));
                until("edit " + i + " was looked at", () -> valid ? versions.generation() == generation + 1
                        : gateway.metric("llmchat_routes_reloads_total{result=\"refused\"}") == refused + 1);
            }
            assertEquals(0, streams.stream().filter(CompletableFuture::isDone).count());
            over.set(true);
            for (Thread caller : callers) {
                caller.join();
            }
            enough.countDown();
            for (CompletableFuture<HttpResponse<String>> stream : streams) {
                Answer answer = new Answer(stream.get(20, TimeUnit.SECONDS));
                assertEquals(200, answer.status());
                assertEquals(1, answer.ends());
                assertTrue(answer.text().startsWith("first more"));
            }
            assertEquals(List.of(), List.copyOf(failures));
            assertEquals(2 + EDITS - EDITS / 5, versions.generation());
            until("the usage of every request is kept", () -> gateway.count(
                    "SELECT count(*) FROM usage_records WHERE model IN ('" + model + "', '" + slow + "')") == requests.get() + STREAMS);
            gateway.provider().forget();
            streams.clear();
            client.shutdownNow();
            until("what is left is as much as before: " + before, () -> Footprint.now().isLike(before));
        }
    }

    /** What there is in this process after a collection of garbage. */
    private record Footprint(int contexts, int threads, long heap) {

        static Footprint now() throws Exception {
            int contexts = Living.objects(DefaultCamelContext.class);
            return new Footprint(contexts, ManagementFactory.getThreadMXBean().getThreadCount(),
                    ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
        }

        boolean isLike(Footprint before) {
            return contexts <= before.contexts && threads <= before.threads + 20 && heap < before.heap + 8_000_000;
        }
    }
}
