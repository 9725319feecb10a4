package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.IntNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What is asked of a model, in no provider's words: what a dialect is read into and a wire is written from, where the
 * two are not the same.
 *
 * @param toolChoice or null: not said
 * @param options everything else, by OpenAI's names where OpenAI has one ({@code max_tokens}, {@code temperature},
 *                {@code stop} (always an array), {@code response_format} …), by the dialect's own where not
 */
public record Prompt(List<Message> messages, List<Tool> tools, ToolChoice toolChoice, Map<String, JsonNode> options) {

    private static final String PARALLEL = "parallel_tool_calls";

    /** The texts of the system messages, in one piece; null if there is none. */
    public String system() {
        StringBuilder system = new StringBuilder();
        for (Message message : messages) {
            if (message.role() == Message.Role.SYSTEM) {
                system.append(system.isEmpty() ? "" : "\n\n").append(message.text());
            }
        }
        return system.isEmpty() ? null : system.toString();
    }

    /** The messages that are not the system's. */
    public List<Message> conversation() {
        return messages.stream().filter(m -> m.role() != Message.Role.SYSTEM).toList();
    }

    /**
     * The same with nothing said of how tools are called where there are none: OpenAI and Anthropic refuse that (API
     * references, "Create chat completion" and "Create a message").
     *
     * @throws RequestRejected if a tool must be called
     */
    public Prompt settled() {
        if (!tools.isEmpty() || toolChoice == null && !options.containsKey(PARALLEL)) {
            return this;
        }
        if (toolChoice != null && toolChoice.isForced()) {
            throw new RequestRejected("VALIDATION_ERROR", "tool_choice demands a tool, and there is none.",
                    new ChatException.Detail("tool_choice", "There is no tool that could be called."));
        }
        return new Prompt(messages, tools, null, options).without(PARALLEL);
    }

    /** The same without an option. */
    public Prompt without(String option) {
        Map<String, JsonNode> rest = new LinkedHashMap<>(options);
        rest.remove(option);
        return new Prompt(messages, tools, toolChoice, rest);
    }

    /** The same with an agent's prompt before it, and its defaults where the caller said nothing. */
    public Prompt of(Agent agent) {
        if (agent == null) {
            return this;
        }
        List<Message> all = new ArrayList<>(messages);
        if (agent.systemPrompt() != null) {
            all.add(0, new Message(Message.Role.SYSTEM, new Part.Text(agent.systemPrompt())));
        }
        Map<String, JsonNode> more = new LinkedHashMap<>(options);
        if (agent.temperature() != null) {
            more.putIfAbsent("temperature", DoubleNode.valueOf(agent.temperature()));
        }
        if (agent.maxTokens() != null) {
            more.putIfAbsent("max_tokens", IntNode.valueOf(agent.maxTokens()));
        }
        return new Prompt(all, tools, toolChoice, more);
    }
}
