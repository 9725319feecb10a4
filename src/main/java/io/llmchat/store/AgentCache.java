package io.llmchat.store;

import io.llmchat.chat.Agent;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.redisson.api.RTopic;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.StringCodec;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Agents that were read lately, kept in this process. A change made by any instance drops them in all instances, told
 * through the Redis topic {@code llmchat:agents}; without Redis they go by their age alone. Safe for all threads; a read
 * never waits for Redis.
 */
public final class AgentCache {

    private static final Logger LOG = LoggerFactory.getLogger(AgentCache.class);
    private static final int MAX_AGENTS = 10_000;

    private record Kept(Agent agent, long untilNanos) {
    }

    private final Map<String, Kept> agents = new ConcurrentHashMap<>();
    private final AtomicLong changes = new AtomicLong();
    private final Counter hits;
    private final Counter misses;
    private final RTopic topic;
    private final long ttlNanos;

    /** @param ttlSeconds how long an agent is kept */
    public AgentCache(RedissonClient redis, MeterRegistry meters, long ttlSeconds) {
        this.ttlNanos = TimeUnit.SECONDS.toNanos(ttlSeconds);
        this.hits = Counter.builder("cache.hits").tag("cache", "agents").register(meters);
        this.misses = Counter.builder("cache.misses").tag("cache", "agents").register(meters);
        Gauge.builder("cache.hit.rate", this, AgentCache::hitRate).tag("cache", "agents").register(meters);
        this.topic = redis.getTopic("llmchat:agents", StringCodec.INSTANCE);
        topic.addListenerAsync(String.class, (channel, id) -> forget());
    }

    private double hitRate() {
        double all = hits.count() + misses.count();
        return all == 0 ? 0 : hits.count() / all;
    }

    /** The agent, or null if it must be read. */
    public Agent get(String id) {
        Kept kept = agents.get(id);
        if (kept != null && kept.untilNanos - System.nanoTime() > 0) {
            hits.increment();
            return kept.agent;
        }
        misses.increment();
        return null;
    }

    /** How many changes there have been: what is read after this call may be kept if there has been none since. */
    public long changes() {
        return changes.get();
    }

    /** Keeps an agent that was read, unless one was changed meanwhile. */
    public void put(Agent agent, long changesBeforeReading) {
        if (agents.size() >= MAX_AGENTS) {
            agents.clear();
        }
        if (changes.get() == changesBeforeReading) {
            agents.put(agent.id(), new Kept(agent, System.nanoTime() + ttlNanos));
            if (changes.get() != changesBeforeReading) {
                agents.remove(agent.id());
            }
        }
    }

    /** An agent was written: no instance may serve the old one any more. */
    public void changed(String id) {
        forget();
        topic.publishAsync(id).whenComplete((receivers, failure) -> {
            if (failure != null) {
                LOG.warn("Redis is away: other instances may serve agent {} as it was for up to {} s", id,
                        TimeUnit.NANOSECONDS.toSeconds(ttlNanos));
            }
        });
    }

    /** Forgets them all: an agent may stand in the fallbacks of another. */
    private void forget() {
        changes.incrementAndGet();
        agents.clear();
    }
}
