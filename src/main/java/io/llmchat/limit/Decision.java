package io.llmchat.limit;

import java.util.List;
import java.util.function.Predicate;

/**
 * What came of asking for what a request needs.
 *
 * @param limits those that were asked
 * @param taken from each of them, where the request was not refused
 * @param used of each, this request included
 * @param resets when each of them is as new, in milliseconds of the clock that says {@code now}
 * @param refused which of them refused; -1: none
 * @param ahead what was taken from each of them for later requests, which {@code used} has too
 * @param local whether this instance decided by itself
 */
public record Decision(List<Limit> limits, long[] taken, long[] used, long[] resets, long now, int refused, long ahead, boolean local) {

    /** Of a request that meets no limit. */
    public static final Decision FREE = new Decision(List.of(), new long[0], new long[0], new long[0], 0, -1, 0, false);

    public boolean allowed() {
        return refused < 0;
    }

    /** The limit that refused. */
    Limit refusing() {
        return limits.get(refused);
    }

    /** The same, told so many milliseconds later. */
    Decision later(long millis) {
        return new Decision(limits, taken, used, resets, now + millis, refused, ahead, local);
    }

    /** The limit that refused, in plain words. */
    public String describe() {
        return refusing().words();
    }

    long remaining(int i) {
        return Math.max(0, limits.get(i).max() - used[i]);
    }

    /** Whole seconds, rounded up. */
    public int secondsLeft(int i) {
        return (int) Math.ceilDiv(millisLeft(i), 1_000L);
    }

    long millisLeft(int i) {
        return Math.max(0, resets[i] - now);
    }

    /** Of the limits of which this holds, the one that refused, or else has the smallest part left; -1: there is none. */
    int nearest(Predicate<Limit> of) {
        int nearest = -1;
        double least = Double.MAX_VALUE;
        for (int i = 0; i < limits.size(); i++) {
            double left = i == refused ? -1 : (double) remaining(i) / limits.get(i).max();
            if (left < least && of.test(limits.get(i))) {
                nearest = i;
                least = left;
            }
        }
        return nearest;
    }
}
