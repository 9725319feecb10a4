package io.llmchat.chat;

/** What a request asks of a provider. Not every wire knows every one. */
public enum Operation {
    /** An answer to a conversation. */
    CHAT,
    /** Vectors for texts (OpenAI API reference, "Create embeddings"). */
    EMBEDDINGS,
    /** How many tokens a conversation has (Anthropic API reference, "Count message tokens"). */
    COUNT_TOKENS
}
