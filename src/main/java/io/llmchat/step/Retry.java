package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.Target;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.apache.camel.Exchange;
import org.apache.camel.Expression;
import org.apache.camel.Predicate;
import org.apache.camel.Processor;
import org.apache.camel.support.ExpressionAdapter;

/**
 * How often one candidate is asked, and how long is waited in between: as long as the provider says, or else
 * exponentially longer, with full jitter (a random part of the delay, so that many requests that failed together do not
 * come back together); never past the caller's deadline, nor beyond the provider's budget. Times in milliseconds.
 */
public final class Retry {

    /** Callers choose model names. */
    private static final int MAX_LEFT_ALONE = 10_000;
    /** Milliseconds: some providers say a day, and take requests again long before. */
    private static final long MOST_LEFT_ALONE = 60_000;

    /** Providers' models that have said when they take requests again, and when that is. */
    private final Map<Target, Long> leftAloneUntil = new ConcurrentHashMap<>();
    private RetryBudget budget;
    private int maxRetries;
    private long baseDelay;
    private long maxDelay;
    private double factor;
    private boolean jitter;
    private double budgetShare;
    private int budgetFloor;

    /** Called when all properties are set. */
    public void start() {
        budget = new RetryBudget(budgetShare, budgetFloor);
    }

    /** True if the target is to be asked now, or once more. */
    public Predicate next() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            int asked = chat.asked();
            if (exchange.getException() != null || asked > maxRetries || asked > 0 && chat.failure() == null) {
                return false;
            }
            // there is no time for another one; a stream that has begun says itself whether it can be gone on with
            if (chat.millisLeft() <= 0 && chat.earlierFailure() != null || chat.client().committed() && !chat.isContinuable()) {
                chat.setFailure(chat.failure() == null ? chat.earlierFailure() : chat.failure());
                return false;
            }
            if (asked == 0) {
                long wait = leftAloneFor(chat.target());
                if (wait > 0) {
                    // of a stream that broke off, why it did tells more
                    chat.setFailure(chat.client().committed() ? chat.earlierFailure() : new ProviderRefusal("UPSTREAM_RATE_LIMITED",
                            "The provider '" + chat.target().provider() + "' limits our requests, and is left alone until it takes them again.")
                            .retryAfter((int) Math.ceilDiv(wait, 1_000L)));
                    return false;
                }
                budget.asked(chat.target().provider());
            }
            chat.setAsked(asked + 1);
            chat.setFailure(null);
            return true;
        };
    }

    private long leftAloneFor(Target target) {
        Long until = leftAloneUntil.get(target);
        if (until == null) {
            return 0;
        }
        long left = TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime());
        if (left <= 0) {
            leftAloneUntil.remove(target, until);
        }
        return left;
    }

    /** How many milliseconds are waited before the target is asked once more; 0, and no more attempts, if it cannot be. */
    public Expression backOff() {
        return new ExpressionAdapter() {
            @Override
            public Object evaluate(Exchange exchange) {
                Chat chat = Chat.of(exchange);
                long delay = delay(chat, exchange.getProperty(Exchange.EXCEPTION_CAUGHT, ChatException.class));
                // who has begun to read is not left waiting for longer than an ordinary back-off
                boolean fits = chat.client().committed() ? delay <= maxDelay : delay < chat.millisLeft();
                boolean again = chat.asked() <= maxRetries && fits && budget.take(chat.target().provider());
                if (!again) {
                    chat.setAsked(maxRetries + 1);
                }
                return again ? delay : 0L;
            }
        };
    }

    private long delay(Chat chat, ChatException failure) {
        if (failure.retryAfterSeconds() >= 0) {
            long wait = failure.retryAfterSeconds() * 1_000L;
            if ("429".equals(failure.getOutcome())) {
                if (leftAloneUntil.size() >= MAX_LEFT_ALONE) {
                    leftAloneUntil.clear();
                }
                leftAloneUntil.put(chat.target(), System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(Math.min(wait, MOST_LEFT_ALONE)));
            }
            return wait;
        }
        double delay = Math.min(maxDelay, baseDelay * Math.pow(factor, chat.asked() - 1.0));
        return Math.round(jitter ? delay * ThreadLocalRandom.current().nextDouble() : delay);
    }

    /** A step that ends the attempts of this target. */
    public Processor last() {
        return exchange -> Chat.of(exchange).setAsked(maxRetries + 1);
    }

    /** A step that ends the attempts of this target, and of all candidates but those that take longer prompts. */
    public Processor larger() {
        return exchange -> {
            Chat.of(exchange).setAsked(maxRetries + 1);
            Chat.of(exchange).onlyLarger();
        };
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

    public void setBudgetShare(double budgetShare) {
        this.budgetShare = budgetShare;
    }

    public void setBudgetFloor(int budgetFloor) {
        this.budgetFloor = budgetFloor;
    }
}
