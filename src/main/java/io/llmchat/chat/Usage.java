package io.llmchat.chat;

/**
 * Tokens of one answer.
 *
 * @param cachedTokens of the prompt's, those read from the provider's cache
 * @param cacheWriteTokens of the prompt's, those written to the provider's cache
 * @param reasoningTokens of the completion's, those of thoughts
 * @param estimated not counted by the provider, but estimated from the length of the texts
 */
public record Usage(long promptTokens, long completionTokens, long totalTokens, long cachedTokens, long cacheWriteTokens,
                    long reasoningTokens, boolean estimated) {

    /** As the provider counted them. */
    public Usage(long promptTokens, long completionTokens) {
        this(promptTokens, completionTokens, promptTokens + completionTokens, 0, 0, 0, false);
    }

    /** Of texts of this many bytes, at four bytes a token. */
    public static Usage estimate(long promptBytes, long completionBytes) {
        long prompt = Math.ceilDiv(promptBytes, 4L);
        long completion = Math.ceilDiv(completionBytes, 4L);
        return new Usage(prompt, completion, prompt + completion, 0, 0, 0, true);
    }
}
