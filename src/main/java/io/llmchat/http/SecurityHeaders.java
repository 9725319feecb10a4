package io.llmchat.http;

import io.vertx.core.MultiMap;
import io.vertx.core.http.HttpHeaders;

/**
 * What every response but an event stream says to browsers and caches: it is what it says it is, it is nobody else's,
 * and nothing in it is to be run, shown in a frame or told to the next site. The names and values are encoded once.
 */
final class SecurityHeaders {

    private static final CharSequence[] LINES = {
        "X-Content-Type-Options", "nosniff",
        "Cache-Control", "no-store",
        "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy", "no-referrer"};

    static {
        for (int i = 0; i < LINES.length; i++) {
            LINES[i] = HttpHeaders.createOptimized(LINES[i].toString());
        }
    }

    private SecurityHeaders() {
    }

    /** Adds them to a head that has none of them yet. */
    static void addTo(MultiMap headers) {
        for (int i = 0; i < LINES.length; i += 2) {
            headers.add(LINES[i], LINES[i + 1]);
        }
    }
}
