package io.llmchat.step;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.json.Json;
import java.util.Locale;
import java.util.Set;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A step: from now on a logger of this instance says more, or less, until the instance ends. The body is
 * {@code {"level": "debug", "logger": "io.llmchat.requests"}}; without a logger it is all of the gateway's own.
 */
public final class LogLevel implements Processor {

    private static final Logger LOG = LoggerFactory.getLogger(LogLevel.class);
    private static final Set<String> LEVELS = Set.of("trace", "debug", "info", "warn", "error", "off");
    /** At these the libraries of the stores write what each statement is given, texts and hashes of keys. */
    private static final Set<String> TOO_MUCH = Set.of("trace", "debug");
    private static final String OURS = "io.llmchat";
    private static final String LOGGER = "[A-Za-z0-9_.$-]{1,200}";

    @Override
    public void process(Exchange exchange) {
        ObjectNode body = JsonBody.read(exchange);
        body.fieldNames().forEachRemaining(name -> {
            if (!name.equals("level") && !name.equals("logger")) {
                throw ChatException.invalid(name, name + " is not known here.");
            }
        });
        String level = body.path("level").asText();
        if (!LEVELS.contains(level)) {
            throw ChatException.invalid("level", "level takes trace, debug, info, warn, error or off.");
        }
        String logger = body.hasNonNull("logger") ? body.path("logger").asText() : OURS;
        if (!logger.matches(LOGGER)) {
            throw ChatException.invalid("logger", "logger takes the name of a logger, such as io.llmchat.requests.");
        }
        if (TOO_MUCH.contains(level) && !(logger + ".").startsWith(OURS + ".")) {
            throw ChatException.invalid("level", "level takes " + level + " for " + OURS + " and what is below it: other loggers would repeat what is said.");
        }
        Configurator.setLevel(logger, Level.valueOf(level.toUpperCase(Locale.ROOT)));
        LOG.warn("{} is logged at level {} from now on", logger, level);
        exchange.getMessage().setBody(Json.MAPPER.createObjectNode().put("logger", logger).put("level", level).toString());
    }
}
