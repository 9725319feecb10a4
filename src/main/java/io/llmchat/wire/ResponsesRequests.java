package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Tool;
import io.llmchat.chat.ToolChoice;
import io.llmchat.chat.ToolChoice.Mode;
import io.llmchat.json.Json;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Requests in the words of OpenAI's responses (API reference, "Create a model response") to the neutral form. What has
 * no meaning without a store ({@code store}, {@code metadata} …) is left out.
 */
public final class ResponsesRequests {

    /** Options that chat completions know by the same name. */
    private static final Set<String> SAME = Set.of("temperature", "top_p", "parallel_tool_calls", "user", "service_tier", "prompt_cache_key",
            "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "frequency_penalty", "presence_penalty");
    /** What stands behind the name of an option that they do not know: providers that refuse what they do not know are not told it. */
    static final String ONLY_HERE = " (responses)";
    /** Members that are more than options, go by another name, or ask for what there is not. */
    private static final Set<String> STRUCTURE = Set.of("model", "input", "instructions", "tools", "tool_choice", "stream", "stream_options",
            "include", "top_logprobs", "max_output_tokens", "reasoning", "text", "store", "metadata", "background");
    /**
     * What stands before a signature in {@code encrypted_content}: it is of no use without the thoughts that it is under,
     * and some callers give back the seal alone.
     */
    public static final String SIGNATURE = "sig:";
    private static final String LOGPROBS = "message.output_text.logprobs";

    private ResponsesRequests() {
    }

    /**
     * Reads the members of a request; those that are null must not be among them.
     *
     * @throws ChatException that names the field which cannot be used
     */
    public static Prompt read(ObjectNode json) {
        List<Tool> tools = tools(json);
        JsonNode choice = json.path("tool_choice");
        if (choice.path("type").asText().equals("allowed_tools")) {
            OpenAiRequests.allow(tools, choice);
            choice = choice.path("mode");
        }
        return new Prompt(ResponsesInput.messages(json.path("instructions"), json.path("input")), tools, toolChoice(choice), options(json));
    }

    private static List<Tool> tools(ObjectNode json) {
        // one that is declared again, as further down in the input, takes the place of the one before
        Map<String, Tool> tools = new LinkedHashMap<>();
        ResponseTools.each(json.path("tools"), json.path("input"), (namespace, tool, at) -> {
            if (!tool.isObject()) {
                throw ChatException.invalid(at, "A tool must be an object.");
            }
            if (isCached(tool)) {
                return;
            }
            boolean custom = ResponseTools.isCustom(tool);
            if (!custom && !"function".equals(tool.path("type").asText())) {
                throw Unsayable.field(at);
            }
            String name = ResponseTools.elsewhere(namespace, string(tool, "name", at));
            Tool function = custom ? ResponseTools.custom(name, tool) : OpenAiRequests.tool(tool);
            tools.put(name, new Tool(name, function.description(), function.parameters(), function.strict()));
        });
        return new ArrayList<>(tools.values());
    }

    /** Codex always offers a search that may not leave OpenAI's own cache: who is not OpenAI finds nothing by it. */
    private static boolean isCached(JsonNode tool) {
        return "web_search".equals(tool.path("type").asText()) && !tool.path("external_web_access").asBoolean(true);
    }

    private static ToolChoice toolChoice(JsonNode choice) {
        if (choice.isMissingNode()) {
            return null;
        }
        if (choice.isObject()) {
            if (!"function".equals(choice.path("type").asText()) && !ResponseTools.isCustom(choice)) {
                throw Unsayable.field("tool_choice");
            }
            return new ToolChoice(Mode.TOOL, string(choice, "name", "tool_choice"));
        }
        return switch (choice.asText()) {
            case "auto" -> new ToolChoice(Mode.AUTO, null);
            case "required" -> new ToolChoice(Mode.REQUIRED, null);
            case "none" -> new ToolChoice(Mode.NONE, null);
            default -> throw ChatException.invalid("tool_choice", "tool_choice must be auto, required, none or a function.");
        };
    }

    private static Map<String, JsonNode> options(ObjectNode json) {
        Map<String, JsonNode> options = new LinkedHashMap<>();
        json.properties().forEach(member -> {
            if (!STRUCTURE.contains(member.getKey())) {
                options.put(member.getKey() + (SAME.contains(member.getKey()) ? "" : ONLY_HERE), member.getValue());
            }
        });
        option(options, "max_tokens", json.path("max_output_tokens"));
        option(options, "reasoning_effort", json.path("reasoning").path("effort"));
        option(options, "reasoning.summary" + ONLY_HERE, json.path("reasoning").path("summary"));
        ResponseTools.each(json.path("tools"), json.path("input"), (namespace, tool, at) -> {
            if (isCached(tool)) {
                option(options, "web_search" + ONLY_HERE, tool);
            }
            // it stands in the description, and nobody is held to it
            if (ResponseTools.isCustom(tool)) {
                option(options, "format" + ONLY_HERE, tool.path("format").path("definition"));
            }
        });
        option(options, "verbosity", json.path("text").path("verbosity"));
        option(options, "response_format", format(json.path("text").path("format")));
        for (JsonNode included : json.path("include")) {
            if (LOGPROBS.equals(included.asText())) {
                option(options, "logprobs", BooleanNode.TRUE);
                option(options, "top_logprobs", json.path("top_logprobs"));
            }
        }
        return options;
    }

    private static void option(Map<String, JsonNode> options, String name, JsonNode value) {
        if (!value.isMissingNode() && !value.isNull()) {
            options.put(name, value);
        }
    }

    /** The format of the text as chat completions has it: a schema stands one level deeper there. */
    private static JsonNode format(JsonNode format) {
        if (format.isMissingNode() || format.isNull()) {
            return format;
        }
        String type = format.path("type").asText();
        return switch (type) {
            case "text" -> Json.MAPPER.missingNode();
            case "json_object" -> Json.MAPPER.createObjectNode().put("type", type);
            case "json_schema" -> {
                if (!format.path("schema").isObject()) {
                    throw ChatException.invalid("text.format.schema", "schema must be an object.");
                }
                string(format, "name", "text.format");
                yield Json.MAPPER.createObjectNode().put("type", type).set("json_schema", ((ObjectNode) format.deepCopy()).without("type"));
            }
            default -> throw ChatException.invalid("text.format.type", "type must be text, json_object or json_schema.");
        };
    }

    /** The text of a member that must be there. */
    static String string(JsonNode json, String name, String at) {
        if (!json.path(name).isTextual()) {
            throw ChatException.invalid(at + "." + name, name + " must be a string.");
        }
        return json.path(name).textValue();
    }
}
