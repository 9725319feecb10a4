package io.llmchat.step;

import io.llmchat.chat.Chat;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.camel.Exchange;
import org.apache.camel.Expression;
import org.apache.camel.Predicate;
import org.apache.camel.Processor;
import org.apache.camel.support.ExpressionAdapter;

/**
 * How often one candidate is asked, and how long is waited in between: exponential, with full jitter (a random part
 * of the delay, so that many requests that failed together do not come back together). Times in milliseconds.
 */
public final class Retry {

    private int maxRetries;
    private long baseDelay;
    private long maxDelay;
    private double factor;
    private boolean jitter;

    /** True if the target is to be asked now, or once more. */
    public Predicate next() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            int asked = chat.asked();
            if (asked > maxRetries || asked > 0 && chat.failure() == null) {
                return false;
            }
            chat.asked(asked + 1);
            return true;
        };
    }

    /** How many milliseconds are waited before the target is asked once more; 0 if it will not be. */
    public Expression backOff() {
        return new ExpressionAdapter() {
            @Override
            public Object evaluate(Exchange exchange) {
                int asked = Chat.of(exchange).asked();
                return asked > maxRetries ? 0L : delay(asked);
            }
        };
    }

    /** A step that ends the attempts of this target. */
    public Processor last() {
        return exchange -> Chat.of(exchange).asked(maxRetries + 1);
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
