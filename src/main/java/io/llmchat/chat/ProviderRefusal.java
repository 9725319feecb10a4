package io.llmchat.chat;

/**
 * The provider answered, and does not want us: our key or account is not accepted (401, 403, of some 400 and 429), or it
 * has no room for us now (429), or counts an answer that says nothing. Another provider may be asked. Does not count
 * against the circuit breaker.
 */
public class ProviderRefusal extends ChatException {

    private Usage usage;

    public ProviderRefusal(String code, String message, Detail... details) {
        super(code, message, details);
    }

    /** What it counts all the same; null: nothing. */
    public Usage usage() {
        return usage;
    }

    public ProviderRefusal withUsage(Usage usage) {
        this.usage = usage;
        return this;
    }

    /** The provider was not asked: its bulkhead is full. */
    public static ChatException full(String provider) {
        return new ProviderRefusal("OVERLOADED", "The provider '" + provider + "' has as many calls in progress as it may have.").retryAfter(1);
    }
}
