package io.llmchat.http;

import java.util.concurrent.ThreadLocalRandom;

/** Ids of requests, answers and chats: 128 random bits in hex. Names, not secrets: they give nobody access. */
public final class Ids {

    private Ids() {
    }

    public static String next() {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        StringBuilder id = new StringBuilder(32);
        hex(random.nextLong(), id);
        hex(random.nextLong(), id);
        return id.toString();
    }

    private static void hex(long bits, StringBuilder to) {
        for (int shift = 60; shift >= 0; shift -= 4) {
            to.append(Character.forDigit((int) (bits >>> shift) & 15, 16));
        }
    }
}
