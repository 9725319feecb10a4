package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Tool;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What of Anthropic's schemas OpenAI can be held to: there all that an object may have is required, and nothing else taken
 * (OpenAI, "Structured Outputs", supported schemas). With another one it refuses the request; one that is not strict it takes
 * as a hint.
 */
final class OpenAiSchema {

    private static final Set<String> REFUSED = Set.of("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired",
            "dependentSchemas", "patternProperties", "default");
    /** Each has one of them. */
    private static final Set<String> NEEDED = Set.of("type", "anyOf", "$ref");

    private OpenAiSchema() {
    }

    /** The same, strict only where that is taken; {@code warnings} says where it is not. */
    static Prompt strictWhereTaken(Prompt prompt, List<String> warnings) {
        List<Tool> tools = prompt.tools().stream().map(tool -> Boolean.TRUE.equals(tool.strict()) && !isTaken(tool.parameters())
                ? new Tool(tool.name(), tool.description(), tool.parameters(), false) : tool).toList();
        if (!tools.equals(prompt.tools())) {
            warnings.add("tools (strict)");
        }
        Map<String, JsonNode> options = new LinkedHashMap<>(prompt.options());
        JsonNode format = options.get("response_format");
        if (format != null && format.at("/json_schema/strict").asBoolean() && !isTaken(format.at("/json_schema/schema"))) {
            ObjectNode loose = format.deepCopy();
            ((ObjectNode) loose.get("json_schema")).put("strict", false);
            options.put("response_format", loose);
            warnings.add("output_config.format (strict)");
        }
        return new Prompt(prompt.messages(), tools, prompt.toolChoice(), options);
    }

    private static boolean isTaken(JsonNode schema) {
        return schema != null && "object".equals(schema.path("type").asText()) && fits(schema);
    }

    private static boolean fits(JsonNode schema) {
        if (REFUSED.stream().anyMatch(schema::has) || NEEDED.stream().noneMatch(schema::has)) {
            return false;
        }
        JsonNode properties = schema.path("properties");
        if (properties.isObject() || schema.path("type").asText().equals("object")) {
            Set<String> required = new HashSet<>();
            schema.path("required").forEach(name -> required.add(name.asText()));
            for (Map.Entry<String, JsonNode> property : properties.properties()) {
                if (!required.contains(property.getKey()) || !fits(property.getValue())) {
                    return false;
                }
            }
            JsonNode more = schema.path("additionalProperties");
            if (!more.isBoolean() || more.booleanValue()) {
                return false;
            }
        }
        return (!schema.has("items") || fits(schema.get("items"))) && allFit(schema.path("anyOf")) && allFit(schema.path("$defs"))
                && allFit(schema.path("definitions"));
    }

    private static boolean allFit(JsonNode schemas) {
        for (JsonNode schema : schemas) {
            if (!fits(schema)) {
                return false;
            }
        }
        return true;
    }
}
