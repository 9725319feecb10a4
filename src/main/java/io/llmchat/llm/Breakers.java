package io.llmchat.llm;

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.llmchat.chat.Target;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The circuit breakers of this process: one for each provider and model, named {@code <provider>/<model>}, so that the
 * outage of one model does not shut the provider's others. They outlive the routes that use them, so that a new version
 * of the routes finds them as they are; each has its gauges, beside those of {@code all}, which count. Safe for all threads.
 */
public final class Breakers {

    /** Callers choose model names: where there are too many, breakers that are closed make room. */
    private static final int MAX_BREAKERS = 1_000;

    private record Guarded(CircuitBreaker breaker, Meter.Id open, Meter.Id halfOpen) {
    }

    private final Map<String, Guarded> breakers = new ConcurrentHashMap<>();
    private final Duration reset;
    private final MeterRegistry meters;

    /** @param resetMillis how long a breaker stays open before it lets probes through; Camel knows whole seconds only */
    public Breakers(long resetMillis, MeterRegistry meters) {
        this.reset = Duration.ofMillis(resetMillis);
        this.meters = meters;
        // there from the first moment, before any model was asked: how many there are
        all("circuit.breaker.open", CircuitBreaker.State.OPEN);
        all("circuit.breaker.half.open", CircuitBreaker.State.HALF_OPEN);
    }

    private void all(String name, CircuitBreaker.State state) {
        Gauge.builder(name, breakers, all -> all.values().stream().filter(g -> g.breaker.getState() == state).count())
                .tag("breaker", "all").register(meters);
    }

    /** The breaker of this target, which is made with this configuration if there is none. */
    public CircuitBreaker of(Target target, CircuitBreakerConfig config) {
        return breaker(target.toString(), config);
    }

    private CircuitBreaker breaker(String name, CircuitBreakerConfig config) {
        Guarded known = breakers.get(name);
        if (known != null) {
            return known.breaker;
        }
        if (breakers.size() >= MAX_BREAKERS) {
            breakers.values().stream().filter(g -> g.breaker.getState() == CircuitBreaker.State.CLOSED).findAny().ifPresent(this::forget);
        }
        return breakers.computeIfAbsent(name, n -> {
            CircuitBreaker breaker = CircuitBreaker.of(n, CircuitBreakerConfig.from(config).waitDurationInOpenState(reset).build());
            return new Guarded(breaker, state("circuit.breaker.open", breaker, CircuitBreaker.State.OPEN),
                    state("circuit.breaker.half.open", breaker, CircuitBreaker.State.HALF_OPEN));
        }).breaker;
    }

    private void forget(Guarded guarded) {
        breakers.remove(guarded.breaker.getName());
        meters.remove(guarded.open);
        meters.remove(guarded.halfOpen);
    }

    private Meter.Id state(String name, CircuitBreaker breaker, CircuitBreaker.State state) {
        return Gauge.builder(name, breaker, b -> b.getState() == state ? 1 : 0).tag("breaker", breaker.getName()).register(meters).getId();
    }

    /** The state of a target's breaker; closed if it was never asked. */
    public CircuitBreaker.State state(Target target) {
        Guarded guarded = breakers.get(target.toString());
        return guarded == null ? CircuitBreaker.State.CLOSED : guarded.breaker.getState();
    }

    /** The state of every breaker, by name. */
    public Map<String, CircuitBreaker.State> states() {
        Map<String, CircuitBreaker.State> states = new TreeMap<>();
        breakers.forEach((name, guarded) -> states.put(name, guarded.breaker.getState()));
        return states;
    }
}
