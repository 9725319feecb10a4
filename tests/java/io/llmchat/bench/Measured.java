package io.llmchat.bench;

import java.util.EnumMap;
import java.util.Map;
import org.HdrHistogram.Histogram;

/**
 * What came of a load. Histograms are in nanoseconds.
 *
 * @param sent requests that were measured
 * @param complete of them, those whose answer was 200 and had all that it must have
 * @param inTime complete answers that came while requests were sent, within {@code seconds}
 * @param errors what became of the others, and how often
 * @param latency to the end of an answer, from when its request was due
 * @param first to the first event of a stream, from then too
 * @param gaps between two events of a stream
 * @param mostOpen how many answers were under way at once
 */
record Measured(long sent, long complete, long inTime, double seconds, Map<String, Long> errors, Histogram latency, Histogram first, Histogram gaps, int mostOpen) {

    /** As figures of a table. */
    Map<Metric, Double> metrics() {
        Map<Metric, Double> all = new EnumMap<>(Metric.class);
        all.put(Metric.RATE, inTime / seconds);
        all.put(Metric.COMPLETE, sent == 0 ? 0 : 100.0 * complete / sent);
        if (latency.getTotalCount() > 0) {
            all.put(Metric.P50, millis(latency, 50));
            all.put(Metric.P99, millis(latency, 99));
        }
        if (first.getTotalCount() > 0) {
            all.put(Metric.FIRST_P50, millis(first, 50));
            all.put(Metric.FIRST_P99, millis(first, 99));
        }
        if (gaps.getTotalCount() > 0) {
            all.put(Metric.GAP_P99, millis(gaps, 99));
        }
        return all;
    }

    private static double millis(Histogram histogram, double percentile) {
        return histogram.getValueAtPercentile(percentile) / 1e6;
    }
}
