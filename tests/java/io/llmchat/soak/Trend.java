package io.llmchat.soak;

import java.util.List;

/**
 * The straight line through a series of values, by least squares, and how much it can be trusted.
 *
 * @param from where the line begins
 * @param to where it ends
 * @param error the standard error of {@code to - from}, by how far the values lie from the line
 */
record Trend(double from, double to, double error) {

    /** So many standard errors are noise: with two dozen values and more, chance goes beyond once in several hundred lines. */
    private static final double NOISE = 3;

    /**
     * @param at when each value was measured, in ascending order, at least three
     * @param values as many
     */
    static Trend of(List<Double> at, List<Double> values) {
        int n = at.size();
        if (n < 3) {
            throw new IllegalArgumentException("A line through " + n + " values says nothing.");
        }
        double meanAt = at.stream().mapToDouble(x -> x).average().orElseThrow();
        double mean = values.stream().mapToDouble(x -> x).average().orElseThrow();
        double spread = 0;
        double together = 0;
        for (int i = 0; i < n; i++) {
            spread += (at.get(i) - meanAt) * (at.get(i) - meanAt);
            together += (at.get(i) - meanAt) * (values.get(i) - mean);
        }
        double slope = together / spread;
        double squares = 0;
        for (int i = 0; i < n; i++) {
            double off = values.get(i) - mean - slope * (at.get(i) - meanAt);
            squares += off * off;
        }
        double length = at.getLast() - at.getFirst();
        return new Trend(mean + slope * (at.getFirst() - meanAt), mean + slope * (at.getLast() - meanAt),
                Math.sqrt(squares / (n - 2) / spread) * length);
    }

    double growth() {
        return to - from;
    }

    /** Whether it grew by more than {@code tolerance}, and by more than chance explains. */
    boolean grew(double tolerance) {
        return growth() > tolerance && growth() > NOISE * error;
    }
}
