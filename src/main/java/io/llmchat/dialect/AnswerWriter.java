package io.llmchat.dialect;

import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.vertx.core.buffer.Buffer;

/**
 * Says one answer in the caller's dialect. Has the state of that answer (event numbers, ids): one for each request,
 * used by one thread at a time. Writes bytes and knows nothing of HTTP.
 */
public interface AnswerWriter {

    /** The wire whose bytes it hands on as they are; null: it takes every answer in parts. */
    String wire();

    /** The whole body of an answer that is not streamed; {@code model} is the one that answered. */
    Buffer whole(WholeAnswer answer, String model);

    /**
     * What comes before the first event of the provider.
     *
     * @param name what the caller named: an agent or a provider's model
     * @param model the one that answers
     */
    void start(String name, String model, Buffer out);

    /** One event of the provider; may write nothing. */
    void event(ChatEvent event, Buffer out);

    /** The proper end of a stream; {@code usage} is what it took in all. */
    void end(Usage usage, Buffer out);

    /** The last event of a stream that failed. */
    void error(ChatException error, ErrorTable.Entry entry, Buffer out);
}
