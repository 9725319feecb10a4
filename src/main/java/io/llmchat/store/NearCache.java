package io.llmchat.store;

import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import org.redisson.api.RScript;
import org.redisson.client.codec.StringCodec;

/**
 * What was read lately, kept in this process, behind it in Redis for all instances, behind that where it comes from.
 * A change made by any instance drops it everywhere within half a second. Where Redis is away, or full, for more than a
 * second, what is older than that is read again; where that fails too, what there is is used. One thread at a time reads
 * the same thing, the others wait for it. What is not there is not kept. Safe for all threads; a hit waits for nobody.
 *
 * @param <V> what is kept; immutable
 */
public final class NearCache<V> {

    /** Reads from where it comes from: its text, as it is kept in Redis, or null where there is none. */
    public interface Loader {
        String load() throws Exception;
    }

    private static final int MAX_KEPT = 10_000;
    private static final long UNWATCHED_NANOS = TimeUnit.SECONDS.toNanos(1);
    /** Milliseconds that a reader has to bring what was not in Redis. */
    private static final String PLACE_TTL = "10000";

    /**
     * The text, or else a place kept for it, which a change takes away, so that what was read before the change never
     * gets there. KEYS: the number of the last change of all; ARGV: id, a name for the place, milliseconds of the place.
     */
    private static final String TAKE = """
            local key = KEYS[1] .. ':' .. (redis.call('get', KEYS[1]) or '0') .. ':' .. ARGV[1]
            local text = redis.call('get', key)
            if not text or string.sub(text, 1, 1) == '!' then
              redis.call('set', key, ARGV[2], 'PX', ARGV[3])
              return false
            end
            return text
            """;
    private static final String FILL = """
            local key = KEYS[1] .. ':' .. (redis.call('get', KEYS[1]) or '0') .. ':' .. ARGV[1]
            if redis.call('get', key) == ARGV[2] then redis.call('set', key, ARGV[3], 'EX', ARGV[4]) end
            """;
    private static final String DROP = """
            redis.call('del', KEYS[1] .. ':' .. (redis.call('get', KEYS[1]) or '0') .. ':' .. ARGV[1])
            """;
    private static final String DROP_ALL = "redis.call('incr', KEYS[1])";
    private static final String ALL = "*";

    private record Kept<V>(V value, long atNanos) {
    }

    private final String name;
    private final RedisWatch watch;
    private final RScript scripts;
    private final List<Object> keys;
    private final Function<String, V> parse;
    private final long ttlSeconds;
    private final Map<String, Kept<V>> near = new ConcurrentHashMap<>();
    private final Map<String, CompletableFuture<V>> loading = new ConcurrentHashMap<>();
    private final AtomicLong changes = new AtomicLong();
    /** Whether what was dropped may be there still, in Redis or near others. */
    private final AtomicBoolean behind = new AtomicBoolean();
    private final AtomicLong places = new AtomicLong();
    private final String instance = "!" + UUID.randomUUID() + ":";
    private final Counter hits;
    private final Counter shared;
    private final Counter misses;

    /**
     * @param name of the cache, in metrics and in Redis
     * @param ttlSeconds how long something is kept
     * @param parse makes a value of its text
     */
    public NearCache(String name, Redis redis, MeterRegistry meters, long ttlSeconds, Function<String, V> parse) {
        this.name = name;
        this.watch = redis.watch();
        this.scripts = redis.client().getScript(Redis.once(StringCodec.INSTANCE));
        this.keys = List.of("llmchat:cache:" + name);
        this.parse = parse;
        this.ttlSeconds = ttlSeconds;
        this.hits = Counter.builder("cache.hits").tag("cache", name).register(meters);
        this.shared = Counter.builder("cache.hits").tag("cache", name + "-redis").register(meters);
        this.misses = Counter.builder("cache.misses").tag("cache", name).register(meters);
        Gauge.builder("cache.hit.rate", this, NearCache::hitRate).tag("cache", name).register(meters);
        Gauge.builder("cache.size", near, Map::size).tag("cache", name).register(meters);
        watch.listen((kind, id) -> {
            if (kind.equals(name)) {
                forget(id);
            }
        }, this::missed, this::catchUp);
    }

    private double hitRate() {
        double all = hits.count() + misses.count();
        return all == 0 ? 0 : hits.count() / all;
    }

    /**
     * What has this id, or null where there is none.
     *
     * @throws MustWait on an event loop, if it has to be read
     * @throws Exception what the loader throws, if there is nothing kept either
     */
    public V get(String id, Loader loader) throws Exception {
        Kept<V> kept = near.get(id);
        if (kept != null && isFresh(kept)) {
            hits.increment();
            return kept.value;
        }
        MustWait.here();
        misses.increment();
        CompletableFuture<V> mine = new CompletableFuture<>();
        CompletableFuture<V> others = loading.putIfAbsent(id, mine);
        if (others != null) {
            return await(others);
        }
        try {
            V value = read(id, loader, kept);
            mine.complete(value);
            return value;
        } catch (Throwable e) {
            mine.completeExceptionally(e);
            throw e;
        } finally {
            loading.remove(id, mine);
        }
    }

    /** What has this id, as it was when it was read, or null where nothing is kept here. */
    public V kept(String id) {
        Kept<V> kept = near.get(id);
        return kept == null ? null : kept.value;
    }

    private boolean isFresh(Kept<V> kept) {
        long now = System.nanoTime();
        long age = now - kept.atNanos;
        return age < TimeUnit.SECONDS.toNanos(ttlSeconds) && (isTold() || Math.min(age, now - watch.toldAt()) < UNWATCHED_NANOS);
    }

    /** Whether what has changed is no longer kept, here and in Redis. */
    private boolean isTold() {
        return watch.tellsChanges() && !behind.get();
    }

    private V await(CompletableFuture<V> others) throws Exception {
        try {
            return others.join();
        } catch (CompletionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    private V read(String id, Loader loader, Kept<V> old) throws Exception {
        long before = changes.get();
        String place = instance + places.incrementAndGet();
        boolean placed = false;
        try {
            if (isTold()) {
                String text = watch.ask(() -> scripts.evalAsync(RScript.Mode.READ_WRITE, TAKE, RScript.ReturnType.VALUE, keys,
                        id, place, PLACE_TTL));
                if (text != null) {
                    shared.increment();
                    return keep(id, text, before);
                }
                placed = true;
            }
        } catch (RedisAway e) {
            // then without it
        }
        String text;
        try {
            text = loader.load();
        } catch (Exception e) {
            if (old != null) {
                return old.value;
            }
            throw e;
        }
        if (text == null) {
            near.remove(id);
            return null;
        }
        if (placed) {
            scripts.evalAsync(RScript.Mode.READ_WRITE, FILL, RScript.ReturnType.VALUE, keys, id, place, text, Long.toString(ttlSeconds));
        }
        return keep(id, text, before);
    }

    private V keep(String id, String text, long changesBefore) {
        V value = parse.apply(text);
        if (near.size() >= MAX_KEPT) {
            near.clear();
        }
        Kept<V> kept = new Kept<>(value, System.nanoTime());
        near.put(id, kept);
        if (changes.get() != changesBefore) {
            near.remove(id, kept);
        }
        return value;
    }

    /** It was written: no instance may serve the old one any more. */
    public void changed(String id) {
        forget(id);
        drop(DROP, id);
    }

    /** Something was written that others may be made of: nothing that is kept may be served any more. */
    public void allChanged() {
        forget(ALL);
        drop(DROP_ALL, ALL);
    }

    private void drop(String script, String id) {
        try {
            watch.ask(() -> scripts.evalAsync(RScript.Mode.READ_WRITE, script, RScript.ReturnType.VALUE, keys, id));
            watch.changed(name, id);
        } catch (RedisAway e) {
            // it is away, or full: what is in it is old, and nobody else knows
            behind.set(true);
        }
    }

    /** Changes were missed, and a Redis that comes back may have forgotten some itself: one that was restored, or was a replica. */
    private void missed() {
        if (!watch.tellsChanges()) {
            behind.set(true);
        }
        forget(ALL);
    }

    private void catchUp() {
        if (behind.getAndSet(false)) {
            drop(DROP_ALL, ALL);
        }
    }

    /** Who is read for now may get the old one; who asks from now on does not wait for that. */
    private void forget(String id) {
        changes.incrementAndGet();
        if (id.equals(ALL)) {
            loading.clear();
            near.clear();
        } else {
            loading.remove(id);
            near.remove(id);
        }
    }
}
