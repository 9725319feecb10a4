package io.llmchat.chat;

/**
 * The provider answered that the request itself is at fault (400, 404, 413, 422): the caller is told so, and nobody
 * else is asked. Does not count against the circuit breaker.
 */
public class RequestRejected extends ChatException {

    public RequestRejected(String code, String message) {
        super(code, message);
    }
}
