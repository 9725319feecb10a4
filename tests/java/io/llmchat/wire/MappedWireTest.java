package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.json.Json;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What a description of a wire has to say; what is made of it is in {@link WireFixturesTest}. */
class MappedWireTest {

    @Test
    void whoIsAskedForStreamsHasToSayWhatEndsThem() {
        Map<String, Object> options = new HashMap<>(Map.of("requestTemplate", "{\"stream\":\"${stream}\"}", "textPointer", "/text"));
        String reason = assertThrows(IllegalArgumentException.class, () -> Wires.of("mapped", options)).getMessage();
        assertEquals("nothing ends a stream; endEvent or finishReasonPointer says what does", reason);
        options.put("endEvent", "[DONE]");
        Wires.of("mapped", options);
    }

    @Test
    void anAnswerWithoutATextIsNone() {
        Wire.AnswerReader reader = Wires.of("mapped", Map.of("requestTemplate", "{\"q\":\"${query}\"}", "textPointer", "/text")).reader(false);
        assertThrows(Wire.MalformedAnswer.class, () -> reader.answer(Json.utf8("{\"text\":\"\"}")));
        assertEquals(2, reader.answer(Json.utf8("{\"text\":\"Hi\"}")).textLength());
    }
}
