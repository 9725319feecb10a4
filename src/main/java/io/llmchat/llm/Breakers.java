package io.llmchat.llm;

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerRegistry;
import io.github.resilience4j.core.registry.InMemoryRegistryStore;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.function.Function;

/**
 * The circuit breakers of this process, by name. They outlive the routes that use them, so that a new version of the
 * routes finds them as they are; each has its gauges.
 */
public final class Breakers {

    private Breakers() {
    }

    /** @param resetMillis how long a breaker stays open before it lets probes through; Camel knows whole seconds only */
    public static CircuitBreakerRegistry registry(long resetMillis, MeterRegistry meters) {
        return CircuitBreakerRegistry.custom().withRegistryStore(new InMemoryRegistryStore<>() {
            @Override
            public CircuitBreaker computeIfAbsent(String name, Function<? super String, ? extends CircuitBreaker> make) {
                return super.computeIfAbsent(name, n -> {
                    CircuitBreaker breaker = CircuitBreaker.of(n, CircuitBreakerConfig
                            .from(make.apply(n).getCircuitBreakerConfig())
                            .waitDurationInOpenState(Duration.ofMillis(resetMillis)).build());
                    state(meters, "circuit.breaker.open", breaker, CircuitBreaker.State.OPEN);
                    state(meters, "circuit.breaker.half.open", breaker, CircuitBreaker.State.HALF_OPEN);
                    return breaker;
                });
            }
        }).build();
    }

    private static void state(MeterRegistry meters, String name, CircuitBreaker breaker, CircuitBreaker.State state) {
        Gauge.builder(name, breaker, b -> b.getState() == state ? 1 : 0).tag("breaker", breaker.getName()).register(meters);
    }
}
