package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.dialect.AnthropicDialect;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UnsignedThoughtsTest {

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            [{"signature":""}]                     | true
            [{"signature" : ""}]                   | true
            `[{"signature":\t\r\n""}]`             | true
            [{"signature":"x"},{"signature":""}]   | true
            [{"signature":"x"}]                    | false
            [{"signature":null}]                   | false
            [{"signature":1}]                      | false
            [{"a":"signature"}]                    | false
            ["signature"]                          | false
            [{"text":"\\"signature\\":\\"\\""}]    | false
            []                                     | false""")
    void theyAreFoundWithoutReadingTheJson(String messages, boolean found) {
        String body = "{\"messages\":" + messages + "}";
        assertEquals(found, UnsignedThoughts.mayBeIn(body.getBytes(StandardCharsets.UTF_8), new Slice(12, body.length() - 1)), messages);
    }

    @Test
    void anAnswerThatIsGoneOnWithStandsBehindTheRest() {
        ChatRequest request = AnthropicDialect.CHAT.read(("{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
                + "\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"\"}]},{\"role\":\"user\",\"content\":\"Hello?\"}]}")
                .getBytes(StandardCharsets.UTF_8), name -> null);
        Wire.Call call = new AnthropicWire("2023-06-01", 4096).call(new Wire.Asked(request, null, "claude-opus-4-7", "a1", null, "He"));
        assertEquals("{\"model\":\"claude-opus-4-7\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
                + "{\"role\":\"user\",\"content\":\"Hello?\"},{\"role\":\"assistant\",\"content\":\"He\"}]}", new String(call.body(), StandardCharsets.UTF_8));
    }
}
