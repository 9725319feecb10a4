package io.llmchat.chat;

/**
 * The request itself is at fault, as the provider answered (400, 404, 413, 422) or would: the caller is told so, and
 * nobody else is asked. Does not count against the circuit breaker.
 */
public class RequestRejected extends ChatException {

    public RequestRejected(String code, String message, Detail... details) {
        super(code, message, details);
    }
}
