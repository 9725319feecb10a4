package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.wire.Wire;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultProducer;

/** One call of a provider: returns when the answer is complete, throws why there is none. Blocks its thread. */
final class LlmProducer extends DefaultProducer {

    /** The exchange property with the provider's own name for the conversation, before and after the call. */
    private static final String CONVERSATION = "conversation";

    private final LlmEndpoint endpoint;

    LlmProducer(LlmEndpoint endpoint) {
        super(endpoint);
        this.endpoint = endpoint;
    }

    @Override
    public void process(Exchange exchange) throws Exception {
        Chat chat = Chat.of(exchange);
        Wire wire = endpoint.wire();
        try {
            Wire.Call call = wire.call(new Wire.Asked(chat.request(), chat.agent(), chat.target().model(), chat.answerId(),
                    exchange.getProperty(CONVERSATION, String.class)));
            chat.leftOut(call.warnings());
            Relay relay = new Relay(chat, wire, call.streamed(), endpoint.upstream(call), endpoint.limits(), endpoint::skipped);
            relay.run();
            if (relay.conversation() != null) {
                exchange.setProperty(CONVERSATION, relay.conversation());
            }
            chat.answered();
        } catch (ChatException e) {
            // kept, because a circuit breaker forgets what it does not count
            chat.failure(e);
            throw e;
        }
    }
}
