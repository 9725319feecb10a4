package io.llmchat.chat;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PromptSizeTest {

    private static final String FILE = file(100_000);

    private static String file(int bytes) {
        byte[] content = new byte[bytes];
        new Random(1).nextBytes(content);
        return Base64.getEncoder().encodeToString(content);
    }

    private static long of(String json) {
        return PromptSize.of(json.getBytes(StandardCharsets.UTF_8));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,%s\"}}",
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image\\/png;base64,%s\"}}",
        "{\"type\":\"input_image\", \"image_url\": \"data:image/jpeg;base64,%s\"}",
        "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,%s\"}}",
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"%s\",\"format\":\"wav\"}}",
        "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"%s\"}}"})
    void aFileIsTheSameHoweverLargeItIs(String part) {
        String text = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is this?\"}," + part + "," + part + "]}]}";
        int around = text.length() - 4;
        for (String file : new String[] {FILE, FILE.replace('+', '-').replace('/', '_'), FILE.replace("/", "\\/")}) {
            assertEquals(around + 8_000, of(text.replace("%s", file)));
        }
        String small = file(2_000);
        assertEquals(around + 2 * small.length(), of(text.replace("%s", small)), "no more than it is");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"content\":\"%s\"}",
        "{\"content\":\"data:image/png;base64,%s\"}",
        "{\"content\":\"<img src=\\\"data:image/png;base64,%s\\\">\"}",
        "{\"content\":\"{\\\"data\\\":\\\"%s\\\"}\"}"})
    void whatStandsInATextIsText(String json) {
        String all = json.replace("%s", FILE);
        assertEquals(all.length(), of(all));
    }

    @ParameterizedTest
    @ValueSource(strings = {"word ", "\\u4f60", "\u4f60", "\\n"})
    void aMemberThatOnlyFilesHaveMayHaveATextToo(String text) {
        String json = "{\"url\":\"" + text.repeat(10_000) + "\"}";
        assertEquals(json.getBytes(StandardCharsets.UTF_8).length, of(json));
    }

    @Test
    void nothingIsReadBeyondTheEnd() {
        for (int i = 0; i < 4_010; i++) {
            assertEquals(i, of("A".repeat(i)));
            assertEquals(i + 1, of("A".repeat(i) + "\\"));
        }
    }
}
