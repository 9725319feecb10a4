package io.llmchat.limit;

import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.redisson.api.RedissonClient;

/**
 * Says whether a request may have what it needs: by Redis, for all instances together, or, while Redis does not answer,
 * by this instance's share of each limit. Safe for all threads; asking takes 50 ms at most, and a moment only while
 * Redis is known to be away.
 */
public final class Limiter {

    /** Milliseconds; so many of these without any answer of Redis, and it is away. A pause of our own counts for one. */
    private static final long SLICE = 10;
    private static final int SLICES = 5;
    /** How long it is left alone then. */
    private static final long AWAY_NANOS = TimeUnit.MILLISECONDS.toNanos(500);
    private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(1);

    private final RedisLimits shared;
    private final LocalLimits own = new LocalLimits();
    private final int instances;
    private final Counter localDecisions;
    private final Counter allowed;
    private final Counter[] refused = new Counter[Limit.Scope.values().length];
    private volatile long awayUntil = System.nanoTime();
    private volatile long answers;

    /** @param instances among how many gateways a limit is divided while Redis is away */
    public Limiter(RedissonClient redis, MeterRegistry meters, int instances) {
        this.shared = new RedisLimits(redis);
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

    /** Has the script ready before the first request. */
    public void start() {
        try {
            shared.take(List.of(), Need.REQUEST, 0).get(1, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (ExecutionException | TimeoutException e) {
            awayUntil = System.nanoTime() + AWAY_NANOS;
        }
    }

    /** Takes what is needed from all limits, or, if one of them refuses, from none. */
    public Decision take(List<Limit> limits, Need need) throws InterruptedException {
        Decision decision = shared(limits, need);
        if (decision == null) {
            localDecisions.increment();
            decision = own.take(instances == 1 ? limits : limits.stream().map(l -> l.share(instances)).toList(), need, System.currentTimeMillis());
        }
        (decision.allowed() ? allowed : refused[decision.refusing().scope().ordinal()]).increment();
        return decision;
    }

    /** Null if Redis does not answer. */
    private Decision shared(List<Limit> limits, Need need) throws InterruptedException {
        if (awayUntil - System.nanoTime() > 0) {
            return null;
        }
        CompletableFuture<Decision> answer = shared.take(limits, need, 0);
        long begun = System.nanoTime();
        long seen = answers;
        for (int silent = 0; silent < SLICES && System.nanoTime() - begun < PATIENCE_NANOS;) {
            try {
                Decision decision = answer.get(SLICE, TimeUnit.MILLISECONDS);
                answers = seen + 1;
                return decision;
            } catch (TimeoutException e) {
                // others get their answers: it is there, and we are slow
                silent = answers == seen ? silent + 1 : 0;
                seen = answers;
            } catch (ExecutionException | CancellationException e) {
                break;
            }
        }
        awayUntil = System.nanoTime() + AWAY_NANOS;
        // whatever it takes when it is back was not for anybody
        answer.thenAccept(late -> settle(late, new Need(0, 0, 0)));
        return null;
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
            if (more != 0) {
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
