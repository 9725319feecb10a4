package io.llmchat.chat;

/** Tokens of one answer, as the provider counted them. */
public record Usage(long promptTokens, long completionTokens, long totalTokens) {
}
