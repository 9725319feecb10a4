package io.llmchat.chat;

/**
 * The provider failed after its first token had reached the caller. Counts against its circuit breaker, and cannot
 * be made good by asking again.
 */
public class BrokenAnswer extends ChatException {

    public BrokenAnswer(String code, String message) {
        super(code, message);
    }
}
