package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Tool;
import io.llmchat.json.Json;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.StringJoiner;

/**
 * A JSON Schema that a Claude is to keep to, as Anthropic takes it: objects are closed, and of bounds it knows hardly any and
 * refuses the rest (Anthropic, "Structured outputs", JSON Schema limitations). What it refuses stands in the description, as
 * Anthropic's own SDKs put it there.
 */
final class ClaudeSchema {

    private static final Set<String> REFUSED = Set.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
            "minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties");
    private static final Set<String> FORMATS = Set.of("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6",
            "uuid");

    /** What all that is strict in a request may have together ("Schema complexity limits"). */
    private static final int MAX_TOOLS = 20;
    private static final int MAX_OPTIONAL = 24;
    private static final int MAX_UNIONS = 16;

    private boolean moved;
    private int optional;
    private int unions;

    private ClaudeSchema() {
    }

    /** @param warnings takes {@code name} if something stands in a description now */
    static JsonNode of(JsonNode schema, String name, List<String> warnings) {
        ClaudeSchema reader = new ClaudeSchema();
        JsonNode taken = reader.taken(schema);
        if (reader.moved && !warnings.contains(name)) {
            warnings.add(name);
        }
        return taken;
    }

    /** Whether Anthropic refuses these tools, of which some are strict, beside an answer that is to keep to a schema. */
    static boolean areTooMany(List<Tool> tools, JsonNode format) {
        ClaudeSchema counter = new ClaudeSchema();
        counter.taken(format);
        List<Tool> strict = tools.stream().filter(tool -> Boolean.TRUE.equals(tool.strict())).toList();
        strict.stream().filter(tool -> tool.parameters() != null).forEach(tool -> counter.taken(tool.parameters()));
        return strict.size() > MAX_TOOLS || counter.optional > MAX_OPTIONAL || counter.unions > MAX_UNIONS;
    }

    private JsonNode taken(JsonNode schema) {
        if (!schema.isObject()) {
            return schema;
        }
        ObjectNode json = Json.MAPPER.createObjectNode();
        StringJoiner told = new StringJoiner(", ", "{", "}").setEmptyValue("");
        schema.properties().forEach(member -> {
            String name = member.getKey();
            JsonNode value = member.getValue();
            switch (name) {
                case "properties", "$defs", "definitions" -> {
                    ObjectNode all = json.putObject(name);
                    value.properties().forEach(one -> all.set(one.getKey(), taken(one.getValue())));
                }
                case "items" -> json.set(name, taken(value));
                // exactly one of several it cannot be told
                case "anyOf", "allOf", "oneOf" -> {
                    ArrayNode all = json.withArray(name.equals("oneOf") ? "anyOf" : name);
                    value.forEach(one -> all.add(taken(one)));
                }
                default -> {
                    if (isRefused(name, value)) {
                        told.add(name + ": " + value);
                    } else {
                        json.set(name, value);
                    }
                }
            }
        });
        // one that is open on purpose, or has nothing but what it is open for, is Anthropic's to refuse
        if (!json.path("properties").isEmpty() && !json.has("additionalProperties")) {
            json.put("additionalProperties", false);
        }
        count(json);
        if (told.length() > 0) {
            moved = true;
            json.put("description", json.has("description") ? json.path("description").asText() + "\n\n" + told : told.toString());
        }
        return json;
    }

    private void count(ObjectNode schema) {
        unions += schema.has("anyOf") || schema.path("type").isArray() ? 1 : 0;
        Set<String> required = new HashSet<>();
        schema.path("required").forEach(name -> required.add(name.asText()));
        schema.path("properties").fieldNames().forEachRemaining(name -> optional += required.contains(name) ? 0 : 1);
    }

    private static boolean isRefused(String name, JsonNode value) {
        return switch (name) {
            case "format" -> !FORMATS.contains(value.asText());
            case "minItems" -> value.asInt() > 1;
            default -> REFUSED.contains(name);
        };
    }
}
