package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.json.Json;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** How much of a whole answer of Anthropic's is read. */
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
}
