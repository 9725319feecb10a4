package io.llmchat.bench;

/** What is measured of a run. */
enum Metric {
    RATE("requests/s", false), P50("p50 ms", true), P99("p99 ms", true), FIRST_P50("first token p50 ms", true), FIRST_P99("first token p99 ms", true),
    GAP_P99("gap p99 ms", true), COMPLETE("complete %", false), CPU("CPU µs/request", true), RSS("peak RSS MiB", true);

    final String title;
    /** Whether less of it is better. */
    final boolean less;

    Metric(String title, boolean less) {
        this.title = title;
        this.less = less;
    }

    /** What two runs are compared by: a round in which answers were lost is not made good by the others. */
    double of(Spread spread) {
        return this == COMPLETE ? spread.low() : spread.median();
    }

    /** Whether it is a time that can be compared with the one without a gateway. */
    boolean isTime() {
        return title.endsWith(" ms");
    }
}
