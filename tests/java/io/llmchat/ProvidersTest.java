package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.llmchat.http.Memory;
import io.llmchat.support.Documents;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.FullMemory;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Providers of other wires than OpenAI's, through the routes: Anthropic, Dify, FastGPT, and one that is only described. */
class ProvidersTest {

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "p-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        provider = new FakeProvider();
        gateway = TestGateway.with("llmchat.retry.max", "0", "camel.component.llm.idle-timeout", "1000",
                "llmchat.anthropic.base-url", provider.url(), "llmchat.anthropic.api-key", "key-of-anthropic",
                "llmchat.dify.base-url", provider.url() + "/v1", "llmchat.dify.api-key", "key-of-dify",
                "llmchat.fastgpt.base-url", provider.url() + "/api", "llmchat.fastgpt.api-key", "key-of-fastgpt",
                "llmchat.ollama.base-url", provider.url() + "/v1", "llmchat.test.acme-url", provider.url() + "/v2");
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
        provider.close();
    }

    private static void named(Call call, String event, String data) throws Exception {
        call.bytes(("event: " + event + "\ndata: " + data + "\n\n").getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    // --- Ollama

    @Test
    void ollamaIsToldTheLimitByTheOnlyNameItKnows() throws Exception {
        gateway.post("/v1/chat/completions", "{\"model\":\"ollama/" + model + "\",\"max_completion_tokens\":5,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals(5, provider.call(model).body().path("max_tokens").asInt());
        assertFalse(provider.call(model).body().has("max_completion_tokens"));
    }

    @Test
    void ollamaIsGivenBackItsThoughtsByTheOnlyNameItReads() throws Exception {
        gateway.post("/v1/messages", "{\"model\":\"ollama/" + model + "\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
                + "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"Yes\"}]},"
                + "{\"role\":\"user\",\"content\":\"So?\"}]}");
        assertEquals("{\"role\":\"assistant\",\"reasoning\":\"Hm\",\"content\":\"Yes\"}", provider.call(model).body().at("/messages/1").toString());
    }

    // --- of any wire

    @ParameterizedTest
    @CsvSource({"first-token-timeout, firstTokenTimeout, first_token", "idle-timeout, idleTimeout, idle", "stream-timeout, streamTimeout, total"})
    void aProvidersFileMayGiveItMoreTimeThanTheSettings(String setting, String property, String kind, @TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("providers/patient.camel.yaml", routes.read("providers/openai.camel.yaml").replace("provider-openai", "provider-patient")
                .replace("id: openai", "id: patient").replace("provider: openai", "provider: patient\n                    " + property + ": 20000"));
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.retry.max", "0",
                "camel.component.llm." + setting, "300")) {
            own.provider().on(model, call -> {
                call.begin();
                if (!property.equals("firstTokenTimeout")) {
                    call.tokens(List.of("Hello"));
                }
                Thread.sleep(1_000);
                call.tokens(List.of("there"));
                call.close("stop");
            });
            String late = own.post("/v1/chat/completions", chat("openai/" + model, true)).body();
            assertFalse(late.contains("[DONE]"), late);
            assertEquals(1, own.metric("llmchat_provider_timeouts_total{kind=\"" + kind + "\",provider=\"openai\"}"), late);
            String whole = own.post("/v1/chat/completions", chat("patient/" + model, true)).body();
            assertTrue(whole.endsWith("data: [DONE]\n\n"), whole);
        }
    }

    @Test
    void keysAndBaseUrlsReachAProviderAsTheyAre(@TempDir Path temp) throws Exception {
        String key = "k+%41&x";
        String query = "?a=1&b=%2B+2";
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("providers/acme.camel.yaml", Files.readString(Path.of("tests/resources/routes/providers/acme.camel.yaml"))
                .replace("{{llmchat.test.acme-url:http://localhost:9}}", "RAW({{llmchat.ollama.base-url}})").replace("key-of-acme", "RAW(" + key + ")"));
        // as it may be written where there is nothing to keep from Camel
        routes.save("providers/plain.camel.yaml", routes.read("providers/openai.camel.yaml").replace("provider-openai", "provider-plain")
                .replace("id: openai", "id: plain").replace("provider: openai", "provider: plain")
                .replace("RAW({{llmchat.openai.base-url}})", provider.url() + "/v1").replace("RAW({{llmchat.openai.api-key}})", "plain-key"));
        String base = provider.url() + "/v%31" + query;
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.retry.max", "0",
                "llmchat.openai.base-url", base, "llmchat.openai.api-key", key, "llmchat.anthropic.base-url", base, "llmchat.anthropic.api-key", key,
                "llmchat.dify.base-url", base, "llmchat.dify.api-key", key, "llmchat.fastgpt.base-url", base, "llmchat.fastgpt.api-key", key,
                "llmchat.ollama.base-url", base)) {
            for (String name : List.of("openai", "anthropic", "dify", "fastgpt", "ollama", "acme", "plain")) {
                provider.forget();
                own.post("/v1/chat/completions", chat(name + "/" + model, false));
                Call call = provider.calls().getLast();
                boolean plain = name.equals("plain");
                assertTrue(call.line().matches(plain ? "POST /v1/[a-z/0-9-]+" : "POST /v%31/[a-z/0-9-]+" + Pattern.quote(query)), call.line());
                assertEquals(name.equals("ollama") ? null : name.equals("anthropic") ? key : "Bearer " + (plain ? "plain-key" : key),
                        call.header(name.equals("anthropic") ? "x-api-key" : "Authorization"), name);
            }
        }
    }

    @Test
    void theReadmesExampleOfAProviderCanBeUsedAsItStands(@TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String shown = Documents.block("id: provider-groq");
        routes.save("providers/groq.camel.yaml", shown);
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            assertTrue(own.post("/v1/chat/completions", chat("groq/" + model, false)).body().contains("'groq' is not configured"));
            routes.save("providers/groq.camel.yaml", shown.replace("https://api.groq.com/openai", own.provider().url()).replace("{{env:GROQ_API_KEY:}}", "key-of-groq"));
            TestGateway.until("it serves", () -> own.post("/v1/chat/completions", chat("groq/" + model, false)).statusCode() == 200);
            assertEquals("Bearer key-of-groq", own.provider().call(model).header("Authorization"));
        }
    }

    private static String attempts(HttpResponse<String> response) {
        return response.headers().firstValue("x-llmchat-attempts").orElseThrow();
    }

    @Test
    void whoHasNoFallbacksOfItsOwnHasTheDefaultOnes() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.enrich.default-fallbacks", "openai/" + model + "-2, demo/demo", "llmchat.retry.max", "0")) {
            for (String fails : List.of("", "-2", "-3")) {
                own.provider().on(model + fails, call -> call.error(500, "oops"));
            }
            assertEquals("openai=500,openai=500,demo=200", attempts(own.post("/v1/chat/completions", chat("openai/" + model, false))));
            assertEquals("openai=500,demo=200", attempts(own.post("/v1/chat/completions", chat("openai/" + model + "-2", false))),
                    "one of them is asked once");
            String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
            String agent = "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model + "\",\"fallbacks\":[";
            assertEquals(201, own.post("/api/agents", agent + "]}").statusCode());
            assertEquals("openai=500,openai=500,demo=200", attempts(own.post("/v1/chat/completions", chat(id, false))));
            assertEquals(200, own.send("PUT", "/api/agents/" + id, agent + "\"openai/" + model + "-3\"]}").statusCode());
            HttpResponse<String> alone = own.post("/v1/chat/completions", chat(id, false));
            assertEquals(502, alone.statusCode(), alone.body());
            assertEquals("openai=500,openai=500", attempts(alone));
            assertEquals(1, own.provider().calls(model + "-3").size());
        }
    }

    /** How many milliseconds lay between the calls of a model that fails. */
    private List<Long> pauses(String... settings) throws Exception {
        try (TestGateway own = TestGateway.with(settings)) {
            own.provider().on(model, call -> call.error(500, "oops"));
            assertEquals(502, own.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
            List<Call> calls = own.provider().calls(model);
            return IntStream.range(1, calls.size()).mapToObj(i -> (calls.get(i).at() - calls.get(i - 1).at()) / 1_000_000).toList();
        }
    }

    @Test
    void eachRetryWaitsLongerThanTheOneBeforeUpToTheMost() throws Exception {
        List<Long> pauses = pauses("llmchat.retry.max", "3", "llmchat.retry.base-delay", "100", "llmchat.retry.factor", "100",
                "llmchat.retry.max-delay", "200", "llmchat.retry.jitter", "false");
        assertEquals(3, pauses.size());
        assertTrue(pauses.get(0) >= 100 && pauses.get(1) >= 200 && pauses.get(2) >= 200, pauses::toString);
        assertTrue(pauses.get(1) < 10_000 && pauses.get(2) < 10_000, pauses::toString);
    }

    @Test
    void whereRetriesAreSpreadSomeComeEarlier() throws Exception {
        List<Long> pauses = pauses("llmchat.retry.max", "10", "llmchat.retry.base-delay", "400", "llmchat.retry.factor", "1",
                "llmchat.retry.max-delay", "400", "llmchat.retry.jitter", "true", "camel.resilience4j.minimum-number-of-calls", "1000",
                "camel.resilience4j.sliding-window-size", "1000");
        assertEquals(10, pauses.size());
        assertTrue(pauses.stream().anyMatch(p -> p < 400), pauses::toString);
        assertTrue(pauses.stream().distinct().count() > 1, pauses::toString);
    }

    @Test
    void anAgentWhoseProviderHasNoKeyIsAnsweredByItsFallback() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.anthropic.api-key", "", "llmchat.enrich.default-model", "openai/" + model)) {
            String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
            String agent = "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"anthropic\",\"model\":\"x\"";
            assertEquals(201, own.post("/api/agents", agent + "}").statusCode());
            HttpResponse<String> alone = own.post("/v1/chat/completions", chat(id, false));
            assertEquals(404, alone.statusCode());
            assertTrue(alone.body().contains("'anthropic' is not configured"), alone.body());
            JsonNode status = json(own.get("/api/agents/" + id + "/status").body()).path("data");
            assertEquals("false closed false", status.path("configured") + " " + status.path("circuitBreaker").asText() + " " + status.path("available"));
            assertEquals(200, own.send("PUT", "/api/agents/" + id, agent + ",\"fallbacks\":[\"openai/" + model + "\"]}").statusCode());
            HttpResponse<String> fallback = own.post("/v1/chat/completions", chat(id, false));
            assertEquals(200, fallback.statusCode(), fallback.body());
            assertEquals("openai=200", fallback.headers().firstValue("X-LLMChat-Attempts").orElseThrow());
            for (String unknown : List.of("/", "foo/", "/foo", "foo/bar")) {
                assertEquals(200, own.post("/v1/chat/completions", chat(unknown, false)).statusCode(), "'" + unknown + "' is the default");
            }
        }
    }

    @Test
    void theExampleOfAMappedProviderIsAFileBehindHashes(@TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String example = routes.read("providers/mapped.camel.yaml.example");
        assertTrue(example.lines().allMatch(l -> l.startsWith("#")), example);
        routes.save("providers/acme.camel.yaml", example.substring(example.indexOf("# - route:")).replaceAll("(?m)^# ", ""));
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString())) {
            assertTrue(own.post("/v1/chat/completions", chat("acme/" + model, false)).body().contains("'acme' is not configured"));
        }
    }

    @Test
    void everyKameletTakesTimesOfItsOwn() throws Exception {
        for (String wire : List.of("openai", "anthropic", "dify", "fastgpt", "mapped")) {
            JsonNode spec = new YAMLMapper().readTree(Path.of("kamelets", wire + "-chat-action.kamelet.yaml").toFile()).path("spec");
            for (String time : List.of("firstTokenTimeout", "idleTimeout", "streamTimeout")) {
                assertTrue(spec.at("/definition/properties").has(time), wire + " " + time);
                assertEquals("{{?" + time + "}}", spec.at("/template/from/steps/0/to/parameters").path(time).asText(), wire);
            }
        }
    }

    // --- Anthropic

    private void anthropicSays(String text) {
        provider.on(model, call -> {
            call.sse();
            named(call, "message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
                    + "\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}");
            named(call, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}");
            named(call, "ping", "{\"type\":\"ping\"}");
            named(call, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" + text + "\"}}");
            named(call, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}");
            named(call, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}}");
            named(call, "message_stop", "{\"type\":\"message_stop\"}");
            call.end();
        });
    }

    @Test
    void anOpenAiCallerIsAnsweredByAnthropic() throws Exception {
        anthropicSays("Hello");
        String body = gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"stream\":true,\"seed\":7,"
                + "\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
                + "{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        assertTrue(body.contains("\"delta\":{\"content\":\"Hello\"}"), body);
        assertTrue(body.contains("\"finish_reason\":\"length\""), body);
        assertTrue(body.contains("\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}"), body);
        assertTrue(body.endsWith("data: [DONE]\n\n"));
        Call call = provider.call(model);
        assertEquals("POST /v1/messages", call.line());
        assertEquals("key-of-anthropic", call.header("x-api-key"));
        assertEquals("2023-06-01", call.header("anthropic-version"));
        assertNull(call.header("Authorization"));
        assertEquals("Be brief.", call.body().path("system").asText());
        assertEquals(4096, call.body().path("max_tokens").asInt());
        assertFalse(call.body().has("seed"));
    }

    @Test
    void argumentsOfACallPassAsTheyAreWritten() throws Exception {
        anthropicSays("Hello");
        gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                + "\"content\":\"Hi\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\","
                + "\"arguments\":\"{ \\\"a\\\":\\n[1.50 ,\\\"\\u00fc\\\"]}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"x\"}]}");
        assertTrue(provider.call(model).text().contains("\"input\":{ \"a\":\n[1.50 ,\"\u00fc\"]}"), provider.call(model).text());
    }

    @Test
    void whatTheProviderWasNotToldIsSaidInAWarning() throws Exception {
        anthropicSays("Hello");
        HttpResponse<String> response = gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"stream\":true,\"seed\":7,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals("299 llmchat \"The provider does not know, and was not told: seed\"",
                response.headers().firstValue("warning").orElseThrow());
    }

    @Test
    void namesOfTheCallersCannotBreakAHeader() throws Exception {
        anthropicSays("Hello");
        HttpResponse<String> response = gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"stream\":true,"
                + "\"a\\r\\nSet-Cookie: x=\\u00fc\":7,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals(200, response.statusCode());
        assertTrue(response.headers().firstValue("warning").orElseThrow().endsWith("told: a??Set-Cookie? x??\""));
        assertTrue(response.headers().firstValue("set-cookie").isEmpty());
    }

    @Test
    void whatCannotBeSaidIsRefusedWithItsField() throws Exception {
        HttpResponse<String> response = gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"n\":2,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals(400, response.statusCode());
        JsonNode error = json(response.body()).path("error");
        assertEquals("n", error.path("param").asText());
        assertEquals("unsupported_parameter", error.path("code").asText());
        assertEquals(0, provider.calls(model).size());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            /v1/chat/completions | anthropic | "tools":[],"tool_choice":"required",
            /v1/chat/completions | dify      | "tool_choice":{"type":"function","function":{"name":"f"}},
            /v1/messages         | openai    | "max_tokens":9,"tools":[],"tool_choice":{"type":"any"},
            /v1/messages         | openai    | "max_tokens":9,"tool_choice":{"type":"tool","name":"f"},""")
    void aToolThatMustBeCalledAndIsNotThereIsTheCallersFault(String path, String whom, String members) throws Exception {
        HttpResponse<String> response = gateway.post(path, "{\"model\":\"" + whom + "/" + model + "\"," + members
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals(400, response.statusCode(), response.body());
        assertEquals("invalid_request_error", json(response.body()).path("error").path("type").asText());
        assertTrue(json(response.body()).path("error").path("message").asText().startsWith("tool_choice"), response.body());
        assertEquals(0, provider.calls(model).size() + gateway.provider().calls(model).size());
    }

    @Test
    void aFunctionsAnswerThatDoesNotSayWhoseItIsIsTheCallersFault() throws Exception {
        HttpResponse<String> response = gateway.post("/v1/chat/completions", "{\"model\":\"anthropic/" + model + "\",\"messages\":["
                + "{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"function\",\"content\":\"42\"}]}");
        assertEquals(400, response.statusCode(), response.body());
        assertEquals("messages[1].name", json(response.body()).path("error").path("param").asText());
        assertEquals(0, provider.calls(model).size());
    }

    @Test
    void anAnthropicCallerGetsAnthropicsBytes() throws Exception {
        anthropicSays("Hello");
        String body = gateway.post("/v1/messages", "{\"model\":\"anthropic/" + model + "\",\"stream\":true,\"max_tokens\":5,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "anthropic-beta", "some-beta").body();
        assertTrue(body.contains("event: ping\ndata: {\"type\":\"ping\"}\n\n"), body);
        assertTrue(body.endsWith("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), body);
        assertEquals("some-beta", provider.call(model).header("anthropic-beta"));
    }

    @Test
    void allLinesOfAHeaderReachTheProvider() throws Exception {
        gateway.post("/v1/messages", "{\"model\":\"anthropic/" + model + "\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
                "anthropic-beta", "one,two", "anthropic-beta", "three");
        assertEquals("one,two, three", provider.call(model).header("anthropic-beta"));
    }

    @Test
    void anAnthropicCallerIsAnsweredByOpenAi() throws Exception {
        HttpResponse<String> response = gateway.post("/v1/messages", "{\"model\":\"openai/" + model + "\",\"max_tokens\":5,"
                + "\"system\":\"Be brief.\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        JsonNode message = json(response.body());
        assertEquals("message", message.path("type").asText());
        assertEquals("Hello there", message.path("content").path(0).path("text").asText());
        assertEquals("end_turn", message.path("stop_reason").asText());
        assertEquals(3, message.path("usage").path("input_tokens").asInt());
        assertEquals("system", gateway.provider().call(model).body().path("messages").path(0).path("role").asText());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aLongNameOfAToolIsShortForOpenAiAndItselfForAnAnthropicCaller(boolean stream) throws Exception {
        String name = "mcp__plugin_" + "x".repeat(70);
        provider.on(model, call -> {
            String asked = call.body().at("/tools/0/function/name").asText();
            String called = "\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"" + asked + "\",\"arguments\":\"{}\"}}]";
            if (stream) {
                call.sse();
                call.event(Call.chunk("{" + called + "}", "null"));
                call.finish("tool_calls");
                call.done();
            } else {
                call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," + called + "},\"finish_reason\":\"tool_calls\"}]}");
            }
        });
        String body = gateway.post("/v1/messages", "{\"model\":\"ollama/" + model + "\",\"max_tokens\":9,\"stream\":" + stream
                + ",\"tools\":[{\"name\":\"" + name + "\",\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"" + name
                + "\"},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c0\","
                + "\"name\":\"" + name + "\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c0\"}]}]}").body();
        assertTrue(body.contains("\"name\":\"" + name + "\""), body);
        List<String> told = provider.call(model).body().findValuesAsText("name");
        assertEquals(3, told.size());
        assertEquals(1, told.stream().distinct().count());
        assertEquals(64, told.get(0).length());
    }

    @Test
    void errorsOfTheAnthropicDialectAreAnthropics() throws Exception {
        JsonNode error = json(gateway.post("/v1/messages", "{\"model\":\"nobody\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body());
        assertEquals("error", error.path("type").asText());
        assertEquals("not_found_error", error.path("error").path("type").asText());
        assertTrue(error.path("request_id").isTextual());
        JsonNode missing = json(gateway.post("/v1/messages", "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body());
        assertEquals("invalid_request_error", missing.path("error").path("type").asText());
        assertTrue(missing.path("error").path("message").asText().startsWith("max_tokens"));
    }

    @Test
    void thatAPromptIsTooLongIsSaidInAnthropicsWords() throws Exception {
        for (String said : List.of("This model's maximum context length is 5", "prompt is too long: 9 > 5",
                "input length and `max_tokens` exceed context limit: 4 + 2 > 5")) {
            gateway.provider().on(model, call -> call.json(400, "{\"error\":{\"message\":\"" + said + "\"}}"));
            HttpResponse<String> response = gateway.post("/v1/messages", "{\"model\":\"openai/" + model
                    + "\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
            assertEquals(400, response.statusCode());
            assertEquals((said.startsWith("This") ? "prompt is too long: " : "") + said,
                    json(response.body()).path("error").path("message").asText());
        }
    }

    @Test
    void tokensAreCountedWhereTheProviderCan() throws Exception {
        provider.on(model, call -> call.json(200, "{\"input_tokens\":14}"));
        String body = "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
        assertEquals("{\"input_tokens\":14}", gateway.post("/v1/messages/count_tokens", "{\"model\":\"anthropic/" + model + body).body());
        assertEquals("POST /v1/messages/count_tokens", provider.call(model).line());
        assertEquals(400, gateway.post("/v1/messages/count_tokens", "{\"model\":\"openai/" + model + body).statusCode());
    }

    @Test
    void modelsAreListedAsTheCallersSdkExpects() throws Exception {
        JsonNode openAi = json(gateway.get("/v1/models").body());
        assertEquals("list", openAi.path("object").asText());
        JsonNode anthropic = json(gateway.get("/v1/models", "anthropic-version", "2023-06-01").body());
        assertFalse(anthropic.path("has_more").asBoolean(true));
        assertEquals("model", anthropic.path("data").path(0).path("type").asText());
        assertEquals("Demo", json(gateway.get("/v1/models/demo", "anthropic-version", "2023-06-01").body()).path("display_name").asText());
        assertEquals("model", json(gateway.get("/v1/models/demo").body()).path("object").asText());
    }

    @Test
    void anthropicsSdkGetsErrorsOfItsKindWhereverItAsks() throws Exception {
        for (String path : List.of("/v1/models/nobody", "/v1/files", "/v1/messages/batches")) {
            HttpResponse<String> response = gateway.get(path, "anthropic-version", "2023-06-01");
            assertEquals(404, response.statusCode());
            JsonNode error = json(response.body());
            assertEquals("error not_found_error", error.path("type").asText() + " " + error.at("/error/type").asText(), path);
            assertEquals(response.headers().firstValue("request-id").orElseThrow(), error.path("request_id").asText());
        }
        assertEquals("model_not_found", json(gateway.get("/v1/models/nobody").body()).at("/error/code").asText());
    }

    // --- embeddings

    @Test
    void embeddingsPassAndLeaveAUsageRecord() throws Exception {
        String answer = "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.10,-2e-3]}],\"model\":\"e\","
                + "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}";
        gateway.provider().on(model, call -> call.json(200, answer));
        assertEquals(answer, gateway.post("/v1/embeddings", "{\"model\":\"openai/" + model + "\",\"input\":\"Hi\",\"dimensions\":2}").body());
        Call call = gateway.provider().call(model);
        assertEquals("POST /v1/embeddings", call.line());
        assertEquals(2, call.body().path("dimensions").asInt());
        TestGateway.until("the usage is recorded", () -> gateway.count(
                "SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND prompt_tokens = 5") == 1);
        assertEquals(400, gateway.post("/v1/embeddings", "{\"model\":\"demo\"}").statusCode());
        HttpResponse<String> cannot = gateway.post("/v1/embeddings", "{\"model\":\"demo\",\"input\":\"Hi\"}");
        assertEquals(400, cannot.statusCode());
        assertEquals("unsupported_parameter", json(cannot.body()).path("error").path("code").asText());
    }

    @Test
    void vectorsAreOfTheModelThatWasAskedForWhoeverMakesThem() throws Exception {
        String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"fallbacks\":[\"openai/other-" + model + "\",\"ollama/" + model + "\"]}").statusCode());
        gateway.provider().on(model, call -> call.error(503, "down"));
        provider.on(model, call -> call.json(200, "{\"data\":[{\"embedding\":[0.5]}]}"));
        HttpResponse<String> response = gateway.post("/v1/embeddings", "{\"model\":\"" + id + "\",\"input\":\"Hi\"}");
        assertEquals("openai=503,ollama=200", response.headers().firstValue("x-llmchat-attempts").orElseThrow(), response.body());
        assertEquals(0, gateway.provider().calls("other-" + model).size());
    }

    // --- Dify

    private void difySays(AtomicReference<Call> asked, String conversation) {
        // Dify is not told a model: its calls name none
        provider.on("", dify(asked, conversation));
    }

    private static Script dify(AtomicReference<Call> asked, String conversation) {
        return call -> {
            asked.set(call);
            call.sse();
            call.event("{\"event\":\"workflow_started\",\"conversation_id\":\"" + conversation + "\",\"data\":{\"id\":\"w\"}}");
            call.event("{\"event\":\"node_started\",\"data\":{\"title\":\"Look up\"}}");
            named(call, "ping", "");
            call.event("{\"event\":\"message\",\"conversation_id\":\"" + conversation + "\",\"answer\":\"Hello\"}");
            call.event("{\"event\":\"message_end\",\"conversation_id\":\"" + conversation
                    + "\",\"metadata\":{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}}");
            call.end();
        };
    }

    @Test
    void difyGoesOnWithItsOwnConversationWithinASession() throws Exception {
        AtomicReference<Call> asked = new AtomicReference<>();
        String conversation = UUID.randomUUID().toString();
        difySays(asked, conversation);
        JsonNode first = json(gateway.post("/api/chat/completions", "{\"agentId\":\"dify/app\",\"variables\":{\"city\":\"Rome\"},"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body()).path("data");
        assertEquals("Hello", first.path("choices").path(0).path("message").path("content").asText());
        assertEquals(9, first.path("usage").path("total_tokens").asInt());
        assertEquals("POST /v1/chat-messages", asked.get().line());
        assertEquals("Bearer key-of-dify", asked.get().header("Authorization"));
        assertEquals("Hi", asked.get().body().path("query").asText());
        assertEquals("Rome", asked.get().body().path("inputs").path("city").asText());
        assertFalse(asked.get().body().has("conversation_id"), "a conversation must not be invented");
        gateway.post("/api/chat/completions", "{\"agentId\":\"dify/app\",\"chatId\":\"" + first.path("chatId").asText()
                + "\",\"messages\":[{\"role\":\"user\",\"content\":\"And now?\"}]}");
        assertEquals(conversation, asked.get().body().path("conversation_id").asText());
        assertEquals("And now?", asked.get().body().path("query").asText());
    }

    @Test
    void theWholeAnswerOfOneThatAlwaysStreamsHasItsPlaceInMemory() throws Exception {
        difySays(new AtomicReference<>(), UUID.randomUUID().toString());
        try (FullMemory none = new FullMemory(Memory.ANSWERS)) {
            HttpResponse<String> refused = gateway.post("/v1/chat/completions", chat("dify/app", false));
            assertEquals(503, refused.statusCode(), refused.body());
            assertEquals(200, gateway.post("/v1/chat/completions", chat("dify/app", true)).statusCode(), "a stream is not kept");
        }
        assertEquals(200, gateway.post("/v1/chat/completions", chat("dify/app", false)).statusCode());
    }

    @Test
    void whatDifyHasSaidBeforeItBrokeOffIsCountedThoughTheCallerWantsAWholeAnswer() throws Exception {
        provider.on("", call -> {
            call.sse();
            call.event("{\"event\":\"message\",\"conversation_id\":\"c\",\"answer\":\"" + "word ".repeat(200) + "\"}");
            call.cut();
        });
        HttpResponse<String> answer = gateway.post("/api/chat/completions", nativeChat("dify/app", false));
        assertEquals(502, answer.statusCode(), answer.body());
        String row = "SELECT completion_tokens FROM usage_records WHERE request_id = '"
                + answer.headers().firstValue("x-request-id").orElseThrow() + "'";
        TestGateway.until("it is paid for", () -> gateway.count(row.replace("completion_tokens", "count(*)")) == 1 && gateway.count(row) > 200);
    }

    @Test
    void whatDifyTakesBackReachesNeitherWhoWantsAWholeAnswerNorItsSession() throws Exception {
        provider.on("", call -> {
            call.sse();
            call.event("{\"event\":\"message\",\"conversation_id\":\"c\",\"answer\":\"Something bad\"}");
            call.event("{\"event\":\"message_replace\",\"conversation_id\":\"c\",\"answer\":\"Something else\"}");
            call.event("{\"event\":\"message_end\",\"conversation_id\":\"c\",\"metadata\":{}}");
            call.end();
        });
        JsonNode answer = json(gateway.post("/api/chat/completions", nativeChat("dify/app", false)).body()).path("data");
        assertEquals("Something else", answer.at("/choices/0/message/content").asText());
        String history = "/api/chat/history/" + answer.path("chatId").asText();
        TestGateway.until("it is kept", () -> gateway.get(history).body().contains("Something else"));
        assertFalse(gateway.get(history).body().contains("Something bad"), gateway.get(history).body());
    }

    @Test
    void aConversationThatDifyHasForgottenIsBegunAnew() throws Exception {
        AtomicReference<Call> asked = new AtomicReference<>();
        difySays(asked, "gone");
        String chatId = json(gateway.post("/api/chat/completions", nativeChat("dify/app", false)).body()).path("data").path("chatId").asText();
        Script says = dify(asked, "new");
        AtomicInteger calls = new AtomicInteger();
        provider.on("", call -> {
            calls.incrementAndGet();
            if (call.body().path("conversation_id").asText().equals("gone")) {
                call.json(404, "{\"code\":\"not_found\",\"message\":\"Conversation Not Exists.\",\"status\":404}");
            } else {
                says.play(call);
            }
        });
        String next = "{\"agentId\":\"dify/app\",\"chatId\":\"" + chatId + "\",\"messages\":[{\"role\":\"user\",\"content\":\"And now?\"}]}";
        HttpResponse<String> answer = gateway.post("/api/chat/completions", next);
        assertEquals(200, answer.statusCode(), answer.body());
        assertEquals("dify=404,dify=200", answer.headers().firstValue("x-llmchat-attempts").orElseThrow());
        assertTrue(answer.headers().firstValue("warning").orElseThrow().contains("messages (all but the last)"), "what was said before is lost");
        assertFalse(asked.get().body().has("conversation_id"));
        gateway.post("/api/chat/completions", next.replace("now", "then"));
        assertEquals("new", asked.get().body().path("conversation_id").asText());
        assertEquals(3, calls.get());
    }

    @Test
    void whatAWorkflowIsAtReachesNativeCallersAsStatus() throws Exception {
        difySays(new AtomicReference<>(), "c-1");
        String body = gateway.post("/api/chat/completions", nativeChat("dify/app", true)).body();
        assertTrue(body.contains("event: status\ndata: {\"type\":\"node_started\",\"status\":\"running\",\"moduleName\":\"Look up\"}"), body);
        assertTrue(body.contains("event: chunk\ndata: {\"content\":\"Hello\"}"), body);
        assertTrue(body.indexOf("event: start") < body.indexOf("event: status"), body);
        String openAi = gateway.post("/v1/chat/completions", chat("dify/app", true)).body();
        assertFalse(openAi.contains("Look up"), openAi);
        assertTrue(openAi.endsWith("data: [DONE]\n\n"), openAi);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aWorkflowThatWaitsForAHumanHasEndedItsTurn(boolean stream) throws Exception {
        AtomicInteger calls = new AtomicInteger();
        provider.on("", call -> {
            calls.incrementAndGet();
            call.sse();
            call.event("{\"event\":\"workflow_started\",\"conversation_id\":\"c\",\"data\":{\"id\":\"w\"}}");
            call.event("{\"event\":\"human_input_required\",\"conversation_id\":\"c\",\"data\":{\"form_id\":\"f\"}}");
            call.event("{\"event\":\"workflow_paused\",\"conversation_id\":\"c\",\"data\":{\"status\":\"paused\"}}");
            call.end();
        });
        HttpResponse<String> answer = gateway.post("/api/chat/completions", nativeChat("dify/app", stream));
        assertEquals(200, answer.statusCode(), answer.body());
        assertTrue(answer.body().contains(stream ? "{\"type\":\"workflow_paused\",\"status\":\"paused\"}" : "\"finish_reason\":\"stop\""), answer.body());
        assertEquals(1, calls.get(), "a workflow must not be run twice");
    }

    @ParameterizedTest
    @ValueSource(strings = {"/api/chat/completions", "/v1/chat/completions"})
    void aWorkflowMayTakeAnyNumberOfStepsBeforeItSaysAnything(String path) throws Exception {
        provider.on("", call -> {
            call.sse();
            for (int i = 0; i < 1_500; i++) {
                call.event("{\"event\":\"node_finished\",\"conversation_id\":\"c\",\"data\":{\"title\":\"Search\",\"status\":\"succeeded\","
                        + "\"outputs\":{\"found\":\"" + "x".repeat(1_000) + "\"}}}");
            }
            call.event("{\"event\":\"message\",\"conversation_id\":\"c\",\"answer\":\"Hello\"}");
            call.event("{\"event\":\"message_end\",\"conversation_id\":\"c\",\"metadata\":{}}");
            call.end();
        });
        HttpResponse<String> answer = gateway.post(path, path.startsWith("/api") ? nativeChat("dify/app", true) : chat("dify/app", true));
        assertEquals(200, answer.statusCode(), answer.body());
        assertTrue(answer.body().contains("\"content\":\"Hello\""), answer.body());
        assertEquals("dify=200", answer.headers().firstValue("x-llmchat-attempts").orElseThrow());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            dify    | event: ping
            dify    | data: {"event":"agent_log","conversation_id":"c","data":{"label":"Search"}}
            fastgpt | event: toolParams\\ndata: {"tool":{"id":"t","params":"{"}}""")
    void anAppThatSaysThatItIsAtWorkHasNotStalled(String name, String news) throws Exception {
        boolean dify = name.equals("dify");
        provider.on(dify ? "" : model, call -> {
            call.sse();
            appSays(call, dify, "Let me see. ");
            for (int i = 0; i < 8; i++) {
                TimeUnit.MILLISECONDS.sleep(200);
                call.bytes((news.replace("\\n", "\n") + "\n\n").getBytes(java.nio.charset.StandardCharsets.UTF_8));
            }
            appSays(call, dify, "Found.");
            call.event(dify ? "{\"event\":\"message_end\",\"conversation_id\":\"c\",\"metadata\":{}}" : Call.chunk("{}", "\"stop\""));
            call.end();
        });
        String body = gateway.post("/api/chat/completions", nativeChat(name + "/" + model, true)).body();
        assertTrue(body.contains("Found.") && body.contains("event: end"), body);
    }

    private static void appSays(Call call, boolean dify, String text) throws Exception {
        call.event(dify ? "{\"event\":\"message\",\"conversation_id\":\"c\",\"answer\":\"" + text + "\"}"
                : Call.chunk("{\"content\":\"" + text + "\"}", "null"));
    }

    // --- FastGPT

    @Test
    void fastGptTellsTextAndStatusInOneStream() throws Exception {
        provider.on(model, call -> {
            call.sse();
            named(call, "flowNodeStatus", "{\"status\":\"running\",\"name\":\"AI chat\"}");
            named(call, "answer", Call.chunk("{\"content\":\"Hello\"}", "null"));
            named(call, "answer", Call.chunk("{}", "\"stop\""));
            named(call, "answer", "[DONE]");
            named(call, "flowResponses", "[]");
            call.end();
        });
        String body = gateway.post("/api/chat/completions", "{\"agentId\":\"fastgpt/" + model + "\",\"stream\":true,"
                + "\"variables\":{\"a\":1},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        assertTrue(body.contains("\"status\":\"running\",\"moduleName\":\"AI chat\""), body);
        assertTrue(body.contains("event: chunk\ndata: {\"content\":\"Hello\"}"), body);
        assertTrue(body.contains("event: end"), body);
        Call call = provider.call(model);
        assertEquals("POST /api/v1/chat/completions", call.line());
        assertTrue(body.contains("{\"chatId\":\"" + call.body().path("chatId").asText() + "\"}"), "FastGPT knows the session by our name");
        assertEquals(1, call.body().path("variables").path("a").asInt());
        assertTrue(call.body().path("detail").asBoolean());
        assertTrue(call.body().path("responseChatItemId").isTextual());
    }

    private JsonNode askFastGpt(String path, String members, String messages) throws Exception {
        provider.on(model, call -> call.json(200, FakeProvider.completion("Hello").replaceFirst("\"usage\":\\{.*?}",
                "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":1}")));
        HttpResponse<String> response = gateway.post(path, "{\"model\":\"fastgpt/" + model + "\",\"agentId\":\"fastgpt/" + model + "\"," + members
                + "\"messages\":[" + messages + "]}");
        assertEquals(200, response.statusCode(), response.body());
        return json(response.body());
    }

    @Test
    void fastGptIsToldOnceWhatItRemembersItself() throws Exception {
        String chatId = askFastGpt("/api/chat/completions", "", "{\"role\":\"user\",\"content\":\"Hi\"}").path("data").path("chatId").asText();
        askFastGpt("/api/chat/completions", "\"chatId\":\"" + chatId + "\",", "{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"And?\"}");
        JsonNode second = provider.calls(model).get(1).body();
        assertEquals(chatId, second.path("chatId").asText());
        assertEquals("[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"And?\"}]", second.path("messages").toString());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            /api/chat/completions | ``
            /v1/chat/completions  | "metadata":{"session_id":"s"},""")
    void whoTellsFastGptWhatWasSaidBeforeIsAskedForWithThatAlone(String path, String members) throws Exception {
        askFastGpt(path, members.replace("\"s\"", "\"" + model + "\""), "{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello\"},"
                + "{\"role\":\"user\",\"content\":\"And?\"}");
        JsonNode body = provider.call(model).body();
        assertEquals(3, body.path("messages").size());
        assertFalse(body.has("chatId"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"chatId", "appId", "customUid", "shareId", "outLinkUid", "teamId", "teamToken"})
    void noCallerSaysToFastGptWhoseConversationItIs(String name) throws Exception {
        for (String path : List.of("/v1/chat/completions", "/v1/messages")) {
            HttpResponse<String> response = gateway.post(path, "{\"model\":\"fastgpt/" + model + "\",\"max_tokens\":9,\"" + name
                    + "\":\"of-somebody-else\",\"messages\":[{\"role\":\"user\",\"content\":\"What did I say?\"}]}");
            assertEquals(400, response.statusCode(), response.body());
            assertTrue(json(response.body()).path("error").path("message").asText().startsWith(name + " cannot be passed on"), response.body());
        }
        assertEquals(400, gateway.post("/v1/responses", "{\"model\":\"fastgpt/" + model + "\",\"" + name
                + "\":\"of-somebody-else\",\"input\":\"What did I say?\"}").statusCode());
        assertTrue(provider.calls(model).isEmpty());
    }

    @Test
    void whatTheGatewaySaysToFastGptItselfIsSaidOnce() throws Exception {
        String members = "\"metadata\":{\"session_id\":\"" + model + "\"},\"chatId\":null,\"detail\":true,\"responseChatItemId\":\"mine\",";
        askFastGpt("/v1/chat/completions", members, "{\"role\":\"user\",\"content\":\"Hi\"}");
        Call call = provider.call(model);
        for (String name : List.of("chatId", "detail", "responseChatItemId")) {
            assertEquals(2, call.text().split("\"" + name + "\":", -1).length, call.text());
        }
        assertFalse(call.body().path("detail").asBoolean(true));
        HttpResponse<String> response = gateway.post("/v1/messages", "{\"model\":\"fastgpt/" + model + "\",\"max_tokens\":9,\"detail\":true,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals("299 llmchat \"The provider does not know, and was not told: detail\"", response.headers().firstValue("warning").orElseThrow());
        assertFalse(provider.calls(model).get(1).body().path("detail").asBoolean(true));
    }

    @Test
    void usageThatFastGptMakesUpIsEstimated() throws Exception {
        askFastGpt("/v1/chat/completions", "", "{\"role\":\"user\",\"content\":\"Hi\"}");
        TestGateway.until("the estimate is recorded as one", () -> gateway.count(
                "SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND usage_estimated AND prompt_tokens > 10") == 1);
    }

    // --- a wire that stands in a route file only

    @Test
    void aProviderOfAnUnknownWireIsDescribedInItsFile() throws Exception {
        provider.on(model, call -> {
            if (call.body().path("stream").asBoolean()) {
                call.sse();
                named(call, "token", "{\"delta\":{\"text\":\"Hel\"}}");
                named(call, "token", "{\"delta\":{\"text\":\"lo\"}}");
                named(call, "done", "{\"usage\":{\"input\":3,\"output\":1}}");
                call.end();
            } else {
                call.json(200, "{\"output\":{\"text\":\"Hello\"},\"usage\":{\"input\":3,\"output\":1}}");
            }
        });
        JsonNode whole = json(gateway.post("/v1/chat/completions", chat("acme/" + model, false)).body());
        assertEquals("Hello", whole.path("choices").path(0).path("message").path("content").asText());
        assertEquals(4, whole.path("usage").path("total_tokens").asInt());
        String stream = gateway.post("/v1/messages", "{\"model\":\"acme/" + model + "\",\"max_tokens\":9,\"stream\":true,\"messages\":"
                + "[{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        assertTrue(stream.contains("{\"type\":\"text_delta\",\"text\":\"Hel\"}"), stream);
        assertTrue(stream.contains("\"output_tokens\":1}"), stream);
        assertTrue(stream.endsWith("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), stream);
        assertEquals(9, provider.calls(model).get(1).body().path("limit").asInt());
        assertFalse(provider.calls(model).get(0).body().has("limit"));
        assertEquals("Bearer key-of-acme", provider.calls(model).get(0).header("Authorization"));
    }

    @Test
    void aKeyIsShownWhereAndAsTheFileSays(@TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("providers/acme.camel.yaml", Files.readString(Path.of("tests/resources/routes/providers/acme.camel.yaml"))
                .replace("key-of-acme", "key-of-acme\n                    keyHeader: X-API-Key\n                    keyPrefix: \"\""));
        provider.on(model, call -> call.json(200, "{\"output\":{\"text\":\"Hello\"}}"));
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.test.acme-url", provider.url() + "/v2")) {
            own.post("/v1/chat/completions", chat("acme/" + model, false));
            assertEquals("key-of-acme", provider.call(model).header("X-API-Key"));
            assertNull(provider.call(model).header("Authorization"));
        }
    }

    // --- streams that are not quite right

    @Test
    void anEventThatCannotBeReadIsAHoleInTheAnswerAndEndsIt() throws Exception {
        gateway.provider().on(model, call -> {
            call.sse();
            call.text("Hel");
            call.event("{\"choices\":[{\"delta\":{\"cont");
            call.text("lo");
            call.finish("stop");
            call.done();
        });
        double before = gateway.metric("llmchat_provider_events_malformed_total{provider=\"openai\"}");
        String body = gateway.post("/v1/chat/completions", chat("openai/" + model, true)).body();
        assertTrue(body.contains("\"Hel\"") && body.contains("\"error\"") && !body.contains("\"lo\"") && !body.contains("[DONE]"), body);
        assertEquals(before + 1, gateway.metric("llmchat_provider_events_malformed_total{provider=\"openai\"}"));
    }

    @Test
    void anEventThatCannotBeReadAfterTheReasonToStopTakesNothingFromTheAnswer() throws Exception {
        gateway.provider().on(model, call -> {
            call.sse();
            call.text("Hello");
            call.finish("stop");
            call.event("{\"usage\":{\"prompt_tok");
            call.done();
        });
        String body = gateway.post("/v1/chat/completions", chat("openai/" + model, true)).body();
        assertTrue(body.contains("\"Hello\"") && body.endsWith("data: [DONE]\n\n"), body);
    }

    @Test
    void whatGeminiCountsOfADroppedCallIsUsedThoughAnotherAnswerIsAskedFor() throws Exception {
        String end = "\"finish_reason\":\"function_call_filter: MALFORMED_FUNCTION_CALL\"}],\"usage\":{\"prompt_tokens\":40,\"total_tokens\":40}}";
        try (TestGateway own = TestGateway.with("llmchat.retry.max", "1", "llmchat.retry.base-delay", "1")) {
            for (boolean stream : new boolean[] {false, true}) {
                String of = model + stream;
                own.provider().on(of, call -> {
                    boolean again = own.provider().calls(of).size() > 1;
                    if (again && stream) {
                        call.sse();
                        call.text("Hello");
                        call.event("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}");
                        call.done();
                    } else if (again) {
                        call.json(200, FakeProvider.completion("Hello"));
                    } else if (stream) {
                        call.sse();
                        call.event("{\"choices\":[{\"index\":0,\"delta\":{}," + end);
                        call.done();
                    } else {
                        call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"content\":null}," + end);
                    }
                });
                HttpResponse<String> response = own.post("/v1/chat/completions", chat("openai/" + of, stream));
                assertTrue(response.body().contains("Hello"), response.body());
                String rows = "SELECT count(*) FROM usage_records WHERE prompt_tokens = 43 AND model = '" + of + "'";
                TestGateway.until("both are written down", () -> own.count(rows) == 1);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat/completions"})
    void anAnswerInOnePieceIsAStreamOfOnePieceAndNotPaidForTwice(String path) throws Exception {
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("Hello")));
        String body = gateway.post(path, "{\"model\":\"openai/" + model + "\",\"agentId\":\"openai/" + model + "\",\"stream\":true,"
                + (path.endsWith("responses") ? "\"input" : "\"max_tokens\":9,\"messages") + "\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        String end = path.startsWith("/api") ? "event: end" : path.endsWith("messages") ? "event: message_stop"
                : path.endsWith("responses") ? "event: response.completed" : "data: [DONE]";
        assertTrue(body.contains("Hello") && body.contains(end), body);
        assertEquals(1, gateway.provider().calls(model).size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "acme"})
    void anAnswerInOnePieceIsWholeThoughItDoesNotSayWhyItEnds(String whom) throws Exception {
        FakeProvider of = whom.equals("acme") ? provider : gateway.provider();
        of.on(model, call -> call.json(200, whom.equals("acme") ? "{\"output\":{\"text\":\"Hello\"}}"
                : FakeProvider.completion("Hello").replace("\"finish_reason\":\"stop\"", "\"finish_reason\":null")));
        String body = gateway.post("/v1/chat/completions", chat(whom + "/" + model, true)).body();
        assertTrue(body.contains("\"Hello\"") && body.contains("\"finish_reason\":\"stop\"") && body.endsWith("data: [DONE]\n\n"), body);
        assertEquals(1, of.calls(model).size());
    }

    @Test
    void eventsUnderAnotherMediaTypeAreEvents() throws Exception {
        gateway.provider().on(model, call -> call.json(200, "data: " + Call.chunk("{\"content\":\"Hello\"}", null) + "\n\ndata: "
                + Call.chunk("{}", "\"stop\"") + "\n\ndata: [DONE]\n\n"));
        String body = gateway.post("/v1/chat/completions", chat("openai/" + model, true)).body();
        assertTrue(body.contains("\"Hello\"") && body.endsWith("data: [DONE]\n\n"), body);
        assertEquals(1, gateway.provider().calls(model).size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"/v1/chat/completions", "/v1/messages"})
    void aStreamThatNobodyAskedForIsAnAnswerInOnePieceAndNotPaidForTwice(String path) throws Exception {
        gateway.provider().on(model, call -> {
            call.sse();
            call.text("Hel");
            call.text("lo");
            call.finish("length");
            call.done();
        });
        JsonNode answer = json(gateway.post(path, "{\"model\":\"openai/" + model + "\",\"max_tokens\":9,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body());
        assertEquals("Hello", answer.at(path.endsWith("messages") ? "/content/0/text" : "/choices/0/message/content").asText(), answer.toString());
        assertEquals(path.endsWith("messages") ? "max_tokens" : "length",
                answer.at(path.endsWith("messages") ? "/stop_reason" : "/choices/0/finish_reason").asText());
        assertEquals(1, gateway.provider().calls(model).size());
    }

    @Test
    void whatADescribedProviderDoesNotCountIsEstimated() throws Exception {
        provider.on(model, call -> call.json(200, "{\"output\":{\"text\":\"Hello\"},\"usage\":{\"output\":7}}"));
        JsonNode usage = json(gateway.post("/v1/chat/completions", chat("acme/" + model, false)).body()).path("usage");
        assertEquals(7, usage.path("completion_tokens").asInt(), usage.toString());
        assertTrue(usage.path("prompt_tokens").asInt() > 0 && usage.path("estimated").asBoolean(), usage.toString());
    }

    @Test
    void anAnswerThatHasFinishedEndsThoughTheProviderKeepsTheConnection() throws Exception {
        gateway.provider().on(model, call -> {
            call.sse();
            call.text("Hello");
            call.finish("stop");
            call.hang();
        });
        long started = System.nanoTime();
        String body = gateway.post("/v1/chat/completions", chat("openai/" + model, true)).body();
        assertTrue(body.endsWith("data: [DONE]\n\n"), body);
        assertTrue(System.nanoTime() - started < 5_000_000_000L);
    }

    @Test
    void usageThatNobodyCountedIsEstimatedAndSaysSo() throws Exception {
        gateway.provider().on(model, call -> {
            if (!call.streamed()) {
                call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello, this is a text.\"},\"finish_reason\":\"stop\"}]}");
                return;
            }
            call.sse();
            call.text("Hello, this is a text.");
            call.finish("stop");
            call.done();
        });
        String body = gateway.post("/v1/chat/completions", "{\"model\":\"openai/" + model + "\",\"stream\":true,"
                + "\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        assertTrue(body.contains("\"completion_tokens\":6,") && body.contains("\"estimated\":true"), body);
        assertEquals(200, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
        TestGateway.until("the estimates are recorded as such", () -> gateway.count(
                "SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND usage_estimated AND completion_tokens = 6") == 2);
    }
}
