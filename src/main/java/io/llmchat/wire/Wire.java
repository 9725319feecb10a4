package io.llmchat.llm;

import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.WholeAnswer;
import io.vertx.core.buffer.Buffer;
import java.util.function.Consumer;

/**
 * How a provider is spoken with: requests into bytes, bytes into events. Pure functions: no HTTP, no Camel, no state;
 * safe for all threads.
 */
public interface Wire {

    /** The path of a chat below the provider's base URL. */
    String path();

    /** The request's body for this model; {@code agent} may be null. */
    Buffer request(ChatRequest request, Agent agent, String model);

    /**
     * Reads one event of a stream.
     *
     * @param text whether the text itself is wanted, not only that there is some
     * @return false if this event is the end of the stream
     * @throws ChatException if the provider says that it failed
     * @throws MalformedAnswer if it cannot be read
     */
    boolean event(String type, byte[] bytes, int from, int to, boolean text, Consumer<ChatEvent> sink);

    /**
     * Reads an answer that is not streamed.
     *
     * @throws ChatException if the provider says that it failed
     * @throws MalformedAnswer if it cannot be read
     */
    WholeAnswer answer(byte[] body);

    /** What a response that is not 200 means: a failure or a refusal of the named provider. */
    ChatException failure(String provider, int status, String retryAfter, byte[] body);

    /** Bytes of a provider that are not what its wire says. */
    final class MalformedAnswer extends RuntimeException {
        MalformedAnswer(String message) {
            super(message, null, false, false);
        }
    }
}
