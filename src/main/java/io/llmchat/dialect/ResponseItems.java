package io.llmchat.dialect;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerMessage;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Part;
import io.llmchat.chat.Usage;
import io.llmchat.json.Json;
import io.llmchat.wire.ResponseTools;
import io.llmchat.wire.ResponsesRequests;
import java.util.List;

/** The response and its items as OpenAI says them (API reference, "The response object"). */
final class ResponseItems {

    static final String IN_PROGRESS = "in_progress";
    static final String COMPLETED = "completed";
    static final String INCOMPLETE = "incomplete";
    static final String NO_ARGUMENTS = "{}";

    /** What of a request its response repeats. */
    static final List<String> REPEATED = List.of("instructions", "max_output_tokens", "parallel_tool_calls",
            "reasoning", "temperature", "text", "tool_choice", "tools", "top_p", "user", "metadata");

    private ResponseItems() {
    }

    /**
     * A response as it is while it is made, without output: it repeats what was asked for, and says null or the usual
     * where nothing was.
     */
    static ObjectNode response(ChatRequest request, String id, long created, String model) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("object", "response").put("created_at", created)
                .put("status", IN_PROGRESS).put("background", false).putNull("error").putNull("incomplete_details")
                .putNull("instructions").putNull("max_output_tokens").put("model", model);
        json.putArray("output");
        json.put("parallel_tool_calls", true).putNull("previous_response_id").putObject("reasoning").putNull("effort")
                .putNull("summary");
        json.put("store", false).putNull("temperature").putObject("text").putObject("format").put("type", "text");
        json.put("tool_choice", "auto").putArray("tools");
        json.putNull("top_p").put("truncation", "disabled").putNull("usage").putNull("user").putObject("metadata");
        for (String name : REPEATED) {
            JsonNode said = request.member(name);
            if (said != null && !said.isNull()) {
                json.set(name, said);
            }
        }
        return json;
    }

    /** Puts the end into a response: how it ended, and what it took. */
    static ObjectNode end(ObjectNode response, String finishReason, Usage usage) {
        String status = status(finishReason);
        response.put("status", status);
        if (status.equals(INCOMPLETE)) {
            response.putObject("incomplete_details").put("reason", finishReason.equals("length") ? "max_output_tokens" : finishReason);
        } else {
            response.put("completed_at", System.currentTimeMillis() / 1000);
        }
        if (usage != null) {
            ObjectNode json = response.putObject("usage").put("input_tokens", usage.promptTokens());
            json.putObject("input_tokens_details").put("cached_tokens", usage.cachedTokens())
                    .put("cache_write_tokens", usage.cacheWriteTokens());
            json.put("output_tokens", usage.completionTokens()).putObject("output_tokens_details")
                    .put("reasoning_tokens", usage.reasoningTokens());
            json.put("total_tokens", usage.totalTokens());
            if (usage.estimated()) {
                json.put("estimated", true);
            }
        }
        return response;
    }

    /** The status of a response, and of its last item, that ended for this reason. */
    static String status(String finishReason) {
        return finishReason.equals("length") || finishReason.equals("content_filter") ? INCOMPLETE : COMPLETED;
    }

    /** Adds the items of a whole answer. */
    static void addAll(ArrayNode output, AnswerMessage answer, String answerId, ResponseTools tools) {
        ArrayNode content = null;
        for (Part part : answer.parts()) {
            if (!(part instanceof Part.Text || part instanceof Part.Refusal)) {
                content = null;
            } else if (content == null) {
                content = Json.MAPPER.createArrayNode();
                output.add(message(id("msg", answerId, output.size()), COMPLETED, content));
            }
            switch (part) {
                case Part.Text t -> content.add(text(t.text(), answer.logprobs()));
                case Part.Refusal r -> content.add(refusal(r.text()));
                case Part.Reasoning r -> output.add(reasoning(id("rs", answerId, output.size()), COMPLETED, r.text(), r.signature()));
                case Part.SealedReasoning s -> output.add(reasoning(id("rs", answerId, output.size()), COMPLETED, null, s.data()));
                case Part.ToolCall c -> output.add(call(id("fc", answerId, output.size()), COMPLETED, c.id(), tools.known(c.name()), c.arguments()));
                default -> { }
            }
        }
        if (!output.isEmpty()) {
            ((ObjectNode) output.get(output.size() - 1)).put("status", status(answer.finishReason()));
        }
    }

    /** The id of an item: its kind, and its place in the answer. */
    static String id(String kind, String answerId, int index) {
        return kind + "_" + answerId + "_" + index;
    }

    static ObjectNode message(String id, String status, ArrayNode content) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("type", "message").put("status", status)
                .put("role", "assistant");
        json.set("content", content);
        return json;
    }

    /** @param logprobs as chat completions has them, or null */
    static ObjectNode text(String text, JsonNode logprobs) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("type", "output_text").put("text", text);
        json.putArray("annotations");
        json.set("logprobs", logprobs != null && logprobs.path("content").isArray() ? logprobs.get("content")
                : Json.MAPPER.createArrayNode());
        return json;
    }

    static ObjectNode refusal(String text) {
        return Json.MAPPER.createObjectNode().put("type", "refusal").put("refusal", text);
    }

    /**
     * Thoughts: in plain text, sealed, or both, where the seal is the provider's signature under the text.
     *
     * @param text or null
     * @param sealed or null
     */
    static ObjectNode reasoning(String id, String status, String text, String sealed) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("type", "reasoning").put("status", status);
        json.putArray("summary");
        if (text != null) {
            json.putArray("content").add(thought(text));
        }
        return sealed == null ? json : json.put("encrypted_content", text == null ? sealed : ResponsesRequests.SIGNATURE + sealed);
    }

    static ObjectNode thought(String text) {
        return Json.MAPPER.createObjectNode().put("type", "reasoning_text").put("text", text);
    }

    static ObjectNode call(String id, String status, String callId, ResponseTools.Known tool, String arguments) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("type", tool.custom() ? "custom_tool_call" : "function_call")
                .put("status", status).put("call_id", callId);
        if (tool.namespace() != null) {
            json.put("namespace", tool.namespace());
        }
        json.put("name", tool.name());
        return tool.custom() ? json.put("input", ResponseTools.input(arguments))
                : json.put("arguments", arguments.isEmpty() && !status.equals(IN_PROGRESS) ? NO_ARGUMENTS : arguments);
    }
}
