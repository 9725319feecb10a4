package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.UnsupportedParameter;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What a wire cannot say: an error where leaving it out would change the meaning, a warning where not. */
final class Unsayable {

    private Unsayable() {
    }

    static UnsupportedParameter field(String field) {
        return new UnsupportedParameter(field, field + " cannot be passed on to the provider of this model.");
    }

    static UnsupportedParameter operation(String what) {
        return new UnsupportedParameter("model", "The provider of this model cannot " + what + ".");
    }

    /**
     * Looks at the options that a wire does not know.
     *
     * @param known the options it says itself
     * @param needed the options without which the answer would not be what was asked for
     * @throws UnsupportedParameter for one of those
     */
    static void options(Map<String, JsonNode> options, Set<String> known, Set<String> needed, List<String> warnings) {
        options.forEach((name, value) -> {
            if (known.contains(name) || value.isNull() || harmless(name, value)) {
                return;
            }
            if (needed.contains(name)) {
                throw field(name);
            }
            warnings.add(name);
        });
    }

    /** Notes that messages have names of who speaks, for a wire that does not know any. */
    static void names(Prompt prompt, List<String> warnings) {
        if (prompt.messages().stream().anyMatch(message -> message.name() != null)) {
            warnings.add("messages (name)");
        }
    }

    /** Values that ask for what everybody does anyway. */
    private static boolean harmless(String name, JsonNode value) {
        return switch (name) {
            case "n" -> value.asInt() == 1;
            case "logprobs" -> value.isBoolean() && !value.booleanValue();
            case "service_tier" -> value.asText().equals("auto") || value.asText().equals("default");
            case "modalities" -> value.size() == 1 && value.path(0).asText().equals("text");
            case "response_format" -> "text".equals(value.path("type").asText());
            default -> false;
        };
    }
}
