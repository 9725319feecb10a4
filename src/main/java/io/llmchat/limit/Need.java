package io.llmchat.limit;

/**
 * What a request needs, or has used, of its limits, beside the one request that it is.
 *
 * @param cost billionths of a US dollar
 */
public record Need(long requests, long tokens, long cost) {

    /** A request that no provider is asked for. */
    public static final Need REQUEST = new Need(1, 0, 0);
    public static final Need NOTHING = new Need(0, 0, 0);

    /** Both together. */
    public Need plus(Need other) {
        return new Need(requests + other.requests, tokens + other.tokens, cost + other.cost);
    }

    long of(Limit.Kind kind) {
        return switch (kind) {
            case REQUESTS -> requests;
            case TOKENS_PER_MINUTE, TOKENS_PER_DAY -> tokens;
            case BUDGET_PER_DAY, BUDGET_PER_MONTH -> cost;
        };
    }
}
