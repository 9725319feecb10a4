package io.llmchat.wire;

import io.llmchat.json.Bytes;
import java.util.Arrays;

/**
 * What has come of a line whose end has not. It grows as {@code ArrayList} does, so that a long line in small pieces is not
 * copied once for each of them. Not safe for several threads.
 */
final class Rest {

    private byte[] bytes = Bytes.NONE;
    private int length;

    int length() {
        return length;
    }

    /** What is left; good up to {@link #length()}. */
    byte[] bytes() {
        return bytes;
    }

    /** What was left with this behind it; good up to {@link #length()}, and until more is kept or joined. */
    byte[] join(byte[] chunk) {
        if (length + chunk.length > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(length + chunk.length, 2 * bytes.length));
        }
        System.arraycopy(chunk, 0, bytes, length, chunk.length);
        length += chunk.length;
        return bytes;
    }

    /** From now on this is what is left, also where it is a part of what was. */
    void keep(byte[] from, int start, int end) {
        length = end - start;
        if (length == 0) {
            // most often it is that: what is set for each token is looked at in each pause
            if (bytes != Bytes.NONE) {
                bytes = Bytes.NONE;
            }
        } else if (from != bytes) {
            bytes = Arrays.copyOfRange(from, start, end);
        } else if (start > 0) {
            System.arraycopy(bytes, start, bytes, 0, length);
        }
    }
}
