package io.llmchat.eip;

import org.apache.camel.processor.ThrottlerRejectedExecutionException;

/** What {@link ThrottleProcessor} rejects with. Carries no stack trace: whoever is rejected is one of many. */
public final class Throttled extends ThrottlerRejectedExecutionException {

    private final int max;
    private final long windowMillis;
    private final long retryAfterMillis;

    Throttled(int max, long windowMillis, long retryAfterMillis) {
        super("This gateway takes " + max + " requests in " + windowMillis + " ms.");
        this.max = max;
        this.windowMillis = windowMillis;
        this.retryAfterMillis = retryAfterMillis;
    }

    /** How many are let in in a window. */
    public int max() {
        return max;
    }

    /** Milliseconds. */
    public long windowMillis() {
        return windowMillis;
    }

    /** Milliseconds, rounded up, until the next one is let in, if nobody else comes first. */
    public long retryAfterMillis() {
        return retryAfterMillis;
    }

    @Override
    public Throwable fillInStackTrace() {
        return this;
    }
}
