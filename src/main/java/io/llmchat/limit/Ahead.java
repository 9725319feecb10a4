package io.llmchat.limit;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * Takes requests ahead from the limits of callers who ask often, as many as will be needed in a moment, so that most of
 * theirs need no call of Redis. What is taken ahead is counted in Redis, so that no more pass than the limit has, however
 * many instances there are; what was not used comes back after {@value #KEEP_MILLIS} ms. At most a {@value #SHARE}th of a
 * limit, and never from its last quarter: there, and of small limits, each request is asked for by itself. Safe for all
 * threads.
 */
final class Ahead {

    private static final long KEEP_MILLIS = 100;
    private static final long SHARE = 64;
    private static final long KEEP = TimeUnit.MILLISECONDS.toNanos(KEEP_MILLIS);
    private static final long MEASURE = TimeUnit.MILLISECONDS.toNanos(10);
    private static final long SWEEP_MILLIS = 50;
    /** Who has not asked for so long does not ask often. */
    private static final long FORGET = TimeUnit.SECONDS.toNanos(1);

    /** What there is for one combination of limits. All fields are guarded by itself. */
    private static final class Held {
        private Decision granted;
        private long left;
        private long asked;
        /** When the first of their windows ends, and when those that are left are given back. */
        private long windowEnd;
        private long until;
        /** With how many left there is more asked for. */
        private long refill;
        private boolean asking;
        private boolean removed;
        private long since = System.nanoTime();
        private int count;
        private double perNano;
        private long pause = since;

        /** One of those that are held, as the answer to one request, or null. */
        Decision spend(long now) {
            if (left == 0 || now - windowEnd >= 0) {
                return null;
            }
            left--;
            return decision(granted, left, now - asked);
        }

        /** Takes over what was granted; returns how many of those that were held nobody may have any more. */
        long keep(Decision decision, long askedAt) {
            long over = 0;
            if (granted != null && !Arrays.equals(granted.resets(), decision.resets())) {
                // of a window that is over nothing is left; others of their windows may be open
                over = left;
                left = 0;
            }
            // Redis has counted what was asked for one by one too
            granted = decision;
            if (decision.ahead() > 0) {
                asking = false;
                refill = decision.ahead() / 4;
                left += decision.ahead();
                until = askedAt + KEEP;
            }
            asked = askedAt;
            long end = Long.MAX_VALUE;
            for (int i = 0; i < decision.resets().length; i++) {
                end = Math.min(end, TimeUnit.MILLISECONDS.toNanos(decision.millisLeft(i)));
            }
            // from the question on: by Redis's clock they do not end earlier
            windowEnd = asked + end;
            return over;
        }

        /** How many are worth being taken ahead now. */
        long wanted(List<Limit> limits, long now) {
            if (asking || now - pause < 0) {
                return 0;
            }
            long most = Long.MAX_VALUE;
            for (Limit limit : limits) {
                most = Math.min(most, limit.max() / SHARE);
            }
            return Math.min(most, (long) (perNano * KEEP / 2));
        }

        void counted(long now) {
            count++;
            long elapsed = now - since;
            if (elapsed >= MEASURE) {
                perNano = (double) count / elapsed;
                count = 0;
                since = now;
            }
        }
    }

    private final Map<List<Limit>, Held> held = new ConcurrentHashMap<>();
    private final RedisLimits shared;
    private volatile boolean running = true;

    Ahead(RedisLimits shared) {
        this.shared = shared;
    }

    void start() {
        Thread.ofVirtual().name("limits-ahead").start(() -> {
            while (running) {
                try {
                    Thread.sleep(SWEEP_MILLIS);
                    held.forEach(this::sweep);
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
    }

    void stop() {
        running = false;
    }

    /**
     * Takes one request from all limits, or from none.
     *
     * @param limits of requests
     * @return ends with {@link io.llmchat.store.RedisAway} if it was asked for and there is no answer
     */
    CompletableFuture<Decision> take(List<Limit> limits) {
        while (true) {
            Held of = held.computeIfAbsent(limits, l -> new Held());
            Decision own;
            long more = 0;
            long now = System.nanoTime();
            synchronized (of) {
                if (of.removed) {
                    continue;
                }
                of.counted(now);
                own = of.spend(now);
                if (own == null || of.left <= of.refill) {
                    more = of.wanted(limits, now);
                    of.asking |= more > 0;
                }
            }
            if (own == null) {
                return ask(limits, of, Need.REQUEST, more, now);
            }
            if (more > 0) {
                // for those who come next: this one does not wait for it
                ask(limits, of, Need.NOTHING, more, now);
            }
            return CompletableFuture.completedFuture(own);
        }
    }

    private CompletableFuture<Decision> ask(List<Limit> limits, Held of, Need need, long more, long asked) {
        return shared.take(limits, need, more, 0).whenComplete((decision, away) -> {
            if (away != null || more > 0 && decision.ahead() == 0) {
                synchronized (of) {
                    of.asking &= more == 0;
                    of.pause = System.nanoTime() + KEEP;
                }
            }
        }).thenApply(decision -> {
            Decision before;
            Decision own;
            long over;
            synchronized (of) {
                if (!decision.allowed()) {
                    return decision;
                }
                before = of.granted;
                over = of.keep(decision, asked);
                own = decision(decision, of.left, 0);
            }
            giveBack(limits, before, over);
            return own;
        });
    }

    /** What one request is told: later ones have not used what is left yet. */
    private static Decision decision(Decision granted, long left, long later) {
        long[] used = granted.used().clone();
        long[] taken = new long[used.length];
        for (int i = 0; i < used.length; i++) {
            used[i] -= left;
            taken[i] = 1;
        }
        return new Decision(granted.limits(), taken, used, granted.resets(), granted.now() + Math.max(0, TimeUnit.NANOSECONDS.toMillis(later)),
                granted.refused(), 0, false);
    }

    /** What nobody has used comes back. */
    private void sweep(List<Limit> limits, Held of) {
        Decision granted;
        long unused;
        synchronized (of) {
            long now = System.nanoTime();
            unused = now - of.until > 0 ? of.left : 0;
            granted = of.granted;
            of.left -= unused;
            if (of.left == 0 && !of.asking && now - of.since > FORGET) {
                of.removed = true;
                held.remove(limits, of);
            }
        }
        giveBack(limits, granted, unused);
    }

    private void giveBack(List<Limit> limits, Decision granted, long unused) {
        if (unused > 0) {
            long[] back = new long[limits.size()];
            Arrays.fill(back, -unused);
            shared.settle(limits, granted.resets(), back, 0);
        }
    }
}
