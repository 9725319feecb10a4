package io.llmchat.chat;

import java.util.Map;

/**
 * What the caller asked for: the body as it came, and where its members stand in it, so that what we do not know
 * can be passed on as it is.
 *
 * @param model what the caller named: an agent's id or {@code <provider>/<model>}; null if nothing
 * @param includeUsage whether the caller asked for a usage chunk at the end of the stream
 * @param chatId the session the caller named, or null
 * @param members what the provider shall get, by OpenAI's names and in order, with the place of each value in
 *                {@code body}
 */
public record ChatRequest(byte[] body, String model, boolean stream, boolean includeUsage, String chatId,
                          Map<String, Slice> members) {

    /** A value's bytes: from {@code start} up to, not including, {@code end}. */
    public record Slice(int start, int end) {
    }

    public boolean has(String member) {
        return members.containsKey(member);
    }
}
