package io.llmchat.chat;

import java.util.List;

/**
 * An answer that was not streamed: as the provider's bytes, for a caller whose dialect is the provider's wire, or else
 * in parts.
 *
 * @param json the answer byte for byte as the provider sent it; null: it is in {@code parts}
 * @param parts what it says; empty where {@code json} is there
 * @param finishReason in OpenAI's words, of the last choice
 * @param usage the tokens counted, or null
 */
public record WholeAnswer(byte[] json, List<AnswerPart> parts, int textLength, String finishReason, Usage usage) {
}
