package io.llmchat.ops;

import io.micrometer.core.instrument.Clock;
import io.micrometer.core.instrument.FunctionTimer;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.binder.BaseUnits;
import io.micrometer.core.instrument.binder.MeterBinder;
import io.micrometer.core.instrument.distribution.TimeWindowMax;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * What collections of the heap cost and leave, under the names of Micrometer's {@code JvmGcMetrics}. That one has the JVM
 * make a notification of each collection, which takes half as long as to collect the young generation does, some thirty
 * times a second under load. Here the JVM's own counts are looked at once a second, so that the longest pause is the mean
 * of those that fall into one second; a full collection is alone in its second.
 */
final class HeapMetrics implements MeterBinder {

    private static final Duration LOOK = Duration.ofSeconds(1);
    /** The longest pause is that of the last three of these. */
    private static final Duration WINDOW = Duration.ofMinutes(1);
    private static final int WINDOWS = 3;

    @Override
    public void bindTo(MeterRegistry registry) {
        for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
            FunctionTimer.builder(stops(collector) ? "jvm.gc.pause" : "jvm.gc.concurrent.phase.time", collector,
                            GarbageCollectorMXBean::getCollectionCount, GarbageCollectorMXBean::getCollectionTime, TimeUnit.MILLISECONDS)
                    .tag("gc", collector.getName())
                    .description("Collections of the heap and their time")
                    .register(registry);
        }
        for (Pauses pauses : Pauses.OF_ALL) {
            // named as the maximum of a timer is
            Gauge.builder("jvm.gc.pause.seconds.max", pauses.longest, longest -> longest.poll(TimeUnit.SECONDS))
                    .tags(Tags.of("gc", pauses.collector.getName()))
                    .description("The longest pause of the last three minutes, or the mean of those of one second")
                    .register(registry);
        }
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            if (pool.getType() == MemoryType.HEAP && livesLong(pool.getName())) {
                Gauge.builder("jvm.gc.live.data.size", pool, p -> p.getCollectionUsage().getUsed())
                        .baseUnit(BaseUnits.BYTES)
                        .description("What the last full collection left")
                        .register(registry);
                Gauge.builder("jvm.gc.max.data.size", pool, p -> p.getUsage().getMax())
                        .baseUnit(BaseUnits.BYTES)
                        .description("What the old generation may have")
                        .register(registry);
            }
        }
    }

    /** Whether what this collector counts are pauses: G1, ZGC and Shenandoah count what they do beside the program as well. */
    private static boolean stops(GarbageCollectorMXBean collector) {
        return !collector.getName().contains("Concurrent") && !collector.getName().endsWith("Cycles");
    }

    /** The pool that a full collection is about, in the names that the collectors of OpenJDK give theirs. */
    private static boolean livesLong(String pool) {
        return pool.equals("Tenured Gen") || pool.contains("Old Gen") || pool.equals("ZHeap") || pool.equals("Shenandoah");
    }

    /** Of one collector: how long its pauses are. One look for all registries of the process. */
    private static final class Pauses {

        private static final List<Pauses> OF_ALL = ManagementFactory.getGarbageCollectorMXBeans().stream()
                .filter(HeapMetrics::stops).map(Pauses::new).toList();

        static {
            Thread.ofVirtual().name("heap-metrics").start(Pauses::look);
        }

        private final GarbageCollectorMXBean collector;
        private final TimeWindowMax longest = new TimeWindowMax(Clock.SYSTEM, WINDOW.toMillis(), WINDOWS);
        private long count;
        /** In milliseconds, of all. */
        private long time;

        private Pauses(GarbageCollectorMXBean collector) {
            this.collector = collector;
        }

        private static void look() {
            try {
                while (true) {
                    OF_ALL.forEach(Pauses::newOnes);
                    Thread.sleep(LOOK);
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }

        private void newOnes() {
            long counted = collector.getCollectionCount();
            long taken = collector.getCollectionTime();
            if (counted > count) {
                longest.record((double) TimeUnit.MILLISECONDS.toNanos(taken - time) / (counted - count), TimeUnit.NANOSECONDS);
            }
            count = counted;
            time = taken;
        }
    }
}
