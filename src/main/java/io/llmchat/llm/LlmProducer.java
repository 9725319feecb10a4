package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.RequestRejected;
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
        String said = chat.client().committed() ? chat.said() : "";
        try {
            if (said.isBlank() || !endpoint.isPrefill()) {
                ask(exchange, chat, null, new Continuation(said, true));
            } else {
                goOn(exchange, chat, said);
            }
            chat.answered();
        } catch (ChatException e) {
            // kept, because a circuit breaker forgets what it does not count
            chat.failure(e);
            throw e;
        }
    }

    /** The answer broke off elsewhere: the model goes on from there, or, where it refuses that, repeats the beginning. */
    private void goOn(Exchange exchange, Chat chat, String said) throws InterruptedException {
        String begun = said.stripTrailing();
        try {
            // blanks at the end are not taken everywhere, and may come again
            ask(exchange, chat, begun, new Continuation(said.substring(begun.length()), false));
        } catch (RequestRejected refused) {
            ask(exchange, chat, null, new Continuation(said, true));
        }
    }

    private void ask(Exchange exchange, Chat chat, String begun, Continuation continuation) throws InterruptedException {
        Wire.Call call = endpoint.wire().call(new Wire.Asked(chat.request(), chat.agent(), chat.target().model(), chat.answerId(),
                exchange.getProperty(CONVERSATION, String.class), begun));
        chat.leftOut(call.warnings());
        ObservedCall observed = new ObservedCall(chat, endpoint);
        String failure = "INTERNAL_ERROR";
        Relay relay = null;
        try {
            relay = new Relay(chat, endpoint, observed.traced(call), continuation);
            relay.run();
            failure = null;
        } catch (ChatException e) {
            failure = ObservedCall.outcome(e);
            throw e;
        } finally {
            if (failure == null) {
                observed.answered(relay);
            } else {
                observed.failed(failure);
            }
        }
        if (relay.conversation() != null) {
            exchange.setProperty(CONVERSATION, relay.conversation());
        }
    }
}
