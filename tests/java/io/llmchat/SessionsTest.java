package io.llmchat;

import static io.llmchat.support.TestGateway.ADMIN;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.json.Json;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Conversations: what is remembered of them, who sees them, and what can be done with them afterwards. */
class SessionsTest {

    private static final String PATH = "/api/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;
    /** Somebody else's: on the same stores, with a key. */
    private static TestGateway other;

    private final String model = "s-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
        other = TestGateway.inKeyMode("llmchat.history.max-messages", "3", "llmchat.history.max-tokens", "100");
    }

    @AfterAll
    static void stop() throws Exception {
        other.close();
    }

    private String ask(String chatId, String text, boolean stream) {
        return "{\"agentId\":\"openai/" + model + "\",\"stream\":" + stream + (chatId == null ? "" : ",\"chatId\":\"" + chatId + "\"")
                + ",\"messages\":[" + message("user", text) + "]}";
    }

    private String openAi(String session, String text) {
        return "{\"model\":\"openai/" + model + "\",\"metadata\":{\"session_id\":\"" + session + "\"},\"messages\":[" + message("user", text) + "]}";
    }

    private static String message(String role, String text) {
        return "{\"role\":\"" + role + "\",\"content\":" + new String(Json.write(text), StandardCharsets.UTF_8) + "}";
    }

    /** Begins a session with this text and returns its id. */
    private String begin(String text) throws Exception {
        HttpResponse<String> response = gateway.post(PATH, ask(null, text, false));
        assertEquals(200, response.statusCode(), response.body());
        return json(response.body()).path("data").path("chatId").asText();
    }

    private static JsonNode history(String chatId) throws Exception {
        HttpResponse<String> response = gateway.get("/api/chat/history/" + chatId);
        assertEquals(200, response.statusCode(), response.body());
        return json(response.body()).path("data");
    }

    /** The messages of a session as {@code role: content}, those that are not complete with their status. */
    private static List<String> told(String chatId) throws Exception {
        return StreamSupport.stream(history(chatId).path("messages").spliterator(), false).map(m -> m.path("role").asText() + ": "
                + m.path("content").asText() + (m.path("status").asText().equals("complete") ? "" : " (" + m.path("status").asText() + ")")).toList();
    }

    /** What the provider was sent with its last call, likewise. */
    private List<String> sent(TestGateway to) {
        List<Call> calls = to.provider().calls(model);
        List<String> messages = new ArrayList<>();
        calls.get(calls.size() - 1).body().path("messages").forEach(m -> messages.add(m.path("role").asText() + ": " + m.path("content").asText()));
        return messages;
    }

    private List<String> sent() {
        return sent(gateway);
    }

    /** The first value of a member anywhere in a stream of native events. */
    private static String first(String stream, String member) {
        int at = stream.indexOf("\"" + member + "\":\"") + member.length() + 4;
        return stream.substring(at, stream.indexOf('"', at));
    }

    @Test
    void ofASessionThatIsVeryLongTheLatestIsTold() throws Exception {
        String chatId = begin("the first");
        gateway.execute("UPDATE chat_messages SET content = content || repeat('x', 3000000) WHERE session_id = '" + chatId + "' AND role = 'user'");
        gateway.post(PATH, ask(chatId, "the second", false));
        gateway.execute("UPDATE chat_messages SET content = content || repeat('y', 4500000) WHERE session_id = '" + chatId + "' AND content = 'the second'");
        List<String> told = told(chatId);
        assertEquals(2, told.size(), "what is behind them is not told");
        assertTrue(told.get(0).startsWith("user: the secondyyy"), "the latest question");
    }

    private static void notFound(HttpResponse<String> response) {
        assertEquals(404, response.statusCode(), response.body());
        JsonNode body = json(response.body());
        assertEquals("NOT_FOUND", body.path("code").asText("NOT_FOUND"), response.body());
        assertTrue(body.path("error").isMissingNode() || body.path("error").path("message").asText().contains("no such chat"), response.body());
    }

    private static void invalid(String field, HttpResponse<String> response) {
        assertEquals(400, response.statusCode(), response.body());
        assertEquals("VALIDATION_ERROR", json(response.body()).path("code").asText());
        assertEquals(field, json(response.body()).path("details").path(0).path("field").asText());
    }

    // --- what goes along

    @Test
    void whatWasSaidGoesWithTheNextQuestionOldestFirst() throws Exception {
        String chatId = begin("One?");
        assertEquals(List.of("user: One?"), sent());
        gateway.post(PATH, ask(chatId, "Two?", true));
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?"), sent());
        gateway.post(PATH, ask(chatId, "Three?", false));
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Hello there", "user: Three?"), sent());
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Hello there", "user: Three?",
                "assistant: Hello there"), told(chatId));
    }

    @Test
    void whatTheSystemSaysStaysBeforeTheHistoryAndMembersKeepTheirValues() throws Exception {
        String chatId = begin("One?");
        gateway.post(PATH, "{\"temperature\":0.25, \"messages\" : [ " + message("system", "Be brief.") + " , " + message("user", "Two?")
                + " ] ,\"maxTokens\":9,\"chatId\":\"" + chatId + "\",\"agentId\":\"openai/" + model + "\"}");
        assertEquals(List.of("system: Be brief.", "user: One?", "assistant: Hello there", "user: Two?"), sent());
        List<Call> calls = provider.calls(model);
        assertEquals(0.25, calls.get(1).body().path("temperature").asDouble());
        assertEquals(9, calls.get(1).body().path("max_completion_tokens").asInt());
    }

    @Test
    void aRequestOfTheSystemAloneGetsTheHistoryAfterIt() throws Exception {
        String chatId = begin("One?");
        gateway.post(PATH, "{\"agentId\":\"openai/" + model + "\",\"chatId\":\"" + chatId + "\",\"messages\":[" + message("system", "Go on.") + "]}");
        assertEquals(List.of("system: Go on.", "user: One?", "assistant: Hello there"), sent());
        assertEquals(3, told(chatId).size(), "nothing was asked, but something was answered");
    }

    @Test
    void whatTheUserSaysIsKeptWhateverTheSystemSaysBetweenAndBehindIt() throws Exception {
        String session = UUID.randomUUID().toString();
        String body = openAi(session, "One?");
        gateway.post("/v1/chat/completions", body.replace("\"messages\":[", "\"messages\":[" + message("system", "A") + ",")
                .replace("]}", "," + message("system", "B") + "," + message("user", "Two?") + "," + message("developer", "C") + "]}"));
        assertEquals(List.of("user: One?\n\nTwo?", "assistant: Hello there"), told(session));
        gateway.post("/v1/chat/completions", openAi(session, "Three?"));
        assertEquals(List.of("user: One?\n\nTwo?", "assistant: Hello there", "user: Three?"), sent());
    }

    @Test
    void aRequestWithAHistoryOfItsOwnGetsNone() throws Exception {
        String chatId = begin("One?");
        gateway.post(PATH, "{\"agentId\":\"openai/" + model + "\",\"chatId\":\"" + chatId + "\",\"messages\":[" + message("user", "Zero?") + ","
                + message("assistant", "No.") + "," + message("user", "Two?") + "]}");
        assertEquals(List.of("user: Zero?", "assistant: No.", "user: Two?"), sent());
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Hello there"), told(chatId));
    }

    @Test
    void onlySoManyMessagesAndSoManyTokensGoAlong() throws Exception {
        other.post("/v1/chat/completions", openAi(model, "One?"), ADMIN);
        other.post("/v1/chat/completions", openAi(model, "Two?"), ADMIN);
        other.post("/v1/chat/completions", openAi(model, "Three?"), ADMIN);
        assertEquals(List.of("user: Two?", "assistant: Hello there", "user: Three?"), sent(other),
                "of the last three the first is an answer without its question");
        other.post("/v1/chat/completions", openAi(model, "x".repeat(389)), ADMIN);
        other.post("/v1/chat/completions", openAi(model, "Five?"), ADMIN);
        assertEquals(List.of("user: " + "x".repeat(389), "assistant: Hello there", "user: Five?"), sent(other), "400 characters are 100 tokens");
        other.post("/v1/chat/completions", openAi(model, "y".repeat(390)), ADMIN);
        other.post("/v1/chat/completions", openAi(model, "Seven?"), ADMIN);
        assertEquals(List.of("user: Seven?"), sent(other));
    }

    @Test
    void textsOfAllKindsAreKeptAsTheyAre() throws Exception {
        String text = "Zwölf \"Uhr\"\\\n\t😀 \u2028 '; DROP TABLE chat_messages; -- :#${body} ?";
        String chatId = begin(text);
        assertEquals("user: " + text, told(chatId).get(0));
        gateway.post(PATH, ask(chatId, "And \0 this?", false));
        assertEquals(List.of("user: " + text, "assistant: Hello there", "user: And \0 this?"), sent());
        assertEquals("user: And \uFFFD this?", told(chatId).get(2), "PostgreSQL keeps no NUL");
        gateway.post(PATH, "{\"agentId\":\"openai/" + model + "\",\"chatId\":\"" + chatId + "\",\"messages\":[{\"role\":\"user\",\"content\":"
                + "[{\"type\":\"text\",\"text\":\"In\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AA==\"}},"
                + "{\"type\":\"text\",\"text\":\"parts\"}]}]}");
        assertEquals("user: In\n\nparts", told(chatId).get(4));
    }

    @Test
    void aQuestionThatGotNoAnswerStandsThereOnceWhenItIsAskedAgain() throws Exception {
        provider.on(model, call -> call.error(400, "no"));
        String session = UUID.randomUUID().toString();
        assertEquals(400, gateway.post("/v1/chat/completions", openAi(session, "One?")).statusCode());
        assertEquals(List.of("user: One?"), told(session));
        provider.on(model, call -> call.json(200, FakeProvider.completion("Now")));
        gateway.post("/v1/chat/completions", openAi(session, "One?"));
        assertEquals(List.of("user: One?"), sent());
        assertEquals(List.of("user: One?", "assistant: Now"), told(session));
    }

    // --- whose it is

    @Test
    void anUnknownOrForeignChatIsNotFoundAndNothingIsAsked() throws Exception {
        String chatId = begin("Mine?");
        notFound(gateway.post(PATH, ask("nobody-knows", "Hi", false)));
        notFound(other.post(PATH, ask(chatId, "Yours?", false), ADMIN));
        notFound(other.get("/api/chat/history/" + chatId, ADMIN));
        notFound(other.send("DELETE", "/api/chat/history/" + chatId, null, ADMIN));
        String question = history(chatId).path("messages").path(0).path("id").asText();
        String answer = history(chatId).path("messages").path(1).path("id").asText();
        notFound(other.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + question + "\"}", ADMIN));
        notFound(other.post("/api/chat/feedback", "{\"chatId\":\"" + chatId + "\",\"messageId\":\"" + answer + "\",\"rating\":\"up\"}", ADMIN));
        assertEquals(List.of("user: Mine?", "assistant: Hello there"), told(chatId));
        assertEquals(1, provider.calls(model).size());
        assertEquals(0, other.provider().calls(model).size());
        assertEquals(0, json(other.get("/api/chat/history?agentId=openai/" + model, ADMIN).body()).path("data").path("total").asInt(-1));
    }

    @Test
    void twoUsersWhoCallTheirSessionsTheSameHaveTwo() throws Exception {
        String session = UUID.randomUUID().toString();
        gateway.post("/v1/chat/completions", openAi(session, "Mine?"));
        HttpResponse<String> theirs = other.post("/v1/chat/completions", openAi(session, "Theirs?"), ADMIN);
        assertEquals(200, theirs.statusCode(), theirs.body());
        assertEquals(List.of("user: Theirs?"), sent(other), "nothing of the other one goes along");
        HttpResponse<String> next = other.post(PATH, ask(session, "And?", false), ADMIN);
        assertEquals(session, json(next.body()).at("/data/chatId").asText(), next.body());
        assertEquals(List.of("user: Theirs?", "assistant: Hello there", "user: And?"), sent(other), "it is theirs on each dialect");
        assertEquals(List.of("user: Mine?", "assistant: Hello there"), told(session));
        String path = "/api/chat/history/" + session;
        JsonNode data = json(other.get(path, ADMIN).body()).path("data");
        assertEquals(session, data.path("chatId").asText());
        assertEquals(List.of("Theirs?", "Hello there", "And?", "Hello there"), data.path("messages").findValuesAsText("content"));
        assertEquals(List.of(session), json(other.get("/api/chat/history?agentId=openai/" + model, ADMIN).body()).path("data").findValuesAsText("chatId"));

        String opinion = "{\"chatId\":\"" + session + "\",\"messageId\":\"%s\",\"rating\":\"up\"}";
        String answer = data.at("/messages/1/id").asText();
        notFound(other.post("/api/chat/feedback", opinion.formatted(history(session).at("/messages/1/id").asText()), ADMIN));
        assertEquals(session, json(other.post("/api/chat/feedback", opinion.formatted(answer), ADMIN).body()).at("/data/chatId").asText());
        notFound(gateway.post(path + "/retry", "{\"messageId\":\"" + answer + "\"}"));
        assertEquals(200, other.post(path + "/retry", "{\"messageId\":\"" + answer + "\"}", ADMIN).statusCode());
        assertEquals(2, json(other.get(path, ADMIN).body()).at("/data/messages").size());

        assertEquals(200, other.send("DELETE", path, null, ADMIN).statusCode());
        notFound(other.get(path, ADMIN));
        assertEquals(List.of("user: Mine?", "assistant: Hello there"), told(session));
    }

    @Test
    void aSessionWhoseIdIsItsNameAsItWasBeforeGoesOnAndIsItsOwnersAlone() throws Exception {
        gateway.execute("INSERT INTO chat_sessions (id, user_id, agent_id, title) VALUES ('" + model + "', 'anonymous', 'a', 't')");
        gateway.post("/v1/chat/completions", openAi(model, "One?"));
        assertEquals(200, other.post("/v1/chat/completions", openAi(model, "Theirs?"), ADMIN).statusCode());
        assertEquals(List.of("user: Theirs?"), sent(other));
        assertEquals(List.of("user: One?", "assistant: Hello there"), told(model));
        assertEquals(1, gateway.count("SELECT count(*) FROM chat_sessions WHERE user_id = 'anonymous' AND '" + model + "' IN (id, name)"));
    }

    @Test
    void aProviderThatRemembersConversationsIsToldEachUsersSessionBySomethingElse() throws Exception {
        String session = UUID.randomUUID().toString();
        String body = openAi(session, "Hi").replace("openai/", "fastgpt/");
        gateway.post("/v1/chat/completions", body);
        gateway.post("/v1/chat/completions", body.replace("Hi", "And?"));
        other.post("/v1/chat/completions", body, ADMIN);
        other.send("DELETE", "/api/chat/history/" + session, null, ADMIN);
        other.post("/v1/chat/completions", body, ADMIN);
        List<String> told = Stream.concat(provider.calls(model).stream(), other.provider().calls(model).stream())
                .map(call -> call.body().path("chatId").asText()).toList();
        assertEquals(4, told.size());
        assertEquals(told.get(0), told.get(1), "it goes on");
        assertEquals(3, Set.copyOf(told).size(), told + ": and what was removed is not remembered");
    }

    @Test
    void inKeyModeHistoryNeedsAKey() throws Exception {
        for (String path : List.of("/api/chat/history", "/api/chat/history/x")) {
            assertEquals(401, other.get(path).statusCode(), path);
        }
        assertEquals(401, other.send("DELETE", "/api/chat/history/x", null).statusCode());
        assertEquals(401, other.post("/api/chat/history/x/retry", "{}").statusCode());
        assertEquals(401, other.post("/api/chat/feedback", "{}").statusCode());
    }

    @Test
    void anIdThatCannotBeOneIsRefusedOrNotFound() throws Exception {
        invalid("chatId", gateway.post(PATH, ask("", "Hi", false)));
        invalid("chatId", gateway.post(PATH, ask("a\\u0000b", "Hi", false)));
        // paths cannot say the dots
        for (String session : List.of("x".repeat(129), ".", "..")) {
            assertEquals("metadata.session_id", json(gateway.post("/v1/chat/completions", openAi(session, "Hi")).body())
                    .path("error").path("param").asText(), session);
        }
        assertEquals(200, gateway.post("/v1/chat/completions", openAi("..." + model, "Hi")).statusCode());
        assertEquals(2, told("..." + model).size());
        assertEquals(400, gateway.get("/api/chat/history/a%00b").statusCode());
        notFound(gateway.get("/api/chat/history/%27%20OR%201=1"));
    }

    // --- OpenAI's dialect

    @Test
    void anOpenAiCallerNamesItsSessionItself() throws Exception {
        String session = "of Ünal / " + UUID.randomUUID();
        gateway.post("/v1/chat/completions", openAi(session, "One?"));
        String second = gateway.post("/v1/chat/completions", openAi(session, "Two?")).body();
        assertEquals(FakeProvider.completion("Hello there"), second, "the answer is the provider's, byte for byte");
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?"), sent());
        String streamed = gateway.post("/v1/chat/completions", openAi(session, "Three?").replaceFirst("\\{", "{\"stream\":true,")).body();
        assertTrue(streamed.endsWith("data: [DONE]\n\n"), streamed);
        assertEquals(6, told(session.replace(" ", "%20").replace("/", "%2F").replace("Ü", "%C3%9C")).size());
    }

    @Test
    void aChatWithoutASessionLeavesNothing() throws Exception {
        gateway.post("/v1/chat/completions", chat("openai/" + model, false));
        gateway.post("/v1/chat/completions", "{\"model\":\"openai/" + model + "\",\"metadata\":{\"a\":\"b\"},\"messages\":[" + message("user", "Hi") + "]}");
        gateway.post("/v1/messages", "{\"model\":\"openai/" + model + "\",\"max_tokens\":9,\"metadata\":{\"session_id\":\"s\"},\"messages\":["
                + message("user", "Hi") + "]}");
        assertEquals(3, provider.calls(model).size());
        assertEquals(0, gateway.count("SELECT count(*) FROM chat_sessions WHERE agent_id = 'openai/" + model + "'"));
    }

    // --- lists

    @Test
    void sessionsAreListedTheOneUsedLastFirst() throws Exception {
        String first = begin("  First? ");
        String second = begin("😀".repeat(100));
        String third = begin("Third?");
        gateway.post(PATH, ask(first, "Again?", false));
        String path = "/api/chat/history?agentId=openai/" + model;
        JsonNode all = json(gateway.get(path).body()).path("data");
        assertEquals(List.of(first, third, second), all.path("items").findValuesAsText("chatId"));
        assertEquals(List.of("  First? ", "Third?", "😀".repeat(80)), all.path("items").findValuesAsText("title"));
        assertEquals(3, all.path("total").asInt());
        assertEquals(1, all.path("page").asInt());
        assertEquals(20, all.path("pageSize").asInt());
        JsonNode item = all.path("items").path(0);
        assertEquals("openai/" + model, item.path("agentId").asText());
        assertTrue(item.path("createdAt").asText().matches("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z"), item.toString());
        assertTrue(item.path("createdAt").asText().compareTo(item.path("updatedAt").asText()) < 0);
        JsonNode page = json(gateway.get(path + "&page=2&pageSize=2").body()).path("data");
        assertEquals(List.of(second), page.path("items").findValuesAsText("chatId"));
        assertEquals(3, page.path("total").asInt());
        JsonNode none = json(gateway.get(path + "&page=2147483647&pageSize=200").body()).path("data");
        assertEquals(0, none.path("items").size());
        assertEquals(3, none.path("total").asInt());
    }

    @Test
    void aPageThatCannotBeOneIsRefusedByName() throws Exception {
        for (String value : List.of("0", "-1", "x", "1.5", "99999999999")) {
            invalid("page", gateway.get("/api/chat/history?page=" + value));
        }
        for (String value : List.of("0", "201", "ten")) {
            invalid("pageSize", gateway.get("/api/chat/history?pageSize=" + value));
        }
        assertEquals(200, gateway.get("/api/chat/history?pageSize=200&agentId=a%00b").statusCode());
    }

    @Test
    void aRemovedSessionIsGoneWithItsMessages() throws Exception {
        String chatId = begin("One?");
        assertEquals(200, gateway.send("DELETE", "/api/chat/history/" + chatId, null).statusCode());
        notFound(gateway.get("/api/chat/history/" + chatId));
        notFound(gateway.send("DELETE", "/api/chat/history/" + chatId, null));
        notFound(gateway.post(PATH, ask(chatId, "Two?", false)));
        assertEquals(0, gateway.count("SELECT count(*) FROM chat_messages WHERE session_id = '" + chatId + "'"));
    }

    // --- answers

    @Test
    void anAnswerGoesByTheIdThatItsCallerWasTold() throws Exception {
        JsonNode whole = json(gateway.post(PATH, ask(null, "One?", false)).body()).path("data");
        assertEquals(whole.path("messageId").asText(), history(whole.path("chatId").asText()).path("messages").path(1).path("id").asText());
        String stream = gateway.post(PATH, ask(null, "One?", true)).body();
        assertEquals(first(stream, "id"), history(first(stream, "chatId")).path("messages").path(1).path("id").asText());
    }

    @Test
    void aStreamThatBreaksOffIsKeptAsFarAsItCame() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half of");
            call.text(" it");
            call.cut();
        });
        String body = gateway.post(PATH, ask(null, "One?", true)).body();
        assertTrue(body.contains("event: error"), body);
        String chatId = first(body, "chatId");
        assertEquals(List.of("user: One?", "assistant: Half of it (interrupted)"), told(chatId));
        provider.on(model, call -> call.json(200, FakeProvider.completion("Whole")));
        gateway.post(PATH, ask(chatId, "Go on.", false));
        assertEquals(List.of("user: One?", "assistant: Half of it", "user: Go on."), sent());
    }

    @Test
    void anAnswerOfWhichOnlyTheBeginningIsKeptDoesNotStandThereAsAWhole() throws Exception {
        String text = "x".repeat(100_000);
        provider.on(model, call -> {
            call.sse();
            for (int i = 0; i < 12; i++) {
                call.text(text);
            }
            call.finish("stop");
            call.done();
        });
        String body = gateway.post(PATH, ask(null, "One?", true)).body();
        assertTrue(body.contains("event: end"));
        JsonNode kept = history(first(body, "chatId")).path("messages").path(1);
        assertEquals(1_100_000, kept.path("content").asText().length());
        assertEquals("interrupted", kept.path("status").asText());
    }

    @Test
    void whatThereIsOfAnAnswerIsKeptAgainAndAgainWhileItIsMade() throws Exception {
        CountDownLatch first = new CountDownLatch(1);
        CountDownLatch second = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("One");
            first.await();
            call.text(" and two");
            second.await();
            call.finish("stop");
            call.done();
        });
        try (Sse stream = new Sse(gateway.port(), PATH, ask(null, "Count.", true))) {
            String chatId = json(stream.lineWith("data: {\"chatId\"").substring(6)).path("chatId").asText();
            until("the first is kept", () -> told(chatId).equals(List.of("user: Count.", "assistant: One (interrupted)")));
            first.countDown();
            until("the second is kept", () -> told(chatId).equals(List.of("user: Count.", "assistant: One and two (interrupted)")));
            second.countDown();
            stream.lineWith("event: end");
            assertEquals(List.of("user: Count.", "assistant: One and two"), told(chatId));
        }
    }

    @Test
    void whatACallerWhoLeavesHasReadIsKept() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.hang();
        });
        String session = UUID.randomUUID().toString();
        Sse stream = new Sse(gateway.port(), "/v1/chat/completions", openAi(session, "One?").replaceFirst("\\{", "{\"stream\":true,"));
        stream.lineWith("\"Half\"");
        stream.close();
        until("it is kept", () -> told(session).equals(List.of("user: One?", "assistant: Half (interrupted)")));
    }

    @Test
    void anAnswerThatNeverBeganIsNotKept() throws Exception {
        provider.on(model, call -> call.error(400, "no"));
        gateway.post(PATH, ask(null, "One?", true));
        assertEquals(1, gateway.count("SELECT count(*) FROM chat_messages m JOIN chat_sessions s ON s.id = session_id WHERE agent_id = 'openai/"
                + model + "'"));
    }

    @Test
    void theTextBesideAToolCallIsKept() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Let me");
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}", "null"));
            call.text(" see");
            call.finish("tool_calls");
            call.done();
        });
        assertEquals("assistant: Let me see", told(first(gateway.post(PATH, ask(null, "One?", true)).body(), "chatId")).get(1));
    }

    @Test
    void anAnswerOfAnotherWireIsKept() throws Exception {
        String body = ask(null, "One?", false).replace("openai/", "anthropic/");
        JsonNode data = json(gateway.post(PATH, body).body()).path("data");
        String text = data.path("choices").path(0).path("message").path("content").asText();
        assertFalse(text.isEmpty());
        assertEquals(List.of("user: One?", "assistant: " + text), told(data.path("chatId").asText()));
        gateway.post(PATH, ask(data.path("chatId").asText(), "Two?", true).replace("openai/", "anthropic/"));
        assertEquals(3, provider.calls(model).get(1).body().path("messages").size(), "the history goes along on every wire");
    }

    @Test
    void aRepeatedRequestWithAKeyIsKeptOnce() throws Exception {
        String key = UUID.randomUUID().toString();
        String first = gateway.post(PATH, ask(null, "One?", false), "Idempotency-Key", key).body();
        assertEquals(first, gateway.post(PATH, ask(null, "One?", false), "Idempotency-Key", key).body());
        assertEquals(2, told(json(first).path("data").path("chatId").asText()).size());
        assertEquals(1, gateway.count("SELECT count(*) FROM chat_sessions WHERE agent_id = 'openai/" + model + "'"));
    }

    @Test
    void aQuestionThatGotAPartOfAnAnswerAndIsAskedAgainStandsThereOnceWithTheWhole() throws Exception {
        String chatId = begin("One?");
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.cut();
        });
        gateway.post(PATH, ask(chatId, "Two?", true));
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Half (interrupted)"), told(chatId));
        provider.on(model, call -> call.json(200, FakeProvider.completion("Whole")));
        gateway.post(PATH, ask(chatId, "Two?", false));
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?"), sent(), "the half is not told");
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Whole"), told(chatId));
    }

    /** A stream whose caller leaves after its first words, which are kept; it says the rest when it may. */
    private void stopped(String path, String body, CountDownLatch rest, String chatId, List<String> kept) throws Exception {
        provider.on(model, FakeProvider.waits("Half", rest, " and half"));
        try (Sse stream = new Sse(gateway.port(), path, body)) {
            until("its part is kept", () -> told(chatId).equals(kept));
        }
    }

    private void untilUsed(int answers) throws Exception {
        until("it has ended", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == answers);
    }

    @Test
    void aStoppedAnswerDoesNotComeBackWhileItsQuestionIsAnsweredAgain() throws Exception {
        String chatId = begin("One?");
        CountDownLatch rest = new CountDownLatch(1);
        CountDownLatch end = new CountDownLatch(1);
        List<String> before = List.of("user: One?", "assistant: Hello there", "user: Two?");
        stopped(PATH, ask(chatId, "Two?", true), rest, chatId, plus(before, "assistant: Half (interrupted)"));
        provider.on(model, call -> {
            rest.countDown();
            call.sse();
            call.text("Other");
            end.await(20, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        try (Sse stream = new Sse(gateway.port(), PATH, ask(chatId, "Two?", true))) {
            untilUsed(2);
            until("the other is kept", () -> told(chatId).contains("assistant: Other (interrupted)"));
            assertEquals(plus(before, "assistant: Other (interrupted)"), told(chatId));
            end.countDown();
            stream.lineWith("event: end");
        }
        assertEquals(plus(before, "assistant: Other"), told(chatId));
    }

    @Test
    void anAnswerWhoseCallerHasAllOfItStaysThoughItsQuestionWasAskedOnceMore() throws Exception {
        String chatId = begin("One?");
        CountDownLatch rest = new CountDownLatch(1);
        List<String> before = List.of("user: One?", "assistant: Hello there", "user: Two?");
        provider.on(model, FakeProvider.waits("Half", rest, " and half"));
        try (Sse stream = new Sse(gateway.port(), PATH, ask(chatId, "Two?", true))) {
            until("its part is kept", () -> told(chatId).equals(plus(before, "assistant: Half (interrupted)")));
            provider.on(model, call -> call.json(400, "{\"error\":{\"message\":\"no\"}}"));
            assertEquals(400, gateway.post(PATH, ask(chatId, "Two?", false)).statusCode());
            assertEquals(before, told(chatId));
            rest.countDown();
            stream.lineWith("event: end");
        }
        assertEquals(plus(before, "assistant: Half and half"), told(chatId));
    }

    @Test
    void aStoppedAnswerDoesNotTakeThePlaceOfTheOneThatWasMadeInItsPlace() throws Exception {
        String chatId = begin("One?");
        String retry = "/api/chat/history/" + chatId + "/retry";
        String body = "{\"messageId\":\"" + history(chatId).path("messages").path(0).path("id").asText() + "\",\"stream\":";
        CountDownLatch rest = new CountDownLatch(1);
        stopped(retry, body + "true}", rest, chatId, List.of("user: One?", "assistant: Hello there", "assistant: Half (interrupted)"));
        provider.on(model, call -> call.json(200, FakeProvider.completion("Better")));
        assertEquals(200, gateway.post(retry, body + "false}").statusCode());
        assertEquals(List.of("user: One?", "assistant: Better"), told(chatId));
        rest.countDown();
        untilUsed(3);
        assertEquals(List.of("user: One?", "assistant: Better"), told(chatId));
    }

    private static List<String> plus(List<String> before, String last) {
        return Stream.concat(before.stream(), Stream.of(last)).toList();
    }

    @Test
    void ofAnAnswerWhoseFirstPartCouldNotBeStoredTheRestIs() throws Exception {
        String refusal = "refuse_" + model.replace("-", "");
        gateway.execute("CREATE SEQUENCE " + refusal);
        gateway.execute("CREATE FUNCTION " + refusal + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('" + refusal
                + "'); RAISE EXCEPTION 'refused'; END $$");
        gateway.execute("CREATE TRIGGER " + refusal + " BEFORE INSERT ON chat_messages FOR EACH ROW WHEN (NEW.role = 'assistant' AND NEW.content = '"
                + model + "') EXECUTE FUNCTION " + refusal + "()");
        CountDownLatch rest = new CountDownLatch(1);
        try {
            provider.on(model, call -> {
                call.sse();
                call.text(model);
                rest.await(20, TimeUnit.SECONDS);
                call.text(" and the rest");
                call.hang();
            });
            try (Sse stream = new Sse(gateway.port(), PATH, ask(null, "One?", true))) {
                String chatId = json(stream.lineWith("data: {\"chatId\"").substring(6)).path("chatId").asText();
                until("it was refused", () -> gateway.count("SELECT count(*) FROM " + refusal + " WHERE is_called") == 1);
                rest.countDown();
                until("all of it is kept", () -> told(chatId).contains("assistant: " + model + " and the rest (interrupted)"));
            }
        } finally {
            gateway.execute("DROP FUNCTION " + refusal + " CASCADE");
            gateway.execute("DROP SEQUENCE " + refusal);
        }
    }

    @Test
    void aNumberThatNobodyCanReadIsTheCallersFaultWhereAHistoryGoesAlongToo() throws Exception {
        provider.on(model, FakeProvider.says(List.of("One")));
        String session = UUID.randomUUID().toString();
        assertEquals(200, gateway.post("/v1/chat/completions", openAi(session, "One?")).statusCode());
        HttpResponse<String> second = gateway.post("/v1/chat/completions", openAi(session, "Two?").replaceFirst("\"role\"", "\"x\":1e99999999999,\"role\""));
        assertEquals(400, second.statusCode(), second.body());
        assertTrue(second.body().contains("a number whose exponent is too large"), second.body());
    }

    @Test
    void theWordsOfARefusalAreKept() throws Exception {
        provider.on(model, FakeProvider.refuses("I can", "not."));
        String session = UUID.randomUUID().toString();
        gateway.post("/v1/chat/completions", openAi(session, "One?").replaceFirst("\\{", "{\"stream\":true,"));
        assertEquals(List.of("user: One?", "assistant: I cannot."), told(session), "as the provider sends it");
        assertEquals(List.of("user: One?", "assistant: I cannot."), told(first(gateway.post(PATH, ask(null, "One?", true)).body(), "chatId")));
    }

    @Test
    void anAnswerThatCannotBeKeptHasNoProperEnd() throws Exception {
        String refusal = "refuse_" + model.replace("-", "");
        gateway.execute("CREATE FUNCTION " + refusal + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$");
        gateway.execute("CREATE TRIGGER " + refusal + " BEFORE INSERT ON chat_messages FOR EACH ROW WHEN (NEW.role = 'assistant' AND NEW.content = '"
                + model + "') EXECUTE FUNCTION " + refusal + "()");
        try {
            provider.on(model, call -> {
                call.sse();
                call.text(model);
                call.finish("stop");
                call.done();
            });
            String lost = gateway.post(PATH, ask(null, "One?", true)).body();
            assertTrue(lost.contains("\"code\":\"STORE_UNAVAILABLE\"") && !lost.contains("event: end"), lost);
            provider.on(model, call -> {
                call.sse();
                call.text(model);
                call.cut();
            });
            String broken = gateway.post(PATH, ask(null, "One?", true)).body();
            assertTrue(broken.contains("\"code\":\"UPSTREAM_ERROR\""), "why it broke off matters more: " + broken);
        } finally {
            gateway.execute("DROP FUNCTION " + refusal + " CASCADE");
        }
    }

    @Test
    void longAnswersUnderWayAreStoredSomeAtATime() throws Exception {
        String sizes = "sizes_" + model.replace("-", "");
        gateway.execute("CREATE TABLE " + sizes + " (size bigint)");
        gateway.execute("CREATE FUNCTION " + sizes + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO " + sizes
                + " SELECT sum(length(content)) FROM new WHERE content LIKE '" + model + "%'; RETURN NULL; END $$");
        gateway.execute("CREATE TRIGGER " + sizes + " AFTER INSERT ON chat_messages REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION "
                + sizes + "()");
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text(model + "x".repeat(300_000));
            go.await(20, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        List<Sse> streams = new ArrayList<>();
        try {
            for (int i = 0; i < 5; i++) {
                streams.add(new Sse(gateway.port(), PATH, ask(null, "Long?", true)));
            }
            String stored = "SELECT count(*) FROM chat_messages WHERE status = 'interrupted' AND content LIKE '" + model + "%'";
            until("all are there", () -> gateway.count(stored) == 5);
            long largest = gateway.count("SELECT max(size) FROM " + sizes);
            assertTrue(largest < 1_000_000, largest + " characters in one statement");
        } finally {
            go.countDown();
            for (Sse stream : streams) {
                stream.close();
            }
            gateway.execute("DROP FUNCTION " + sizes + " CASCADE");
            gateway.execute("DROP TABLE " + sizes);
        }
    }

    @Test
    void theAnswerToARemovedSessionReachesItsCallerAndIsNotKept() throws Exception {
        CountDownLatch removed = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            removed.await();
            call.text(" and half");
            call.finish("stop");
            call.done();
        });
        String session = UUID.randomUUID().toString();
        Sse stream = new Sse(gateway.port(), "/v1/chat/completions", openAi(session, "One?").replaceFirst("\\{", "{\"stream\":true,"));
        stream.lineWith("\"Half\"");
        assertEquals(200, gateway.send("DELETE", "/api/chat/history/" + session, null).statusCode());
        removed.countDown();
        stream.lineWith("[DONE]");
        stream.close();
        notFound(gateway.get("/api/chat/history/" + session));
    }

    @Test
    void aSessionThatTwoRequestsBeginAtOnceIsOne() throws Exception {
        String session = UUID.randomUUID().toString();
        CountDownLatch all = new CountDownLatch(4);
        Script waits = call -> {
            all.countDown();
            all.await();
            call.json(200, FakeProvider.completion("Hello"));
        };
        provider.on(model, waits);
        other.provider().on(model, waits);
        // and two of somebody else's, who calls it the same
        List<CompletableFuture<Integer>> statuses = Stream.of("One?", "Two?").flatMap(text -> Stream.of(gateway, other)
                .map(to -> TestGateway.begun(() -> to.post("/v1/chat/completions", openAi(session, text), ADMIN).statusCode()))).toList();
        for (CompletableFuture<Integer> status : statuses) {
            assertEquals(200, status.get());
        }
        assertEquals(4, told(session).size());
        assertEquals(4, json(other.get("/api/chat/history/" + session, ADMIN).body()).at("/data/messages").size());
    }

    @Test
    void aQuestionWhoseAnswerBrokeOffStandsThereOnceAlsoWhereNoHistoryIsTold() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.history.max-messages", "0")) {
            own.provider().on(model, call -> {
                call.sse();
                call.text("Half");
                call.cut();
            });
            String chatId = first(own.post(PATH, ask(null, "One?", true)).body(), "chatId");
            assertEquals(List.of("user: One?", "assistant: Half (interrupted)"), told(chatId));
            own.provider().on(model, call -> call.json(200, FakeProvider.completion("Whole")));
            assertEquals(200, own.post(PATH, ask(chatId, "One?", false)).statusCode());
            assertEquals(List.of("user: One?", "assistant: Whole"), told(chatId));
            assertEquals(List.of("user: One?"), sent(own));
        }
    }

    // --- once more

    @Test
    void anAnswerIsMadeOnceMoreInOnePieceOrStreamed() throws Exception {
        String chatId = begin("One?");
        gateway.post(PATH, ask(chatId, "Two?", false));
        JsonNode before = history(chatId).path("messages");
        provider.on(model, call -> call.json(200, FakeProvider.completion("Better")));
        JsonNode again = json(gateway.post("/api/chat/history/" + chatId + "/retry",
                "{\"messageId\":\"" + before.path(3).path("id").asText() + "\"}").body()).path("data");
        assertEquals("Better", again.path("choices").path(0).path("message").path("content").asText());
        assertEquals(chatId, again.path("chatId").asText());
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?"), sent());
        assertEquals(List.of("user: One?", "assistant: Hello there", "user: Two?", "assistant: Better"), told(chatId));
        assertEquals(before.path(2), history(chatId).path("messages").path(2), "the question stays as it is");

        provider.on(model, call -> {
            call.sse();
            call.text("Best");
            call.finish("stop");
            call.done();
        });
        String stream = gateway.post("/api/chat/history/" + chatId + "/retry",
                "{\"messageId\":\"" + before.path(0).path("id").asText() + "\",\"stream\":true}").body();
        assertTrue(stream.contains("event: chunk\ndata: {\"content\":\"Best\"}") && stream.contains("event: end"), stream);
        assertEquals(List.of("user: One?"), sent());
        assertEquals(List.of("user: One?", "assistant: Best"), told(chatId), "what came after the question is gone");
    }

    @Test
    void theOldAnswerGoesThoughTheClockOfTheDatabaseIsAhead() throws Exception {
        String chatId = begin("One?");
        String question = history(chatId).path("messages").path(0).path("id").asText();
        gateway.execute("UPDATE chat_messages SET created_at = now() + interval '10 seconds' WHERE session_id = '" + chatId + "' AND role = 'assistant'");
        provider.on(model, call -> call.json(200, FakeProvider.completion("Better")));
        assertEquals(200, gateway.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + question + "\"}").statusCode());
        assertEquals(List.of("user: One?", "assistant: Better"), told(chatId));
    }

    @Test
    void aMessageThatIsNotThereIsNotAnsweredOnceMore() throws Exception {
        String chatId = begin("One?");
        String elsewhere = history(begin("Other?")).path("messages").path(0).path("id").asText();
        String path = "/api/chat/history/" + chatId + "/retry";
        notFound(gateway.post(path, "{\"messageId\":\"nothing\"}"));
        notFound(gateway.post(path, "{\"messageId\":\"" + elsewhere + "\"}"));
        invalid("messageId", gateway.post(path, "{}"));
        invalid("stream", gateway.post(path, "{\"messageId\":\"x\",\"stream\":\"yes\"}"));
        invalid("body", gateway.post(path, "[]"));
        assertEquals(2, told(chatId).size());
    }

    @Test
    void whereNobodyCanAnswerOnceMoreTheAnswerStays() throws Exception {
        String agent = "s-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model + "\"}");
        String chatId = json(gateway.post(PATH, ask(null, "One?", false).replace("openai/" + model, agent)).body()).path("data").path("chatId").asText();
        String answer = history(chatId).path("messages").path(1).path("id").asText();
        assertEquals(agent, history(chatId).path("agentId").asText());
        gateway.send("DELETE", "/api/agents/" + agent, null);
        assertEquals(404, gateway.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + answer + "\"}").statusCode());
        assertEquals(2, told(chatId).size());
    }

    @Test
    void whereTheProviderFailsOnceMoreNothingIsLost() throws Exception {
        String chatId = begin("One?");
        assertEquals(200, gateway.post(PATH, ask(chatId, "Two?", false)).statusCode());
        JsonNode before = history(chatId).path("messages");
        String answer = before.path(1).path("id").asText();
        provider.on(model, call -> call.json(400, "{\"error\":{\"message\":\"no\"}}"));
        assertEquals(400, gateway.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + answer + "\"}").statusCode());
        assertEquals(before, history(chatId).path("messages"));
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.cut();
        });
        gateway.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + answer + "\",\"stream\":true}");
        assertEquals(List.of("user: One?", "user: Two?"), told(chatId).stream().filter(t -> t.endsWith("?")).toList());
        assertTrue(history(chatId).path("messages").toString().contains(answer));
        provider.on(model, call -> call.json(200, FakeProvider.completion("Whole")));
        assertEquals(200, gateway.post("/api/chat/history/" + chatId + "/retry", "{\"messageId\":\"" + answer + "\"}").statusCode());
        assertEquals(2, told(chatId).size());
        assertEquals("Whole", history(chatId).path("messages").path(1).path("content").asText());
        assertEquals("One?", provider.calls(model).getLast().body().path("messages").path(0).path("content").asText());
        assertEquals(1, provider.calls(model).getLast().body().path("messages").size(), "what came after it is not said");
    }

    // --- feedback

    @Test
    void anAnswerIsJudgedAndJudgedAgain() throws Exception {
        String chatId = begin("One?");
        JsonNode messages = history(chatId).path("messages");
        String answer = "{\"chatId\":\"" + chatId + "\",\"messageId\":\"" + messages.path(1).path("id").asText() + "\",\"rating\":";
        JsonNode up = json(gateway.post("/api/chat/feedback", answer + "\"up\",\"comment\":\"Good\\u0000\"}").body());
        assertEquals("OK", up.path("code").asText(), up.toString());
        assertEquals("up", up.path("data").path("rating").asText());
        String rated = "SELECT count(*) FROM chat_messages WHERE session_id = '" + chatId + "' AND role = 'assistant' AND rating = ";
        assertEquals(1, gateway.count(rated + "'up' AND comment = U&'Good\\FFFD'"));
        gateway.post("/api/chat/feedback", answer + "\"down\"}");
        assertEquals(1, gateway.count(rated + "'down' AND comment IS NULL"));
        invalid("rating", gateway.post("/api/chat/feedback", answer + "\"fine\"}"));
        invalid("comment", gateway.post("/api/chat/feedback", answer + "\"up\",\"comment\":1}"));
        invalid("messageId", gateway.post("/api/chat/feedback", "{\"chatId\":\"" + chatId + "\",\"rating\":\"up\"}"));
        notFound(gateway.post("/api/chat/feedback", answer.replace(messages.path(1).path("id").asText(), messages.path(0).path("id").asText()) + "\"up\"}"));
        assertEquals(1, gateway.count(rated + "'down'"));
    }
}
