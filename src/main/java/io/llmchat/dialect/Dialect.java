package io.llmchat.dialect;

import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.http.ErrorTable;
import io.vertx.core.buffer.Buffer;

/**
 * A way of speaking with callers: how a request is read, and how answers and errors are said. Implementations are
 * stateless and safe for all threads.
 */
public interface Dialect {

    /**
     * Reads a request body.
     *
     * @throws ChatException {@code VALIDATION_ERROR} that names the field, if it cannot be used
     */
    ChatRequest read(byte[] body);

    /** The writer of the answer to this request. */
    AnswerWriter writer(ChatRequest request, String requestId);

    /** The body of an error response. */
    Buffer error(ChatException error, ErrorTable.Entry entry, String requestId);

    /** The dialect of a path: that of its API, also where no such path exists. */
    static Dialect of(String path) {
        return path.startsWith("/v1") ? OpenAiDialect.INSTANCE : NativeDialect.INSTANCE;
    }
}
