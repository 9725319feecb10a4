package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What the dialects share when they read a request: one pass over the JSON that checks the members we know, passes
 * over the others, and notes where each value stands. No name may stand in an object twice: of the two, a provider could
 * read the one that we did not.
 */
final class Requests {

    static final List<String> OPENAI_ROLES = List.of("system", "developer", "user", "assistant", "tool", "function");
    static final List<String> ANTHROPIC_ROLES = List.of("user", "assistant", "system");

    /** The names that the gateway goes by, or puts in: by themselves, found in any case. */
    private static final Map<String, String> KNOWN = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);

    static {
        for (String name : List.of("model", "messages", "input", "instructions", "system", "stream", "stream_options", "metadata", "n",
                "max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "top_k", "stop", "stop_sequences",
                "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "reasoning",
                "reasoning_effort", "thinking", "user", "logprobs", "top_logprobs", "seed", "presence_penalty", "frequency_penalty",
                "logit_bias", "service_tier", "agentId", "chatId", "maxTokens", "variables")) {
            KNOWN.put(name, name);
        }
    }

    private static final int MAX_SESSION = 128;
    private static final int MAX_MODEL = 512;

    /** Looks at the value of one member; the parser stands on its first token, and must stand on its last after. */
    interface Member {
        void read(String name, JsonParser value) throws IOException;
    }

    private Requests() {
    }

    /**
     * Reads the object in {@code body} and returns the place of every member's value.
     *
     * @param trees whether trees may be made of them, as of every chat: embeddings have numbers by the million
     * @throws ChatException {@code VALIDATION_ERROR}, if it is no JSON object or a member is refused
     */
    static Map<String, Slice> members(byte[] body, boolean trees, Member member) {
        try (JsonParser p = Json.strict(body, trees)) {
            if (p.nextToken() != JsonToken.START_OBJECT) {
                throw ChatException.invalid("body", "The request body must be a JSON object.");
            }
            Map<String, Slice> members = new LinkedHashMap<>(16);
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                p.nextToken();
                int start = (int) p.currentTokenLocation().getByteOffset();
                member.read(name, p);
                p.skipChildren();
                p.finishToken();
                members.put(name, new Slice(start, (int) p.currentLocation().getByteOffset()));
            }
            if (p.nextToken() != null) {
                throw ChatException.invalid("body", "The request body has something after its JSON object.");
            }
            noLookalikes(members);
            return members;
        } catch (IOException e) {
            throw ChatException.unreadable(e);
        }
    }

    /** Checks a {@code messages} array: not empty, objects with a known role and a content that can be one. */
    static void messages(JsonParser p, List<String> roles) throws IOException {
        if (p.currentToken() != JsonToken.START_ARRAY) {
            throw ChatException.invalid("messages", "messages must be an array.");
        }
        int i = 0;
        for (; p.nextToken() != JsonToken.END_ARRAY; i++) {
            if (p.currentToken() != JsonToken.START_OBJECT) {
                throw ChatException.invalid("messages[" + i + "]", "A message must be an object with a role and a content.");
            }
            message(p, i, roles);
        }
        if (i == 0) {
            throw ChatException.invalid("messages", "messages must have at least one message.");
        }
    }

    private static void message(JsonParser p, int i, List<String> roles) throws IOException {
        boolean role = false;
        while (p.nextToken() == JsonToken.FIELD_NAME) {
            String name = p.currentName();
            JsonToken value = p.nextToken();
            if ("role".equals(name)) {
                if (value != JsonToken.VALUE_STRING || !roles.contains(p.getText())) {
                    throw ChatException.invalid("messages[" + i + "].role",
                            "role must be one of " + String.join(", ", roles) + ".");
                }
                role = true;
            } else if ("content".equals(name) && value != JsonToken.VALUE_STRING && value != JsonToken.START_ARRAY
                    && value != JsonToken.VALUE_NULL) {
                throw ChatException.invalid("messages[" + i + "].content",
                        "content must be a string, an array of content parts, or null.");
            }
            p.skipChildren();
        }
        if (!role) {
            throw ChatException.invalid("messages[" + i + "].role", "A message needs a role.");
        }
    }

    static String string(String name, JsonParser p) throws IOException {
        if (p.currentToken() == JsonToken.VALUE_NULL) {
            return null;
        }
        if (p.currentToken() != JsonToken.VALUE_STRING) {
            throw ChatException.invalid(name, name + " must be a string.");
        }
        return p.getText();
    }

    /** The name of a session: it stands in paths and logs. */
    static String session(String name, JsonParser p) throws IOException {
        String id = string(name, p);
        if (id != null && (id.isEmpty() || id.equals(".") || id.equals("..") || !isName(id, MAX_SESSION))) {
            throw ChatException.invalid(name, name + " takes 1 to " + MAX_SESSION
                    + " characters, none of them a control character, and neither . nor .. alone.");
        }
        return id;
    }

    /** The name of a model or an agent: it stands in the database. */
    static String model(String name, JsonParser p) throws IOException {
        String given = string(name, p);
        if (given != null && !isName(given, MAX_MODEL)) {
            throw ChatException.invalid(name, name + " takes at most " + MAX_MODEL + " characters, none of them a control character.");
        }
        return given;
    }

    private static boolean isName(String given, int max) {
        if (given.length() > max) {
            return false;
        }
        for (int i = 0, c; i < given.length(); i += Character.charCount(c)) {
            c = given.codePointAt(i);
            // half of a character is no character
            if (c < ' ' || c == 0x7f || Character.getType(c) == Character.SURROGATE) {
                return false;
            }
        }
        return true;
    }

    /**
     * Some providers know names in any case: of two that differ in it only they might read the one that we did not, and
     * where we find nothing something else than we took for granted.
     */
    private static void noLookalikes(Map<String, Slice> members) {
        boolean lower = true;
        for (String name : members.keySet()) {
            lower &= isLowerCase(name);
        }
        if (lower) {
            return;
        }
        // an order, not a loop in a loop: a body may have names by the hundred thousand
        Map<String, String> seen = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (String name : members.keySet()) {
            String before = seen.putIfAbsent(name, name);
            if (before != null) {
                String odd = isLowerCase(before) ? name : before;
                throw ChatException.invalid(odd, odd + " is there twice, the other one as " + (odd.equals(name) ? before : name) + ".");
            }
        }
        for (String name : members.keySet()) {
            String known = KNOWN.getOrDefault(name, name);
            if (!known.equals(name)) {
                throw ChatException.invalid(name, name + " is not known; it is called " + known + ".");
            }
        }
    }

    private static boolean isLowerCase(String name) {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (c >= 0x80 || c >= 'A' && c <= 'Z') {
                return false;
            }
        }
        return true;
    }

    static boolean bool(String name, JsonParser p) {
        return switch (p.currentToken()) {
            case VALUE_TRUE -> true;
            case VALUE_FALSE, VALUE_NULL -> false;
            default -> throw ChatException.invalid(name, name + " must be true or false.");
        };
    }

    static void number(String name, JsonParser p) {
        if (!p.currentToken().isNumeric() && p.currentToken() != JsonToken.VALUE_NULL) {
            throw ChatException.invalid(name, name + " must be a number.");
        }
    }

    static void integer(String name, JsonParser p) {
        if (p.currentToken() != JsonToken.VALUE_NUMBER_INT && p.currentToken() != JsonToken.VALUE_NULL) {
            throw ChatException.invalid(name, name + " must be a whole number.");
        }
    }

    static void object(String name, JsonParser p) {
        if (p.currentToken() != JsonToken.START_OBJECT && p.currentToken() != JsonToken.VALUE_NULL) {
            throw ChatException.invalid(name, name + " must be an object.");
        }
    }

    static void array(String name, JsonParser p) {
        if (p.currentToken() != JsonToken.START_ARRAY && p.currentToken() != JsonToken.VALUE_NULL) {
            throw ChatException.invalid(name, name + " must be an array.");
        }
    }
}
