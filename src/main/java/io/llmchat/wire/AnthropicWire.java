package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Prompt;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The wire of Anthropic's Messages API (API reference, "Messages", "Streaming messages", "Errors"). */
public final class AnthropicWire implements Wire {

    private final String version;
    private final int maxTokens;

    /**
     * @param version of the API, as in the header {@code anthropic-version}
     * @param maxTokens what an answer may have where the caller did not say
     */
    public AnthropicWire(String version, int maxTokens) {
        this.version = version;
        this.maxTokens = maxTokens;
    }

    @Override
    public String name() {
        return "anthropic";
    }

    @Override
    public Call call(Asked asked) {
        ChatRequest request = asked.request();
        if (request.operation() == Operation.EMBEDDINGS) {
            throw Unsayable.operation("make embeddings");
        }
        boolean count = request.operation() == Operation.COUNT_TOKENS;
        String path = count ? "/v1/messages/count_tokens" : "/v1/messages";
        List<String> warnings = new ArrayList<>();
        if ("anthropic".equals(request.wire())) {
            return new Call(path, passed(asked, count, warnings).getBytes(), request.headers(), request.stream(), warnings);
        }
        Prompt prompt = asked.prompt();
        // what the caller says counts more than what the agent does, and most Claudes refuse both together
        if (prompt.options().containsKey("temperature") && !request.says("temperature") && request.says("top_p")) {
            prompt = prompt.without("temperature");
            warnings.add("temperature");
        }
        ObjectNode json = AnthropicRequests.write(prompt, asked.model(), maxTokens, warnings);
        if (request.stream()) {
            json.put("stream", true);
        }
        return new Call(path, Json.write(json), Map.of(), request.stream(), warnings);
    }

    /** The caller's own words, with the model, and the agent's prompt and defaults, put in. */
    private static Buffer passed(Asked asked, boolean count, List<String> warnings) {
        ChatRequest request = asked.request();
        Agent agent = asked.agent();
        Buffer out = Buffer.buffer(request.body().length + 256).appendString("{\"model\":");
        Json.quote(out, asked.model());
        String prompt = agent == null ? null : agent.systemPrompt();
        boolean temperature = agent != null && agent.temperature() != null && !request.says("temperature") && !count;
        request.members().forEach((name, value) -> {
            if (name.equals("messages")) {
                messages(out.appendString(",\"messages\":"), asked, value);
            } else if (!name.equals("model") && !(name.equals("system") && prompt != null) && !(name.equals("temperature") && temperature)) {
                Json.quote(out.appendString(","), name).appendString(":")
                        .appendBytes(request.body(), value.start(), value.end() - value.start());
            }
        });
        if (prompt != null) {
            out.appendString(",\"system\":").appendBytes(Json.write(system(prompt, request.member("system"))));
        }
        if (temperature) {
            boolean taken = takesTemperature(asked);
            // others who speak its wire take more
            double most = isClaude(asked) ? 1 : Double.MAX_VALUE;
            if (taken) {
                out.appendString(",\"temperature\":" + Math.min(most, agent.temperature()));
            }
            if (!taken || agent.temperature() > most) {
                warnings.add("temperature");
            }
        }
        return out.appendString("}");
    }

    /** As they are, but for thoughts that a Claude would refuse; others who speak its wire may need them. */
    private static void messages(Buffer out, Asked asked, Slice value) {
        ChatRequest request = asked.request();
        if (!isClaude(asked) || !UnsignedThoughts.mayBeIn(request.body(), value)) {
            asked.messages(out, request.body(), value);
            return;
        }
        ArrayNode messages = (ArrayNode) request.member("messages");
        UnsignedThoughts.remove(messages);
        byte[] json = Json.write(messages);
        asked.messages(out, json, new Slice(0, json.length));
    }

    private static boolean isClaude(Asked asked) {
        return asked.model().contains("claude");
    }

    /** Whether the model takes one at all, and beside what the caller says. */
    private static boolean takesTemperature(Asked asked) {
        return Claude.named(asked.model()).takesSampling() && !(isClaude(asked) && asked.request().says("top_p"))
                && !AnthropicRequests.thinks(asked.request().member("thinking"));
    }

    private static ArrayNode system(String prompt, JsonNode given) {
        ArrayNode blocks = Json.MAPPER.createArrayNode();
        AnthropicRequests.text(blocks, prompt);
        if (given != null && given.isTextual()) {
            AnthropicRequests.text(blocks, given.textValue());
        } else if (given != null && given.isArray()) {
            given.forEach(blocks::add);
        }
        return blocks;
    }

    @Override
    public boolean goesOn(String model) {
        return Claude.named(model).goesOn();
    }

    @Override
    public AnswerReader reader(boolean raw) {
        return new AnthropicAnswers(raw);
    }

    @Override
    public Map<String, String> headers(String apiKey) {
        Map<String, String> headers = new LinkedHashMap<>();
        if (apiKey != null && !apiKey.isBlank()) {
            headers.put("x-api-key", apiKey);
        }
        headers.put("anthropic-version", version);
        return headers;
    }
}
