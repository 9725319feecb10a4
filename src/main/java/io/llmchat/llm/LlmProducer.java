package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Operation;
import io.llmchat.chat.RequestRejected;
import io.llmchat.ops.ChatMeters;
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
        Relay relay = new Relay(chat, endpoint, call, continuation);
        ChatMeters meters = endpoint.meters();
        Operation operation = chat.request().operation();
        boolean stream = chat.request().stream();
        if (stream) {
            meters.opened();
        }
        long started = System.nanoTime();
        long nanos;
        try {
            relay.run();
            nanos = System.nanoTime() - started;
            endpoint.attempted("200");
            meters.answered(operation, chat.target(), chat.usage(), nanos, relay.firstTokenNanos());
        } catch (ChatException e) {
            nanos = System.nanoTime() - started;
            String outcome = e.getOutcome() == null ? e.code() : e.getOutcome();
            endpoint.attempted(outcome);
            meters.failed(operation, chat.target(), outcome, nanos);
            throw e;
        } finally {
            chat.called(System.nanoTime() - started);
            if (stream) {
                meters.closed();
            }
        }
        if (relay.conversation() != null) {
            exchange.setProperty(CONVERSATION, relay.conversation());
        }
    }
}
