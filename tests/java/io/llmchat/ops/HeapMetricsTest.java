package io.llmchat.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.TestGateway;
import io.micrometer.core.instrument.FunctionTimer;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.lang.management.ManagementFactory;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class HeapMetricsTest {

    private final SimpleMeterRegistry registry = new SimpleMeterRegistry();

    @Test
    void aFullCollectionIsCountedWithItsTimeWhatItLeftAndTheLongestPause() throws Exception {
        new HeapMetrics().bindTo(registry);
        double before = pauses();
        System.gc();
        assertTrue(pauses() > before, pauses() + " after " + before);
        assertTrue(highest("jvm.gc.live.data.size") > 1_000_000, highest("jvm.gc.live.data.size") + " bytes");
        assertTrue(highest("jvm.gc.max.data.size") >= highest("jvm.gc.live.data.size"), "more than there may be");
        TestGateway.until("the pause is seen", () -> highest("jvm.gc.pause.seconds.max") > 0);
        double all = registry.get("jvm.gc.pause").functionTimers().stream().mapToDouble(t -> t.totalTime(TimeUnit.SECONDS)).sum();
        assertTrue(highest("jvm.gc.pause.seconds.max") <= all, "a pause longer than all of them");
    }

    @Test
    void collectorsThatWorkBesideTheProgramCountNoPauses() {
        new HeapMetrics().bindTo(registry);
        assertEquals(ManagementFactory.getGarbageCollectorMXBeans().size(), registry.find("jvm.gc.pause").functionTimers().size()
                + registry.find("jvm.gc.concurrent.phase.time").functionTimers().size());
        assertTrue(registry.find("jvm.gc.concurrent.phase.time").functionTimers().stream()
                .allMatch(t -> t.getId().getTag("gc").matches(".*(Concurrent|Cycles).*")), registry.getMeters().toString());
        assertEquals(registry.find("jvm.gc.pause").functionTimers().stream().map(t -> t.getId().getTag("gc")).collect(Collectors.toSet()),
                registry.find("jvm.gc.pause.seconds.max").gauges().stream().map(g -> g.getId().getTag("gc")).collect(Collectors.toSet()));
    }

    private double pauses() {
        return registry.get("jvm.gc.pause").functionTimers().stream().mapToDouble(FunctionTimer::count).sum();
    }

    private double highest(String name) {
        return registry.get(name).gauges().stream().mapToDouble(Gauge::value).max().orElseThrow();
    }
}
