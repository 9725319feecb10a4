package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.vertx.core.buffer.Buffer;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultProducer;

/** One call of a provider: returns when the answer is complete, throws why there is none. Blocks its thread. */
final class LlmProducer extends DefaultProducer {

    private final LlmEndpoint endpoint;

    LlmProducer(LlmEndpoint endpoint) {
        super(endpoint);
        this.endpoint = endpoint;
    }

    @Override
    public void process(Exchange exchange) throws Exception {
        Chat chat = Chat.of(exchange);
        Buffer body = endpoint.wire().request(chat.request(), chat.agent(), chat.target().model());
        try {
            new Relay(chat, endpoint.wire(), endpoint.upstream(body), endpoint.limits()).run();
            chat.answered();
        } catch (ChatException e) {
            // kept, because a circuit breaker forgets what it does not count
            chat.failure(e);
            throw e;
        }
    }
}
