package io.llmchat.store;

import io.netty.util.concurrent.EventExecutor;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.redisson.api.RBucket;
import org.redisson.api.RFuture;
import org.redisson.api.RStream;
import org.redisson.api.RedissonClient;
import org.redisson.api.StreamMessageId;
import org.redisson.api.options.PlainOptions;
import org.redisson.api.redisnode.RedisNode;
import org.redisson.api.redisnode.RedisNodes;
import org.redisson.api.stream.StreamAddArgs;
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
    private static final Pattern TAKES_NOTHING = Pattern.compile("used memory > 'maxmemory'|MISCONF|READONLY|NOREPLICAS");
    private static final StreamMessageId NONE = new StreamMessageId(0);
    private static final int MAX_READ = 1_000;
    private static final int MAX_KEPT = 10_000;
    /** A call is given so many slices of time in which this process was running and nobody else was answered. */
    private static final int SLICES = 8;
    /** While others are answered, it is given so many times as many. */
    private static final int BUSY = 3;
    private static final long SLICE_MILLIS = 10;
    private static final long MAX_MILLIS = 1_000;
    /** For so long it may be away and be believed when it is back. */
    private static final long BRIEF_NANOS = TimeUnit.SECONDS.toNanos(5);
    /** Nobody waits for a look at the changes. */
    private static final int LOOK_SLICES = 50;

    private final RedissonClient client;
    private final RStream<String, String> changes;
    /** Written to see whether there is room again. */
    private final RBucket<String> room;
    private final List<BiConsumer<String, String>> listeners = new CopyOnWriteArrayList<>();
    private final List<Runnable> gaps = new CopyOnWriteArrayList<>();
    private final List<Runnable> looked = new CopyOnWriteArrayList<>();
    private volatile boolean available = true;
    /** Whether it answers, but takes nothing new: it has no memory, cannot save what it has, or is the replica of another one. */
    private volatile boolean full;
    /** When anybody last got an answer. */
    private volatile long answeredAt = System.nanoTime();
    private volatile boolean running = true;
    private volatile long roundTripNanos;
    /** All changes that Redis had taken by then were told here. */
    private volatile long toldAt = System.nanoTime();
    /** The server whose changes are read, by the name that it has from its start to its end; null where it tells none. */
    private String server;
    private final Iterable<EventExecutor> loops;
    private final Queue<Waiting<?>> calls = new ConcurrentLinkedQueue<>();
    /** Whether there was nothing to give up: whoever asks then wakes the thread that does. */
    private volatile boolean resting;
    /** Of the changes that were read; what comes after it begins with it. */
    private StreamMessageId last;
    private Thread thread;
    private Thread giveUp;

    /** @param loops on which answers are read */
    RedisWatch(RedissonClient client, Iterable<EventExecutor> loops) {
        this.client = client;
        this.loops = loops;
        changes = client.getStream("llmchat:changes", StringCodec.INSTANCE);
        // once: a replica that only reads says so at once
        room = client.getBucket(PlainOptions.name("llmchat:room").codec(StringCodec.INSTANCE).retryAttempts(0));
    }

    void start() {
        giveUp = Thread.ofPlatform().daemon().name("redis-give-up").unstarted(this::giveUp);
        giveUp.start();
        thread = Thread.ofPlatform().daemon().name("redis-watch").start(this::run);
    }

    void stop() {
        running = false;
        thread.interrupt();
        LockSupport.unpark(giveUp);
    }

    /** Whether Redis has answered lately. */
    public boolean available() {
        return available;
    }

    /**
     * Whether changes that others make are told here. They are not while Redis is away, nor, as far as this instance has
     * met it in a write of its own, while it takes nothing new.
     */
    public boolean tellsChanges() {
        return available && !full;
    }

    /** By {@link System#nanoTime}: all that was changed before, by any instance that could tell it, was told here. */
    long toldAt() {
        return toldAt;
    }

    /** How long Redis took for the last read of the changes, which comes four times a second. */
    public long roundTripNanos() {
        return roundTripNanos;
    }

    /**
     * What Redis answers to a call, or to several that are made one, which is begun only if Redis is there. It is waited
     * for 80 ms at most, 240 while others are answered, not counting the time for which this process itself stood still.
     *
     * @return ends with {@link RedisAway} if there is no answer, and then nobody waits until Redis answers again; what
     *         depends on it runs on an event loop or the thread that asks, and must not wait for anything
     */
    public <T> CompletableFuture<T> begin(Supplier<? extends RFuture<T>> call) {
        return begin(call, null);
    }

    /**
     * As {@link #begin(Supplier)}, for a call that was sent and may still be executed.
     *
     * @param late is told, on the same threads, of an answer that comes when it is not waited for any more
     */
    public <T> CompletableFuture<T> begin(Supplier<? extends RFuture<T>> call, Consumer<T> late) {
        return available ? watched(call, SLICES, late) : CompletableFuture.failedFuture(new RedisAway("Redis is away"));
    }

    /**
     * As {@link #begin}, and waits for the answer.
     *
     * @throws RedisAway if there is no answer
     * @throws MustWait on an event loop
     */
    public <T> T ask(Supplier<? extends RFuture<T>> call) {
        MustWait.here();
        return await(begin(call));
    }

    private static <T> T await(CompletableFuture<T> answer) {
        try {
            return answer.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof RedisAway away ? away : new RedisAway("Redis failed: " + e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            // what is given up must not be sent later
            answer.cancel(false);
            throw new RedisAway("interrupted");
        }
    }

    private <T> CompletableFuture<T> watched(Supplier<? extends RFuture<T>> call, int slices, Consumer<T> late) {
        RFuture<T> answer = call.get();
        Waiting<T> waiting = new Waiting<>(answer, slices, late != null);
        calls.add(waiting);
        if (resting) {
            LockSupport.unpark(giveUp);
        }
        answer.whenComplete((got, failure) -> {
            Throwable cause = failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
            if (cause == null) {
                answeredAt = System.nanoTime();
                if (!waiting.complete(got) && late != null) {
                    late.accept(got);
                }
                return;
            }
            if (waiting.isDone()) {
                // that it fails now says nothing of now
                return;
            }
            if (TAKES_NOTHING.matcher(String.valueOf(cause.getMessage())).find()) {
                if (!full) {
                    full = true;
                    LOG.warn("Redis takes nothing new ({}); this instance relies on nothing that is kept for longer than a second",
                            sentence(cause.getMessage()));
                }
            } else if (cause instanceof RedisConnectionException || cause instanceof RedisTimeoutException) {
                away(cause.getMessage());
            }
            waiting.completeExceptionally(new RedisAway("Redis failed: " + cause));
        });
        return waiting;
    }

    /** One call, and for how long it was waited for. */
    private final class Waiting<T> extends CompletableFuture<T> {
        private final RFuture<T> answer;
        private final int slices;
        private final boolean goesOn;
        private final long begun = System.nanoTime();
        private int waited;
        private int silent;

        Waiting(RFuture<T> answer, int slices, boolean goesOn) {
            this.answer = answer;
            this.slices = slices;
            this.goesOn = goesOn;
        }

        @Override
        public boolean cancel(boolean interrupt) {
            answer.cancel(interrupt);
            return super.cancel(interrupt);
        }

        /** A slice of time is over, through which this process ran or did not. True if this is over too. */
        boolean tick(long before, long now, boolean ran) {
            if (isDone()) {
                return true;
            }
            if (ran && begun - before <= 0) {
                waited++;
                silent += answeredAt - before < 0 ? 1 : 0;
            }
            if (silent < slices && waited < BUSY * slices && now - begun < TimeUnit.MILLISECONDS.toNanos(MAX_MILLIS)) {
                return false;
            }
            away("does not answer");
            if (!goesOn) {
                answer.cancel(false);
            }
            completeExceptionally(new RedisAway("Redis does not answer"));
            return true;
        }
    }

    /** Gives up the calls that are not answered. */
    private void giveUp() {
        long before = System.nanoTime();
        while (running) {
            if (calls.isEmpty()) {
                resting = true;
                if (calls.isEmpty()) {
                    LockSupport.parkNanos(this, TimeUnit.SECONDS.toNanos(1));
                }
                resting = false;
                before = System.nanoTime();
            } else {
                AtomicInteger busy = new AtomicInteger();
                for (EventExecutor loop : loops) {
                    try {
                        busy.incrementAndGet();
                        loop.execute(busy::decrementAndGet);
                    } catch (RejectedExecutionException ended) {
                        // it will not read an answer any more
                        busy.decrementAndGet();
                    }
                }
                LockSupport.parkNanos(this, TimeUnit.MILLISECONDS.toNanos(SLICE_MILLIS));
                long begun = before;
                long now = System.nanoTime();
                // a slice that took longer tells that the whole machine has no time; a loop that has not come to its task,
                // that an answer may be there and not be read
                boolean ran = busy.get() == 0 && now - begun < TimeUnit.MILLISECONDS.toNanos(SLICE_MILLIS) * 3 / 2;
                calls.removeIf(waiting -> waiting.tick(begun, now, ran));
                before = now;
            }
        }
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
     * @param gap is called when changes may have been missed; while changes are not told, if Redis itself may have lost some
     * @param look is called, on the thread that may wait, each time that Redis has answered, four times a second
     */
    public void listen(BiConsumer<String, String> listener, Runnable gap, Runnable look) {
        listeners.add(listener);
        gaps.add(gap);
        looked.add(look);
    }

    private void run() {
        while (running) {
            try {
                Thread.sleep(INTERVAL_MILLIS);
                long asked = System.nanoTime();
                look();
                if (!available) {
                    boolean took = !full;
                    full = false;
                    if (!hasRoom() && !full) {
                        // it does not answer after all
                        continue;
                    }
                    LOG.info(full ? "Redis is back, and takes nothing new" : "Redis is back");
                    // one that was only slow has forgotten nothing, and all that others told it was read just now: dropping
                    // what is kept would have PostgreSQL asked for all of it at once, by a machine that has no time as it is.
                    // In a longer absence who could not tell it a change may have ended
                    boolean brief = asked - toldAt < BRIEF_NANOS;
                    if (!isTheSame() || !took || !brief) {
                        gaps.forEach(Runnable::run);
                    }
                    available = true;
                }
                if (full && hasRoom()) {
                    LOG.info("Redis takes new entries again");
                    gaps.forEach(Runnable::run);
                    full = false;
                }
                if (!full) {
                    toldAt = asked;
                }
                looked.forEach(Runnable::run);
            } catch (InterruptedException e) {
                return;
            } catch (RuntimeException e) {
                away(e.getMessage());
            }
        }
    }

    private boolean hasRoom() {
        try {
            await(watched(() -> room.setAsync("", Duration.ofSeconds(1)), LOOK_SLICES, null));
            return true;
        } catch (RedisAway e) {
            return false;
        }
    }

    /** Whether it is the server that was there before. */
    private boolean isTheSame() {
        String before = server;
        Map<String, String> info;
        try {
            info = await(watched(() -> client.getRedisNodes(RedisNodes.SINGLE).getInstance().infoAsync(RedisNode.InfoSection.DEFAULT), LOOK_SLICES, null));
        } catch (RedisAway e) {
            // it does not answer, or does not say
            info = Map.of();
        }
        server = info.get("run_id");
        if (server != null && server.equals(before)) {
            return true;
        }
        String policy = info.getOrDefault("maxmemory_policy", "noeviction");
        if (!policy.equals("noeviction") && !info.getOrDefault("maxmemory", "0").equals("0")) {
            LOG.warn("Redis removes entries when it is full (maxmemory-policy {}): limits forget, and usage that waits is lost;"
                    + " it needs noeviction", policy);
        }
        return false;
    }

    private void look() {
        if (last == null) {
            isTheSame();
            Map<StreamMessageId, Map<String, String>> newest =
                    await(watched(() -> changes.rangeReversedAsync(1, StreamMessageId.MAX, StreamMessageId.MIN), LOOK_SLICES, null));
            last = newest.isEmpty() ? NONE : newest.keySet().iterator().next();
            // what was cached before this moment may be old
            gaps.forEach(Runnable::run);
        }
        Map<StreamMessageId, Map<String, String>> read;
        do {
            long asked = System.nanoTime();
            StreamMessageId before = last;
            read = await(watched(() -> changes.rangeAsync(MAX_READ, before, StreamMessageId.MAX), LOOK_SLICES, null));
            roundTripNanos = System.nanoTime() - asked;
            if (!before.equals(NONE) && !read.containsKey(before)) {
                // there were more than it keeps, or it was emptied, or is another one; its clock, by which it names what comes
                // next, may be behind
                last = null;
                look();
                return;
            }
            read.forEach((at, change) -> {
                last = at;
                if (!at.equals(before)) {
                    change.forEach((kind, id) -> listeners.forEach(l -> l.accept(kind, id)));
                }
            });
        } while (read.size() == MAX_READ);
    }

    private void away(String why) {
        if (available && running) {
            available = false;
            LOG.warn("Redis is away ({}); this instance goes on without it", sentence(why));
        }
    }

    /** What follows the first sentence of the driver is advice, its connection and all of the script. */
    private static String sentence(String why) {
        return String.valueOf(why).split("(?<=[.!]) |\\R", 2)[0];
    }
}
