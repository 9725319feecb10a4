package io.llmchat.eip;

import org.apache.camel.processor.ThrottlerRejectedExecutionException;

/** What {@link ThrottleProcessor} rejects with. Carries no stack trace: whoever is rejected is one of many. */
public final class Throttled extends ThrottlerRejectedExecutionException {

    private final long retryAfterMillis;

    Throttled(int max, long retryAfterMillis) {
        super("Exchange rejected: more than " + max + " in the window");
        this.retryAfterMillis = retryAfterMillis;
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
