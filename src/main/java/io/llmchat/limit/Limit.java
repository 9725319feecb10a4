package io.llmchat.limit;

import io.llmchat.chat.Quota;
import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;

/**
 * One limit that a request meets: so much of something in a window of time.
 *
 * @param name whose it is within the scope: a key, an address, a user, an agent, a model
 * @param max requests, tokens, or billionths of a US dollar
 * @param window milliseconds from the first use on; {@link #UTC_DAY} or {@link #UTC_MONTH}
 * @param block milliseconds for which whoever goes over is refused, at least to the end of the window; 0: no longer
 */
public record Limit(Scope scope, String name, Kind kind, long max, long window, long block) {

    public static final long UTC_DAY = -1;
    public static final long UTC_MONTH = -2;

    /** A whole number up to this is exact as a number of Lua: some nine million dollars. */
    private static final long MAX_EXACT = 1L << 53;

    /** For whom a limit is. */
    public enum Scope {
        CALLER("this caller"), USER("this user"), AGENT("this agent"), MODEL("this model"), GLOBAL("this gateway");

        final String words;

        Scope(String words) {
            this.words = words;
        }
    }

    /** What is limited. */
    public enum Kind {
        REQUESTS("requests"), TOKENS_PER_MINUTE("tokens-per-minute"), TOKENS_PER_DAY("tokens-per-day"),
        BUDGET_PER_DAY("budget-per-day"), BUDGET_PER_MONTH("budget-per-month");

        final String name;

        Kind(String name) {
            this.name = name;
        }

        boolean tokens() {
            return this == TOKENS_PER_MINUTE || this == TOKENS_PER_DAY;
        }
    }

    /** Adds the limits of a quota; none if it is null. */
    public static void add(Quota quota, Scope scope, String name, List<Limit> to) {
        if (quota == null) {
            return;
        }
        if (quota.points() > 0) {
            to.add(new Limit(scope, name, Kind.REQUESTS, exact(quota.points()), millis(quota.duration()), millis(quota.blockDuration())));
        }
        if (quota.tokensPerMinute() > 0) {
            to.add(new Limit(scope, name, Kind.TOKENS_PER_MINUTE, exact(quota.tokensPerMinute()), 60_000, 0));
        }
        if (quota.tokensPerDay() > 0) {
            to.add(new Limit(scope, name, Kind.TOKENS_PER_DAY, exact(quota.tokensPerDay()), 86_400_000, 0));
        }
        if (quota.budgetPerDay() != null && quota.budgetPerDay().signum() > 0) {
            to.add(new Limit(scope, name, Kind.BUDGET_PER_DAY, budget(quota.budgetPerDay()), UTC_DAY, 0));
        }
        if (quota.budgetPerMonth() != null && quota.budgetPerMonth().signum() > 0) {
            to.add(new Limit(scope, name, Kind.BUDGET_PER_MONTH, budget(quota.budgetPerMonth()), UTC_MONTH, 0));
        }
    }

    /** Whether all of them are limits of requests. */
    public static boolean ofRequests(List<Limit> limits) {
        for (Limit limit : limits) {
            if (limit.kind != Kind.REQUESTS) {
                return false;
            }
        }
        return true;
    }

    private static long millis(long seconds) {
        return Math.min(seconds, Quota.MOST_SECONDS) * 1_000;
    }

    /** A limit is never nothing: of nothing there would be no part that is left. */
    private static long budget(BigDecimal dollars) {
        return Math.max(1, billionths(dollars));
    }

    private static long exact(long number) {
        return Math.min(number, MAX_EXACT);
    }

    /** Billionths of these dollars, at most as many as can be counted exactly. */
    public static long billionths(BigDecimal dollars) {
        return dollars.min(BigDecimal.valueOf(MAX_EXACT, 9)).movePointRight(9).longValue();
    }

    /** Whether it is that of whoever asks, and of nobody else. */
    boolean isOwn() {
        return scope == Scope.CALLER || scope == Scope.USER;
    }

    /** Under which name Redis keeps its state. */
    String key() {
        return "llmchat:limit:" + scope + ":" + name + ":" + kind.name;
    }

    /** What one of so many instances enforces by itself. */
    Limit share(int instances) {
        return instances == 1 ? this : new Limit(scope, name, kind, Math.max(1, max / instances), window, block);
    }

    /** How much a request takes that needs this; what needs more than there is in a window gets a whole one. */
    long taken(Need need) {
        return Math.min(max, need.of(kind));
    }

    /** Its name in the header fields; the one that every caller has is the default. */
    String policy() {
        return scope == Scope.CALLER && kind == Kind.REQUESTS ? "default" : scope.name().toLowerCase(Locale.ROOT) + "-" + kind.name;
    }

    /** Which limit it is, in plain words. */
    String words() {
        String much = switch (kind) {
            case REQUESTS -> max + " requests in " + window / 1_000 + " s";
            case TOKENS_PER_MINUTE -> max + " tokens per minute";
            case TOKENS_PER_DAY -> max + " tokens per day";
            case BUDGET_PER_DAY -> "$" + dollars() + " per day (UTC)";
            case BUDGET_PER_MONTH -> "$" + dollars() + " per month (UTC)";
        };
        return "the limit of " + scope.words + (scope == Scope.AGENT || scope == Scope.MODEL ? " (" + name + ")" : "") + ", " + much;
    }

    private String dollars() {
        return BigDecimal.valueOf(max, 9).stripTrailingZeros().toPlainString();
    }
}
