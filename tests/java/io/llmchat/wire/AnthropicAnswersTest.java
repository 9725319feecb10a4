package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.chat.ChatException;
import io.llmchat.json.Json;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** How much of a whole answer of Anthropic's is read, and what an error in place of one is. */
class AnthropicAnswersTest {

    private static byte[] answer(int numbers) {
        return Json.utf8("{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"x\":[" + "1,".repeat(numbers) + "1]}");
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void anAnswerOfWhichTheTreeWouldBeTooLargeIsNone(boolean raw) {
        assertEquals(2, new AnthropicAnswers(raw).answer(answer(Json.MAX_TOKENS - 100)).textLength());
        assertThrows(Wire.MalformedAnswer.class, () -> new AnthropicAnswers(raw).answer(answer(Json.MAX_TOKENS)));
    }

    private static void read(Wire.AnswerReader reader, String event) {
        byte[] bytes = Json.utf8(event);
        reader.event(null, bytes, 0, bytes.length, said -> { });
    }

    @ParameterizedTest
    @CsvSource({"invalid_request_error,RequestRejected,400", "rate_limit_error,ProviderRefusal,429", "billing_error,ProviderRefusal,402",
            "overloaded_error,ProviderFailure,error", "api_error,ProviderFailure,error"})
    void anErrorIsWhatTheStatusOfItsTypeSaysUnlessSomethingWasSaid(String type, String kind, String outcome) {
        String error = "{\"type\":\"error\",\"error\":{\"type\":\"" + type + "\",\"message\":\"No\"}}";
        for (boolean raw : new boolean[] {true, false}) {
            Wire.AnswerReader reader = new AnthropicAnswers(raw);
            read(reader, "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9}}}");
            ChatException first = assertThrows(ChatException.class, () -> read(reader, error));
            assertEquals(kind + " " + outcome, first.getClass().getSimpleName() + " " + first.getOutcome());
            assertEquals(kind, assertThrows(ChatException.class, () -> reader.answer(Json.utf8(error))).getClass().getSimpleName());
            read(reader, "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}");
            assertEquals("error", assertThrows(ChatException.class, () -> read(reader, error)).getOutcome());
        }
    }
}
