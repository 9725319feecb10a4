package io.llmchat.limit;

import io.llmchat.store.Redis;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * Says whether a request may have what it needs: by Redis, for all instances together, or, while Redis does not answer,
 * by this instance's share of each limit. Safe for all threads.
 */
public final class Limiter {

    /** Callers without a key are as many as there are addresses. */
    private static final int MAX_REFUSALS = 10_000;
    /** Then Redis is asked again: what it keeps may have been removed. */
    private static final long REMEMBERED_MILLIS = 60_000;

    /** What a limit has refused with. */
    private record Refusal(Decision decision, long at, long until) {
    }

    private final RedisLimits shared;
    private final Ahead ahead;
    private final LocalLimits own = new LocalLimits();
    private final int instances;
    private final Counter localDecisions;
    private final Counter allowed;
    private final Counter[] refused = new Counter[Limit.Scope.values().length];
    /** By the limit itself: one that was changed is another one. */
    private final Map<Limit, Refusal> refusals = new ConcurrentHashMap<>();
    /** When the last of them is over. */
    private volatile long refusing = System.nanoTime();

    /** @param instances among how many gateways a limit is divided while Redis is away */
    public Limiter(Redis redis, MeterRegistry meters, int instances) {
        this.shared = new RedisLimits(redis);
        this.ahead = new Ahead(shared);
        this.instances = instances;
        this.localDecisions = Counter.builder("llmchat.limiter.local")
                .description("Requests whose limits this instance decided on alone, because Redis did not answer").register(meters);
        this.allowed = decisions("all", "allowed", meters);
        for (Limit.Scope scope : Limit.Scope.values()) {
            refused[scope.ordinal()] = decisions(scope.name().toLowerCase(Locale.ROOT), "refused", meters);
        }
    }

    private static Counter decisions(String scope, String decision, MeterRegistry meters) {
        return Counter.builder("llmchat.limiter.decisions").tag("scope", scope).tag("decision", decision)
                .description("Requests that were within all limits, or over one for this scope").register(meters);
    }

    /** Has the script in Redis before the first request. */
    public void start() {
        shared.take(List.of(), Need.REQUEST, 0, 0).handle((decision, away) -> decision).join();
        ahead.start();
    }

    public void stop() {
        ahead.stop();
    }

    /**
     * Takes what is needed from all limits, or, if one of them refuses, from none.
     *
     * @return never fails; what depends on it runs on an event loop or the calling thread, and must not wait
     */
    public CompletableFuture<Decision> take(List<Limit> limits, Need need) {
        boolean requests = need.equals(Need.REQUEST) && Limit.ofRequests(limits);
        return (requests ? ahead.take(limits) : shared.take(limits, need, 0, 0)).handle((decision, away) -> {
            if (away == null && !(requests && decision.allowed())) {
                // should Redis be away next, a budget that is spent, or a block, must not be forgotten
                own.goOn(decision, instances, System.currentTimeMillis());
            }
            return counted(away == null ? decision : alone(limits, need));
        });
    }

    private Decision alone(List<Limit> limits, Need need) {
        localDecisions.increment();
        return own.take(instances == 1 ? limits : limits.stream().map(l -> l.share(instances)).toList(), need, System.currentTimeMillis());
    }

    private Decision counted(Decision decision) {
        if (decision.allowed()) {
            allowed.increment();
            return decision;
        }
        refused[decision.refusing().scope().ordinal()].increment();
        // of one without Redis, which may be back at any moment, nothing is remembered
        for (int i = 0; i < decision.taken().length && !decision.local(); i++) {
            Limit limit = decision.limits().get(i);
            if (limit.isOwn() && limit.kind() == Limit.Kind.REQUESTS && decision.taken()[i] > 0 && decision.remaining(i) == 0) {
                // of this limit alone: what else the decision tells is another caller's, as like as not
                remember(limit, new Decision(List.of(limit), new long[] {decision.taken()[i]}, new long[] {decision.used()[i]},
                        new long[] {decision.resets()[i]}, decision.now(), 0, 0, false));
            }
        }
        return decision;
    }

    /** What other instances hold of it may still come back (see {@link Ahead}); whoever is that much too fast does without. */
    private void remember(Limit limit, Decision decision) {
        long now = System.nanoTime();
        long until = now + TimeUnit.MILLISECONDS.toNanos(Math.min(decision.millisLeft(decision.refused()), REMEMBERED_MILLIS));
        if (refusals.size() >= MAX_REFUSALS || refusing - now <= 0) {
            refusals.clear();
        }
        refusals.put(limit, new Refusal(decision, now, until));
        if (until - refusing > 0) {
            refusing = until;
        }
    }

    /** Whether there are limits that refuse all requests for now; without them {@link #refusal} need not be asked. */
    public boolean refuses() {
        return refusing - System.nanoTime() > 0;
    }

    /**
     * The refusal that a request of somebody with these limits can only meet, because an earlier one did, or null.
     *
     * @param own limits of requests that are a caller's or its user's
     */
    public Decision refusal(List<Limit> own) {
        long now = System.nanoTime();
        for (Limit limit : own) {
            Refusal known = refusals.get(limit);
            if (known != null && known.until - now > 0) {
                refused[limit.scope().ordinal()].increment();
                return known.decision.later(TimeUnit.NANOSECONDS.toMillis(now - known.at));
            }
        }
        return null;
    }

    /**
     * Puts right what was taken by estimate, once it is known what was used; does not wait for Redis. Requests are what
     * they were.
     *
     * @param taken of a request that was allowed
     * @param others from which nothing was taken, and is now, whether they have so much or not
     * @param used of each of the limits
     */
    public void settle(Decision taken, List<Limit> others, Function<Limit, Need> used) {
        List<Limit> limits = new ArrayList<>();
        List<long[]> changes = new ArrayList<>();
        for (int i = 0; i < taken.taken().length; i++) {
            Limit limit = taken.limits().get(i);
            change(limit, taken.resets()[i], used.apply(limit).of(limit.kind()) - taken.taken()[i], limits, changes);
        }
        others.forEach(limit -> change(limit, 0, used.apply(limit).of(limit.kind()), limits, changes));
        if (limits.isEmpty()) {
            return;
        }
        long[] ends = changes.stream().mapToLong(c -> c[0]).toArray();
        long[] more = changes.stream().mapToLong(c -> c[1]).toArray();
        if (taken.local()) {
            own.settle(limits, ends, more, System.currentTimeMillis());
        } else {
            shared.settle(limits, ends, more, 0).whenComplete((done, away) -> {
                if (away != null) {
                    own.settle(limits, ends, more, System.currentTimeMillis());
                }
            });
        }
    }

    private static void change(Limit limit, long end, long more, List<Limit> limits, List<long[]> changes) {
        if (more != 0 && limit.kind() != Limit.Kind.REQUESTS) {
            limits.add(limit);
            changes.add(new long[] {end, more});
        }
    }
}
