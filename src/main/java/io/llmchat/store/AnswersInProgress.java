package io.llmchat.store;

import io.llmchat.http.AnswerLog;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * The answers that this instance is making, by idempotency key and by answer id, and those that it has made lately, by
 * what was asked: an SDK that repeats a request by itself names no key. Safe for all threads.
 */
public final class AnswersInProgress {

    private static final int MAX_LATELY = 10_000;
    private static final long LATELY_NANOS = TimeUnit.SECONDS.toNanos(60);

    private record Made(AnswerLog log, long atNanos) {
    }

    private final Map<String, AnswerLog> byKey = new ConcurrentHashMap<>();
    private final Map<String, AnswerLog> byId = new ConcurrentHashMap<>();
    /** The oldest first. */
    private final Map<String, Made> lately = new LinkedHashMap<>();
    private final long maxBytes;
    private long bytes;

    /** @param maxBytes how much of what was made lately is kept for SDKs that ask again */
    public AnswersInProgress(long maxBytes) {
        this.maxBytes = maxBytes;
    }

    /** From now on this answer is found by its key. */
    public void keyed(String key, AnswerLog log) {
        byKey.put(key, log);
    }

    /** The answer that is being made for this key, or that waits to be kept; null: none here. */
    public AnswerLog ofKey(String key) {
        return byKey.get(key);
    }

    /** It is found no longer, unless the key is another answer's by now. */
    public void forgetKey(String key, AnswerLog log) {
        byKey.remove(key, log);
    }

    /** From now on this answer is found by its id. */
    public void resumable(AnswerLog log) {
        byId.put(log.answerId(), log);
    }

    /** As {@link #ofKey}, of the answer with this id. */
    public AnswerLog ofId(String answerId) {
        return byId.get(answerId);
    }

    public void forgetId(AnswerLog log) {
        byId.remove(log.answerId(), log);
    }

    /** An answer was given to this question; it is kept for a minute, or until there is no more room. */
    public synchronized void made(String question, AnswerLog log) {
        long now = System.nanoTime();
        Made before = lately.remove(question);
        bytes -= before == null ? 0 : before.log.length();
        lately.put(question, new Made(log, now));
        bytes += log.length();
        var oldest = lately.values().iterator();
        while (oldest.hasNext()) {
            Made made = oldest.next();
            if (now - made.atNanos < LATELY_NANOS && bytes <= maxBytes && lately.size() <= MAX_LATELY) {
                break;
            }
            bytes -= made.log.length();
            oldest.remove();
        }
    }

    /** What was answered to this question within the last minute, or null. */
    public synchronized AnswerLog madeLately(String question) {
        Made made = lately.get(question);
        return made == null || System.nanoTime() - made.atNanos > LATELY_NANOS ? null : made.log;
    }
}
