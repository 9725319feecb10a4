package io.llmchat.http;

import io.vertx.core.MultiMap;
import io.vertx.core.http.HttpHeaders;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServerRequest;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Lets pages of the named origins call from a browser (Fetch standard, "CORS protocol"), without cookies. A page of
 * another origin is told nothing, and nothing is done for it: its browser would only keep the answer from it, not the
 * request from us.
 */
public final class Cors {

    private static final CharSequence VARY = HttpHeaders.createOptimized("Origin");
    private static final CharSequence METHODS = HttpHeaders.createOptimized("GET, POST, PUT, DELETE");
    /** Names of headers, and not very many of them. */
    private static final Pattern NAMES = Pattern.compile("[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2000}");
    private static final CharSequence EXPOSED = HttpHeaders.createOptimized("X-Request-Id, Request-Id, Retry-After, RateLimit, "
            + "RateLimit-Policy, X-RateLimit-Limit-Requests, X-RateLimit-Remaining-Requests, X-RateLimit-Reset-Requests, "
            + "X-RateLimit-Limit-Tokens, X-RateLimit-Remaining-Tokens, X-RateLimit-Reset-Tokens, X-LLMChat-Attempts, "
            + "Anthropic-RateLimit-Requests-Limit, Anthropic-RateLimit-Requests-Remaining, Anthropic-RateLimit-Requests-Reset, "
            + "Anthropic-RateLimit-Tokens-Limit, Anthropic-RateLimit-Tokens-Remaining, Anthropic-RateLimit-Tokens-Reset, "
            + "Idempotent-Replayed, Warning");
    /** Seconds for which a browser may remember the answer to its question. */
    private static final CharSequence MAX_AGE = HttpHeaders.createOptimized("600");

    private final Set<String> origins = new HashSet<>();

    /** @param origins comma separated, each a scheme, a host and perhaps a port; empty: no other origin may call */
    public Cors(String origins) {
        for (String origin : origins.split(",")) {
            if (!origin.isBlank()) {
                this.origins.add(origin.trim());
            }
        }
    }

    /** Whether a page asks that may not: neither one of the named origins nor one that was got from where it asks now. */
    boolean refuses(HttpServerRequest request) {
        String origin = request.headers().get(HttpHeaders.ORIGIN);
        return origin != null && !origins.contains(origin)
                && !origin.replaceFirst("^https?://", "").equalsIgnoreCase(request.headers().get(HttpHeaders.HOST));
    }

    /** Says in the response head what the caller's page may do; true if that is all: the browser has only asked. */
    boolean answers(HttpServerRequest request) {
        if (origins.isEmpty()) {
            return false;
        }
        MultiMap head = request.response().headers();
        // another page gets another answer
        head.add(HttpHeaders.VARY, VARY);
        String origin = request.headers().get(HttpHeaders.ORIGIN);
        if (origin == null || !origins.contains(origin)) {
            return false;
        }
        head.set(HttpHeaders.ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if (request.method() != HttpMethod.OPTIONS || !request.headers().contains(HttpHeaders.ACCESS_CONTROL_REQUEST_METHOD)) {
            head.set(HttpHeaders.ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            return false;
        }
        head.set(HttpHeaders.ACCESS_CONTROL_ALLOW_METHODS, METHODS).set(HttpHeaders.ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // whatever it means to send, as SDKs do: its origin is named, there are no cookies, and routes read what they know
        String names = request.headers().get(HttpHeaders.ACCESS_CONTROL_REQUEST_HEADERS);
        if (names != null && NAMES.matcher(names).matches()) {
            head.set(HttpHeaders.ACCESS_CONTROL_ALLOW_HEADERS, names).add(HttpHeaders.VARY, HttpHeaders.ACCESS_CONTROL_REQUEST_HEADERS);
        }
        return true;
    }
}
