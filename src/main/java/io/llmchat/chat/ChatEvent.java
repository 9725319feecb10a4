package io.llmchat.chat;

/**
 * One event of a streamed answer. Its bytes are only there while it is handed on: whoever keeps them copies them.
 *
 * @param bytes holds the event as an OpenAI chunk, byte for byte as the provider sent it
 * @param from where the chunk begins in {@code bytes}
 * @param to where it ends
 * @param content text for the reader, or null
 * @param reasoning the model's thoughts, where the provider tells them, or null
 * @param token whether there is anything of the answer in it: the role alone is not
 * @param finishReason why the answer ends here, or null
 * @param usage the tokens counted, or null
 * @param usageOnly it carries usage and no choice: the extra chunk that is sent on request only
 */
public record ChatEvent(byte[] bytes, int from, int to, String content, String reasoning, boolean token,
                        String finishReason, Usage usage, boolean usageOnly) {
}
