package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.json.Json;
import java.util.Arrays;

/**
 * Thoughts in Anthropic's words whose signature is empty: those of other providers' models, as callers got them from us
 * and send them back. A Claude refuses them (Anthropic, "Thinking", preserving thinking blocks), and needs none of others.
 */
final class UnsignedThoughts {

    private static final byte[] SIGNATURE = Json.utf8("\"signature\"");

    private UnsignedThoughts() {
    }

    /** Whether there may be any; reads no JSON, as there hardly ever are. */
    static boolean mayBeIn(byte[] json, Slice messages) {
        for (int i = messages.start(); i <= messages.end() - SIGNATURE.length; i++) {
            if (json[i] == '"' && Arrays.equals(json, i, i + SIGNATURE.length, SIGNATURE, 0, SIGNATURE.length)) {
                int colon = blanks(json, i + SIGNATURE.length);
                int value = blanks(json, colon + 1);
                if (json[colon] == ':' && json[value] == '"' && json[value + 1] == '"') {
                    return true;
                }
            }
        }
        return false;
    }

    /** The place of the next byte that is not a blank: there is one, as the array ends with a bracket. */
    private static int blanks(byte[] json, int from) {
        int at = from;
        while (json[at] == ' ' || json[at] == '\n' || json[at] == '\r' || json[at] == '\t') {
            at++;
        }
        return at;
    }

    /** Takes them out of these messages, and messages in which there is nothing else. */
    static void remove(ArrayNode messages) {
        for (int i = messages.size() - 1; i >= 0; i--) {
            if (messages.get(i).path("content") instanceof ArrayNode content && !content.isEmpty()
                    && content.removeIf(UnsignedThoughts::isOne).isEmpty()) {
                messages.remove(i);
            }
        }
    }

    private static boolean isOne(JsonNode block) {
        return block.path("type").asText().equals("thinking") && block.path("signature").isTextual() && block.path("signature").asText().isEmpty();
    }
}
