package io.llmchat.step;

import io.llmchat.chat.Chat;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.camel.Predicate;
import org.apache.camel.Processor;

/**
 * How often one candidate is asked, and how long is waited in between: exponential, with full jitter (a random part
 * of the delay, so that many requests that failed together do not come back together). Times in milliseconds.
 */
public final class Retry {

    private static final String ATTEMPTS = "attemptsOfTarget";
    private static final String BACK_OFF = "backOff";

    private int maxRetries;
    private long baseDelay;
    private long maxDelay;
    private double factor;
    private boolean jitter;

    /** True if the candidate is to be asked now, or once more; the exchange property {@code backOff} says how soon. */
    public Predicate next() {
        return exchange -> {
            Integer asked = exchange.getProperty(ATTEMPTS, Integer.class);
            int before = asked == null ? 0 : asked;
            if (before > maxRetries || before > 0 && Chat.of(exchange).failure() == null) {
                exchange.removeProperty(ATTEMPTS);
                return false;
            }
            exchange.setProperty(ATTEMPTS, before + 1);
            exchange.setProperty(BACK_OFF, before == 0 ? 0L : delay(before));
            return true;
        };
    }

    /** A step that ends the attempts of this candidate. */
    public Processor last() {
        return exchange -> exchange.setProperty(ATTEMPTS, maxRetries + 1);
    }

    private long delay(int retry) {
        double delay = Math.min(maxDelay, baseDelay * Math.pow(factor, retry - 1.0));
        return Math.round(jitter ? delay * ThreadLocalRandom.current().nextDouble() : delay);
    }

    public void setMaxRetries(int maxRetries) {
        this.maxRetries = maxRetries;
    }

    public void setBaseDelay(long baseDelay) {
        this.baseDelay = baseDelay;
    }

    public void setMaxDelay(long maxDelay) {
        this.maxDelay = maxDelay;
    }

    public void setFactor(double factor) {
        this.factor = factor;
    }

    public void setJitter(boolean jitter) {
        this.jitter = jitter;
    }
}
