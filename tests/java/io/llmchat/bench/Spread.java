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

    /** Three significant digits, thousands with a comma. What is almost 100 % is not all. */
    static String number(double value) {
        double size = Math.abs(value);
        if (size >= 99.95 && size < 100) {
            return value < 0 ? "-99.9" : "99.9";
        }
        return String.format(Locale.ROOT, size >= 100 ? "%,.0f" : size >= 10 ? "%.1f" : "%.2f", value);
    }

    @Override
    public String toString() {
        return low == high ? number(median) : number(median) + " (" + number(low) + "-" + number(high) + ")";
    }
}
