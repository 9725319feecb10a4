package io.llmchat.step;

import io.llmchat.chat.ChatException;
import io.llmchat.http.ClientStream;
import java.util.Arrays;
import java.util.List;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * A step that reads which page of a list is wanted: the exchange properties {@code page}, {@code pageSize} and
 * {@code offset}, and for each filter {@code x} a property {@code ofX}, null where the request does not name it.
 */
public final class Page implements Processor {

    private static final int SIZE = 20;
    private static final int MAX_SIZE = 200;

    private final List<String> filters;

    /** @param filters the query parameters that choose what is in the list, comma separated */
    public Page(String filters) {
        this.filters = Arrays.stream(filters.split(",")).map(String::trim).toList();
    }

    @Override
    public void process(Exchange exchange) {
        int page = number(exchange, "page", 1, Integer.MAX_VALUE);
        int size = number(exchange, "pageSize", SIZE, MAX_SIZE);
        exchange.setProperty("page", page);
        exchange.setProperty("pageSize", size);
        exchange.setProperty("offset", (page - 1L) * size);
        for (String name : filters) {
            String value = parameter(exchange, name);
            exchange.setProperty("of" + Character.toUpperCase(name.charAt(0)) + name.substring(1),
                    value == null ? null : Sessions.storable(value));
        }
    }

    private static String parameter(Exchange exchange, String name) {
        try {
            String value = ClientStream.of(exchange).request().getParam(name);
            return value == null || value.isEmpty() ? null : value;
        } catch (IllegalArgumentException e) {
            throw ChatException.invalid(name, "The query string has a percent-encoding that is none.");
        }
    }

    private static int number(Exchange exchange, String name, int usual, int max) {
        String value = parameter(exchange, name);
        if (value == null) {
            return usual;
        }
        try {
            int number = Integer.parseInt(value);
            if (number >= 1 && number <= max) {
                return number;
            }
        } catch (NumberFormatException e) {
            // refused below
        }
        throw ChatException.invalid(name, name + " must be a whole number from 1 to " + max + ".");
    }
}
