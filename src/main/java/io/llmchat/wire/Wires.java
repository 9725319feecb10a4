package io.llmchat.wire;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The wires by name, made with the options of a kamelet. */
public final class Wires {

    /** Every name that {@link #of} takes. */
    private static final List<String> NAMES = List.of("openai", "anthropic", "dify", "fastgpt", "mapped", "demo");

    private Wires() {
    }

    /**
     * Makes a wire.
     *
     * @param given its options by name; one that is absent or empty has its default
     * @throws IllegalArgumentException if there is no such wire, or an option cannot be used
     */
    public static Wire of(String name, Map<String, Object> given) {
        Map<String, Object> options = new HashMap<>(given);
        Wire wire = switch (name) {
            case "openai" -> new OpenAiWire(true, text(options, "tokenLimit", OpenAiWire.MAX_TOKENS),
                    text(options, "thoughts", OpenAiWire.NO_THOUGHTS), Boolean.parseBoolean(text(options, "askUsage", "true")));
            case "demo" -> new OpenAiWire(false, OpenAiWire.MAX_TOKENS, OpenAiWire.NO_THOUGHTS, true);
            case "anthropic" -> new AnthropicWire(text(options, "version", "2023-06-01"), number(options, "maxTokens", "4096"));
            case "dify" -> new DifyWire();
            case "fastgpt" -> new FastGptWire(Boolean.parseBoolean(text(options, "detail", "true")));
            case "mapped" -> new MappedWire(new MappedWire.Options(text(options, "path", ""), text(options, "requestTemplate", ""),
                    text(options, "framing", "sse"), text(options, "textPointer", ""), text(options, "answerTextPointer", ""),
                    text(options, "reasoningPointer", ""), text(options, "finishReasonPointer", ""),
                    text(options, "promptTokensPointer", ""), text(options, "completionTokensPointer", ""),
                    text(options, "errorPointer", ""), text(options, "endEvent", ""), text(options, "keyHeader", "Authorization"),
                    // that there is none has to be said
                    text(options, "keyPrefix", options.containsKey("keyPrefix") ? "" : "Bearer ")));
            default -> throw new IllegalArgumentException("llm:" + name + " is no wire; there are " + NAMES);
        };
        if (!options.isEmpty()) {
            throw new IllegalArgumentException("llm:" + name + " has no option " + options.keySet().iterator().next());
        }
        return wire;
    }

    private static String text(Map<String, Object> options, String name, String otherwise) {
        Object value = options.remove(name);
        return value == null || value.toString().isEmpty() ? otherwise : value.toString();
    }

    private static int number(Map<String, Object> options, String name, String otherwise) {
        String value = text(options, name, otherwise);
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(name + " is '" + value + "'; it takes a whole number");
        }
    }
}
