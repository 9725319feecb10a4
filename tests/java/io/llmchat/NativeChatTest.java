package io.llmchat;

import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Chats on the native dialect: envelopes, named and numbered events, native errors. */
class NativeChatTest {

    private static final String PATH = "/api/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    /** One event as a client sees it. */
    private record Event(String id, String name, JsonNode data) {
    }

    private static List<Event> events(String body) {
        return Stream.of(body.split("\n\n")).map(text -> {
            String[] lines = text.split("\n");
            return new Event(lines[0].substring(4), lines[1].substring(7), json(lines[2].substring(6)));
        }).toList();
    }

    @Test
    void aWholeAnswerIsAnOpenAiCompletionWithItsChatIdInAnEnvelope() throws Exception {
        HttpResponse<String> response = gateway.post(PATH, nativeChat("openai/" + model, false), "X-Request-Id", "r1");
        JsonNode body = json(response.body());
        assertEquals(200, response.statusCode());
        assertEquals("OK", body.path("code").asText());
        assertEquals("r1", body.path("requestId").asText());
        assertTrue(body.hasNonNull("message") && body.hasNonNull("timestamp"));
        assertTrue(body.path("data").hasNonNull("chatId"));
        assertEquals("Hello there", body.path("data").path("choices").path(0).path("message").path("content").asText());
        assertEquals(5, body.path("data").path("usage").path("total_tokens").asInt());
    }

    @Test
    void aStreamIsNamedAndNumberedEventsInOrder() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.event(Call.chunk("{\"reasoning_content\":\"Hm\"}", "null"));
            call.text("Zwölf \"Uhr\"\n");
            call.finish("length");
            call.usage(4, 6);
            call.done();
        });
        List<Event> events = events(gateway.post(PATH, nativeChat("openai/" + model, true)).body());
        assertEquals(List.of("chatId", "start", "reasoning", "chunk", "usage", "end"), events.stream().map(Event::name).toList());
        String answerId = events.get(1).data().path("id").asText();
        for (int i = 0; i < events.size(); i++) {
            assertEquals(answerId + ":" + (i + 1), events.get(i).id());
        }
        assertTrue(events.get(0).data().hasNonNull("chatId"));
        assertEquals("openai/" + model, events.get(1).data().path("agentId").asText());
        assertTrue(events.get(1).data().hasNonNull("timestamp"));
        assertEquals("Hm", events.get(2).data().path("content").asText());
        assertEquals("Zwölf \"Uhr\"\n", events.get(3).data().path("content").asText());
        assertEquals(10, events.get(4).data().path("total_tokens").asInt());
        assertEquals("length", events.get(5).data().path("finishReason").asText());
    }

    @Test
    void theProviderGetsWhatItKnowsByItsNames() throws Exception {
        String chatId = json(gateway.post(PATH, nativeChat("demo", false)).body()).path("data").path("chatId").asText();
        gateway.post(PATH, "{\"agentId\":\"openai/" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"temperature\":0.25,"
                + "\"maxTokens\":9,\"chatId\":\"" + chatId + "\",\"variables\":{\"a\":1},\"metadata\":{\"b\":2}}");
        JsonNode sent = provider.call(model).body();
        assertEquals(0.25, sent.path("temperature").asDouble());
        assertEquals(9, sent.path("max_completion_tokens").asInt());
        assertEquals("Hi", sent.path("messages").path(2).path("content").asText());
        for (String ours : List.of("agentId", "maxTokens", "chatId", "variables", "metadata")) {
            assertTrue(sent.path(ours).isMissingNode(), ours);
        }
    }

    @Test
    void aFailureAfterTheFirstTokenIsTheLastEvent() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.cut();
        });
        List<Event> events = events(gateway.post(PATH, nativeChat("openai/" + model, true)).body());
        assertEquals(List.of("chatId", "start", "chunk", "error"), events.stream().map(Event::name).toList());
        JsonNode error = events.get(3).data();
        assertEquals("UPSTREAM_ERROR", error.path("code").asText());
        assertTrue(error.hasNonNull("message") && error.hasNonNull("timestamp"));
        assertTrue(events.get(3).id().endsWith(":4"));
    }

    @Test
    void errorsNameTheFieldAndTheRequest() throws Exception {
        HttpResponse<String> response = gateway.post(PATH, "{\"agentId\":\"demo\",\"messages\":[{\"role\":\"alien\",\"content\":\"x\"}]}",
                "X-Request-Id", "r2");
        JsonNode body = json(response.body());
        assertEquals(400, response.statusCode());
        assertEquals("VALIDATION_ERROR", body.path("code").asText());
        assertEquals("messages[0].role", body.path("details").path(0).path("field").asText());
        assertEquals("r2", body.path("requestId").asText());
        assertTrue(body.hasNonNull("timestamp"));
    }

    @Test
    void anUnknownAgentIsNotFoundAndAnInactiveOneIsSaidToBe() throws Exception {
        HttpResponse<String> unknown = gateway.post(PATH, nativeChat("nobody", false));
        assertEquals(404, unknown.statusCode());
        assertEquals("AGENT_NOT_FOUND", json(unknown.body()).path("code").asText());

        String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"demo\",\"model\":\"demo\",\"isActive\":false}");
        HttpResponse<String> inactive = gateway.post(PATH, nativeChat(id, false));
        assertEquals(400, inactive.statusCode());
        assertEquals("AGENT_INACTIVE", json(inactive.body()).path("code").asText());
    }
}
