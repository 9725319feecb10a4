package io.llmchat.step;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import org.apache.camel.Exchange;

/** Request bodies that are no chats: small JSON objects. */
final class JsonBody {

    private JsonBody() {
    }

    /**
     * Reads the message body.
     *
     * @throws ChatException {@code VALIDATION_ERROR}, if it is no JSON object, has a name twice, something after it or too much in it
     */
    static ObjectNode read(Exchange exchange) {
        byte[] bytes = exchange.getMessage().getBody() instanceof Buffer b ? b.getBytes() : Bytes.NONE;
        try (JsonParser p = Json.strict(bytes, true)) {
            JsonNode json = p.nextToken() == null ? null : Json.MAPPER.readTree(p);
            if (!(json instanceof ObjectNode object) || p.nextToken() != null) {
                throw ChatException.invalid("body", "The request body must be a JSON object.");
            }
            return object;
        } catch (IOException e) {
            throw ChatException.unreadable(e);
        }
    }
}
