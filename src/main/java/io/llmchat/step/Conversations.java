package io.llmchat.step;

import io.llmchat.llm.LlmComponent;
import io.llmchat.store.NearCache;
import io.llmchat.store.Redis;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.function.Function;
import org.apache.camel.Processor;

/**
 * How a provider that remembers conversations itself calls a session: the exchange property {@code conversation}, which
 * the call of the provider reads and writes.
 */
public final class Conversations {

    private final NearCache<String> cache;

    /** @param ttlSeconds how long the name is kept without being read again */
    public Conversations(Redis redis, MeterRegistry meters, long ttlSeconds) {
        cache = new NearCache<>("sessions", redis, meters, ttlSeconds, Function.identity());
    }

    /** A step: finds the name that the session has, in the cache or by the route {@code enrich-conversation}. */
    public Processor find() {
        return exchange -> {
            String session = exchange.getProperty("chatId", String.class);
            exchange.setProperty(LlmComponent.CONVERSATION, cache.get(session, () -> SubRoute.CONVERSATION.ask(exchange, session)));
        };
    }

    /** A step: the body is the id of a session that was written or removed. */
    public Processor changed() {
        return exchange -> cache.changed(exchange.getMessage().getBody(String.class));
    }
}
