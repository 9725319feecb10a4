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

    /** More than any model can: what a provider counts beyond that is a fault, and its cost would fit nowhere. */
    private static final long MOST = 1_000_000_000;

    /** Keeps what is counted from 0 to a billion, and parts of the prompt's within it. */
    public Usage {
        promptTokens = Math.clamp(promptTokens, 0, MOST);
        completionTokens = Math.clamp(completionTokens, 0, MOST);
        totalTokens = Math.clamp(totalTokens, 0, 2 * MOST);
        cachedTokens = Math.clamp(cachedTokens, 0, promptTokens);
        cacheWriteTokens = Math.clamp(cacheWriteTokens, 0, promptTokens - cachedTokens);
        reasoningTokens = Math.clamp(reasoningTokens, 0, MOST);
    }

    /** As the provider counted them. */
    public Usage(long promptTokens, long completionTokens) {
        this(promptTokens, completionTokens, promptTokens + completionTokens, 0, 0, 0, false);
    }

    /** Of a prompt of so many bytes and an answer of so many characters, at four a token. */
    public static Usage estimate(long promptBytes, long completionLength) {
        long prompt = tokens(promptBytes);
        long completion = tokens(completionLength);
        return new Usage(prompt, completion, prompt + completion, 0, 0, 0, true);
    }

    /** The same with an estimate in place of zeros: some say them where they have not counted, and some count one of the two only. */
    public Usage orEstimated(long promptBytes, long completionLength) {
        if (totalTokens > promptTokens + completionTokens) {
            // of what is not told apart
            return this;
        }
        return with(promptTokens > 0 ? promptTokens : tokens(promptBytes), completionTokens > 0 ? completionTokens : tokens(completionLength));
    }

    private Usage with(long prompt, long completion) {
        return prompt == promptTokens && completion == completionTokens ? this
                : new Usage(prompt, completion, prompt + completion, cachedTokens, cacheWriteTokens, reasoningTokens, true);
    }

    private static long tokens(long length) {
        return Math.ceilDiv(length, 4L);
    }

    /** Whether a provider says that it has used them for this: it has counted them, and was not merely asked how many they are. */
    public boolean isUsedFor(Operation operation) {
        return !estimated && operation != Operation.COUNT_TOKENS;
    }

    /** Of both. */
    public Usage plus(Usage other) {
        return new Usage(promptTokens + other.promptTokens, completionTokens + other.completionTokens, totalTokens + other.totalTokens,
                cachedTokens + other.cachedTokens, cacheWriteTokens + other.cacheWriteTokens, reasoningTokens + other.reasoningTokens,
                estimated || other.estimated);
    }

    /**
     * Of an answer to so many bytes that has come to so many characters when it broke off: as many tokens as these are at
     * least, because who breaks off has not told all that it counted, and the prompt's, where it counts these at the end.
     */
    public Usage brokenOff(long promptBytes, long completionLength) {
        return with(promptTokens > 0 ? promptTokens : tokens(promptBytes), Math.max(completionTokens, tokens(completionLength)));
    }
}
