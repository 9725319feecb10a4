package io.llmchat.limit;

import io.llmchat.dialect.AnthropicDialect;
import io.llmchat.http.ClientStream;
import io.vertx.core.http.HttpHeaders;
import java.time.Instant;
import java.time.temporal.ChronoUnit;

/**
 * Tells the caller how near its limits are: {@code RateLimit} and {@code RateLimit-Policy} (the IETF draft
 * ietf-httpapi-ratelimit-headers, with structured fields) for the limit that is nearest to its end, {@code x-ratelimit-*}
 * by OpenAI's names (API reference, "Rate limits in headers") for the nearest one of requests and of tokens, and
 * Anthropic's names for its own callers.
 */
public final class RateLimitHeaders {

    private static final CharSequence NEAREST = HttpHeaders.createOptimized("RateLimit");
    private static final CharSequence POLICY = HttpHeaders.createOptimized("RateLimit-Policy");
    private static final Names REQUESTS = new Names("requests");
    private static final Names TOKENS = new Names("tokens");

    private RateLimitHeaders() {
    }

    /** What the headers of one kind are called. */
    private static final class Names {
        private final CharSequence limit;
        private final CharSequence remaining;
        private final CharSequence reset;
        private final String anthropic;

        Names(String kind) {
            limit = HttpHeaders.createOptimized("x-ratelimit-limit-" + kind);
            remaining = HttpHeaders.createOptimized("x-ratelimit-remaining-" + kind);
            reset = HttpHeaders.createOptimized("x-ratelimit-reset-" + kind);
            anthropic = "anthropic-ratelimit-" + kind;
        }
    }

    /** Adds the headers to a head that was not sent yet. */
    public static void add(Decision decision, ClientStream client) {
        int nearest = decision.nearest(l -> true);
        Limit limit = decision.limits().get(nearest);
        long unit = unit(limit);
        client.header(NEAREST, "\"" + limit.policy() + "\";r=" + decision.remaining(nearest) / unit + ";t=" + decision.secondsLeft(nearest));
        client.header(POLICY, policy(limit, unit));
        named(REQUESTS, decision, decision.nearest(l -> l.kind() == Limit.Kind.REQUESTS), client);
        named(TOKENS, decision, decision.nearest(l -> l.kind().tokens()), client);
    }

    /** The draft takes whole numbers: money is told in millionths of a dollar. */
    private static long unit(Limit limit) {
        return limit.kind() == Limit.Kind.BUDGET_PER_DAY || limit.kind() == Limit.Kind.BUDGET_PER_MONTH ? 1_000 : 1;
    }

    private static String policy(Limit limit, long unit) {
        String words = "\"" + limit.policy() + "\";q=" + limit.max() / unit;
        if (limit.kind() != Limit.Kind.REQUESTS) {
            words += limit.kind().tokens() ? ";qu=\"tokens\"" : ";qu=\"micro-usd\"";
        }
        // a month has no length that could be told
        return limit.window() == Limit.UTC_MONTH ? words : words + ";w=" + (limit.window() == Limit.UTC_DAY ? 86_400 : limit.window() / 1_000);
    }

    private static void named(Names names, Decision decision, int i, ClientStream client) {
        if (i < 0) {
            return;
        }
        String max = Long.toString(decision.limits().get(i).max());
        String left = Long.toString(decision.remaining(i));
        client.header(names.limit, max);
        client.header(names.remaining, left);
        client.header(names.reset, duration(decision.millisLeft(i)));
        if (client.dialect() instanceof AnthropicDialect) {
            client.header(names.anthropic + "-limit", max);
            client.header(names.anthropic + "-remaining", left);
            client.header(names.anthropic + "-reset", Instant.now().plusSeconds(decision.secondsLeft(i))
                    .truncatedTo(ChronoUnit.SECONDS).toString());
        }
    }

    /** As OpenAI writes it, which is as Go does: {@code 20ms}, {@code 1.5s}, {@code 6m0s}, {@code 23h59m3s}. */
    static String duration(long millis) {
        if (millis < 1_000) {
            return millis + "ms";
        }
        StringBuilder text = new StringBuilder(16);
        if (millis >= 3_600_000) {
            text.append(millis / 3_600_000).append('h');
        }
        if (millis >= 60_000) {
            text.append(millis / 60_000 % 60).append('m');
        }
        text.append(millis / 1_000 % 60);
        if (millis % 1_000 > 0) {
            int point = text.length();
            // the leading 1 keeps the zeros behind it
            text.append(1_000 + millis % 1_000).setCharAt(point, '.');
            while (text.charAt(text.length() - 1) == '0') {
                text.setLength(text.length() - 1);
            }
        }
        return text.append('s').toString();
    }
}
