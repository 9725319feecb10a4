package io.llmchat.dialect;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerMessage;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Part;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import io.llmchat.wire.ToolCalls;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * An answer as Anthropic says it (API reference, "Streaming messages"): blocks one after the other between
 * {@code message_start} and {@code message_stop}. Of several choices the first is told: Anthropic knows one.
 */
final class AnthropicWriter implements AnswerWriter {

    private static final String[] NO_BLOCK = {"", ""};
    private static final String[] TEXT = {"text", "\"text\":\"\""};
    /** One of a provider whose bytes pass, and not text: nobody else writes into it. */
    private static final String[] PASSED = {"", ""};
    private static final String[] THINKING = {"thinking", "\"thinking\":\"\",\"signature\":\"\""};

    private record Waiting(AnswerPart.ToolStart start, StringBuilder arguments) {
    }

    private final ChatRequest request;
    private final String id;
    private final String requestId;
    private String model;
    private boolean started;
    private boolean passing;
    private boolean stopped;
    private String[] open = NO_BLOCK;
    private int index = -1;
    private int openTool = -1;
    /** Tool calls that began while another was open: blocks stand one after the other, so they wait for its end. */
    private final Map<Integer, Waiting> waiting = new LinkedHashMap<>();
    private String finishReason = "stop";
    private boolean calls;

    AnthropicWriter(ChatRequest request, String requestId, String answerId) {
        this.request = request;
        this.id = "msg_" + answerId;
        this.requestId = requestId;
        this.model = request.model();
    }

    @Override
    public String wire() {
        return "anthropic";
    }

    // --- whole

    @Override
    public Buffer whole(WholeAnswer answer, String model) {
        if (answer.json() != null) {
            return Bytes.buffer(answer.json());
        }
        AnswerMessage m = AnswerMessage.of(answer.parts()).get(0);
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("type", "message").put("role", "assistant")
                .put("model", model);
        ArrayNode content = json.putArray("content");
        for (Part part : m.parts()) {
            switch (part) {
                case Part.Text t -> content.addObject().put("type", "text").put("text", t.text());
                case Part.Refusal r -> content.addObject().put("type", "text").put("text", r.text());
                case Part.Reasoning r -> content.addObject().put("type", "thinking").put("thinking", r.text())
                        .put("signature", r.signature() == null ? "" : r.signature());
                case Part.SealedReasoning s -> content.addObject().put("type", "redacted_thinking").put("data", s.data());
                case Part.ToolCall c -> content.addObject().put("type", "tool_use").put("id", ToolCalls.anthropicId(c.id()))
                        .put("name", ToolCalls.fullName(c.name(), request)).set("input", input(c.arguments()));
                default -> { }
            }
        }
        boolean refused = m.parts().stream().anyMatch(Part.Refusal.class::isInstance);
        boolean calls = m.parts().stream().anyMatch(Part.ToolCall.class::isInstance);
        json.put("stop_reason", refused ? "refusal" : stopReason(m.finishReason(), calls)).putNull("stop_sequence");
        json.set("usage", usage(answer.usage()));
        return Buffer.buffer(Json.write(json));
    }

    private static JsonNode input(String arguments) {
        try {
            JsonNode json = Json.read(Json.utf8(arguments.isBlank() ? "{}" : arguments));
            return json.isObject() ? json : Json.MAPPER.createObjectNode().put("_arguments", arguments);
        } catch (IOException e) {
            // the model wrote what is no JSON: the caller sees it as it is
            return Json.MAPPER.createObjectNode().put("_arguments", arguments);
        }
    }

    private static ObjectNode usage(Usage usage) {
        ObjectNode json = Json.MAPPER.createObjectNode();
        if (usage == null) {
            return json.put("input_tokens", 0).put("output_tokens", 0);
        }
        json.put("input_tokens", usage.promptTokens() - usage.cachedTokens() - usage.cacheWriteTokens());
        if (usage.cacheWriteTokens() > 0) {
            json.put("cache_creation_input_tokens", usage.cacheWriteTokens());
        }
        if (usage.cachedTokens() > 0) {
            json.put("cache_read_input_tokens", usage.cachedTokens());
        }
        json.put("output_tokens", usage.completionTokens());
        if (usage.reasoningTokens() > 0) {
            json.putObject("output_tokens_details").put("thinking_tokens", usage.reasoningTokens());
        }
        return usage.estimated() ? json.put("estimated", true) : json;
    }

    /**
     * Anthropic's word for OpenAI's finish reason.
     *
     * @param calls whether a tool is called: who waits for that looks here, and some providers say "stop" then
     */
    private static String stopReason(String finishReason, boolean calls) {
        return calls && finishReason.equals("stop") ? "tool_use" : switch (finishReason) {
            case "length" -> "max_tokens";
            case "tool_calls" -> "tool_use";
            case "content_filter" -> "refusal";
            default -> "end_turn";
        };
    }

    // --- stream

    @Override
    public void start(String name, String model, Buffer out) {
        this.model = model;
    }

    @Override
    public void event(ChatEvent event, Buffer out) {
        if (event.bytes() != null) {
            passing = true;
            passed(event);
            begin(event.type(), out).appendBytes(event.bytes(), event.from(), event.to() - event.from()).appendString("\n\n");
            return;
        }
        passing = false;
        if (!started) {
            started = true;
            Json.quote(begin("message_start", out).appendString("{\"type\":\"message_start\",\"message\":{\"id\":\"" + id
                    + "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"), model)
                    .appendString(",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":")
                    .appendBytes(Json.write(usage(event.usage()))).appendString("}}\n\n");
        }
        for (AnswerPart part : event.parts()) {
            if (part.choice() == 0) {
                part(part, out);
            }
        }
    }

    /** Follows what passes, so that another provider can go on in the same message. */
    private void passed(ChatEvent event) {
        started = true;
        switch (event.type()) {
            case "content_block_start" -> {
                index++;
                // a text begins with nothing in it, all else is noted as it begins
                open = event.token() && event.content() == null ? PASSED : TEXT;
            }
            case "content_block_stop" -> open = NO_BLOCK;
            case "message_stop" -> stopped = true;
            default -> { }
        }
    }

    private void part(AnswerPart part, Buffer out) {
        switch (part) {
            case AnswerPart.Text t -> delta(TEXT, "text_delta", "text", t.text(), out);
            case AnswerPart.Refusal r -> {
                delta(TEXT, "text_delta", "text", r.text(), out);
                finishReason = "content_filter";
            }
            case AnswerPart.Reasoning r -> delta(THINKING, "thinking_delta", "thinking", r.text(), out);
            case AnswerPart.Signature s -> {
                delta(THINKING, "signature_delta", "signature", s.signature(), out);
                // it stands for the thoughts before it; more of them are another block
                close(out);
            }
            case AnswerPart.SealedReasoning s -> {
                close(out);
                Json.quote(block(out, "redacted_thinking").appendString(",\"data\":"), s.data()).appendString("}}\n\n");
                open = THINKING;
                close(out);
            }
            case AnswerPart.ToolStart t -> {
                calls = true;
                if (openTool >= 0) {
                    waiting.put(t.index(), new Waiting(t, new StringBuilder()));
                } else {
                    tool(t, out);
                }
            }
            case AnswerPart.ToolArguments t -> {
                if (t.index() == openTool) {
                    arguments(t.fragment(), out);
                } else if (waiting.containsKey(t.index())) {
                    waiting.get(t.index()).arguments.append(t.fragment());
                }
            }
            case AnswerPart.Finish f ->
                    finishReason = finishReason.equals("content_filter") ? finishReason : f.reason();
            default -> { }
        }
    }

    private void delta(String[] kind, String type, String name, String value, Buffer out) {
        if (open != kind) {
            close(out);
            block(out, kind[0]).appendString("," + kind[1] + "}}\n\n");
            open = kind;
        }
        Json.quote(begin("content_block_delta", out).appendString("{\"type\":\"content_block_delta\",\"index\":" + index
                + ",\"delta\":{\"type\":\"" + type + "\",\"" + name + "\":"), value).appendString("}}\n\n");
    }

    private void tool(AnswerPart.ToolStart t, Buffer out) {
        if (open != NO_BLOCK) {
            stop(out);
        }
        Json.quote(Json.quote(block(out, "tool_use").appendString(",\"id\":"), ToolCalls.anthropicId(t.id())).appendString(",\"name\":"),
                ToolCalls.fullName(t.name(), request)).appendString(",\"input\":{}}}\n\n");
        openTool = t.index();
    }

    private void arguments(String fragment, Buffer out) {
        Json.quote(begin("content_block_delta", out).appendString("{\"type\":\"content_block_delta\",\"index\":" + index
                + ",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":"), fragment).appendString("}}\n\n");
    }

    /** Begins a block; its content_block is left open. */
    private Buffer block(Buffer out, String type) {
        index++;
        return begin("content_block_start", out).appendString("{\"type\":\"content_block_start\",\"index\":" + index
                + ",\"content_block\":{\"type\":\"" + type + "\"");
    }

    /** Ends the block that is open, and says the tool calls that waited for that. */
    private void close(Buffer out) {
        if (openTool < 0 && open == NO_BLOCK) {
            return;
        }
        stop(out);
        waiting.values().forEach(call -> {
            tool(call.start, out);
            if (!call.arguments.isEmpty()) {
                arguments(call.arguments.toString(), out);
            }
            stop(out);
        });
        waiting.clear();
    }

    private void stop(Buffer out) {
        begin("content_block_stop", out).appendString("{\"type\":\"content_block_stop\",\"index\":" + index + "}\n\n");
        open = NO_BLOCK;
        openTool = -1;
    }

    @Override
    public void end(Usage usage, Buffer out) {
        if (passing) {
            if (!stopped) {
                end(out);
            }
            return;
        }
        close(out);
        begin("message_delta", out).appendString("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\""
                + stopReason(finishReason, calls) + "\",\"stop_sequence\":null},\"usage\":").appendBytes(Json.write(usage(usage)))
                .appendString("}\n\n");
        end(out);
    }

    private static void end(Buffer out) {
        begin("message_stop", out).appendString("{\"type\":\"message_stop\"}\n\n");
    }

    @Override
    public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
        begin("error", out).appendBuffer(AnthropicDialect.CHAT.error(error, entry, requestId)).appendString("\n\n");
    }

    private static Buffer begin(String event, Buffer out) {
        return out.appendString("event: ").appendString(event).appendString("\ndata: ");
    }
}
