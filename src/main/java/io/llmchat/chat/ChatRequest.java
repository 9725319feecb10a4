package io.llmchat.chat;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;

/**
 * What the caller asked for: the body as it came, and where its members stand in it, so that what we do not know can be
 * passed on as it is to a provider that speaks the caller's dialect; for all others there is {@link #prompt()}.
 *
 * @param wire the wire by whose names the members go: {@code openai} or {@code anthropic}; null: no provider's
 * @param model what the caller named: an agent's id or {@code <provider>/<model>}; null if nothing
 * @param includeUsage whether the caller asked for a usage chunk at the end of the stream
 * @param resumable whether the events of the stream are numbered, so that the caller can come back for the rest
 * @param chatId the session this is part of, or null
 * @param members what the provider shall get, in order, with the place of each value in {@code body}
 * @param extras what belongs to no wire (variables, metadata), by the dialect's names; it is in {@link #prompt()} only
 * @param headers what of the caller's request head belongs to its wire
 * @param reader how the members are read in neutral form; called when a provider needs that
 */
public record ChatRequest(Operation operation, String wire, byte[] body, String model, boolean stream, boolean includeUsage,
                          boolean resumable, String chatId, Map<String, Slice> members, Map<String, Slice> extras,
                          Map<String, String> headers, Function<ObjectNode, Prompt> reader) {

    private static final Set<String> SYSTEM = Set.of("system", "developer");

    /** A value's bytes: from {@code start} up to, not including, {@code end}. */
    public record Slice(int start, int end) {
    }

    /** The same request in this session. */
    public ChatRequest in(String session) {
        return Objects.equals(session, chatId) ? this
                : new ChatRequest(operation, wire, body, model, stream, includeUsage, resumable, session, members, extras, headers, reader);
    }

    /**
     * The same request with these messages, an array in OpenAI's words, before its own. What the system says at the
     * beginning stays there: many models take it nowhere else.
     */
    public ChatRequest withHistory(JsonNode history) {
        Slice own = members.get("messages");
        int at = own.start();
        boolean end = false;
        try (JsonParser p = Json.FACTORY.createParser(body, own.start(), own.end() - own.start())) {
            p.nextToken();
            do {
                end = p.nextToken() == JsonToken.END_ARRAY;
                at = own.start() + (int) p.currentTokenLocation().getByteOffset();
            } while (!end && isSystem(Json.MAPPER.readTree(p)));
        } catch (Json.NumberTooLarge e) {
            throw ChatException.unreadable(e);
        } catch (IOException e) {
            throw new IllegalStateException("messages that were read before cannot be read again", e);
        }
        String list = history.toString();
        String inside = list.substring(1, list.length() - 1);
        return with(at, at, Json.utf8(end ? "," + inside : inside + ","));
    }

    /** The same request without these members. */
    public ChatRequest without(Set<String> names) {
        Map<String, Slice> rest = new LinkedHashMap<>(members);
        rest.keySet().removeAll(names);
        return new ChatRequest(operation, wire, body, model, stream, includeUsage, resumable, chatId, rest, extras, headers, reader);
    }

    /** Whether a message, in OpenAI's words, is the system's. */
    public static boolean isSystem(JsonNode message) {
        return SYSTEM.contains(message.path("role").asText());
    }

    /** The same request with these messages, an array in OpenAI's words, in place of its own. */
    public ChatRequest withMessages(JsonNode messages) {
        Slice own = members.get("messages");
        return with(own.start(), own.end(), Json.utf8(messages.toString()));
    }

    /** With these bytes in place of those from {@code from} up to {@code to}. */
    private ChatRequest with(int from, int to, byte[] bytes) {
        int by = bytes.length - (to - from);
        byte[] changed = new byte[body.length + by];
        System.arraycopy(body, 0, changed, 0, from);
        System.arraycopy(bytes, 0, changed, from, bytes.length);
        System.arraycopy(body, to, changed, from + bytes.length, body.length - to);
        // a value that ends where these do has them in it
        int behind = Math.max(from, to - 1);
        return new ChatRequest(operation, wire, changed, model, stream, includeUsage, resumable, chatId, moved(members, behind, by),
                moved(extras, behind, by), headers, reader);
    }

    private static Map<String, Slice> moved(Map<String, Slice> slices, int from, int by) {
        Map<String, Slice> moved = new LinkedHashMap<>();
        slices.forEach((name, s) -> moved.put(name, new Slice(s.start() >= from ? s.start() + by : s.start(),
                s.end() > from ? s.end() + by : s.end())));
        return moved;
    }

    /** How many answers to it are asked for. */
    public int choices() {
        return has("n") ? Math.max(1, member("n").asInt(1)) : 1;
    }

    public boolean has(String member) {
        return members.containsKey(member);
    }

    /** Whether there is such a member, and it is not {@code null}, which says nothing. */
    public boolean says(String member) {
        Slice slice = members.get(member);
        return slice != null && body[slice.start()] != 'n';
    }

    /** The value of a member; null if there is none. */
    public JsonNode member(String name) {
        Slice slice = members.get(name);
        return slice == null ? null : read(slice);
    }

    /** The value of something that belongs to no wire; null if there is none. */
    public JsonNode extra(String name) {
        Slice slice = extras.get(name);
        return slice == null ? null : read(slice);
    }

    private JsonNode read(Slice slice) {
        try {
            return Json.readAgain(body, slice.start(), slice.end());
        } catch (Json.NumberTooLarge e) {
            throw ChatException.unreadable(e);
        } catch (IOException e) {
            throw new IllegalStateException("a member that was read before cannot be read again", e);
        }
    }

    /** The request in neutral form. Reads the body again: for providers of another wire only. */
    public Prompt prompt() {
        ObjectNode json = Json.MAPPER.createObjectNode();
        members.forEach((name, slice) -> json.set(name, read(slice)));
        extras.forEach((name, slice) -> json.set(name, read(slice)));
        return reader.apply(json);
    }
}
