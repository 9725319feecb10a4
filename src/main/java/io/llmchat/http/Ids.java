package io.llmchat.http;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Ids of requests, messages, chats, agents and keys: 32 hex digits, of which 12 are the milliseconds since 1970 and 20 are
 * random (the order of RFC 9562's version 7, without its marks). So that the newest rows are neighbours in an index,
 * however long it has grown. Names, not secrets: they give nobody access.
 */
public final class Ids {

    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.ISO_8859_1);
    private static final int TIME = 12;
    private static final int LENGTH = 32;

    private Ids() {
    }

    public static String next() {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        byte[] id = new byte[LENGTH];
        hex(System.currentTimeMillis(), id, 0, TIME);
        hex(random.nextLong(), id, TIME, TIME + 16);
        hex(random.nextLong(), id, TIME + 16, LENGTH);
        return new String(id, StandardCharsets.ISO_8859_1);
    }

    private static void hex(long bits, byte[] to, int from, int end) {
        for (int at = end - 1; at >= from; at--, bits >>>= 4) {
            to[at] = HEX[(int) bits & 15];
        }
    }
}
