package io.llmchat.limit;

import java.time.Instant;
import java.time.YearMonth;
import java.time.ZoneOffset;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The limits of this instance alone, for while Redis is away: the same algorithm as {@code limit.lua}, in memory, beginning
 * with what Redis has told last of budgets, tokens and refusals. Keeps {@value #MAX_KEPT} limits, of which those go first
 * that were not used for longest. Safe for all threads.
 */
final class LocalLimits {

    private static final int MAX_KEPT = 100_000;
    private static final long DAY = 86_400_000;

    private static final class Window {
        private long used;
        private long ends;
        /** When it ends by Redis's clock, if it is one of which Redis has told; else 0. */
        private long told;
        private long blocked;
        /** How much there was in a window when it was. */
        private long max;
    }

    private final Map<String, Window> windows = new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Window> eldest) {
            return size() > MAX_KEPT;
        }
    };

    /** Takes what is needed from all limits, or from none. */
    synchronized Decision take(List<Limit> limits, Need need, long now) {
        int size = limits.size();
        Window[] of = new Window[size];
        long[] taken = new long[size];
        long[] used = new long[size];
        long[] resets = new long[size];
        int refused = -1;
        long longest = 0;
        for (int i = 0; i < size; i++) {
            Limit limit = limits.get(i);
            Window w = windows.computeIfAbsent(limit.key(), k -> new Window());
            of[i] = w;
            taken[i] = limit.taken(need);
            // the limit may be another one by now; what Redis has told as a window may be a block
            long longer = now + Math.max(limit.window(), limit.block());
            if (w.blocked > longer || limit.max() > w.max) {
                w.blocked = 0;
            }
            if (limit.window() > 0) {
                w.ends = Math.min(w.ends, longer);
            }
            boolean over = w.ends <= now;
            used[i] = over ? 0 : w.used;
            resets[i] = over ? end(limit.window(), now) : w.ends;
            if (taken[i] > 0 && (w.blocked > now || used[i] + taken[i] > limit.max())) {
                if (w.blocked <= now && limit.block() > 0) {
                    w.blocked = Math.max(resets[i], now + limit.block());
                    w.max = limit.max();
                }
                if (w.blocked > now) {
                    used[i] = limit.max();
                    resets[i] = w.blocked;
                }
                if (resets[i] > longest) {
                    refused = i;
                    longest = resets[i];
                }
            }
        }
        for (int i = 0; i < size && refused < 0; i++) {
            if (taken[i] > 0) {
                used[i] += taken[i];
                of[i].used = used[i];
                if (of[i].ends != resets[i]) {
                    of[i].ends = resets[i];
                    of[i].told = 0;
                }
            }
        }
        return new Decision(limits, taken, used, resets, now, refused, 0, true);
    }

    /** From now on goes on from what Redis has told, as far as it is the share of one of so many instances. */
    synchronized void goOn(Decision told, int instances, long now) {
        for (int i = 0; i < told.used().length; i++) {
            Window w = windows.computeIfAbsent(told.limits().get(i).key(), k -> new Window());
            // who may have nothing more of the whole has nothing more of the share
            w.used = Math.ceilDiv(told.used()[i], (long) instances);
            w.ends = now + told.millisLeft(i);
            w.told = told.resets()[i];
            w.blocked = 0;
        }
    }

    /**
     * Adds to what was taken, or, what is less than 0, gives back, where the window is still the same: as {@code limit-settle.lua}.
     *
     * @param ends by the clock of whoever it was taken from, this instance or Redis
     */
    synchronized void settle(List<Limit> limits, long[] ends, long[] more, long now) {
        for (int i = 0; i < more.length; i++) {
            Window w = windows.computeIfAbsent(limits.get(i).key(), k -> new Window());
            if (w.ends > now && (more[i] > 0 || w.ends == ends[i] || w.told == ends[i])) {
                w.used = Math.max(0, w.used + more[i]);
            } else if (w.ends <= now && more[i] > 0) {
                w.used = more[i];
                w.ends = end(limits.get(i).window(), now);
                w.told = 0;
            }
        }
    }

    private static long end(long window, long now) {
        return window == Limit.UTC_DAY ? (now / DAY + 1) * DAY : window == Limit.UTC_MONTH ? endOfMonth(now, 0) : now + window;
    }

    /** When the month of UTC ends that is so many after the one of {@code now}. */
    static long endOfMonth(long now, int after) {
        return YearMonth.from(Instant.ofEpochMilli(now).atOffset(ZoneOffset.UTC)).plusMonths(after + 1L).atDay(1)
                .atStartOfDay(ZoneOffset.UTC).toInstant().toEpochMilli();
    }
}
