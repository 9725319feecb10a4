package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.vertx.core.buffer.Buffer;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** Sends what was held back until something was stored: a whole answer, or the end of a stream. */
public final class Deliver implements Processor {

    @Override
    public void process(Exchange exchange) {
        Chat chat = Chat.of(exchange);
        if (chat.heldAnswer() == null) {
            return;
        }
        if (chat.client().committed()) {
            chat.client().end(Buffer.buffer(chat.heldAnswer()));
        } else {
            chat.client().json(200, Buffer.buffer(chat.heldAnswer()));
        }
    }
}
