package io.llmchat.wire;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Tool;
import io.llmchat.chat.ToolChoice;
import io.llmchat.chat.ToolChoice.Mode;
import io.llmchat.json.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Requests in Anthropic's words (API reference, "Create a message") from and to the neutral form. */
public final class AnthropicRequests {

    private static final Set<String> STRUCTURE = Set.of("model", "messages", "system", "tools", "tool_choice", "stream",
            "stop_sequences", "metadata", "output_config", "output_format");
    /** Options that both have, by the name of both, and those that go by another name here. */
    private static final Set<String> KNOWN = Set.of("max_tokens", "temperature", "top_p", "top_k", "stop", "thinking", "user",
            "parallel_tool_calls", "reasoning_effort", "max_completion_tokens");
    /** Without these the answer would not be what was asked for. */
    private static final Set<String> NEEDED = Set.of("n", "response_format", "logprobs", "modalities", "audio",
            "web_search_options");
    private static final List<String> SAMPLING = List.of("temperature", "top_p", "top_k");
    /** How a line begins that Claude Code puts first: Anthropic's to read, and another one each time, so that no other's cache is of use. */
    private static final String BILLING = "x-anthropic-billing-header:";

    private AnthropicRequests() {
    }

    // --- read

    /** Reads the members of a request. */
    public static Prompt read(ObjectNode json) {
        List<Message> messages = new ArrayList<>();
        List<Part> system = blocks(json.path("system"));
        system.removeIf(part -> part instanceof Part.Text text && text.text().startsWith(BILLING) && text.text().lines().count() == 1);
        if (!system.isEmpty()) {
            messages.add(new Message(Role.SYSTEM, system, null));
        }
        json.path("messages").forEach(m -> message(m, messages));
        List<Tool> tools = new ArrayList<>();
        int i = 0;
        for (JsonNode tool : json.path("tools")) {
            if (!"custom".equals(tool.path("type").asText("custom"))) {
                throw Unsayable.field("tools[" + i + "]");
            }
            tools.add(new Tool(tool.path("name").asText(), tool.path("description").textValue(),
                    tool.path("input_schema").isObject() ? tool.get("input_schema") : null,
                    tool.path("strict").isBoolean() ? tool.path("strict").booleanValue() : null));
            i++;
        }
        Map<String, JsonNode> options = new LinkedHashMap<>();
        json.properties().forEach(member -> {
            if (!STRUCTURE.contains(member.getKey()) && !member.getValue().isNull()) {
                options.put(member.getKey(), member.getValue());
            }
        });
        // none at all is refused by OpenAI
        if (!json.path("stop_sequences").isEmpty()) {
            options.put("stop", json.get("stop_sequences"));
        }
        if (json.path("metadata").path("user_id").isTextual()) {
            options.put("user", json.path("metadata").get("user_id"));
        }
        output(json.path("output_config"), json.path("output_format"), options);
        // no other wire has them: they are options so that it says so
        if (json.path("messages").findValues("citations").stream().anyMatch(c -> c.path("enabled").asBoolean())) {
            options.put("citations", BooleanNode.TRUE);
        }
        json.path("tools").forEach(tool -> {
            if (tool.has("input_examples")) {
                options.put("input_examples", tool.get("input_examples"));
            }
        });
        JsonNode choice = json.path("tool_choice");
        if (choice.path("disable_parallel_tool_use").asBoolean()) {
            options.put("parallel_tool_calls", BooleanNode.FALSE);
        }
        return new Prompt(messages, tools, toolChoice(choice), options);
    }

    /**
     * The form that the answer is to have is an option of its own elsewhere; the rest is Anthropic's.
     *
     * @param before where the form stood in the beta
     */
    private static void output(JsonNode config, JsonNode before, Map<String, JsonNode> options) {
        JsonNode format = config.path("format").isObject() ? config.get("format") : before;
        if (format.path("type").asText().equals("json_schema")) {
            ObjectNode same = Json.MAPPER.createObjectNode().put("type", "json_schema");
            same.putObject("json_schema").put("name", "answer").put("strict", true).set("schema", format.path("schema"));
            options.put("response_format", same);
        } else if (format.isObject()) {
            throw Unsayable.field(format == before ? "output_format" : "output_config.format");
        }
        if (config.size() > (config.has("format") ? 1 : 0)) {
            options.put("output_config", config);
        }
    }

    private static ToolChoice toolChoice(JsonNode choice) {
        return switch (choice.path("type").asText("")) {
            case "auto" -> new ToolChoice(Mode.AUTO, null);
            case "any" -> new ToolChoice(Mode.REQUIRED, null);
            case "none" -> new ToolChoice(Mode.NONE, null);
            case "tool" -> new ToolChoice(Mode.TOOL, choice.path("name").asText());
            default -> null;
        };
    }

    /** A message of ours, or several: each tool's result is one. */
    private static void message(JsonNode m, List<Message> to) {
        List<Part> parts = new ArrayList<>();
        for (Part part : blocks(m.path("content"))) {
            if (part instanceof Part.ToolResult) {
                to.add(new Message(Role.TOOL, part));
            } else {
                parts.add(part);
            }
        }
        if (!parts.isEmpty()) {
            to.add(new Message(switch (m.path("role").asText()) {
                case "assistant" -> Role.ASSISTANT;
                case "system" -> Role.SYSTEM;
                default -> Role.USER;
            }, parts, null));
        }
    }

    private static List<Part> blocks(JsonNode content) {
        List<Part> parts = new ArrayList<>();
        if (content.isTextual()) {
            parts.add(new Part.Text(content.asText()));
        } else if (content.isArray()) {
            for (JsonNode block : content) {
                if (block.path("type").asText().equals("document")) {
                    about(block, parts);
                }
                parts.add(block(block));
            }
        }
        return parts;
    }

    private static Part block(JsonNode block) {
        return switch (block.path("type").asText()) {
            case "text" -> new Part.Text(block.path("text").asText());
            case "image" -> {
                JsonNode source = block.path("source");
                yield source.path("type").asText().equals("file") ? new Part.Other("image", block)
                        : new Part.Image(source.path("url").textValue(), source.path("media_type").textValue(), source.path("data").textValue(), null);
            }
            case "document" -> document(block);
            case "tool_use" -> new Part.ToolCall(block.path("id").asText(), block.path("name").asText(),
                    block.path("input").toString());
            case "tool_result" -> new Part.ToolResult(block.path("tool_use_id").asText(), blocks(block.path("content")),
                    block.path("is_error").asBoolean());
            case "thinking" -> new Part.Reasoning(block.path("thinking").asText(), block.path("signature").textValue());
            case "redacted_thinking" -> new Part.SealedReasoning(block.path("data").asText());
            default -> new Part.Other(block.path("type").asText(), block);
        };
    }

    /** What is said of a document stands before it as text; the title of a file is its name. */
    private static void about(JsonNode document, List<Part> parts) {
        boolean text = document.path("source").path("type").asText().equals("text");
        for (String name : text ? List.of("title", "context") : List.of("context")) {
            if (document.path(name).isTextual()) {
                parts.add(new Part.Text(document.path(name).asText()));
            }
        }
    }

    private static Part document(JsonNode block) {
        JsonNode source = block.path("source");
        return switch (source.path("type").asText()) {
            case "base64" -> new Part.Document(block.path("title").textValue(), null, source.path("media_type").textValue(), source.path("data").textValue());
            case "url" -> new Part.Document(block.path("title").textValue(), source.path("url").textValue(), null, null);
            case "text" -> new Part.Text(source.path("data").asText());
            default -> new Part.Other("document", block);
        };
    }

    // --- write

    /**
     * Writes a request.
     *
     * @param defaultMaxTokens what the answer may have where the caller did not say: Anthropic must be told
     * @param warnings takes the names of what was left out
     */
    public static ObjectNode write(Prompt prompt, String model, int defaultMaxTokens, List<String> warnings) {
        Map<String, JsonNode> options = new LinkedHashMap<>(prompt.options());
        ObjectNode json = Json.MAPPER.createObjectNode().put("model", model);
        if (options.containsKey("response_format") && options.get("response_format").path("json_schema").path("schema").isObject()) {
            json.withObjectProperty("output_config").putObject("format").put("type", "json_schema")
                    .set("schema", ClaudeSchema.of(options.remove("response_format").path("json_schema").get("schema"),
                            "response_format (bounds)", warnings));
        }
        Unsayable.options(options, KNOWN, NEEDED, warnings);
        Unsayable.names(prompt, warnings);
        Claude claude = Claude.named(model);
        if (!claude.takesForcedTools() && prompt.toolChoice() != null && prompt.toolChoice().isForced()) {
            throw Unsayable.field("tool_choice");
        }
        JsonNode max = options.get("max_tokens");
        boolean thinks = claude.thinksByItself() && (!options.containsKey("thinking") || thinks(options.get("thinking")));
        json.put("max_tokens", max != null && max.canConvertToInt() ? max.intValue()
                : thinks ? Math.max(defaultMaxTokens, ClaudeEffort.ROOM) : defaultMaxTokens);
        messages(json, prompt, claude.takesSystemLater());
        if (options.containsKey("thinking")) {
            json.set("thinking", options.get("thinking"));
        }
        ClaudeEffort.write(json, prompt, claude, warnings);
        boolean samples = claude.takesSampling() && !thinks(json.get("thinking"));
        boolean either = claude.takesEither() && options.containsKey("temperature");
        for (String name : SAMPLING) {
            if (options.containsKey(name) && samples && !(either && name.equals("top_p"))) {
                json.set(name, options.get(name));
            } else if (options.containsKey(name)) {
                warnings.add(name);
            }
        }
        if (samples && options.containsKey("temperature") && options.get("temperature").asDouble() > 1) {
            // Anthropic's goes to 1, OpenAI's to 2
            json.put("temperature", 1.0);
            warnings.add("temperature");
        }
        if (options.containsKey("stop")) {
            json.set("stop_sequences", options.get("stop"));
        }
        if (options.containsKey("user")) {
            json.putObject("metadata").set("user_id", UserIds.ofAnthropic(options.get("user")));
        }
        tools(json, prompt, warnings);
        return json;
    }

    /** Whether this member of a request, which may be null, makes a model think: then it takes no sampling. */
    static boolean thinks(JsonNode thinking) {
        return thinking != null && thinking.isObject() && !"disabled".equals(thinking.path("type").asText());
    }

    /**
     * Messages in turn: what follows another of the same role is the same message here, and where nothing is said there
     * is none. What the system says goes to the top.
     *
     * @param later whether it stands behind the user's turn where it is said later: with another text at the top, thoughts
     *              that the model had before would be refused
     */
    private static void messages(ObjectNode json, Prompt prompt, boolean later) {
        ArrayNode top = Json.MAPPER.createArrayNode();
        ArrayNode behind = Json.MAPPER.createArrayNode();
        ArrayNode messages = Json.MAPPER.createArrayNode();
        String last = "";
        ArrayNode content = Json.MAPPER.createArrayNode();
        int i = -1;
        for (Message message : prompt.messages()) {
            i++;
            if (message.role() == Role.SYSTEM) {
                system(later && !last.isEmpty() ? behind : top, message);
                continue;
            }
            ArrayNode blocks = Json.MAPPER.createArrayNode();
            int j = 0;
            for (Part part : message.parts()) {
                block(blocks, part, "messages[" + i + "].content[" + j++ + "]");
            }
            String role = message.role() == Role.ASSISTANT ? "assistant" : "user";
            if (!blocks.isEmpty() && !role.equals(last)) {
                endTurn(messages, last, behind);
                content = messages.addObject().put("role", role).putArray("content");
                last = role;
            }
            content.addAll(blocks);
        }
        endTurn(messages, last, behind);
        top.addAll(behind);
        if (!top.isEmpty()) {
            json.set("system", top.size() == 1 ? top.get(0).get("text") : top);
        }
        messages.forEach(AnthropicRequests::plain);
        json.set("messages", messages);
    }

    private static void system(ArrayNode blocks, Message message) {
        for (Part part : message.parts()) {
            if (!(part instanceof Part.Text text)) {
                throw Unsayable.field("messages (system)");
            }
            text(blocks, text.text());
        }
    }

    /** It is taken nowhere else than between the user's turn and the answer to it. */
    private static void endTurn(ArrayNode messages, String role, ArrayNode behind) {
        if (role.equals("user") && !behind.isEmpty()) {
            messages.addObject().put("role", "system").putArray("content").addAll(behind);
            behind.removeAll();
        }
    }

    /** A message of one text needs no blocks. */
    private static void plain(JsonNode message) {
        JsonNode content = message.get("content");
        if (content.size() == 1 && "text".equals(content.get(0).path("type").asText())) {
            ((ObjectNode) message).put("content", content.get(0).path("text").asText());
        }
    }

    private static void block(ArrayNode content, Part part, String at) {
        switch (part) {
            case Part.Text t -> text(content, t.text());
            case Part.Refusal r -> text(content, r.text());
            case Part.Image image -> source(content.addObject().put("type", "image"), image.url(), image.mediaType(), image.data());
            case Part.Document d -> {
                ObjectNode block = content.addObject().put("type", "document");
                source(block, d.url(), d.mediaType(), d.data());
                if (d.name() != null) {
                    block.put("title", d.name());
                }
            }
            case Part.ToolCall call -> content.addObject().put("type", "tool_use").put("id", id(call.id())).put("name", call.name())
                    .putRawValue("input", input(call, at));
            case Part.ToolResult result -> {
                ObjectNode block = content.addObject().put("type", "tool_result").put("tool_use_id", id(result.id()));
                ArrayNode inner = block.putArray("content");
                result.content().forEach(p -> block(inner, p, at));
                plain(block);
                if (result.error()) {
                    block.put("is_error", true);
                }
            }
            case Part.Reasoning r -> {
                // thoughts that carry no proof are not taken back
                if (r.signature() != null) {
                    content.addObject().put("type", "thinking").put("thinking", r.text()).put("signature", r.signature());
                }
            }
            case Part.SealedReasoning s -> {
                // nor those of others
                if (!s.isEntry()) {
                    content.addObject().put("type", "redacted_thinking").put("data", s.data());
                }
            }
            case Part.Other other -> throw Unsayable.field(at);
        }
    }

    /** The same for a call and for its result. */
    private static String id(String id) {
        return ToolCalls.anthropicId(ToolCalls.plainId(id));
    }

    /** Anthropic refuses text in which nothing stands but blanks ("text content blocks must contain non-whitespace text"). */
    static void text(ArrayNode content, String text) {
        if (!text.isBlank()) {
            content.addObject().put("type", "text").put("text", text);
        }
    }

    private static void source(ObjectNode block, String url, String mediaType, String data) {
        ObjectNode source = block.putObject("source");
        if (url != null) {
            source.put("type", "url").put("url", url);
        } else {
            // some callers name a type that is not registered, and Anthropic refuses it
            source.put("type", "base64").put("media_type", "image/jpg".equals(mediaType) ? "image/jpeg" : mediaType).put("data", data);
        }
    }

    /** The arguments as they are: as a tree they can take many times what the whole body does. */
    private static RawValue input(Part.ToolCall call, String at) {
        byte[] json = Json.utf8(call.arguments().isBlank() ? "{}" : call.arguments());
        try (JsonParser p = Json.FACTORY.createParser(json)) {
            if (p.nextToken() == JsonToken.START_OBJECT) {
                int from = (int) p.currentTokenLocation().getByteOffset();
                p.skipChildren();
                return new RawValue(new String(json, from, (int) p.currentLocation().getByteOffset() - from, StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            // said below
        }
        throw Unsayable.field(at);
    }

    private static void tools(ObjectNode json, Prompt prompt, List<String> warnings) {
        boolean loose = prompt.tools().stream().anyMatch(tool -> Boolean.TRUE.equals(tool.strict()))
                && ClaudeSchema.areTooMany(prompt.tools(), json.at("/output_config/format/schema"));
        if (loose) {
            warnings.add("tools (strict)");
        }
        for (Tool tool : prompt.tools()) {
            ObjectNode one = json.withArray("tools").addObject().put("name", tool.name());
            if (tool.description() != null) {
                one.put("description", tool.description());
            }
            JsonNode schema = schema(tool.parameters());
            boolean strict = Boolean.TRUE.equals(tool.strict()) && !loose;
            one.set("input_schema", strict ? ClaudeSchema.of(schema, "tools (bounds)", warnings) : schema);
            if (tool.strict() != null && !loose) {
                one.put("strict", tool.strict());
            }
        }
        if (prompt.tools().isEmpty()) {
            calledBefore(json, prompt);
        }
        JsonNode parallel = prompt.options().get("parallel_tool_calls");
        boolean single = parallel != null && !parallel.asBoolean(true);
        if (prompt.toolChoice() != null || single) {
            ToolChoice choice = prompt.toolChoice() == null ? new ToolChoice(Mode.AUTO, null) : prompt.toolChoice();
            ObjectNode c = json.putObject("tool_choice").put("type", switch (choice.mode()) {
                case AUTO -> "auto";
                case REQUIRED -> "any";
                case NONE -> "none";
                case TOOL -> "tool";
            });
            if (choice.name() != null) {
                c.put("name", choice.name());
            }
            if (single && choice.mode() != Mode.NONE) {
                c.put("disable_parallel_tool_use", true);
            }
        }
    }

    /** OpenAI takes parameters of no type, and none; to Anthropic they are an object's. */
    private static JsonNode schema(JsonNode parameters) {
        ObjectNode schema = Json.MAPPER.createObjectNode();
        if (parameters == null || !parameters.has("type")) {
            schema.put("type", "object");
        }
        return parameters == null ? schema.set("properties", Json.MAPPER.createObjectNode()) : schema.setAll((ObjectNode) parameters);
    }

    /** Anthropic refuses calls of tools that are not declared, in what was said before too: these are, and not to be called. */
    private static void calledBefore(ObjectNode json, Prompt prompt) {
        prompt.messages().stream().flatMap(m -> m.parts().stream()).filter(Part.ToolCall.class::isInstance)
                .map(p -> ((Part.ToolCall) p).name()).distinct().forEach(name -> json.withArray("tools").addObject().put("name", name)
                        .putObject("input_schema").put("type", "object"));
        if (json.has("tools")) {
            json.putObject("tool_choice").put("type", "none");
        }
    }
}
