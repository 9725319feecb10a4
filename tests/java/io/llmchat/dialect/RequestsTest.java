package io.llmchat.dialect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.json.Json;
import java.time.Duration;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Names of members that differ in case only, how long it takes to find none, and how much of a request is read and kept. */
class RequestsTest {

    private static int members(String json) {
        return Requests.members(Json.utf8(json), true, (name, value) -> { }).size();
    }

    @ParameterizedTest
    @CsvSource({"model, Model, Model, model", "Model, model, Model, model", "MODEL, Model, MODEL, Model",
        // the Kelvin sign and the long s are a k and an s in other clothes
        "top_k, top_\u212a, top_\u212a, top_k", "me\u017f\u017fages, messages, me\u017f\u017fages, messages", "\u00fc, \u00dc, \u00fc, \u00dc"})
    void ofTwoNamesThatDifferInCaseOnlyTheOddOneIsNamed(String first, String second, String odd, String other) {
        ChatException e = assertThrows(ChatException.class,
                () -> members("{\"" + first + "\":1,\"between\":2,\"" + second + "\":3}"));
        assertEquals(odd + " is there twice, the other one as " + other + ".", e.getMessage());
        assertEquals(odd, e.details().get(0).field());
    }

    @ParameterizedTest
    @CsvSource({"MODEL, model", "Stream, stream", "MAX_TOKENS, max_tokens", "\u017ftream, stream", "Input, input", "ChatID, chatId"})
    void aNameThatIsKnownInAnotherCaseIsNotPassedOver(String given, String known) {
        ChatException e = assertThrows(ChatException.class, () -> members("{\"" + given + "\":1,\"between\":2}"));
        assertEquals(given + " is not known; it is called " + known + ".", e.getMessage());
        assertEquals(given, e.details().get(0).field());
    }

    @Test
    void namesThatTheGatewayDoesNotKnowMayBeInAnyCase() {
        assertEquals(2, members("{\"safetySettings\":1,\"X\":2}"));
    }

    @Test
    void embeddingsMayBeAskedForOfAnyNumberOfTokens() {
        byte[] body = Json.utf8("{\"model\":\"openai/e\",\"input\":[" + "7,".repeat(Json.MAX_TOKENS) + "7]}");
        assertTrue(OpenAiDialect.EMBEDDINGS.read(body, name -> null).has("input"));
    }

    @Test
    void ofAResponseThatIsAskedForNothingIsKeptButTheBody() {
        ChatRequest request = ResponsesDialect.INSTANCE.read(Json.utf8("{\"model\":\"demo\",\"input\":\"Hi\",\"include\":null,"
                + "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}]}"), name -> null);
        assertEquals(request.prompt(), request.prompt());
        assertNotSame(request.prompt().tools().get(0).parameters(), request.prompt().tools().get(0).parameters());
    }

    @Test
    void manyNamesAreReadInOnePass() {
        String json = IntStream.range(0, 110_000).mapToObj(i -> "\"A" + Integer.toString(i, 36) + "\":1")
                .collect(Collectors.joining(",", "{", "}"));
        assertEquals(110_000, assertTimeoutPreemptively(Duration.ofSeconds(10), () -> members(json)));
    }
}
