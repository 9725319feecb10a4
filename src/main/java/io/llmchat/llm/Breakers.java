package io.llmchat.llm;

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig.SlidingWindowType;
import io.llmchat.chat.Target;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.ToLongFunction;

/**
 * The circuit breakers of this process: one for each provider and model, named {@code <provider>/<model>}, so that the
 * outage of one model does not shut the provider's others. They outlive the routes that use them: a new version of the
 * routes finds them as they are, and where it has other rules they are open still, if they were. Each has its gauges,
 * beside those of {@code all}, which count. Which failures count is for whoever judges a call. Safe for all threads.
 */
public final class Breakers {

    /** Exchange property: for how many milliseconds the breaker that refused a call stays open. */
    public static final String OPEN_MILLIS = "openMillis";
    /** Exchange property: the call failed here, before anybody was asked. */
    public static final String NOT_ASKED = "notAsked";

    /** Callers choose model names: where there are too many, breakers that are not open make room. */
    private static final int MAX_BREAKERS = 1_000;

    /** How long an answer takes says nothing of its provider's health. */
    private static final Duration NO_CALL_IS_SLOW = Duration.ofDays(365);

    private static final class Guarded {
        private volatile CircuitBreakerConfig rules;
        private volatile CircuitBreaker breaker;
        private Meter.Id open;
        private Meter.Id halfOpen;

        Guarded(String name, CircuitBreakerConfig rules) {
            this.rules = rules;
            this.breaker = CircuitBreaker.of(name, rules);
        }

        CircuitBreaker.State state() {
            return breaker.getState();
        }

        /** @param number of rules: a version of the routes that ends does not bring its own back */
        CircuitBreaker by(CircuitBreakerConfig now, ToLongFunction<CircuitBreakerConfig> number) {
            if (rules != now && number.applyAsLong(now) > number.applyAsLong(rules)) {
                change(now);
            }
            return breaker;
        }

        private synchronized void change(CircuitBreakerConfig now) {
            if (!facts(rules).equals(facts(now))) {
                CircuitBreaker next = CircuitBreaker.of(breaker.getName(), now);
                CircuitBreaker.State state = state();
                if (state != CircuitBreaker.State.CLOSED) {
                    next.transitionToOpenState();
                }
                if (state == CircuitBreaker.State.HALF_OPEN) {
                    next.transitionToHalfOpenState();
                }
                breaker = next;
            }
            rules = now;
        }

        /** What rules say; they themselves are never equal. */
        private static List<Object> facts(CircuitBreakerConfig rules) {
            return List.of(rules.getSlidingWindowType(), rules.getSlidingWindowSize(), rules.getMinimumNumberOfCalls(),
                    rules.getFailureRateThreshold(), rules.getPermittedNumberOfCallsInHalfOpenState(),
                    rules.getWaitIntervalFunctionInOpenState().apply(1));
        }
    }

    private final Map<String, Guarded> breakers = new ConcurrentHashMap<>();
    /** In which order rules were made. */
    private final Map<CircuitBreakerConfig, Long> numbers = Collections.synchronizedMap(new WeakHashMap<>());
    private final AtomicLong count = new AtomicLong();
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
        Gauge.builder(name, breakers, all -> all.values().stream().filter(g -> g.state() == state).count())
                .tag("breaker", "all").register(meters);
    }

    /**
     * What the breakers of models go by where a route's definition says this: so many failures open them as it says, and
     * all probes must be well to close them. When its time is over none is open any more, also one that nobody asks.
     *
     * @param ownReset whether the definition itself says how long a breaker stays open
     */
    public CircuitBreakerConfig rules(CircuitBreakerConfig definition, boolean ownReset) {
        CircuitBreakerConfig.Builder rules = CircuitBreakerConfig.from(definition).slowCallDurationThreshold(NO_CALL_IS_SLOW)
                .recordException(failure -> true).ignoreException(failure -> false).automaticTransitionFromOpenToHalfOpenEnabled(true);
        if (!ownReset) {
            rules.waitDurationInOpenState(reset);
        }
        // of calls it takes no more than there are in its window; of probes it would close by fewer than there are
        if (definition.getSlidingWindowType() == SlidingWindowType.COUNT_BASED
                && definition.getMinimumNumberOfCalls() >= definition.getSlidingWindowSize()) {
            rules.minimumNumberOfCalls(Math.max(definition.getMinimumNumberOfCalls(), definition.getPermittedNumberOfCallsInHalfOpenState()));
        }
        CircuitBreakerConfig made = rules.build();
        numbers.put(made, count.incrementAndGet());
        return made;
    }

    /**
     * The breaker of this target.
     *
     * @param rules of {@link #rules}
     */
    public CircuitBreaker of(Target target, CircuitBreakerConfig rules) {
        String name = target.toString();
        Guarded known = breakers.get(name);
        if (known != null) {
            return known.by(rules, numbers::get);
        }
        if (breakers.size() >= MAX_BREAKERS) {
            breakers.values().stream().filter(g -> g.state() != CircuitBreaker.State.OPEN).findAny().ifPresent(this::forget);
        }
        return breakers.computeIfAbsent(name, n -> {
            Guarded made = new Guarded(n, rules);
            made.open = gauge("circuit.breaker.open", n, made, CircuitBreaker.State.OPEN);
            made.halfOpen = gauge("circuit.breaker.half.open", n, made, CircuitBreaker.State.HALF_OPEN);
            return made;
        }).by(rules, numbers::get);
    }

    private void forget(Guarded guarded) {
        breakers.remove(guarded.breaker.getName());
        meters.remove(guarded.open);
        meters.remove(guarded.halfOpen);
    }

    private Meter.Id gauge(String name, String breaker, Guarded guarded, CircuitBreaker.State state) {
        return Gauge.builder(name, guarded, g -> g.state() == state ? 1 : 0).tag("breaker", breaker).register(meters).getId();
    }

    /** The state of a target's breaker; closed if it was never asked. */
    public CircuitBreaker.State state(Target target) {
        Guarded guarded = breakers.get(target.toString());
        return guarded == null ? CircuitBreaker.State.CLOSED : guarded.state();
    }

    /** The state of every breaker, by name. */
    public Map<String, CircuitBreaker.State> states() {
        Map<String, CircuitBreaker.State> states = new TreeMap<>();
        breakers.forEach((name, guarded) -> states.put(name, guarded.state()));
        return states;
    }
}
