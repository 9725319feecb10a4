package io.llmchat.chat;

/**
 * The provider failed before anything reached the caller: it may be asked again, or another one instead.
 * Counts against its circuit breaker.
 */
public class ProviderFailure extends ChatException {

    public ProviderFailure(String code, String message) {
        super(code, message);
    }
}
