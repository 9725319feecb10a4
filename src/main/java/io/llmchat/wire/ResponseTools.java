package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Tool;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * Tools of a caller of responses that no other wire has (API reference, "Create a model response", {@code tools}; Codex has
 * both): those of a namespace, which are functions with a longer name elsewhere, and custom ones, which take a text: there a
 * function that takes one. Has the tools of one request; not safe for several threads.
 */
public final class ResponseTools {

    private static final String INPUT = "input";

    /**
     * A tool as the caller knows it.
     *
     * @param namespace or null
     * @param custom whether it takes a text, and not JSON
     */
    public record Known(String namespace, String name, boolean custom) {
    }

    /** Takes a tool that is declared, and where it stands. */
    interface Declared {
        void take(String namespace, JsonNode tool, String at);
    }

    private final ChatRequest request;
    private final Map<String, Known> known = new HashMap<>();

    public ResponseTools(ChatRequest request) {
        this.request = request;
    }

    /** The tool that goes by this name elsewhere. */
    public Known known(String name) {
        if (known.isEmpty()) {
            each(member("tools"), Json.MAPPER.missingNode(), this::add);
        }
        if (!known.containsKey(name)) {
            // they stand within the input only if there are some there, and that is long
            each(Json.MAPPER.missingNode(), member("input"), this::add);
            known.putIfAbsent(name, new Known(null, name, false));
        }
        return known.get(name);
    }

    private JsonNode member(String name) {
        return request.has(name) ? request.member(name) : Json.MAPPER.missingNode();
    }

    private void add(String namespace, JsonNode tool, String at) {
        String name = tool.path("name").asText();
        known.put(elsewhere(namespace, name), new Known(namespace, name, isCustom(tool)));
    }

    /** Goes through the tools of a request: those at its top, and those that items of its input add. */
    static void each(JsonNode tools, JsonNode input, Declared to) {
        each(null, tools, "tools", to);
        for (int i = 0; i < input.size(); i++) {
            if ("additional_tools".equals(input.path(i).path("type").asText())) {
                each(null, input.path(i).path("tools"), "input[" + i + "].tools", to);
            }
        }
    }

    private static void each(String namespace, JsonNode tools, String at, Declared to) {
        int i = 0;
        for (JsonNode tool : tools) {
            String here = at + "[" + i++ + "]";
            if (namespace == null && "namespace".equals(tool.path("type").asText())) {
                each(ResponsesRequests.string(tool, "name", here), tool.path("tools"), here + ".tools", to);
            } else {
                to.take(namespace, tool, here);
            }
        }
    }

    static boolean isCustom(JsonNode tool) {
        return "custom".equals(tool.path("type").asText());
    }

    /** The name of a tool where there are no namespaces. */
    static String elsewhere(String namespace, String name) {
        return ToolCalls.shortName(namespace == null ? name : namespace + "__" + name);
    }

    /** A custom tool as a function; by which grammar its text goes stands in the description. */
    static Tool custom(String name, JsonNode tool) {
        JsonNode format = tool.path("format");
        String description = tool.path("description").textValue();
        if (format.has("definition")) {
            description = (description == null ? "" : description + "\n\n") + "The input goes by this grammar (" + format.path("syntax").asText()
                    + "):\n" + format.path("definition").asText();
        }
        ObjectNode parameters = Json.MAPPER.createObjectNode().put("type", "object");
        parameters.putObject("properties").putObject(INPUT).put("type", "string");
        parameters.putArray("required").add(INPUT);
        return new Tool(name, description, parameters, null);
    }

    /** The arguments of the function that is a custom tool, for this text. */
    static String arguments(String input) {
        return Json.MAPPER.createObjectNode().put(INPUT, input).toString();
    }

    /** The text in its arguments; they themselves if the model wrote something else. */
    public static String input(String arguments) {
        try {
            JsonNode input = Json.read(Json.utf8(arguments)).path(INPUT);
            return input.isTextual() ? input.textValue() : arguments;
        } catch (IOException e) {
            return arguments;
        }
    }
}
