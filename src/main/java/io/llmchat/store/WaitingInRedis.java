package io.llmchat.store;

import java.sql.SQLTransientConnectionException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.WeakHashMap;
import java.util.function.Supplier;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.component.redis.processor.aggregate.RedisAggregationRepository;
import org.apache.camel.support.SynchronizationAdapter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What waits in Redis until PostgreSQL takes it. Camel asks for it on a timer, for which a failure is the last time: so
 * while Redis is away, or another instance is faster, nothing is found, and it is looked for again the next time. Whoever
 * adds something is told when it cannot be.
 */
public final class WaitingInRedis extends RedisAggregationRepository {

    private static final Logger LOG = LoggerFactory.getLogger(WaitingInRedis.class);

    /** What was taken out of Redis and has not been tried yet; what routes that ended have left untried is not kept by it. */
    private final Set<Exchange> underWay = Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));
    private Redis redis;
    private int atOnce = 16;

    public WaitingInRedis() {
        // as often as it takes
        setMaximumRedeliveries(0);
    }

    public void setRedis(Redis redis) {
        this.redis = redis;
        setRedisson(redis.client());
    }

    /** So many may be in memory, about: taken out of Redis, and waiting for a PostgreSQL that is slow. */
    public void setAtOnce(int atOnce) {
        this.atOnce = atOnce;
    }

    /** @throws StoreUnavailable if Redis does not take it, as where it is full: what was to wait here PostgreSQL has not taken */
    @Override
    public Exchange add(CamelContext context, String key, Exchange exchange) {
        try {
            return super.add(context, key, exchange);
        } catch (RuntimeException e) {
            throw new StoreUnavailable(new SQLTransientConnectionException("neither PostgreSQL nor Redis takes it", WatchedPool.UNABLE_TO_CONNECT, e));
        }
    }

    @Override
    public Set<String> getKeys() {
        return some(getMapName());
    }

    @Override
    public Set<String> scan(CamelContext context) {
        return some(getPersistentRepositoryName());
    }

    /** Others at each look: those that fail again and again are in nobody's way. */
    private Set<String> some(String map) {
        int room = atOnce - underWay.size();
        return room <= 0 ? Set.of() : found(() -> {
            List<String> keys = new ArrayList<>(getRedisson().<String, Object>getMap(map).readAllKeySet());
            Collections.shuffle(keys);
            return Set.copyOf(keys.subList(0, Math.min(room, keys.size())));
        }, Set.of());
    }

    @Override
    public Exchange get(CamelContext context, String key) {
        return found(() -> super.get(context, key), null);
    }

    @Override
    public Exchange recover(CamelContext context, String id) {
        Exchange waited = found(() -> super.recover(context, id), null);
        if (waited == null) {
            return null;
        }
        if (waited.getProperty(ExchangePropertyKey.AGGREGATED_COMPLETED_BY) == null) {
            // Camel counts by it, ends the timer that recovers where it finds none, and calls one that it does not know an error
            waited.setProperty(ExchangePropertyKey.AGGREGATED_COMPLETED_BY, "interval");
        }
        count(waited);
        return waited;
    }

    private void count(Exchange taken) {
        underWay.add(taken);
        taken.getExchangeExtension().addOnCompletion(new SynchronizationAdapter() {
            @Override
            public void onDone(Exchange tried) {
                underWay.remove(taken);
            }
        });
    }

    /** @throws OptimisticLockingException if it stays where it is, or another instance has taken it */
    @Override
    public void remove(CamelContext context, String key, Exchange exchange) {
        try {
            super.remove(context, key, exchange);
            count(exchange);
        } catch (RuntimeException e) {
            LOG.debug("It stays in Redis for now", e);
            throw new OptimisticLockingException();
        }
    }

    private <T> T found(Supplier<T> look, T otherwise) {
        if (!redis.available()) {
            return otherwise;
        }
        try {
            return look.get();
        } catch (RuntimeException e) {
            LOG.debug("What waits in Redis is looked for again", e);
            return otherwise;
        }
    }
}
