package io.llmchat.limit;

import io.llmchat.store.Redis;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;

/**
 * Says whether a request may have what it needs: by Redis, for all instances together, or, while Redis does not answer,
 * by this instance's share of each limit. Safe for all threads.
 */
public final class Limiter {

    private final RedisLimits shared;
    private final Ahead ahead;
    private final LocalLimits own = new LocalLimits();
    private final int instances;
    private final Counter localDecisions;
    private final Counter allowed;
    private final Counter[] refused = new Counter[Limit.Scope.values().length];

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
        boolean requests = need.equals(Need.REQUEST) && limits.stream().allMatch(l -> l.kind() == Limit.Kind.REQUESTS);
        return (requests ? ahead.take(limits) : shared.take(limits, need, 0, 0)).handle((decision, away) -> counted(away == null ? decision : alone(limits, need)));
    }

    private Decision alone(List<Limit> limits, Need need) {
        localDecisions.increment();
        return own.take(instances == 1 ? limits : limits.stream().map(l -> l.share(instances)).toList(), need, System.currentTimeMillis());
    }

    private Decision counted(Decision decision) {
        (decision.allowed() ? allowed : refused[decision.refusing().scope().ordinal()]).increment();
        return decision;
    }

    /** Puts right what was taken by estimate, once it is known what was used; does not wait for Redis. */
    public void settle(Decision taken, Need used) {
        if (!taken.allowed()) {
            return;
        }
        List<Limit> limits = new ArrayList<>();
        List<long[]> changes = new ArrayList<>();
        for (int i = 0; i < taken.taken().length; i++) {
            Limit limit = taken.limits().get(i);
            long more = used.of(limit.kind()) - taken.taken()[i];
            // requests are what they were
            if (more != 0 && limit.kind() != Limit.Kind.REQUESTS) {
                limits.add(limit);
                changes.add(new long[] {taken.resets()[i], more});
            }
        }
        if (limits.isEmpty()) {
            return;
        }
        long[] ends = changes.stream().mapToLong(c -> c[0]).toArray();
        long[] more = changes.stream().mapToLong(c -> c[1]).toArray();
        if (taken.local()) {
            own.settle(limits, ends, more);
        } else {
            shared.settle(limits, ends, more);
        }
    }
}
