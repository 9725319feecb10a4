package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ProviderFailure;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextChunkTest {

    private static final String BEFORE = "{\"choices\":[{\"delta\":{\"content\":\"";
    private static final String AFTER = "\"}}],\"id\":7}";

    private final TextChunk last = new TextChunk();

    private void read(String text) {
        byte[] chunk = bytes("data: " + BEFORE + text + AFTER);
        last.read(chunk, 6, chunk.length, BEFORE.length() - 1, BEFORE.length() + text.length() + 1);
    }

    private String like(String before, String text, String after) {
        byte[] chunk = bytes("xx" + before + text + after + "yyy");
        return last.like(chunk, 2, chunk.length - 3);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    @Test
    void theTextOfAChunkThatIsLikeTheOneBeforeIsKnown() {
        assertNull(like(BEFORE, "Hello", AFTER));
        read("Hel");
        assertEquals("lo, wor", like(BEFORE, "lo, wor", AFTER));
        assertEquals("l", like(BEFORE, "l", AFTER));
        assertEquals("{\u00e9} \u4f60\u597d \ud83d\ude00", like(BEFORE, "{\u00e9} \u4f60\u597d \ud83d\ude00", AFTER));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "a\\n", "\\", "a\"", "\",\"role\":\"b", "line\nbreak", "\u0000", "\ufffd"})
    void aTextThatCannotBeTakenAsItIsIsReadAsJson(String text) {
        read("Hel");
        assertNull(like(BEFORE, text, AFTER));
    }

    @Test
    void whatIsNotUtf8IsReadAsJson() {
        read("Hel");
        byte[] chunk = (BEFORE + "\u00e9" + AFTER).getBytes(StandardCharsets.ISO_8859_1);
        assertNull(last.like(chunk, 0, chunk.length));
    }

    @Test
    void aChunkThatIsUnlikeTheOneBeforeIsReadAsJson() {
        for (String before : List.of("", "{\"Choices\":[{\"delta\":{\"content\":\"", BEFORE + "\"", "{" + BEFORE)) {
            read("Hel");
            assertNull(like(before, "Hel", AFTER));
        }
        for (String after : List.of("", AFTER + " ", AFTER.replace('7', '8'), "\"")) {
            read("Hel");
            assertNull(like(BEFORE, "Hel", after));
        }
        read("Hel");
        byte[] both = bytes(BEFORE.substring(0, BEFORE.length() - 1) + AFTER);
        assertNull(last.like(both, 0, both.length));
    }

    @Test
    void aStreamWhoseChunksAreNeverAlikeIsNotComparedForLong() {
        for (int i = 0; i < 8; i++) {
            assertTrue(last.listens());
            read("Hel");
            assertNull(like(BEFORE, "Hel", AFTER + i));
        }
        assertFalse(last.listens());
    }

    /** One reader for all chunks says what a new one says of each: with bytes changed, left out and put in anywhere. */
    @Test
    void whatWasReadBeforeChangesNothing() {
        Random random = new Random(7);
        int known = 0;
        for (int stream = 0; stream < 400; stream++) {
            boolean raw = stream % 2 == 0;
            Wire.AnswerReader one = new OpenAiAnswers(raw);
            List<byte[]> chunks = new ArrayList<>();
            for (int i = 0; i < 25; i++) {
                byte[] chunk = random.nextInt(3) > 0 || chunks.isEmpty() ? bytes(chunk(random)) : changed(chunks.getLast(), random);
                chunks.add(chunk);
                List<String> told = told(one, chunk);
                assertEquals(told(new OpenAiAnswers(raw), chunk), told, () -> new String(chunk, StandardCharsets.UTF_8));
                known += told.getFirst().contains("content=") ? 1 : 0;
            }
        }
        assertTrue(known > 4_000, "texts that were told: " + known);
    }

    private static String chunk(Random random) {
        String text = List.of("Hello", " world", "", "\\n", "\\\"", "\u00e9", "\u4f60\u597d", "\\ud83d\\ude00", "{", "a\tb").get(random.nextInt(10));
        String delta = switch (random.nextInt(12)) {
            case 0 -> "\"role\":\"assistant\",\"content\":\"" + text + "\"";
            case 1 -> "\"reasoning_content\":\"" + text + "\"";
            case 2 -> "\"content\":\"" + text + "\",\"reasoning_content\":\"so\"";
            case 3 -> "\"content\":\"" + text + "\",\"content\":\"" + text + "\"";
            case 4 -> "\"content\":null";
            case 5 -> "\"content\":\"" + text + "\",\"tool_calls\":[]";
            default -> "\"content\":\"" + text + "\"";
        };
        int odd = random.nextInt(20);
        return "{\"id\":\"c-1\",\"choices\":[{\"index\":" + (odd == 0 ? 1 : 0) + ",\"delta\":{" + delta + "},\"finish_reason\":"
                + (odd == 1 ? "\"stop\"" : "null") + "}" + (odd == 2 ? ",{\"index\":1,\"delta\":{\"content\":\"x\"}}" : "") + "]"
                + (odd == 3 ? ",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}" : "")
                + (odd == 4 ? ",\"error\":{\"message\":\"no\"}" : "") + (odd == 5 ? ",\"pad\":\"" + random.nextInt() + "\"" : "") + "}";
    }

    private static byte[] changed(byte[] chunk, Random random) {
        int at = random.nextInt(chunk.length);
        byte[] changed = Arrays.copyOf(chunk, chunk.length);
        return switch (random.nextInt(4)) {
            case 0 -> {
                changed[at] = (byte) random.nextInt(256);
                yield changed;
            }
            case 1 -> Arrays.copyOf(chunk, Math.max(1, at));
            case 2 -> {
                System.arraycopy(chunk, at, changed, 0, chunk.length - at);
                System.arraycopy(chunk, 0, changed, chunk.length - at, at);
                yield changed;
            }
            default -> changed;
        };
    }

    private static List<String> told(Wire.AnswerReader reader, byte[] chunk) {
        List<String> told = new ArrayList<>();
        try {
            reader.event(null, chunk, 0, chunk.length, (ChatEvent e) -> told.add((e.content() == null ? "" : "content=" + e.content() + " ")
                    + (e.bytes() == null ? "parts" : "bytes") + e.from() + "-" + e.to() + e.parts() + e.toolCall() + e.otherChoice() + e.token()
                    + e.textLength() + e.finishReason() + e.usage() + e.usageOnly()));
            told.add("read");
        } catch (Wire.MalformedAnswer | ProviderFailure e) {
            told.add(e.toString());
        }
        return told;
    }
}
