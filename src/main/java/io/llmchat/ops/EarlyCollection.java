package io.llmchat.ops;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryNotificationInfo;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryUsage;
import javax.management.NotificationEmitter;

/**
 * Has the old generation collected as soon as it has grown by a third of what it may have. The serial collector takes all
 * of that from the system before it collects the old generation for the first time, and a gateway fills it, however
 * little of it lives: what a stream needs grows old with the stream. Other collectors have rules of their own and are
 * left to them.
 */
public final class EarlyCollection {

    /** A collection stops the gateway for 50 to 150 ms; a third of 200 MB is half a minute of 1000 streams. */
    private static final int SHARE = 3;

    private EarlyCollection() {
    }

    /** Begins to look after this process's heap; once is enough. */
    public static void begin() {
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            if (pool.getName().equals("Tenured Gen")) {
                ((NotificationEmitter) ManagementFactory.getMemoryMXBean()).addNotificationListener((note, unused) -> {
                    if (note.getType().equals(MemoryNotificationInfo.MEMORY_THRESHOLD_EXCEEDED)) {
                        System.gc();
                        expect(pool);
                    }
                }, null, null);
                expect(pool);
            }
        }
    }

    private static void expect(MemoryPoolMXBean old) {
        MemoryUsage now = old.getUsage();
        old.setUsageThreshold(Math.min(now.getUsed() + now.getMax() / SHARE, now.getMax()));
    }
}
