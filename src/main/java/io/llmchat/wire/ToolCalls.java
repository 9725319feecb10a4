package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.ChatRequest;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * Which tool call each piece of an answer belongs to. OpenAI numbers the calls of a choice by {@code index} (API reference,
 * "The chat completion chunk object"). Of those who speak its wire some give all calls the same index (Ollama, issue
 * 15457), and some leave it out (Gemini's compatible endpoint): there a name that comes with another id begins another
 * call. Not safe for several threads.
 */
public final class ToolCalls {

    private static final String SIGNED = "__sig__";
    private static final String WRAPPED = "call__id__";
    /** OpenAI takes no longer names (API reference, "Create chat completion", {@code tools}), nor does Gemini; Anthropic does. */
    private static final int MAX_NAME = 64;
    private static final Pattern PLAIN = Pattern.compile("[a-zA-Z0-9_-]+");

    /**
     * @param index the one it has here, where no two calls of a choice have the same
     * @param id the provider's, or empty
     */
    private record Call(int index, String id) {
    }

    /** By choice and the provider's index, of several calls the last: more of its arguments may follow. */
    private final Map<Long, Call> last = new HashMap<>();
    private final Set<Long> taken = new HashSet<>();

    /**
     * Whether a call begins with this piece; from now on what goes by its index is part of it.
     *
     * @param said the provider's index, or the place in its list
     * @param numbered whether the provider said an index
     * @param id or empty
     * @param name of the function, or empty
     */
    boolean begins(int choice, int said, boolean numbered, String id, String name) {
        Call before = last.get(key(choice, said));
        if (before != null) {
            boolean known = id.isEmpty() || before.id().isEmpty() ? numbered : id.equals(before.id());
            if (known || name.isEmpty()) {
                return false;
            }
        }
        int free = before == null ? said : before.index();
        while (!taken.add(key(choice, free))) {
            free++;
        }
        last.put(key(choice, said), new Call(free, id));
        return true;
    }

    /** The index here of the call that goes by the provider's. */
    int index(int choice, int said) {
        return last.get(key(choice, said)).index();
    }

    /**
     * An id for a call that comes without one. No other call has it, in whatever answer: Anthropic refuses a conversation in
     * which two have the same ("tool_use ids must be unique"). OpenAI takes 40 characters at most.
     */
    static String newId() {
        return "call_" + UUID.randomUUID().toString().replace("-", "");
    }

    /** The arguments of a function as JSON text. As OpenAI has them they are a text; some have the object itself (older TGI). */
    static String arguments(JsonNode function) {
        JsonNode arguments = function.path("arguments");
        return arguments.isObject() ? arguments.toString() : arguments.asText("");
    }

    // --- names

    /** The name of a tool for those who take no longer ones: its beginning, and what tells it from others that begin so. */
    static String shortName(String name) {
        return name.length() <= MAX_NAME ? name
                : name.substring(0, MAX_NAME - 9) + "_" + HexFormat.of().formatHex(Bytes.sha256(Json.utf8(name)), 0, 4);
    }

    /**
     * The name under which a caller knows a tool.
     *
     * @param request has the tools, in Anthropic's words
     */
    public static String fullName(String name, ChatRequest request) {
        if (name.length() == MAX_NAME && request.has("tools")) {
            for (JsonNode tool : request.member("tools")) {
                if (shortName(tool.path("name").asText()).equals(name)) {
                    return tool.path("name").asText();
                }
            }
        }
        return name;
    }

    // --- ids

    /**
     * The id by which a caller knows a call that brings a signature: Gemini 3 refuses the conversation without it (Gemini API,
     * "Thought signatures"), other dialects have no place for it, and every caller sends the id back.
     */
    static String signedId(String id, String signature) {
        return id + SIGNED + encode(signature);
    }

    /**
     * The id by which Anthropic and its callers know a call: letters, digits, {@code _} and {@code -} only (API reference,
     * "Create a message", {@code tool_use}). Another one is wrapped, so that its provider gets it back as it was: Kimi's
     * {@code functions.f:0} stands in its prompt, and a model that reads others there calls its tools wrongly.
     */
    public static String anthropicId(String id) {
        return PLAIN.matcher(id).matches() ? id : WRAPPED + encode(id);
    }

    /** The provider's own id. */
    static String plainId(String id) {
        String own = unwrapped(id);
        int at = own.lastIndexOf(SIGNED);
        return at < 0 ? own : own.substring(0, at);
    }

    /** The signature in an id; null if there is none. */
    static String signature(String id) {
        String own = unwrapped(id);
        int at = own.lastIndexOf(SIGNED);
        return at < 0 ? null : decode(own.substring(at + SIGNED.length()), null);
    }

    private static String unwrapped(String id) {
        return id.startsWith(WRAPPED) ? decode(id.substring(WRAPPED.length()), id) : id;
    }

    private static String encode(String text) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(Json.utf8(text));
    }

    private static String decode(String text, String otherwise) {
        try {
            return new String(Base64.getUrlDecoder().decode(text), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            // it is the caller's own
            return otherwise;
        }
    }

    private static long key(int choice, int index) {
        return (long) choice << 32 | index & 0xFFFF_FFFFL;
    }
}
