package io.llmchat.wire;

import com.fasterxml.jackson.core.JsonParser;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * What the chunk before looked like. Most chunks of a stream are, byte for byte, the one before but for one text: who has
 * read that one knows what this one says. Not safe for several threads.
 */
final class TextChunk {

    /** So many chunks in a row that are unlike the one before, and no more of this stream are compared. */
    private static final int PATIENCE = 8;

    /** The bytes before the text, and those after it; null: there is none to compare with. */
    private byte[] around;
    private int before;
    private int unlike;

    /**
     * The text of a chunk that says the same as the one before it but for that; null if it does not, or if nobody can
     * know without reading it as JSON.
     */
    String like(byte[] chunk, int from, int to) {
        if (around == null) {
            return null;
        }
        int start = from + before;
        int end = to - (around.length - before);
        if (start < end && Arrays.equals(chunk, from, start, around, 0, before)
                && Arrays.equals(chunk, end, to, around, before, around.length) && plain(chunk, start, end)) {
            String text = new String(chunk, start, end - start, StandardCharsets.UTF_8);
            // what is not UTF-8 is not JSON
            if (text.indexOf('\uFFFD') < 0) {
                unlike = 0;
                return text;
            }
        }
        around = null;
        unlike++;
        return null;
    }

    /** Whether these bytes can stand in a string as they are (RFC 8259, section 7), and do not end it. */
    private static boolean plain(byte[] bytes, int from, int to) {
        for (int i = from; i < to; i++) {
            byte b = bytes[i];
            if (b == '"' || b == '\\' || b >= 0 && b < ' ') {
                return false;
            }
        }
        return true;
    }

    /** Whether it is worth telling of a chunk that was read. */
    boolean listens() {
        return unlike < PATIENCE;
    }

    /**
     * A chunk was read that says nothing but a text.
     *
     * @param start where the string begins, at its quotation mark, counted from {@code from}, as {@link JsonParser} tells
     * @param end where it ends, behind its quotation mark
     */
    void read(byte[] chunk, int from, int to, int start, int end) {
        before = start + 1;
        int after = to - from - (end - 1);
        around = new byte[before + after];
        System.arraycopy(chunk, from, around, 0, before);
        System.arraycopy(chunk, to - after, around, before, after);
    }
}
