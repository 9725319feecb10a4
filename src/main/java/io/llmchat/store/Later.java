package io.llmchat.store;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What PostgreSQL could not take when it was to be stored: kept in memory, within bounds, and stored when it is back.
 * What cannot be stored for a reason of its own keeps nothing else from being.
 * Safe for all threads.
 */
public final class Later {

    private static final Logger LOG = LoggerFactory.getLogger(Later.class);
    private static final long MAX_BYTES = 32 << 20;
    private static final long MAX_NANOS = TimeUnit.SECONDS.toNanos(3);

    private record Task(long bytes, Runnable store) {
    }

    private final Deque<Task> tasks = new ArrayDeque<>();
    private final long maxBytes;
    private long bytes;

    public Later() {
        this(MAX_BYTES);
    }

    Later(long maxBytes) {
        this.maxBytes = maxBytes;
    }

    /**
     * Stores something now, or, where PostgreSQL is away, later; {@code bytes} is what it keeps in memory until then.
     *
     * @param drop runs instead if there is no more room for it
     */
    public void store(long bytes, Runnable store, Runnable drop) {
        try {
            store.run();
        } catch (StoreUnavailable e) {
            String refusal = StoreUnavailable.refusal(e);
            if (refusal != null) {
                LOG.warn("PostgreSQL refuses an answer that is to be kept, and is asked again: {}", refusal);
            }
            if (!add(new Task(bytes, store))) {
                LOG.warn("An answer is not kept: PostgreSQL does not take it, and more is waiting for it than is kept in memory");
                drop.run();
            }
        }
    }

    private synchronized boolean add(Task task) {
        if (bytes + task.bytes > maxBytes) {
            return false;
        }
        bytes += task.bytes;
        tasks.add(task);
        return true;
    }

    private synchronized Task next() {
        Task task = tasks.poll();
        bytes -= task == null ? 0 : task.bytes;
        return task;
    }

    /**
     * Stores what is left, the oldest first, for some seconds: there is other work for who does this. Until PostgreSQL does
     * not take one; that one is the last next time.
     */
    public void again() {
        long end = System.nanoTime() + MAX_NANOS;
        for (Task task = next(); task != null; task = System.nanoTime() < end ? next() : null) {
            try {
                task.store.run();
            } catch (StoreUnavailable e) {
                synchronized (this) {
                    bytes += task.bytes;
                    tasks.add(task);
                }
                return;
            }
        }
    }
}
