package io.llmchat.dialect;

import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Bytes;
import io.vertx.core.buffer.Buffer;

/** Hands an answer on as the provider gave it: for what only one wire has, and never streams. */
record PassingWriter(String wire) implements AnswerWriter {

    @Override
    public Buffer whole(WholeAnswer answer, String model) {
        return Bytes.buffer(answer.json());
    }

    @Override
    public void start(String name, String model, Buffer out) {
        throw neverStreamed();
    }

    @Override
    public void event(ChatEvent event, Buffer out) {
        throw neverStreamed();
    }

    @Override
    public void end(Usage usage, Buffer out) {
        throw neverStreamed();
    }

    @Override
    public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
        throw neverStreamed();
    }

    private static IllegalStateException neverStreamed() {
        return new IllegalStateException("this answer has no stream");
    }
}
