package io.llmchat.http;

import org.apache.camel.Exchange;
import org.apache.camel.spi.HeaderFilterStrategy;

/**
 * Lets no HTTP header and no query parameter become a message header, and no message header a response header: Camel
 * would take a query parameter for a header, a {@code Camel*} header for an order, and would send headers back. What
 * the routes need of a request they read from {@link ClientStream#request()}.
 */
public final class NoHeaders implements HeaderFilterStrategy {

    @Override
    public boolean applyFilterToCamelHeaders(String name, Object value, Exchange exchange) {
        return true;
    }

    @Override
    public boolean applyFilterToExternalHeaders(String name, Object value, Exchange exchange) {
        return true;
    }
}
