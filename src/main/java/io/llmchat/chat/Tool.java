package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A function that the model may call.
 *
 * @param description or null
 * @param parameters a JSON Schema, or null: it takes none
 * @param strict whether arguments must match the schema, or null: not said
 */
public record Tool(String name, String description, JsonNode parameters, Boolean strict) {
}
