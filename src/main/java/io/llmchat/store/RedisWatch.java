package io.llmchat.store;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.redisson.api.RFuture;
import org.redisson.api.RStream;
import org.redisson.api.RedissonClient;
import org.redisson.api.StreamMessageId;
import org.redisson.api.stream.StreamAddArgs;
import org.redisson.api.stream.StreamReadArgs;
import org.redisson.client.RedisConnectionException;
import org.redisson.client.RedisTimeoutException;
import org.redisson.client.codec.StringCodec;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Knows whether Redis answers, so that nobody waits for one that does not, and what other instances have changed. Four
 * times a second it reads the stream {@code llmchat:changes}, to which every change of something cached is added: unlike
 * a message that is published, an entry is not lost while a connection is. Safe for all threads.
 */
public final class RedisWatch {

    private static final Logger LOG = LoggerFactory.getLogger(RedisWatch.class);
    private static final long INTERVAL_MILLIS = 250;
    private static final int MAX_READ = 1_000;
    private static final int MAX_KEPT = 10_000;
    /** A call is given so many slices of time in which this process was running and nobody else was answered. */
    private static final int SLICES = 8;
    /** While others are answered, it is given so many times as many. */
    private static final int BUSY = 3;
    private static final long SLICE_MILLIS = 10;
    private static final long MAX_MILLIS = 1_000;

    private final RStream<String, String> changes;
    private final List<BiConsumer<String, String>> listeners = new CopyOnWriteArrayList<>();
    private final List<Runnable> gaps = new CopyOnWriteArrayList<>();
    private volatile boolean available = true;
    /** When anybody last got an answer. */
    private volatile long answeredAt = System.nanoTime();
    private volatile boolean running = true;
    private volatile long roundTripNanos;
    private StreamMessageId last;
    private Thread thread;

    RedisWatch(RedissonClient client) {
        changes = client.getStream("llmchat:changes", StringCodec.INSTANCE);
    }

    void start() {
        thread = Thread.ofPlatform().daemon().name("redis-watch").start(this::run);
    }

    void stop() {
        running = false;
        thread.interrupt();
    }

    /** Whether Redis has answered lately. */
    public boolean available() {
        return available;
    }

    /** How long Redis took for the last read of the changes, which comes four times a second. */
    public long roundTripNanos() {
        return roundTripNanos;
    }

    /**
     * What Redis answers to a call, or to several that are made one, which is begun only if Redis is there. It is waited for 80 ms at most, 240 while
     * others are answered, not counting the time for which this process itself stood still.
     *
     * @throws RedisAway if there is no answer; from then on nobody waits until Redis answers again
     */
    public <T> T ask(Supplier<? extends Future<T>> call) {
        if (!available) {
            throw new RedisAway("Redis is away");
        }
        Future<T> answer = call.get();
        try {
            return within(answer, SLICES);
        } catch (TimeoutException e) {
            away("does not answer");
            throw new RedisAway("Redis does not answer");
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RedisConnectionException || e.getCause() instanceof RedisTimeoutException) {
                away(e.getCause().getMessage());
            }
            throw new RedisAway("Redis failed: " + e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new RedisAway("interrupted");
        } finally {
            // what is given up must not be sent later
            answer.cancel(false);
        }
    }

    private <T> T within(Future<T> answer, int slices) throws ExecutionException, TimeoutException, InterruptedException {
        long begun = System.nanoTime();
        long before = begun;
        int waited = 0;
        for (int silent = 0; silent < slices && waited < BUSY * slices && before - begun < TimeUnit.MILLISECONDS.toNanos(MAX_MILLIS);) {
            try {
                T got = answer.get(SLICE_MILLIS, TimeUnit.MILLISECONDS);
                answeredAt = System.nanoTime();
                return got;
            } catch (TimeoutException e) {
                long now = System.nanoTime();
                // one that came late tells that we, or the whole machine, have no time
                if (now - before < TimeUnit.MILLISECONDS.toNanos(SLICE_MILLIS) * 3 / 2) {
                    waited++;
                    silent += answeredAt - before < 0 ? 1 : 0;
                }
                before = now;
            }
        }
        throw new TimeoutException();
    }

    /**
     * Tells all instances that {@code id} of {@code kind} has changed.
     *
     * @throws RedisAway if they cannot be told now
     */
    public void changed(String kind, String id) {
        ask(() -> changes.addAsync(StreamAddArgs.entry(kind, id).trimNonStrict().maxLen(MAX_KEPT).noLimit()));
    }

    /**
     * @param listener is told kind and id of every change that any instance has made, in its order
     * @param gap is called when changes may have been missed
     */
    public void listen(BiConsumer<String, String> listener, Runnable gap) {
        listeners.add(listener);
        gaps.add(gap);
    }

    private void run() {
        while (running) {
            try {
                Thread.sleep(INTERVAL_MILLIS);
                look();
                if (!available) {
                    LOG.info("Redis is back");
                    available = true;
                    gaps.forEach(Runnable::run);
                }
            } catch (InterruptedException e) {
                return;
            } catch (TimeoutException e) {
                away("does not answer");
            } catch (ExecutionException | RuntimeException e) {
                away(e.toString());
            }
        }
    }

    private void look() throws ExecutionException, TimeoutException, InterruptedException {
        if (last == null) {
            Map<StreamMessageId, Map<String, String>> newest =
                    wait(changes.rangeReversedAsync(1, StreamMessageId.MAX, StreamMessageId.MIN));
            last = newest.isEmpty() ? new StreamMessageId(0) : newest.keySet().iterator().next();
            // what was cached before this moment may be old
            gaps.forEach(Runnable::run);
        }
        Map<StreamMessageId, Map<String, String>> read;
        do {
            long asked = System.nanoTime();
            read = wait(changes.readAsync(StreamReadArgs.greaterThan(last).count(MAX_READ)));
            roundTripNanos = System.nanoTime() - asked;
            read.forEach((at, change) -> {
                last = at;
                change.forEach((kind, id) -> listeners.forEach(l -> l.accept(kind, id)));
            });
        } while (read.size() == MAX_READ);
    }

    private <T> T wait(RFuture<T> answer) throws ExecutionException, TimeoutException, InterruptedException {
        try {
            return within(answer, (int) (500 / SLICE_MILLIS));
        } finally {
            answer.cancel(false);
        }
    }

    private void away(String why) {
        if (available && running) {
            available = false;
            LOG.warn("Redis is away ({}); this instance goes on without it", why);
        }
    }
}
