package io.llmchat.chat;

/**
 * An answer that was not streamed.
 *
 * @param json the answer as an OpenAI completion, byte for byte as the provider sent it
 */
public record WholeAnswer(byte[] json, String finishReason, Usage usage) {
}
