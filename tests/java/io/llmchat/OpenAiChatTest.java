package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.host.RoutesRefused;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.LogLines;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Chats on the OpenAI dialect with a provider of the same wire: what passes, and that it passes unchanged. */
class OpenAiChatTest {

    private static final String PATH = "/v1/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    private HttpResponse<String> ask(boolean stream) throws Exception {
        return gateway.post(PATH, chat("openai/" + model, stream));
    }

    @Test
    void theProviderIsAskedWithOurKeyAndItsOwnNameForTheModel() throws Exception {
        ask(false);
        Call call = provider.call(model);
        assertEquals("POST /v1/chat/completions", call.line());
        assertEquals("Bearer sk-of-the-gateway", call.header("Authorization"));
        assertEquals(model, call.body().path("model").asText());
    }

    @Test
    void aBaseUrlMayHaveAQuery() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", provider.url() + "/v1/?api-version=1")) {
            assertEquals(200, own.post(PATH, chat("openai/" + model, false)).statusCode());
            assertEquals("POST /v1/chat/completions?api-version=1", provider.call(model).line());
        }
    }

    @Test
    void aKeyThatCannotBeOneIsNotShown() {
        RoutesRefused refused = assertThrows(RoutesRefused.class, () -> TestGateway.with("llmchat.openai.api-key", "sk-of-a-file\n").close());
        assertTrue(refused.getMessage().contains("provider-openai"), refused.getMessage());
        assertFalse(refused.getMessage().contains("sk-of"), refused.getMessage());
    }

    @Test
    void whyAProviderCannotBeReachedIsInTheLogOnce() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", "https://127.0.0.1:" + provider.port() + "/v1", "llmchat.retry.max", "0");
                LogLines log = LogLines.text()) {
            for (int i = 0; i < 2; i++) {
                HttpResponse<String> answer = own.post(PATH, chat("openai/" + model, false));
                assertEquals(502, answer.statusCode());
                assertEquals("openai=connect", answer.headers().firstValue("X-LLMChat-Attempts").orElseThrow());
            }
            List<String> told = log.with("The provider 'openai' cannot be reached: ");
            assertEquals(1, told.size(), told.toString());
        }
    }

    @Test
    void theDemoRepeatsNoMoreThanTheBeginning() throws Exception {
        String text = "a ".repeat(100_000);
        String answer = gateway.post(PATH, chat("demo", false).replace("\"content\":\"", "\"content\":\"" + text)).body();
        assertTrue(answer.contains("a a a") && answer.length() < 5_000, () -> answer.length() + " bytes");
    }

    @Test
    void aWholeAnswerComesBackByteForByte() throws Exception {
        String answer = "{ \"id\":\"x\", \"choices\" : [{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\\u00e9\\n\"},"
                + "\"finish_reason\":\"stop\",\"score\":1.50e+2}], \"strange\":{\"n\":12345678901234567890.10},\"usage\":null}";
        provider.on(model, call -> call.json(200, answer));
        HttpResponse<String> response = ask(false);
        assertEquals(200, response.statusCode());
        assertEquals("application/json", response.headers().firstValue("content-type").orElseThrow());
        assertEquals(answer, response.body());
    }

    @Test
    void fieldsThatWeDoNotKnowReachTheProviderUnchanged() throws Exception {
        gateway.post(PATH, "{\"model\":\"openai/" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\",\"zzz\":1.0}],"
                + "\"unknown\": {\"a\" : [1.10, 1e5, 12345678901234567890]},\"top_p\":0.90}");
        String sent = provider.call(model).text();
        assertTrue(sent.contains("\"unknown\":{\"a\" : [1.10, 1e5, 12345678901234567890]}"), sent);
        assertTrue(sent.contains("{\"role\":\"user\",\"content\":\"Hi\",\"zzz\":1.0}"), sent);
        assertTrue(sent.contains("\"top_p\":0.90"), sent);
    }

    @Test
    void toolsAndImagesPassUntouched() throws Exception {
        String messages = "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is this?\"},"
                + "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]},"
                + "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
                + "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"4\"}]";
        String tools = "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}]";
        String answer = "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c2\","
                + "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}";
        provider.on(model, call -> call.json(200, answer));
        HttpResponse<String> response = gateway.post(PATH,
                "{\"model\":\"openai/" + model + "\",\"messages\":" + messages + ",\"tools\":" + tools + "}");
        assertEquals(answer, response.body());
        assertTrue(provider.call(model).text().contains("\"messages\":" + messages));
        assertTrue(provider.call(model).text().contains("\"tools\":" + tools));
    }

    @Test
    void aStreamHasTheHeadOfServerSentEvents() throws Exception {
        HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, true), "Accept-Encoding", "gzip");
        assertEquals(200, response.statusCode());
        assertEquals("text/event-stream; charset=utf-8", response.headers().firstValue("content-type").orElseThrow());
        assertEquals("no-cache, no-transform", response.headers().firstValue("cache-control").orElseThrow());
        assertEquals("no", response.headers().firstValue("x-accel-buffering").orElseThrow());
        assertTrue(response.headers().firstValue("content-length").isEmpty());
        assertTrue(response.headers().firstValue("content-encoding").isEmpty());
        assertEquals("openai=200", response.headers().firstValue("x-llmchat-attempts").orElseThrow());
    }

    @Test
    void aStreamIsTheProvidersChunksAndDone() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.role();
            call.text("One");
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}}]}", "null"));
            call.finish("stop");
            call.done();
        });
        assertEquals("data: " + Call.chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null") + "\n\n"
                + "data: " + Call.chunk("{\"content\":\"One\"}", "null") + "\n\n"
                + "data: " + Call.chunk("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}}]}", "null") + "\n\n"
                + "data: " + Call.chunk("{}", "\"stop\"") + "\n\n"
                + "data: [DONE]\n\n", ask(true).body());
    }

    @Test
    void usageIsAskedForButShownOnRequestOnly() throws Exception {
        assertFalse(ask(true).body().contains("prompt_tokens"));
        assertTrue(provider.call(model).body().path("stream_options").path("include_usage").asBoolean());

        String shown = gateway.post(PATH, "{\"model\":\"openai/" + model + "\",\"stream\":true,\"stream_options\":{\"include_usage\":true,"
                + "\"other\":1},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").body();
        assertTrue(shown.contains("\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}"));
        assertEquals(1, provider.calls(model).get(1).body().path("stream_options").path("other").asInt());
    }

    @Test
    void everyResponseHasARequestIdTheCallersIfItIsOne() throws Exception {
        HttpResponse<String> ours = ask(false);
        assertTrue(ours.headers().firstValue("x-request-id").orElseThrow().matches("[A-Za-z0-9._-]{8,}"));
        HttpResponse<String> theirs = gateway.post(PATH, chat("openai/" + model, false), "X-Request-Id", "my.request-1");
        assertEquals(List.of("my.request-1"), theirs.headers().allValues("x-request-id"));
        HttpResponse<String> refused = gateway.post(PATH, chat("openai/" + model, false), "X-Request-Id", "not an id!");
        assertFalse(refused.headers().firstValue("x-request-id").orElseThrow().contains("not"));
        assertTrue(gateway.get("/nowhere").headers().firstValue("x-request-id").isPresent());
    }

    @Test
    void anAgentLendsItsModelPromptAndDefaults() throws Exception {
        String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"systemPrompt\":\"Be \\\"brief\\\".\",\"temperature\":0.5,\"maxTokens\":77}");
        gateway.post(PATH, chat(id, false));
        JsonNode sent = provider.call(model).body();
        assertEquals("Be \"brief\".", sent.path("messages").path(0).path("content").asText());
        assertEquals("system", sent.path("messages").path(0).path("role").asText());
        assertEquals("Hi", sent.path("messages").path(1).path("content").asText());
        assertEquals(0.5, sent.path("temperature").asDouble());
        assertEquals(77, sent.path("max_completion_tokens").asInt());
    }

    @Test
    void whatTheCallerSaysComesBeforeTheAgentsDefaults() throws Exception {
        String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"temperature\":0.5,\"maxTokens\":77}");
        gateway.post(PATH, "{\"model\":\"" + id + "\",\"temperature\":0.9,\"max_completion_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        JsonNode sent = provider.call(model).body();
        assertEquals(0.9, sent.path("temperature").asDouble());
        assertEquals(5, sent.path("max_completion_tokens").asInt());
        assertTrue(sent.path("max_tokens").isMissingNode());
    }

    @Test
    void modelsAreTheActiveAgents() throws Exception {
        String inactive = "off-" + model;
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + inactive + "\",\"name\":\"N\",\"provider\":\"demo\",\"model\":\"demo\",\"isActive\":false}")
                .statusCode());
        JsonNode models = json(gateway.get("/v1/models").body());
        assertEquals("list", models.path("object").asText());
        for (JsonNode list : List.of(models, json(gateway.get("/v1/models", "anthropic-version", "2023-06-01").body()))) {
            List<String> ids = list.path("data").findValuesAsText("id");
            assertTrue(ids.contains("demo") && !ids.contains(inactive), ids.toString());
        }
        assertEquals(404, gateway.get("/v1/models/" + inactive).statusCode());
        assertEquals("demo", json(gateway.get("/v1/models/demo").body()).path("id").asText());
        HttpResponse<String> unknown = gateway.get("/v1/models/nobody");
        assertEquals(404, unknown.statusCode());
        assertEquals("model_not_found", json(unknown.body()).path("error").path("code").asText());
    }

    @Test
    void theDemoProviderAnswersWithoutANetworkAndSaysThatItIsOne() throws Exception {
        HttpResponse<String> response = gateway.post(PATH, chat("demo", false));
        assertEquals(200, response.statusCode());
        assertTrue(json(response.body()).path("choices").path(0).path("message").path("content").asText().contains("demo provider"));
        assertTrue(gateway.post(PATH, chat("demo", true)).body().endsWith("data: [DONE]\n\n"));
    }

    @Test
    void aProvidersRefusalOfTheRequestComesBackInItsWords() throws Exception {
        for (int status : new int[] {400, 404, 413, 422}) {
            provider.on(model, call -> call.error(status, "its_code"));
            HttpResponse<String> response = ask(false);
            JsonNode error = json(response.body()).path("error");
            assertEquals(status, response.statusCode());
            assertEquals("the provider says " + status, error.path("message").asText());
            assertEquals("provider_error", error.path("type").asText());
            assertEquals("its_code", error.path("code").asText());
        }
        assertEquals(4, provider.calls(model).size(), "none of them is asked again");
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"reasoning_content\":\"Hm\"", "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"Hm\",\"signature\":\"s\"}]"})
    void thoughtsThatAProviderRefusesItIsAskedWithout(String thoughts) throws Exception {
        String name = thoughts.substring(1, thoughts.indexOf('"', 1));
        provider.on(model, call -> {
            if (call.body().path("messages").path(1).has(name)) {
                call.json(400, "{\"error\":{\"message\":\"'messages.1' : property '" + name + "' is unsupported\",\"type\":\"invalid_request_error\"}}");
            } else {
                FakeProvider.says(List.of("Yes")).play(call);
            }
        });
        String said = "{\"role\":\"assistant\",\"content\":\"So\"";
        String messages = "[{\"role\":\"user\",\"content\":\"" + name + "?\"}," + said + "," + thoughts + "},{\"role\":\"user\",\"content\":\"And?\"}]";
        HttpResponse<String> response = gateway.post(PATH, "{\"model\":\"openai/" + model + "\",\"top_p\":0.50,\"messages\":" + messages + "}");
        assertEquals(200, response.statusCode(), response.body());
        List<Call> calls = provider.calls(model);
        assertEquals(2, calls.size());
        assertEquals(json(messages), calls.get(0).body().path("messages"), "others want them back");
        assertEquals(json("{\"model\":\"" + model + "\",\"top_p\":0.50,\"messages\":" + messages.replace("," + thoughts, "") + "}"),
                calls.get(1).body());
    }

    @Test
    void aRefusalThatNamesThoughtsWhereThereAreNoneIsTold() throws Exception {
        provider.on(model, call -> call.json(400, "{\"error\":{\"message\":\"reasoning_content must be passed back\"}}"));
        assertEquals(400, ask(false).statusCode());
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void aProviderThatDoesNotAcceptOurKeyIsABadGateway() throws Exception {
        provider.on(model, call -> call.error(401, "invalid_api_key"));
        HttpResponse<String> response = ask(false);
        assertEquals(502, response.statusCode());
        assertFalse(response.body().contains("sk-of-the-gateway"));
        assertNull(json(response.body()).path("error").path("code").textValue());
    }
}
