package io.llmchat.bench;

import java.util.List;
import java.util.Locale;

/** What several rounds have shown of one metric. */
record Spread(double low, double median, double high) {

    static Spread of(List<Double> values) {
        double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        int n = sorted.length;
        return new Spread(sorted[0], (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[n - 1]);
    }

    /** Three significant digits, thousands with a comma. */
    static String number(double value) {
        double size = Math.abs(value);
        return String.format(Locale.ROOT, size >= 100 ? "%,.0f" : size >= 10 ? "%.1f" : "%.2f", value);
    }

    @Override
    public String toString() {
        return low == high ? number(median) : number(median) + " (" + number(low) + "-" + number(high) + ")";
    }
}
