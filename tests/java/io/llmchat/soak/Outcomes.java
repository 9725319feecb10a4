package io.llmchat.soak;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;

/** What came of all requests: how many got what they asked for, of each kind, and examples of those that did not. Safe for all threads. */
final class Outcomes {

    private static final int EXAMPLES = 25;

    private final Map<String, LongAdder> asExpected = new ConcurrentSkipListMap<>();
    private final Map<String, LongAdder> otherwise = new ConcurrentSkipListMap<>();
    private final Queue<String> examples = new ConcurrentLinkedQueue<>();
    private final AtomicInteger failures = new AtomicInteger();
    private final long started = System.nanoTime();

    void asExpected(String kind) {
        asExpected.computeIfAbsent(kind, k -> new LongAdder()).increment();
    }

    void otherwise(String kind, Throwable why) {
        otherwise.computeIfAbsent(kind, k -> new LongAdder()).increment();
        if (failures.incrementAndGet() <= EXAMPLES) {
            String text = why.toString();
            examples.add("after " + (System.nanoTime() - started) / 1_000_000_000 + " s, " + kind + ": "
                    + (text.length() > 600 ? text.substring(0, 600) + " ..." : text)
                    + (why instanceof AssertionError || why.getStackTrace().length == 0 ? "" : " at " + why.getStackTrace()[0]));
        }
    }

    int failures() {
        return failures.get();
    }

    /** Kinds of which none got what it asked for: they prove nothing. */
    List<String> never(List<String> kinds) {
        return kinds.stream().filter(k -> !asExpected.containsKey(k)).toList();
    }

    @Override
    public String toString() {
        List<String> lines = new ArrayList<>();
        lines.add("%-32s %12s %12s".formatted("requests", "as asked", "otherwise"));
        asExpected.keySet().forEach(kind -> lines.add(line(kind)));
        otherwise.keySet().stream().filter(k -> !asExpected.containsKey(k)).forEach(kind -> lines.add(line(kind)));
        lines.addAll(examples);
        return String.join("\n", lines);
    }

    private String line(String kind) {
        return "%-32s %12d %12d".formatted(kind, sum(asExpected.get(kind)), sum(otherwise.get(kind)));
    }

    private static long sum(LongAdder adder) {
        return adder == null ? 0 : adder.sum();
    }
}
