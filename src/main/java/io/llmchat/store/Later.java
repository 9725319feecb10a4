package io.llmchat.store;

import java.util.ArrayDeque;
import java.util.Deque;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What PostgreSQL could not take when it was to be stored: kept in memory, within bounds, and stored when it is back.
 * Safe for all threads.
 */
public final class Later {

    private static final Logger LOG = LoggerFactory.getLogger(Later.class);
    private static final long MAX_BYTES = 32 << 20;

    private record Task(long bytes, Runnable store) {
    }

    private final Deque<Task> tasks = new ArrayDeque<>();
    private long bytes;

    /** Stores something now, or, where PostgreSQL is away, later; {@code bytes} is what it keeps in memory until then. */
    public void store(long bytes, Runnable store) {
        try {
            store.run();
        } catch (StoreUnavailable e) {
            add(bytes, store);
        }
    }

    private synchronized void add(long size, Runnable store) {
        if (bytes + size > MAX_BYTES) {
            LOG.warn("An answer is not kept: PostgreSQL is away, and more is waiting for it than is kept in memory");
            return;
        }
        bytes += size;
        tasks.add(new Task(size, store));
    }

    /** Stores what is left, the oldest first, as far as PostgreSQL takes it. */
    public void again() {
        while (true) {
            Task task;
            synchronized (this) {
                task = tasks.peek();
                if (task == null) {
                    return;
                }
            }
            try {
                task.store.run();
            } catch (StoreUnavailable e) {
                return;
            }
            synchronized (this) {
                tasks.poll();
                bytes -= task.bytes;
            }
        }
    }
}
