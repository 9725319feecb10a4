package io.llmchat.step;

import io.llmchat.chat.Chat;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** Says that something is to be stored before the caller sees the end of the answer: {@link Idempotency#settle} sends it then. */
public final class HoldEnd implements Processor {

    @Override
    public void process(Exchange exchange) {
        Chat.of(exchange).hold();
    }
}
