package io.llmchat.ops;

import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryUsage;
import java.time.Duration;
import java.util.List;
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
    /** In bytes, after the last collection. */
    private long kept;

    private EarlyCollection(MemoryPoolMXBean old) {
        this.old = old;
        expect();
    }

    /** Begins to look after this process's heap; once is enough. */
    public static void begin() {
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            if (pool.getName().equals("Tenured Gen")) {
                EarlyCollection early = new EarlyCollection(pool);
                ((NotificationEmitter) ManagementFactory.getMemoryMXBean())
                        .addNotificationListener((note, unused) -> early.grown(), null, null);
                Thread.ofPlatform().daemon().name("early-collection").start(early::awaitLulls);
            }
        }
    }

    private void awaitLulls() {
        List<GarbageCollectorMXBean> collectors = ManagementFactory.getGarbageCollectorMXBeans();
        long seen = 0;
        try {
            while (true) {
                Thread.sleep(LULL);
                long now = collectors.stream().mapToLong(GarbageCollectorMXBean::getCollectionCount).sum();
                if (now == seen) {
                    lull();
                }
                seen = now;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void lull() {
        MemoryUsage usage = old.getUsage();
        if (usage.getUsed() - kept > usage.getMax() / SHARE / LULL_SHARE) {
            collect();
        } else if (usage.getUsed() < kept) {
            // the collector has been here by itself
            expect();
        }
    }

    /** Told of each time that some memory exceeds what was expected of it; it may have been collected meanwhile. */
    private synchronized void grown() {
        if (old.isUsageThresholdExceeded()) {
            collect();
        }
    }

    private void collect() {
        System.gc();
        expect();
    }

    private void expect() {
        MemoryUsage now = old.getUsage();
        kept = now.getUsed();
        old.setUsageThreshold(Math.min(kept + now.getMax() / SHARE, now.getMax()));
    }
}
