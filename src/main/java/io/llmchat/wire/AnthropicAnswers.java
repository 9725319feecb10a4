package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Bytes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Reads an answer on Anthropic's wire (API reference, "Streaming messages"): blocks that begin, grow and end between
 * {@code message_start} and {@code message_stop}.
 */
final class AnthropicAnswers implements Wire.AnswerReader {

    /** The statuses that its types of errors have, of those that say that it is well (API reference, "Errors"). */
    private static final Map<String, String> STATUSES = Map.of("invalid_request_error", "400", "authentication_error", "401",
            "billing_error", "402", "permission_error", "403", "not_found_error", "404", "request_too_large", "413",
            "rate_limit_error", "429");

    private final boolean raw;
    /** Whether there is anything of the answer: who has said something can only have failed. */
    private boolean told;
    /** Of the blocks that are tool calls: their place among the tool calls. */
    private final Map<Integer, Integer> tools = new HashMap<>();
    /** Of the tool calls that are open and have told no arguments: their input, as the block began with it. */
    private final Map<Integer, String> silent = new HashMap<>();
    private Usage usage = new Usage(0, 0);

    AnthropicAnswers(boolean raw) {
        this.raw = raw;
    }

    @Override
    public boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink) {
        JsonNode json = ProviderErrors.event(bytes, from, to);
        if (!json.isObject()) {
            throw new Wire.MalformedAnswer("an event that is not a JSON object");
        }
        if (raw) {
            // the caller gets it in one line, though it came in several
            Bytes.oneLine(bytes, from, to);
        }
        List<AnswerPart> parts = new ArrayList<>(2);
        Usage counted = null;
        boolean begun = false;
        boolean called = false;
        switch (json.path("type").asText()) {
            case "message_start" -> counted = count(json.path("message").path("usage"));
            case "content_block_start" -> {
                // thoughts that are not shown, and tools that the provider calls itself, tell nothing more for minutes
                String block = json.path("content_block").path("type").asText();
                begun = !block.equals("text");
                called = block.endsWith("tool_use");
                begin(json.path("index").asInt(), json.path("content_block"), parts);
            }
            case "content_block_delta" -> delta(json.path("index").asInt(), json.path("delta"), parts);
            case "content_block_stop" -> {
                int index = json.path("index").asInt();
                if (silent.containsKey(index)) {
                    parts.add(new AnswerPart.ToolArguments(0, tools.get(index), silent.remove(index)));
                }
            }
            case "message_delta" -> {
                counted = count(json.path("usage"));
                if (json.path("delta").path("stop_reason").isTextual()) {
                    parts.add(new AnswerPart.Finish(0, finish(json.path("delta").path("stop_reason").asText())));
                }
            }
            case "error" -> throw reported(json.path("error"));
            default -> { }
        }
        told |= begun || !parts.isEmpty();
        boolean stop = json.path("type").asText().equals("message_stop");
        // the name of the event is a line of its own: what is told in JSON only has to fit there
        String name = !raw || type != null ? type : json.path("type").asText().replaceAll("[^a-z_]", "");
        // those that say nothing, such as pings, say that it is still there
        sink.accept(ChatEvent.of(name, raw ? bytes : null, from, to, parts, counted, begun, called));
        return !stop;
    }

    private ChatException reported(JsonNode error) {
        return told ? ProviderErrors.reported(error) : ProviderErrors.reported(error, STATUSES.getOrDefault(error.path("type").asText(), ""));
    }

    private void begin(int index, JsonNode block, List<AnswerPart> parts) {
        switch (block.path("type").asText()) {
            case "tool_use" -> {
                tools.put(index, tools.size());
                silent.put(index, block.path("input").isObject() ? block.path("input").toString() : "{}");
                parts.add(new AnswerPart.ToolStart(0, tools.get(index), block.path("id").asText(), block.path("name").asText()));
            }
            case "redacted_thinking" -> parts.add(new AnswerPart.SealedReasoning(0, block.path("data").asText()));
            case "text" -> text(block.path("text").asText(), parts);
            case "thinking" -> thought(block.path("thinking").asText(), parts);
            default -> { }
        }
    }

    private static void thought(String text, List<AnswerPart> parts) {
        if (!text.isEmpty()) {
            parts.add(new AnswerPart.Reasoning(0, text));
        }
    }

    private static void text(String text, List<AnswerPart> parts) {
        if (!text.isEmpty()) {
            parts.add(new AnswerPart.Text(0, text));
        }
    }

    private void delta(int index, JsonNode delta, List<AnswerPart> parts) {
        switch (delta.path("type").asText()) {
            case "text_delta" -> text(delta.path("text").asText(), parts);
            case "thinking_delta" -> parts.add(new AnswerPart.Reasoning(0, delta.path("thinking").asText()));
            case "signature_delta" -> parts.add(new AnswerPart.Signature(0, delta.path("signature").asText()));
            case "input_json_delta" -> {
                String fragment = delta.path("partial_json").asText();
                if (tools.containsKey(index) && !fragment.isEmpty()) {
                    silent.remove(index);
                    parts.add(new AnswerPart.ToolArguments(0, tools.get(index), fragment));
                }
            }
            default -> { }
        }
    }

    /** What is counted so far: each event tells some, and later figures replace earlier ones. */
    private Usage count(JsonNode json) {
        if (!json.isObject()) {
            return null;
        }
        long cached = json.path("cache_read_input_tokens").asLong(usage.cachedTokens());
        long written = json.path("cache_creation_input_tokens").asLong(usage.cacheWriteTokens());
        long plain = json.path("input_tokens").asLong(usage.promptTokens() - usage.cachedTokens() - usage.cacheWriteTokens());
        long out = json.path("output_tokens").asLong(usage.completionTokens());
        long thought = json.path("output_tokens_details").path("thinking_tokens").asLong(usage.reasoningTokens());
        long prompt = plain + cached + written;
        usage = new Usage(prompt, out, prompt + out, cached, written, thought, false);
        return usage;
    }

    @Override
    public WholeAnswer answer(byte[] body) {
        JsonNode json = ProviderErrors.json(body);
        if (json.path("type").asText().equals("error") || json.has("error")) {
            throw reported(json.path("error"));
        }
        if (raw && json.path("input_tokens").isNumber()) {
            return new WholeAnswer(body, List.of(), 0, null, count(json));
        }
        if (!json.path("content").isArray()) {
            throw new Wire.MalformedAnswer("an answer without content");
        }
        List<AnswerPart> parts = new ArrayList<>();
        int index = 0;
        for (JsonNode block : json.path("content")) {
            begin(index, block, parts);
            switch (block.path("type").asText()) {
                case "tool_use" -> parts.add(new AnswerPart.ToolArguments(0, tools.get(index), block.path("input").toString()));
                case "thinking" -> {
                    if (block.path("signature").isTextual()) {
                        parts.add(new AnswerPart.Signature(0, block.path("signature").asText()));
                    }
                }
                default -> { }
            }
            index++;
        }
        parts.add(new AnswerPart.Finish(0, finish(json.path("stop_reason").asText())));
        ChatEvent all = ChatEvent.of(parts, count(json.path("usage")));
        return new WholeAnswer(raw ? body : null, raw ? List.of() : parts, all.textLength(), all.finishReason(), all.usage());
    }

    /** OpenAI's word for Anthropic's reason to stop. */
    static String finish(String stopReason) {
        return switch (stopReason) {
            case "max_tokens", "model_context_window_exceeded" -> "length";
            case "tool_use" -> "tool_calls";
            case "refusal" -> "content_filter";
            default -> "stop";
        };
    }
}
