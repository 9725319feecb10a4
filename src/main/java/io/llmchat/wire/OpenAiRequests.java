package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Tool;
import io.llmchat.chat.ToolChoice;
import io.llmchat.chat.ToolChoice.Mode;
import io.llmchat.chat.UnsupportedParameter;
import io.llmchat.json.Json;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/** Requests in OpenAI's words (API reference, "Create chat completion") from and to the neutral form. */
public final class OpenAiRequests {

    /** Members that are more than options. */
    private static final Set<String> STRUCTURE = Set.of("model", "messages", "tools", "tool_choice", "functions",
            "function_call", "stream", "stream_options");
    /** The member for thoughts that are proved or sealed, as OpenRouter has it. */
    private static final String DETAILS = "reasoning_details";
    /**
     * Of an entry of {@code reasoning_details}: how many characters (UTF-16) of the {@code content} had been said before.
     * Claude takes its thoughts back only where they stood.
     */
    public static final String OFFSET = "content_offset";
    /** Content that only OpenAI has. */
    private static final Set<String> OWN = Set.of("file", "input_audio");
    /** What other dialects have and OpenAI has not: Anthropic's, and the native dialect's. */
    private static final Set<String> FOREIGN = Set.of("top_k", "thinking", "container", "mcp_servers", "context_management",
            "inference_geo", "variables", "output_config", "cache_control", "speed", "diagnostics", "user_profile_id", "fallbacks",
            "fallback_credit_token", "billing_policy", "compaction", "thread", "citations", "input_examples");

    /**
     * Geminis that refuse a conversation in which the first call of a turn has no signature, and what they take in its place
     * where another model made the call (Gemini API, "Thought signatures", FAQs).
     */
    private static final Pattern INSISTS_ON_SIGNATURES = Pattern.compile("gemini-([3-9]|\\d\\d)");
    private static final String NOT_SIGNED = "skip_thought_signature_validator";

    private OpenAiRequests() {
    }

    // --- read

    /**
     * Reads the members of a request.
     *
     * @throws UnsupportedParameter if tools stand there by their old name: the answer would call them by the new one
     * @throws RequestRejected if a function's answer does not say whose it is, as OpenAI does
     */
    public static Prompt read(ObjectNode json) {
        if (!json.path("functions").isEmpty()) {
            throw Unsayable.field("functions");
        }
        List<Message> messages = new ArrayList<>();
        json.path("messages").forEach(message -> messages.add(message(message, "messages[" + messages.size() + "]")));
        List<Tool> tools = new ArrayList<>();
        int i = 0;
        for (JsonNode tool : json.path("tools")) {
            if (!"function".equals(tool.path("type").asText("function"))) {
                throw Unsayable.field("tools[" + i + "]");
            }
            tools.add(tool(tool.path("function")));
            i++;
        }
        Map<String, JsonNode> options = new LinkedHashMap<>();
        json.properties().forEach(member -> {
            if (!STRUCTURE.contains(member.getKey()) && !member.getValue().isNull()) {
                options.put(member.getKey(), member.getValue());
            }
        });
        if (options.get("stop") != null && options.get("stop").isTextual()) {
            options.put("stop", Json.MAPPER.createArrayNode().add(options.get("stop")));
        }
        JsonNode max = options.remove("max_completion_tokens");
        if (max != null) {
            options.put("max_tokens", max);
        }
        JsonNode choice = json.path("tool_choice");
        JsonNode allowed = choice.path("allowed_tools");
        if (allowed.isObject()) {
            allow(tools, allowed);
        }
        return new Prompt(messages, tools, toolChoice(allowed.isObject() ? allowed.path("mode") : choice), options);
    }

    /**
     * What {@code metadata} says beside the name of the session, which is the gateway's; null if nothing: OpenAI refuses
     * metadata of answers that it does not store. Changes what it is given.
     */
    public static ObjectNode withoutSession(JsonNode metadata) {
        ObjectNode rest = ((ObjectNode) metadata).without("session_id");
        return rest.isEmpty() ? null : rest;
    }

    static Tool tool(JsonNode f) {
        return new Tool(f.path("name").asText(), f.path("description").textValue(),
                f.path("parameters").isObject() ? f.get("parameters") : null,
                f.path("strict").isBoolean() ? f.path("strict").booleanValue() : null);
    }

    /** Of the tools those that may be called: elsewhere one that is declared may be. */
    static void allow(List<Tool> tools, JsonNode allowed) {
        Set<String> names = new HashSet<>();
        allowed.path("tools").forEach(t -> names.add(t.at(t.has("function") ? "/function/name" : "/name").asText()));
        tools.removeIf(tool -> !names.contains(tool.name()));
    }

    private static ToolChoice toolChoice(JsonNode choice) {
        if (choice.isObject()) {
            JsonNode name = choice.at(choice.has("function") ? "/function/name" : "/name");
            if (!name.isTextual()) {
                throw Unsayable.field("tool_choice");
            }
            return new ToolChoice(Mode.TOOL, name.asText());
        }
        return switch (choice.asText("")) {
            case "auto" -> new ToolChoice(Mode.AUTO, null);
            case "required" -> new ToolChoice(Mode.REQUIRED, null);
            case "none" -> new ToolChoice(Mode.NONE, null);
            default -> null;
        };
    }

    private static Message message(JsonNode m, String place) {
        String name = m.path("name").textValue();
        List<Part> parts = new ArrayList<>();
        String text = m.path("content").textValue();
        int placed = 0;
        if (m.path(DETAILS).isArray()) {
            for (JsonNode d : m.path(DETAILS)) {
                int at = d.path(OFFSET).asInt();
                if (text != null && at > placed && at <= text.length()) {
                    parts.add(new Part.Text(text.substring(placed, at)));
                    placed = at;
                }
                parts.add(d.path("data").isTextual() ? new Part.SealedReasoning(sealed(d))
                        : new Part.Reasoning(d.path("text").asText(m.path("reasoning_content").asText("")), d.path("signature").textValue()));
            }
        } else if (m.path("reasoning_content").isTextual()) {
            parts.add(new Part.Reasoning(m.path("reasoning_content").asText(), null));
        }
        if (placed == 0) {
            parts.addAll(content(m.path("content")));
        } else if (placed < text.length()) {
            parts.add(new Part.Text(text.substring(placed)));
        }
        if (m.path("refusal").isTextual()) {
            parts.add(new Part.Refusal(m.path("refusal").asText()));
        }
        for (JsonNode call : m.path("tool_calls")) {
            parts.add(new Part.ToolCall(call.path("id").asText(), call.path("function").path("name").asText(),
                    ToolCalls.arguments(call.path("function"))));
        }
        if (m.path("function_call").isObject()) {
            String called = m.path("function_call").path("name").asText();
            parts.add(new Part.ToolCall(called, called, ToolCalls.arguments(m.path("function_call"))));
        }
        return switch (m.path("role").asText()) {
            case "system", "developer" -> new Message(Role.SYSTEM, parts, name);
            case "assistant" -> new Message(Role.ASSISTANT, parts, name);
            case "tool" -> new Message(Role.TOOL, new Part.ToolResult(m.path("tool_call_id").asText(), parts, false));
            case "function" -> {
                if (name == null) {
                    throw new RequestRejected("VALIDATION_ERROR", "A message of the role function needs a name.",
                            new ChatException.Detail(place + ".name", "It is the name of the function."));
                }
                yield new Message(Role.TOOL, new Part.ToolResult(name, parts, false));
            }
            default -> new Message(Role.USER, parts, name);
        };
    }

    private static List<Part> content(JsonNode content) {
        List<Part> parts = new ArrayList<>();
        if (content.isTextual()) {
            parts.add(new Part.Text(content.asText()));
        }
        for (JsonNode part : content.isArray() ? content : Json.MAPPER.createArrayNode()) {
            parts.add(part(part));
        }
        return parts;
    }

    private static Part part(JsonNode part) {
        return switch (part.path("type").asText()) {
            case "text" -> new Part.Text(part.path("text").asText());
            case "refusal" -> new Part.Refusal(part.path("refusal").asText());
            case "image_url" -> image(part.path("image_url"));
            case "file" -> document(part.path("file"), part);
            default -> new Part.Other(part.path("type").asText(), part);
        };
    }

    private static Part image(JsonNode image) {
        String detail = image.path("detail").textValue();
        String[] data = DataUrl.split(image.path("url").asText());
        return data == null ? new Part.Image(image.path("url").asText(), null, null, detail)
                : new Part.Image(null, data[0], data[1], detail);
    }

    private static Part document(JsonNode file, JsonNode part) {
        String[] data = DataUrl.split(file.path("file_data").asText());
        return data == null ? new Part.Other("file", part) : DataUrl.file(file.path("filename").textValue(), data);
    }

    // --- write

    /** Notes what a neutral request has that OpenAI does not know and that does not change its meaning. */
    static void leftOut(Prompt prompt, List<String> warnings) {
        prompt.options().forEach((name, value) -> {
            if (isForeign(name, value)) {
                warnings.add(name);
            }
        });
    }

    /** Both have tiers of service, and Anthropic's has a value of its own. */
    private static boolean isForeign(String name, JsonNode value) {
        return FOREIGN.contains(name) || name.endsWith(ResponsesRequests.ONLY_HERE)
                || name.equals("service_tier") && "standard_only".equals(value.asText());
    }

    /**
     * Writes a request.
     *
     * @param tokenLimit the name of the option {@code max_tokens} there
     * @param thoughts the member for what the model thought before, or {@code none}
     */
    public static ObjectNode write(Prompt prompt, String model, String tokenLimit, String thoughts) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("model", model);
        ArrayNode messages = json.putArray("messages");
        ArrayNode shown = Json.MAPPER.createArrayNode();
        int i = 0;
        for (Message message : prompt.messages()) {
            String at = "messages[" + i++ + "]";
            if (message.role() == Role.TOOL) {
                messages.add(result((Part.ToolResult) message.parts().get(0), at, shown));
            } else {
                show(shown, messages);
                ObjectNode written = message(message, at, thoughts, model);
                // of an answer that broke off while the model thought, nothing may be left
                if (message.role() != Role.ASSISTANT || written.size() > 2 || !written.path("content").isNull()) {
                    messages.add(written);
                    if (message.role() == Role.ASSISTANT && thoughts.equals("reasoning_content") && written.path(thoughts).asText().isEmpty()) {
                        // who wants thoughts back refuses a turn that has none, though the model had none either; Kimi also an empty one
                        written.put(thoughts, " ");
                    }
                }
            }
        }
        show(shown, messages);
        if (!prompt.tools().isEmpty()) {
            ArrayNode tools = json.putArray("tools");
            for (Tool tool : prompt.tools()) {
                ObjectNode f = tools.addObject().put("type", "function").putObject("function")
                        .put("name", ToolCalls.shortName(tool.name()));
                if (tool.description() != null) {
                    f.put("description", tool.description());
                }
                if (tool.parameters() != null) {
                    f.set("parameters", schema(tool.parameters()));
                }
                if (tool.strict() != null) {
                    f.put("strict", tool.strict());
                }
            }
        }
        if (prompt.toolChoice() != null) {
            switch (prompt.toolChoice().mode()) {
                case AUTO -> json.put("tool_choice", "auto");
                case REQUIRED -> json.put("tool_choice", "required");
                case NONE -> json.put("tool_choice", "none");
                case TOOL -> json.putObject("tool_choice").put("type", "function").putObject("function")
                        .put("name", ToolCalls.shortName(prompt.toolChoice().name()));
            }
        }
        prompt.options().forEach((name, value) -> {
            if (!isForeign(name, value)) {
                json.set(name.equals(OpenAiWire.MAX_TOKENS) ? tokenLimit : name, name.equals("user") ? UserIds.ofOpenAi(value) : value);
            }
        });
        return json;
    }

    /** OpenAI refuses an object's schema without properties, as others have it for a tool that takes nothing. */
    private static JsonNode schema(JsonNode parameters) {
        if (parameters.has("properties") || !"object".equals(parameters.path("type").textValue())) {
            return parameters;
        }
        ObjectNode schema = Json.MAPPER.createObjectNode().setAll((ObjectNode) parameters);
        schema.putObject("properties");
        return schema;
    }

    /**
     * What a tool answered: one text, as DeepSeek and others refuse a list, and nothing that tells failures apart (API
     * reference, "Tool message").
     *
     * @param shown takes what else it answered
     */
    private static ObjectNode result(Part.ToolResult result, String at, ArrayNode shown) {
        List<Part> texts = new ArrayList<>();
        int i = 0;
        for (Part part : result.content()) {
            String here = at + ".content[" + i++ + "]";
            if (part instanceof Part.Text) {
                texts.add(part);
            } else {
                String kind = part instanceof Part.Image ? "image" : "file";
                texts.add(new Part.Text("[" + kind + ", see below]"));
                shown.addObject().put("type", "text").put("text", "[" + kind + " of tool call " + ToolCalls.plainId(result.id()) + "]");
                shown.add(part(part, here));
            }
        }
        if (result.error()) {
            String first = texts.isEmpty() ? "" : ((Part.Text) texts.remove(0)).text();
            texts.add(0, new Part.Text("Error: " + first));
        }
        return Json.MAPPER.createObjectNode().put("role", "tool").put("tool_call_id", ToolCalls.plainId(result.id()))
                .put("content", new Message(Role.TOOL, texts, null).text());
    }

    /** Images and files are a user's to show; the answers of all tools come first, as nothing may stand between them. */
    private static void show(ArrayNode shown, ArrayNode messages) {
        if (!shown.isEmpty()) {
            messages.addObject().put("role", "user").set("content", shown.deepCopy());
            shown.removeAll();
        }
    }

    private static ObjectNode message(Message message, String at, String thoughts, String model) {
        // Gemini wants the signatures of its calls of tools back; others refuse what they do not know
        boolean signs = model.contains("gemini");
        ObjectNode json = Json.MAPPER.createObjectNode();
        List<Part> parts = message.parts();
        json.put("role", switch (message.role()) {
            case SYSTEM -> "system";
            case ASSISTANT -> "assistant";
            default -> "user";
        });
        if (message.name() != null) {
            json.put("name", message.name());
        }
        List<Part> content = new ArrayList<>();
        StringBuilder refusal = new StringBuilder();
        StringBuilder said = new StringBuilder();
        Part before = null;
        for (Part part : parts) {
            switch (part) {
                case Part.ToolCall call -> toolCall(json.withArray("tool_calls").addObject(), call, signs);
                case Part.Reasoning r -> thought(json, r, thoughts, said.length());
                case Part.SealedReasoning s -> {
                    if (thoughts.equals(DETAILS)) {
                        JsonNode entry = s.isEntry() ? ProviderErrors.json(Json.utf8(s.data())) : Json.MAPPER.missingNode();
                        ObjectNode detail = detail(json, "encrypted", said.length());
                        if (entry.has("data")) {
                            detail.setAll((ObjectNode) entry);
                        } else {
                            detail.put("data", s.data());
                        }
                    }
                }
                case Part.Refusal r -> refusal.append(r.text());
                default -> content.add(part);
            }
            Message.append(said, before, part);
            before = part;
        }
        if (json.has("tool_calls") && json.findValue("thought_signature") == null && INSISTS_ON_SIGNATURES.matcher(model).find()) {
            sign((ObjectNode) json.get("tool_calls").get(0), NOT_SIGNED);
        }
        if (content.isEmpty()) {
            json.putNull("content");
        } else if (content.stream().allMatch(Part.Text.class::isInstance)) {
            // not everybody takes a list
            json.put("content", said.toString());
        } else {
            json.set("content", content(content, at));
        }
        if (!refusal.isEmpty()) {
            json.put("refusal", refusal.toString());
        }
        return json;
    }

    private static void toolCall(ObjectNode json, Part.ToolCall call, boolean signs) {
        json.put("id", ToolCalls.plainId(call.id())).put("type", "function").putObject("function")
                .put("name", ToolCalls.shortName(call.name())).put("arguments", call.arguments());
        String signature = ToolCalls.signature(call.id());
        if (signature != null && signs) {
            sign(json, signature);
        }
    }

    private static void sign(ObjectNode call, String signature) {
        call.putObject("extra_content").putObject("google").put("thought_signature", signature);
    }

    /** Adds an entry for a thought to a message, which had so many characters of text before it. */
    public static ObjectNode detail(ObjectNode message, String type, int before) {
        ObjectNode detail = message.withArray(DETAILS).addObject().put("type", "reasoning." + type);
        return before > 0 ? detail.put(OFFSET, before) : detail;
    }

    /**
     * What an entry has sealed; all of it where that is of no Claude: OpenRouter wants its name and its format back, by
     * which it knows whose it is (OpenRouter, "Reasoning tokens", preserving reasoning).
     */
    static String sealed(JsonNode detail) {
        String format = detail.path("format").asText("");
        return format.isEmpty() || format.startsWith("anthropic") ? detail.path("data").asText() : detail.toString();
    }

    private static void thought(ObjectNode json, Part.Reasoning r, String thoughts, int before) {
        if (thoughts.equals(DETAILS)) {
            ObjectNode detail = detail(json, "text", before).put("text", r.text());
            if (r.signature() != null) {
                detail.put("signature", r.signature());
            }
        } else if (!thoughts.equals(OpenAiWire.NO_THOUGHTS)) {
            json.put(thoughts, json.path(thoughts).asText("") + r.text());
        }
    }

    private static JsonNode content(List<Part> parts, String at) {
        ArrayNode content = Json.MAPPER.createArrayNode();
        int i = 0;
        for (Part part : parts) {
            content.add(part(part, at + ".content[" + i++ + "]"));
        }
        return content;
    }

    private static JsonNode part(Part part, String at) {
        ObjectNode json = Json.MAPPER.createObjectNode();
        switch (part) {
            case Part.Text text -> json.put("type", "text").put("text", text.text());
            case Part.Image image -> image(json.put("type", "image_url").putObject("image_url"), image);
            case Part.Document d when d.data() != null -> json.put("type", "file").putObject("file")
                    .put("filename", d.name() == null ? "document" : d.name()).put("file_data", DataUrl.of(d.mediaType(), d.data()));
            case Part.Other other when OWN.contains(other.type()) -> {
                return other.json();
            }
            default -> throw Unsayable.field(at);
        }
        return json;
    }

    private static void image(ObjectNode json, Part.Image image) {
        json.put("url", image.url() != null ? image.url() : DataUrl.of(image.mediaType(), image.data()));
        if (image.detail() != null) {
            json.put("detail", image.detail());
        }
    }
}
