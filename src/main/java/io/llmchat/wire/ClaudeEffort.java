package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import java.util.List;
import java.util.Map;

/**
 * OpenAI's {@code reasoning_effort} in Anthropic's words (Anthropic, "Effort", "Thinking", "Thinking in tool and multi-turn
 * workflows").
 */
final class ClaudeEffort {

    /** Tokens of thought for OpenAI's words for effort that ask for any; the largest leave room in 32,000 of an answer. */
    private static final Map<String, Integer> THOUGHT = Map.of("minimal", 1_024, "low", 1_024, "medium", 8_192, "high", 24_576,
            "xhigh", 24_576, "max", 24_576);

    /** Fewer tokens for thoughts Anthropic refuses. */
    private static final int LEAST = 1_024;

    /** Tokens of an answer beside its thoughts. */
    private static final int TEXT = 1_024;

    /** Tokens of an answer of a model that thinks as hard as it does by itself, for its thoughts too. */
    static final int ROOM = THOUGHT.get("high") + TEXT;

    private ClaudeEffort() {
    }

    /** Says how hard the model is to try, where the caller did, and that it thinks. */
    static void write(ObjectNode json, Prompt prompt, Claude claude, List<String> warnings) {
        JsonNode said = prompt.options().get("reasoning_effort");
        if (said == null || json.has("thinking")) {
            return;
        }
        String effort = claude.effort(said.asText());
        if (effort != null) {
            json.withObjectProperty("output_config").put("effort", effort);
        }
        Integer thought = THOUGHT.get(said.asText());
        if (thought == null) {
            if (effort == null && !said.asText().equals("none")) {
                warnings.add("reasoning_effort");
            }
            return;
        }
        // a limit that somebody said is for thoughts and text
        boolean limited = prompt.options().containsKey("max_tokens");
        int tokens = limited ? Math.min(thought, json.path("max_tokens").asInt() - TEXT) : thought;
        boolean forced = prompt.toolChoice() != null && prompt.toolChoice().isForced();
        // thoughts and a tool that must be called are refused together by most
        if (forced || !claude.thinksAdaptively() && (tokens < LEAST || goesOnWithoutThoughts(prompt))) {
            if (effort == null) {
                warnings.add("reasoning_effort");
            }
            return;
        }
        if (claude.thinksAdaptively()) {
            // newer ones tell their thoughts only if asked for them
            json.putObject("thinking").put("type", "adaptive").put("display", "summarized");
        } else {
            json.putObject("thinking").put("type", "enabled").put("budget_tokens", tokens);
        }
        if (!limited) {
            // the answer has to fit behind the thoughts
            json.put("max_tokens", Math.max(json.path("max_tokens").asInt(), thought + TEXT));
        }
    }

    /**
     * Whether the model is to go on from an answer of its own, after the tools that it called or from its end, which does
     * not begin with thoughts that can be proved: models that are given tokens for them refuse to think then.
     */
    private static boolean goesOnWithoutThoughts(Prompt prompt) {
        List<Message> messages = prompt.conversation();
        Message answer = null;
        for (Message message : messages) {
            answer = message.role() == Role.ASSISTANT ? message : answer;
        }
        return answer != null && (answer == messages.getLast() || answer.parts().stream().anyMatch(Part.ToolCall.class::isInstance))
                && answer.parts().stream().noneMatch(p -> p instanceof Part.SealedReasoning || p instanceof Part.Reasoning r && r.signature() != null);
    }
}
