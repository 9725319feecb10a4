package io.llmchat.chat;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.llmchat.json.Json;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What of an answer is kept as its text. */
class WholeAnswerTest {

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            "Yes."                                                                       | Yes.
            [{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"Ye"},{"type":"text","text":"s."}] | Yes.
            null                                                                         | ``""")
    void theTextOfAnAnswerIsWhatItSaysWithoutItsThoughts(String content, String text) {
        byte[] json = Json.utf8("{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":" + content + "}}]}");
        assertEquals(text, new WholeAnswer(json, List.of(), 0, "stop", null).text());
    }

    @Test
    void theWordsOfARefusalAreItsText() {
        byte[] json = Json.utf8("{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I cannot.\"}}]}");
        assertEquals("I cannot.", new WholeAnswer(json, List.of(), 0, "stop", null).text());
        assertEquals("I cannot.", new WholeAnswer(null, List.of(new AnswerPart.Refusal(0, "I cannot."), new AnswerPart.Refusal(1, "Nor I.")), 0,
                "stop", null).text());
    }

    @Test
    void itsTextIsFoundHoweverManyPiecesStandBesideIt() {
        String json = "{\"choices\":[{\"logprobs\":{\"content\":[" + "{\"token\":\"a\",\"logprob\":-1},".repeat(100_000)
                + "{}]},\"message\":{\"content\":\"Hello\"}}]}";
        assertEquals("Hello", new WholeAnswer(Json.utf8(json), List.of(), 5, "stop", null).text());
    }
}
