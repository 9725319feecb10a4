package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.RawHttp;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What gets in: JSON that can be read in one way only, names that every store takes, and nothing past the allow-list. */
class EntryTest {

    private static final String OPENAI = "/v1/chat/completions";
    private static final String NATIVE = "/api/chat/completions";
    private static final String HI = "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    private static void refused(String field, HttpResponse<String> response) {
        JsonNode body = json(response.body());
        assertEquals(400, response.statusCode(), response.body());
        if (body.path("type").asText().equals("error")) {
            assertTrue(body.at("/error/message").asText().startsWith(field + " "), "Anthropic's errors have no field: " + response.body());
        } else {
            assertEquals(field, body.has("error") ? body.at("/error/param").asText() : body.at("/details/0/field").asText(), response.body());
        }
    }

    // --- names that stand in an object twice

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
        "/v1/chat/completions | \"model\":\"demo\",\"model\":\"demo\",MESSAGES                                       | model",
        "/v1/chat/completions | \"model\":\"demo\",\"mod\\u0065l\":\"openai/x\",MESSAGES                             | model",
        "/v1/chat/completions | \"model\":\"demo\",MESSAGES,MESSAGES                                                 | messages",
        "/v1/chat/completions | \"model\":\"demo\",MESSAGES,\"x\":{\"y\":[1,{\"z\":1,\"z\":2}]}                       | x.y[1].z",
        "/v1/chat/completions | \"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}] | messages[0].content",
        "/v1/chat/completions | \"model\":\"demo\",\"Model\":\"openai/x\",MESSAGES                                   | Model",
        "/v1/chat/completions | \"model\":\"demo\",\"\u017ftream\":true,\"stream\":false,MESSAGES                    | \u017ftream",
        "/v1/messages         | \"model\":\"demo\",\"max_tokens\":1,\"max_tokens\":2,MESSAGES                        | max_tokens",
        "/v1/responses        | \"model\":\"demo\",\"input\":\"a\",\"input\":\"b\"                                   | input",
        "/v1/embeddings       | \"model\":\"openai/x\",\"input\":[\"a\"],\"input\":[\"b\"]                           | input",
        "/api/chat/completions| \"agentId\":\"demo\",\"agentId\":\"openai/x\",MESSAGES                               | agentId",
        "/api/agents          | \"name\":\"a\",\"name\":\"b\",\"provider\":\"demo\",\"model\":\"demo\"                | name",
        "/api/agents          | \"name\":\"a\",\"provider\":\"demo\",\"model\":\"demo\",\"metadata\":{\"a\":1,\"a\":2} | metadata.a",
        "/api/keys            | \"name\":\"a\",\"userId\":\"u\",\"userId\":\"v\"                                    | userId",
        "/api/keys            | \"name\":\"a\",\"userId\":\"u\",\"limits\":{\"tokens\":{\"limit\":1,\"limit\":2}}    | limits.tokens.limit",
        "/api/chat/feedback   | \"chatId\":\"a\",\"messageId\":\"b\",\"rating\":\"up\",\"rating\":\"down\"           | rating"})
    void aNameThatStandsInAnObjectTwiceIsNamed(String path, String members, String field) throws Exception {
        refused(field, gateway.post(path, "{" + members.replace("MESSAGES", HI) + "}"));
    }

    @Test
    void aNameMayStandInSeveralObjects() throws Exception {
        provider.on(model, c -> c.json(200, FakeProvider.completion("Fine")));
        String body = "{\"model\":\"openai/" + model + "\",\"x\":{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]},\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                + "{\"role\":\"user\",\"content\":\"b\"}]}";
        assertEquals(200, gateway.post(OPENAI, body).statusCode());
        assertEquals(1, provider.call(model).body().at("/x/b/1/a").asInt());
    }

    // --- bounds

    @Test
    void numbersAndNamesHaveBoundsAndTextsThatOfTheBody() throws Exception {
        refused("body", gateway.post(OPENAI, "{\"model\":\"demo\"," + HI + ",\"x\":" + "9".repeat(1_001) + "}"));
        refused("body", gateway.post(OPENAI, "{\"model\":\"demo\"," + HI + ",\"" + "n".repeat(50_001) + "\":1}"));
        refused("model", gateway.post(OPENAI, "{\"model\":\"" + "m".repeat(513) + "\"," + HI + "}"));
        assertEquals(200, gateway.post(OPENAI, chat("demo", false).replace("Hi", "x".repeat(1_000_000))).statusCode());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
        "/v1/chat/completions | \"model\":\"demo\",MESSAGES",
        "/v1/responses        | \"model\":\"demo\",\"input\":\"Hi\"",
        "/v1/messages         | \"model\":\"demo\",\"max_tokens\":9,MESSAGES",
        "/api/chat/completions| \"agentId\":\"demo\",MESSAGES",
        "/api/agents          | \"name\":\"a\",\"provider\":\"demo\",\"model\":\"demo\"",
        "/api/chat/feedback   | \"chatId\":\"a\",\"messageId\":\"b\",\"rating\":\"up\""})
    void aNumberThatNobodyCanReadIsTheCallersFault(String path, String members) throws Exception {
        // more of them than open a breaker
        for (int i = 0; i < 6; i++) {
            HttpResponse<String> response = gateway.post(path, "{" + members.replace("MESSAGES", HI) + ",\"temperature\":1e99999999999}");
            assertEquals(400, response.statusCode(), response.body());
            assertTrue(response.body().contains("a number whose exponent is too large"), response.body());
        }
        assertEquals(200, gateway.post(OPENAI, chat("demo", false)).statusCode());
    }

    @Test
    void aNumberOfAModelThatNobodyCanReadIsShownAsItIs() throws Exception {
        provider.on(model, c -> c.json(200, "{\"choices\":[{\"index\":0,\"finish_reason\":\"tool_calls\",\"message\":{\"role\":\"assistant\",\"tool_calls\":["
                + "{\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\":1e99999999999}\"}}]}}]}"));
        HttpResponse<String> answer = gateway.post("/v1/messages", "{\"model\":\"openai/" + model + "\",\"max_tokens\":9," + HI + "}");
        assertEquals("{\"n\":1e99999999999}", json(answer.body()).at("/content/0/input/_arguments").asText(), answer.body());
    }

    @Test
    void sixtyFourLevelsAreReadAndNoMore() throws Exception {
        // the object itself is the first
        String fits = "[".repeat(63) + "]".repeat(63);
        assertEquals(200, gateway.post(OPENAI, "{\"model\":\"demo\"," + HI + ",\"x\":" + fits + "}").statusCode());
        refused("body", gateway.post(OPENAI, "{\"model\":\"demo\"," + HI + ",\"x\":[" + fits + "]}"));
    }

    // --- characters that a store does not take

    @ParameterizedTest
    @ValueSource(strings = {"a\\u0000b", "openai/a\\u0000b", "openai/a\\ud800b", "openai/\\udc00", "openai/a\\nb", "\\u0000"})
    void aNameWithAControlCharacterOrHalfACharacterIsRefused(String name) throws Exception {
        refused("model", gateway.post(OPENAI, chat(name, false)));
        refused("model", gateway.post("/v1/messages", chat(name, false).replace("{\"model", "{\"max_tokens\":9,\"model")));
        refused("model", gateway.post("/v1/embeddings", "{\"model\":\"" + name + "\",\"input\":\"x\"}"));
        refused("model", gateway.post("/v1/responses", "{\"model\":\"" + name + "\",\"input\":\"x\"}"));
        refused("agentId", gateway.post(NATIVE, nativeChat(name, false)));
    }

    @Test
    void anAgentWithANulInItIsRefused() throws Exception {
        String agent = "{\"name\":\"N\",\"provider\":\"demo\",\"model\":\"demo\",";
        refused("systemPrompt", gateway.post("/api/agents", agent + "\"systemPrompt\":\"a\\u0000b\"}"));
        refused("metadata", gateway.post("/api/agents", agent + "\"metadata\":{\"a\\u0000\":1}}"));
        refused("fallbacks", gateway.send("PUT", "/api/agents/demo", "{\"fallbacks\":[\"a\\u0000b\"]}"));
        refused("systemPrompt", gateway.post("/api/agents", agent + "\"systemPrompt\":\"a\\\\\\u0000b\"}"));
    }

    @Test
    void aNulInWhatIsNotKeptIsNothing() throws Exception {
        assertEquals(200, gateway.send("PUT", "/api/users/" + model, "{\"name\":\"Ada\",\"note\":\"\\u0000\"}").statusCode());
        assertEquals(200, gateway.send("PUT", "/api/agents/demo", "{\"\\u0000\":1,\"note\":\"\\u0000\"}").statusCode());
    }

    @Test
    void aPromptMaySayHowANulIsWritten() throws Exception {
        String prompt = "\"Never write \\\\u0000.\"";
        HttpResponse<String> made = gateway.post("/api/agents", "{\"name\":\"N\",\"provider\":\"demo\",\"model\":\"demo\",\"systemPrompt\":" + prompt + "}");
        assertEquals(201, made.statusCode(), made.body());
        assertEquals(json(prompt), json(made.body()).at("/data/systemPrompt"));
        gateway.send("DELETE", "/api/agents/" + json(made.body()).at("/data/id").asText(), null);
    }

    // --- null

    @Test
    void nullIsNothingWhereAnAgentNeedsNothing() throws Exception {
        String id = "null-" + UUID.randomUUID().toString().substring(0, 8);
        provider.on(model, c -> c.json(200, FakeProvider.completion("Fine")));
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"N\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"description\":null,\"fallbacks\":null,\"capabilities\":null,\"metadata\":null,\"isActive\":null,\"rateLimit\":null}").statusCode());
        assertEquals(200, gateway.post(OPENAI, chat(id, false)).statusCode());
        for (String name : List.of("fallbacks", "capabilities", "metadata", "description", "systemPrompt", "temperature", "maxTokens", "isActive", "rateLimit")) {
            assertEquals(200, gateway.send("PUT", "/api/agents/" + id, "{\"" + name + "\":null}").statusCode(), name);
            assertEquals(200, gateway.post(OPENAI, chat(id, false)).statusCode(), name);
        }
        for (String name : List.of("name", "provider", "model")) {
            refused(name, gateway.send("PUT", "/api/agents/" + id, "{\"" + name + "\":null}"));
        }
        JsonNode agent = json(gateway.get("/api/agents/" + id).body()).path("data");
        assertEquals("[]", agent.path("fallbacks").toString());
        assertEquals("{}", agent.path("metadata").toString());
        gateway.send("DELETE", "/api/agents/" + id, null);
    }

    @Test
    void aNulInWhatIsSaidCostsNeitherTheAnswerNorTheUsageOfOthers() throws Exception {
        provider.on(model, c -> c.json(200, FakeProvider.completion("Fi\\u0000ne").replace("\"stop\"", "\"st\\u0000op\\ud800\"")));
        String body = "{\"agentId\":\"openai/" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"H\\u0000i\\ud800\"}],"
                + "\"variables\":{\"a\\u0000\":\"\\u0000\"},\"metadata\":{\"b\":\"\\u0000\\ud800\"}}";
        HttpResponse<String> answer = gateway.post(NATIVE, body, "Idempotency-Key", UUID.randomUUID().toString());
        assertEquals(200, answer.statusCode(), answer.body());
        JsonNode session = json(gateway.get("/api/chat/history/" + json(answer.body()).at("/data/chatId").asText()).body());
        assertEquals("H\ufffdi?", session.at("/data/messages/0/content").asText());
        assertEquals("Fi\ufffdne", session.at("/data/messages/1/content").asText());
        until("its usage is there", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 1);
    }

    @Test
    void aQueryStringThatIsNoneIsRefusedWhereItIsRead() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", "/api/chat/history?page=%zz"));
            assertEquals("page", http.read().json().at("/details/0/field").asText());
        }
        assertEquals(200, gateway.get("/api/chat/history?agentId=%00").statusCode());
    }

    // --- the way to the provider

    /** A POST is followed where it is answered with 303, if at all: by a GET that names no model. */
    @ParameterizedTest
    @ValueSource(ints = {301, 302, 303, 307, 308})
    void aProviderThatSendsElsewhereIsNotFollowed(int status) throws Exception {
        provider.on(model, c -> c.json(status, "{}", "Location: " + provider.url() + "/v1/elsewhere"));
        HttpResponse<String> answer = gateway.post(OPENAI, chat("openai/" + model, false));
        assertEquals(502, answer.statusCode(), answer.body());
        assertFalse(answer.body().contains("elsewhere"), answer.body());
        assertTrue(provider.calls().stream().noneMatch(c -> c.line().contains("elsewhere")));
    }

    @Test
    void aProviderIsToldNothingOfTheCallersHeadButWhatBelongsToItsWire() throws Exception {
        provider.on(model, c -> c.json(200, FakeProvider.completion("Fine")));
        gateway.post(OPENAI + "?x=of-the-query", chat("openai/" + model, false), "Authorization", "Bearer of-the-caller", "X-Api-Key", "of-the-caller", "Cookie", "of-the-caller", "User-Agent", "of-the-caller",
                "X-Forwarded-For", "10.0.0.1", "X-Custom", "of-the-caller", "OpenAI-Organization", "of-the-caller", "CamelHttpUri", "http://127.0.0.1:1/");
        FakeProvider.Call call = provider.call(model);
        assertEquals("POST /v1/chat/completions", call.line());
        assertEquals("Bearer sk-of-the-gateway", call.header("Authorization"));
        assertEquals(Set.of("authorization", "content-length", "content-type", "host", "user-agent"), call.headerNames());
        assertFalse(call.head().contains("of-the-caller") || call.head().contains("of-the-query"), call.head());
    }

    @Test
    void anImageThatIsNamedByItsUrlIsThePartOfTheProviderToFetch() throws Exception {
        provider.on(model, c -> c.json(200, FakeProvider.completion("Fine")));
        int before = provider.calls().size();
        String url = provider.url() + "/private.png";
        assertEquals(200, gateway.post(OPENAI, "{\"model\":\"openai/" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                + "\"image_url\":{\"url\":\"" + url + "\"}}]}]}").statusCode());
        assertEquals(url, provider.call(model).body().at("/messages/0/content/0/image_url/url").asText());
        assertEquals(before + 1, provider.calls().size(), "the gateway has fetched nothing");
    }
}
