package io.llmchat.chat;

/**
 * What was asked cannot be said to this provider without changing its meaning; another one may be able to. Does not
 * count against the circuit breaker.
 */
public class UnsupportedParameter extends ProviderRefusal {

    /** @param field what cannot be said, as a path such as {@code messages[0].content[1]} */
    public UnsupportedParameter(String field, String message) {
        super("UNSUPPORTED_PARAMETER", message, new Detail(field, message));
    }
}
