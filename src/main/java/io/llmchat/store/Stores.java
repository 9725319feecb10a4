package io.llmchat.store;

import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;

/** Both stores, started: to make it is to wait for them. From then on gauges tell how they are. */
public final class Stores {

    /** @throws java.util.concurrent.CompletionException why one of them does not start */
    public Stores(Postgres postgres, Redis redis, MeterRegistry meters) {
        postgres.dataSource();
        redis.client();
        Gauge.builder("llmchat.postgres.available", postgres, p -> p.available() ? 1 : 0)
                .description("1 while PostgreSQL answers").register(meters);
        Gauge.builder("llmchat.redis.available", redis, r -> r.watch().tellsChanges() ? 1 : 0)
                .description("1 while Redis answers, and takes what is new").register(meters);
        Gauge.builder("llmchat.redis.round.trip", redis, r -> r.watch().roundTripNanos() / 1e9).baseUnit("seconds")
                .description("How long Redis took for the last of the reads that come four times a second").register(meters);
    }
}
