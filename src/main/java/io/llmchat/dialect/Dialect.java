package io.llmchat.dialect;

import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.http.ErrorTable;
import io.vertx.core.buffer.Buffer;
import java.util.function.UnaryOperator;

/**
 * A way of speaking with callers: how a request is read, and how answers and errors are said. Implementations are
 * stateless and safe for all threads.
 */
public interface Dialect {

    /**
     * Reads a request.
     *
     * @param header the value of a request header by its name; null if there is none
     * @throws ChatException {@code VALIDATION_ERROR} that names the field, if it cannot be used
     */
    ChatRequest read(byte[] body, UnaryOperator<String> header);

    /**
     * By which names an answer goes.
     *
     * @param chatId the session: the caller's, or a new one; null: there is none
     */
    record Names(String requestId, String answerId, String chatId) {
    }

    /** The writer of the answer to this request. */
    AnswerWriter writer(ChatRequest request, Names names);

    /** Whether a chat in this dialect is always part of a session. */
    default boolean sessions() {
        return false;
    }

    /** The header in which callers look for the id of their request, beside ours; null: they look for ours. */
    default String requestIdHeader() {
        return null;
    }

    /** The body of an error response. */
    Buffer error(ChatException error, ErrorTable.Entry entry, String requestId);

    /**
     * The dialect of a path: that of its API, also where no such path exists. What both APIs may have is Anthropic's for
     * its SDKs.
     *
     * @param header the value of a request header by its name; null if there is none
     */
    static Dialect of(String path, UnaryOperator<String> header) {
        if (!path.startsWith("/v1")) {
            return NativeDialect.INSTANCE;
        }
        return switch (path) {
            case "/v1/chat/completions" -> OpenAiDialect.CHAT;
            case "/v1/messages" -> AnthropicDialect.CHAT;
            case "/v1/messages/count_tokens" -> AnthropicDialect.COUNT_TOKENS;
            case "/v1/embeddings" -> OpenAiDialect.EMBEDDINGS;
            case "/v1/responses" -> ResponsesDialect.INSTANCE;
            default -> path.startsWith("/v1/messages/") || header.apply("anthropic-version") != null
                    ? AnthropicDialect.CHAT : OpenAiDialect.CHAT;
        };
    }
}
