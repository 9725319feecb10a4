package io.llmchat.step;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** The steps of the routes that show and change what was said: they read the request into exchange properties. */
public final class History {

    /** The exchange property with the session that the request names. */
    private static final String NAMED = "named";

    /** A step that reads the session from the path. */
    public Processor readChatId() {
        return exchange -> exchange.setProperty(NAMED, Sessions.storable(exchange.getMessage().getHeader("chatId", String.class)));
    }

    /** A step that reads an opinion on an answer. */
    public Processor readFeedback() {
        return exchange -> {
            JsonNode json = JsonBody.read(exchange);
            exchange.setProperty(NAMED, text(json, "chatId"));
            exchange.setProperty("messageId", text(json, "messageId"));
            String rating = text(json, "rating");
            if (!rating.equals("up") && !rating.equals("down")) {
                throw ChatException.invalid("rating", "rating must be up or down.");
            }
            exchange.setProperty("rating", rating);
            exchange.setProperty("comment", json.hasNonNull("comment") ? text(json, "comment") : null);
        };
    }

    /**
     * A step that reads which message is to be answered once more, and how; makes of it the request of a chat, whose
     * message is still to be found.
     */
    public Processor readRetry() {
        return exchange -> {
            readChatId().process(exchange);
            JsonNode json = JsonBody.read(exchange);
            exchange.setProperty("messageId", text(json, "messageId"));
            if (json.hasNonNull("stream") && !json.path("stream").isBoolean()) {
                throw ChatException.invalid("stream", "stream must be true or false.");
            }
            exchange.setProperty(ReadChat.FINGERPRINT_OF, exchange.getMessage().getBody());
            exchange.setProperty("stream", json.path("stream").asBoolean());
            exchange.getMessage().setBody(request(exchange, "-", "-"));
        };
    }

    /** A step: the body is a message of the user; makes of it the request of a chat, as if it had been sent now. */
    public Processor askAgain() {
        return exchange -> {
            JsonNode asked = Json.MAPPER.readTree(exchange.getMessage().getBody(String.class));
            if (asked.path("content").asText().isEmpty()) {
                throw new ChatException("NOT_FOUND", "The text of this message was not kept.");
            }
            exchange.setProperty("askedId", asked.path("id").asText());
            exchange.getMessage().setBody(request(exchange, asked.path("agentId").asText(), asked.path("content").asText()));
        };
    }

    private static Buffer request(Exchange exchange, String agent, String content) {
        ObjectNode request = Json.MAPPER.createObjectNode();
        request.put("agentId", agent);
        request.put("chatId", exchange.getProperty(NAMED, String.class));
        request.put("stream", exchange.getProperty("stream", Boolean.class));
        request.putArray("messages").addObject().put("role", "user").put("content", content);
        return Buffer.buffer(Json.write(request));
    }

    private static String text(JsonNode json, String name) {
        if (!json.path(name).isTextual()) {
            throw ChatException.invalid(name, json.hasNonNull(name) ? name + " must be a string." : name + " is missing.");
        }
        return Sessions.storable(json.path(name).asText());
    }
}
