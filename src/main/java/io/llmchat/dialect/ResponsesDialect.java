package io.llmchat.dialect;

import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.http.ErrorTable;
import io.vertx.core.buffer.Buffer;
import java.util.function.UnaryOperator;

/** The dialect of OpenAI's responses (API reference, "Create a model response"). */
public final class ResponsesDialect implements Dialect {

    public static final ResponsesDialect INSTANCE = new ResponsesDialect();

    private ResponsesDialect() {
    }

    @Override
    public ChatRequest read(byte[] body, UnaryOperator<String> header) {
        throw new ChatException("NOT_FOUND", "There is nothing at this path.");
    }

    @Override
    public AnswerWriter writer(ChatRequest request, Names names) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Buffer error(ChatException error, ErrorTable.Entry entry, String requestId) {
        return OpenAiDialect.errorOf(error, entry);
    }
}
