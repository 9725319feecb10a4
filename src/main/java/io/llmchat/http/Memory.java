package io.llmchat.http;

import java.util.concurrent.atomic.AtomicLong;

/**
 * How much of the heap what comes from outside, or waits, may have at once, in all gateways of this process, as its heap
 * is: each of these a part of it. Whoever finds no room turns away what has come, where the process would end. Safe for all threads.
 */
public enum Memory {
    /** Bodies up to {@link #SMALL} bytes, of requests that are read or answered: large ones take nothing of their room. */
    SMALL_BODIES(4),
    LARGE_BODIES(8),
    /** Large bodies that have not come to their end, where a key is needed, of those who have not shown one that is known here. */
    STRANGERS(24),
    /** Requests that wait behind another one of their connection. */
    BEHIND(24),
    /** Long request heads, and what the codec of a connection keeps for the next one that is as long. */
    HEADS(24),
    /** Answers in one piece, while they are received, and long ones until their callers have taken them. */
    ANSWERS(8),
    /** Answers that are kept while they are made, for callers that come back and for repeated keys; compressed. */
    KEPT_ANSWERS(8),
    /** Answers that are kept while they are made, in case the caller's SDK asks once more; compressed. */
    SPARE_ANSWERS(24),
    /** Usage that no store takes at the moment. */
    USAGE(12);

    public static final int SMALL = 65_536;

    private final long max;
    private final AtomicLong taken = new AtomicLong();

    Memory(int part) {
        this.max = Runtime.getRuntime().maxMemory() / part;
    }

    /**
     * Takes so many bytes; false if there is no room for them: then none is taken. Who is alone has as much as it needs.
     *
     * @param own how many the one that asks has taken before
     */
    public boolean take(int bytes, int own) {
        long all = taken.addAndGet(bytes);
        if (all <= max || all == bytes + (long) own) {
            return true;
        }
        give(bytes);
        return false;
    }

    /** Takes the place of an answer in one piece, where it is long: a short one needs none; false if there is no room for it. */
    public static boolean takeAnswer(int length) {
        return length <= SMALL || ANSWERS.take(length, 0);
    }

    /** Takes it also if there is no room: of what is there already. */
    public static void holdAnswer(int length) {
        if (length > SMALL) {
            ANSWERS.taken.addAndGet(length);
        }
    }

    /** Gives the place of an answer back. */
    public static void giveAnswer(int length) {
        if (length > SMALL) {
            ANSWERS.give(length);
        }
    }

    /** Whether there is none left. */
    public boolean isFull() {
        return taken.get() >= max;
    }

    /** Gives back what was taken. */
    public void give(int bytes) {
        taken.addAndGet(-bytes);
    }
}
