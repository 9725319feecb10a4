package io.llmchat.dialect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import io.llmchat.chat.ChatException;
import io.llmchat.json.Json;
import java.time.Duration;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Names of members that differ in case only, and how long it takes to find none. */
class RequestsTest {

    private static int members(String json) {
        return Requests.members(Json.utf8(json), (name, value) -> { }).size();
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

    @Test
    void manyNamesAreReadInOnePass() {
        String json = IntStream.range(0, 110_000).mapToObj(i -> "\"A" + Integer.toString(i, 36) + "\":1")
                .collect(Collectors.joining(",", "{", "}"));
        assertEquals(110_000, assertTimeoutPreemptively(Duration.ofSeconds(10), () -> members(json)));
    }
}
