package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Prompt;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * The wire of OpenAI's chat completions and embeddings (OpenAI API reference), spoken by many others too. A request in
 * OpenAI's dialect passes as it is, with the model, the agent's prompt and the wish for usage put in.
 */
public class OpenAiWire implements Wire {

    static final String MAX_TOKENS = "max_tokens";
    static final String MAX_COMPLETION_TOKENS = "max_completion_tokens";

    /** What OpenAI has for its own cache and its own watch. Those who speak its wire and do not know them refuse them, as Groq does. */
    private static final List<String> ITS_OWN = List.of("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier");

    /** OpenAI's models that take tools on this path only where they are told not to think. */
    private static final Pattern THINKS_OR_CALLS = Pattern.compile("gpt-(5\\.([6-9]|\\d\\d)|[6-9]\\b).*");
    /** Those that take them also where nothing is said of thinking. */
    private static final Pattern THINKS_OR_CALLS_IF_TOLD = Pattern.compile("gpt-5\\.[45]\\b.*");

    static final String NO_THOUGHTS = "none";
    /** What the option of that name takes. */
    private static final List<String> THOUGHTS = List.of("reasoning_content", "reasoning", "reasoning_details", NO_THOUGHTS);

    /** The names under which callers of OpenAI's dialect are told thoughts. */
    private static final List<String> TOLD = List.of("reasoning_content", "reasoning_details");

    private final boolean embeds;
    private final String tokenLimit;
    private final String otherLimit;
    private final String thoughts;
    private final boolean askUsage;

    /**
     * @param embeds whether it makes embeddings: not everybody who speaks this wire does
     * @param tokenLimit under which of its two names the provider is told how many tokens an answer may have: OpenAI's
     *                   reasoning models refuse {@code max_tokens}, which it calls deprecated (API reference, "Create chat
     *                   completion"); others know nothing else, and some pass over the new name
     * @param thoughts as what a model's earlier thoughts are given back, where the caller speaks another dialect: DeepSeek
     *                 wants {@code reasoning_content} (DeepSeek API, "Thinking mode", tool calls), Ollama and Cerebras read
     *                 {@code reasoning}, OpenRouter {@code reasoning_details}; others, such as Groq, refuse what they do not
     *                 know, so that it is {@code none} unless it is said
     * @param askUsage whether it is asked to count what a stream takes: some refuse that (Databricks, Azure's older versions,
     *                 Mistral for a long time), and some of them tell it anyway
     * @throws IllegalArgumentException if one of them is something else
     */
    public OpenAiWire(boolean embeds, String tokenLimit, String thoughts, boolean askUsage) {
        if (!tokenLimit.equals(MAX_TOKENS) && !tokenLimit.equals(MAX_COMPLETION_TOKENS)) {
            throw new IllegalArgumentException("tokenLimit is '" + tokenLimit + "'; it takes " + MAX_TOKENS + " or " + MAX_COMPLETION_TOKENS);
        }
        if (!THOUGHTS.contains(thoughts)) {
            throw new IllegalArgumentException("thoughts is '" + thoughts + "'; it takes " + String.join(", ", THOUGHTS));
        }
        this.embeds = embeds;
        this.thoughts = thoughts;
        this.askUsage = askUsage;
        this.tokenLimit = tokenLimit;
        this.otherLimit = tokenLimit.equals(MAX_TOKENS) ? MAX_COMPLETION_TOKENS : MAX_TOKENS;
    }

    @Override
    public String name() {
        return "openai";
    }

    @Override
    public Call call(Asked asked) {
        ChatRequest request = asked.request();
        if (request.operation() == Operation.EMBEDDINGS && !embeds) {
            throw Unsayable.operation("make embeddings");
        }
        return switch (request.operation()) {
            case CHAT -> same(request) ? new Call(path(), passed(asked).getBytes(), Map.of(), request.stream(), List.of())
                    : translated(asked);
            case EMBEDDINGS -> new Call("/embeddings", renamed(request, asked.model()).getBytes(), Map.of(), false, List.of());
            case COUNT_TOKENS -> throw Unsayable.operation("count tokens");
        };
    }

    String path() {
        return "/chat/completions";
    }

    private boolean same(ChatRequest request) {
        return "openai".equals(request.wire());
    }

    private Call translated(Asked asked) {
        Prompt prompt = asked.prompt();
        List<String> warnings = new ArrayList<>();
        OpenAiRequests.leftOut(prompt, warnings);
        if ("anthropic".equals(asked.request().wire())) {
            prompt = OpenAiSchema.strictWhereTaken(prompt, warnings);
        }
        for (String name : tokenLimit.equals(MAX_COMPLETION_TOKENS) ? List.<String>of() : ITS_OWN) {
            if (prompt.options().containsKey(name)) {
                prompt = prompt.without(name);
                warnings.add(name);
            }
        }
        ObjectNode json = OpenAiRequests.write(prompt, asked.model(), tokenLimit, thoughts);
        if (tokenLimit.equals(MAX_COMPLETION_TOKENS) && json.has("tools")) {
            callsWithoutThoughts(json, asked.model(), warnings);
        }
        if (asked.request().stream()) {
            json.put("stream", true);
            if (askUsage) {
                json.putObject("stream_options").put("include_usage", true);
            }
        }
        more(json, asked);
        return new Call(path(), Json.write(json), Map.of(), asked.request().stream(), warnings);
    }

    /** With both the request would be refused ("Function tools with reasoning_effort are not supported"), and tools are asked for. */
    private static void callsWithoutThoughts(ObjectNode json, String model, List<String> warnings) {
        boolean said = json.has("reasoning_effort") && !json.path("reasoning_effort").asText().equals(NO_THOUGHTS);
        if (THINKS_OR_CALLS.matcher(model).matches() || said && THINKS_OR_CALLS_IF_TOLD.matcher(model).matches()) {
            json.put("reasoning_effort", NO_THOUGHTS);
            if (said) {
                warnings.add("reasoning_effort");
            }
        }
    }

    /** Adds what a kin of this wire has besides. */
    void more(ObjectNode json, Asked asked) {
        // OpenAI has nothing more
    }

    private static Buffer renamed(ChatRequest request, String model) {
        Buffer out = Buffer.buffer(request.body().length + 64).appendString("{\"model\":");
        Json.quote(out, model);
        request.members().forEach((name, value) -> {
            if (!name.equals("model")) {
                member(out, name, request, value);
            }
        });
        return out.appendString("}");
    }

    private static void member(Buffer out, String name, ChatRequest request, Slice value) {
        Json.quote(out.appendString(","), name).appendString(":")
                .appendBytes(request.body(), value.start(), value.end() - value.start());
    }

    private Buffer passed(Asked asked) {
        ChatRequest request = asked.request();
        Agent agent = asked.agent();
        Buffer out = Buffer.buffer(request.body().length + 256).appendString("{\"model\":");
        Json.quote(out, asked.model());
        // where the caller used both names: the provider's, unless nothing stands there
        String limit = request.says(tokenLimit) || !request.has(otherLimit) ? tokenLimit : otherLimit;
        boolean temperature = agent != null && agent.temperature() != null && !request.says("temperature");
        boolean maxTokens = agent != null && agent.maxTokens() != null && !request.says(limit);
        for (Map.Entry<String, Slice> member : request.members().entrySet()) {
            String name = member.getKey();
            Slice value = member.getValue();
            if (name.equals("model") || name.equals("stream_options") || temperature && name.equals("temperature")
                    || maxTokens && name.equals(limit)) {
                continue;
            }
            if (name.equals("messages")) {
                out.appendString(",\"messages\":");
                if (agent != null && agent.systemPrompt() != null) {
                    Json.quote(out.appendString("[{\"role\":\"system\",\"content\":"), agent.systemPrompt()).appendString("},");
                    asked.messages(out, request.body(), new Slice(value.start() + 1, value.end()));
                } else {
                    asked.messages(out, request.body(), value);
                }
            } else if (name.equals("metadata") && request.chatId() != null) {
                JsonNode metadata = OpenAiRequests.withoutSession(request.member(name));
                if (metadata != null) {
                    out.appendString(",\"metadata\":").appendBytes(Json.write(metadata));
                }
            } else if (name.equals(limit)) {
                member(out, tokenLimit, request, value);
            } else if (!name.equals(MAX_TOKENS) && !name.equals(MAX_COMPLETION_TOKENS)) {
                member(out, name, request, value);
            }
        }
        if (temperature) {
            out.appendString(",\"temperature\":" + agent.temperature());
        }
        if (maxTokens) {
            out.appendString(",\"" + tokenLimit + "\":" + agent.maxTokens());
        }
        if (request.stream() && askUsage) {
            out.appendString(",\"stream_options\":").appendBytes(streamOptions(request));
        } else if (!request.stream() && request.has("stream_options")) {
            member(out, "stream_options", request, request.members().get("stream_options"));
        }
        ObjectNode more = Json.MAPPER.createObjectNode();
        more(more, asked);
        for (Map.Entry<String, JsonNode> member : more.properties()) {
            Json.quote(out.appendString(","), member.getKey()).appendString(":").appendBytes(Json.write(member.getValue()));
        }
        return out.appendString("}");
    }

    /** What the caller said, and that we want to know the usage. */
    private static byte[] streamOptions(ChatRequest request) {
        ObjectNode options = request.member("stream_options") instanceof ObjectNode said ? said : Json.MAPPER.createObjectNode();
        return Json.write(options.put("include_usage", true));
    }

    /** Callers give back the thoughts that they were told. Some need them, others refuse what they do not know, and say what it is. */
    @Override
    public ChatRequest without(ChatRequest request, ChatException refused) {
        if (!same(request) || !request.has("messages") || TOLD.stream().noneMatch(refused.getMessage()::contains)) {
            return null;
        }
        JsonNode messages = request.member("messages");
        boolean found = false;
        for (JsonNode message : messages) {
            found |= TOLD.stream().anyMatch(message::has);
            ((ObjectNode) message).remove(TOLD);
        }
        return found ? request.withMessages(messages) : null;
    }

    @Override
    public AnswerReader reader(boolean raw) {
        return new OpenAiAnswers(raw);
    }
}
