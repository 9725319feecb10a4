package io.llmchat.ops;

import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryNotificationInfo;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryUsage;
import java.time.Duration;
import javax.management.NotificationEmitter;

/**
 * Has the old generation collected as soon as it has grown by a third of what it may have, and earlier in a lull, where a
 * collection keeps hardly anybody waiting. The serial collector takes all of that memory from the system before it
 * collects the old generation for the first time, and a gateway fills it, however little of it lives: what a stream needs
 * grows old with the stream. Other collectors have rules of their own and are left to them.
 */
public final class EarlyCollection {

    /** A collection stops the gateway for 50 to 150 ms; a third of 200 MB is half a minute of 1000 streams. */
    private static final int SHARE = 3;
    /** The part of that for which a lull is made use of. */
    private static final int LULL_SHARE = 4;
    /** So long nothing has been collected: 1000 streams have the young generation collected twice a second. */
    private static final Duration LULL = Duration.ofSeconds(1);

    private final MemoryPoolMXBean old;
    private final GarbageCollectorMXBean young;
    /** In bytes, after the last collection. */
    private volatile long kept;

    private EarlyCollection(MemoryPoolMXBean old, GarbageCollectorMXBean young) {
        this.old = old;
        this.young = young;
    }

    /** Begins to look after this process's heap; once is enough. */
    public static void begin() {
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
                if (pool.getName().equals("Tenured Gen") && collector.getName().equals("Copy")) {
                    new EarlyCollection(pool, collector).look();
                }
            }
        }
    }

    private void look() {
        ((NotificationEmitter) ManagementFactory.getMemoryMXBean()).addNotificationListener((note, unused) -> {
            if (note.getType().equals(MemoryNotificationInfo.MEMORY_THRESHOLD_EXCEEDED)) {
                collect();
            }
        }, null, null);
        expect();
        Thread.ofPlatform().daemon().name("early-collection").start(this::awaitLulls);
    }

    private void awaitLulls() {
        long seen = 0;
        try {
            while (true) {
                Thread.sleep(LULL);
                long now = young.getCollectionCount();
                MemoryUsage usage = old.getUsage();
                // the collector's own collections count as well
                kept = Math.min(kept, usage.getUsed());
                if (now == seen && usage.getUsed() - kept > usage.getMax() / SHARE / LULL_SHARE) {
                    collect();
                }
                seen = now;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void collect() {
        System.gc();
        expect();
    }

    private void expect() {
        MemoryUsage now = old.getUsage();
        kept = now.getUsed();
        old.setUsageThreshold(Math.min(now.getUsed() + now.getMax() / SHARE, now.getMax()));
    }
}
