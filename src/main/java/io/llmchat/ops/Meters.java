package io.llmchat.ops;

import com.zaxxer.hikari.HikariDataSource;
import com.zaxxer.hikari.HikariPoolMXBean;
import io.llmchat.store.Postgres;
import io.llmchat.store.Redis;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.binder.jvm.JvmGcMetrics;
import io.micrometer.core.instrument.binder.jvm.JvmMemoryMetrics;
import io.micrometer.core.instrument.binder.jvm.JvmThreadMetrics;
import io.micrometer.core.instrument.binder.system.ProcessorMetrics;
import io.micrometer.core.instrument.binder.system.UptimeMetrics;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.util.function.ToDoubleFunction;
import java.sql.SQLException;
import javax.sql.DataSource;

/** The metrics of the tuning guide that are read from the parts when they are asked for, and the registry of all. */
public final class Meters {

    private Meters() {
    }

    /** The registry that every meter of this process is in. */
    public static PrometheusMeterRegistry registry() {
        PrometheusMeterRegistry registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
        new JvmMemoryMetrics().bindTo(registry);
        new JvmGcMetrics().bindTo(registry);
        new JvmThreadMetrics().bindTo(registry);
        new ProcessorMetrics().bindTo(registry);
        new UptimeMetrics().bindTo(registry);
        return registry;
    }

    /** Watches the stores, and the connection pool. */
    public static DataSource watched(DataSource dataSource, PrometheusMeterRegistry registry, Postgres postgres, Redis redis)
            throws SQLException {
        Gauge.builder("llmchat.postgres.available", postgres, p -> p.available() ? 1 : 0)
                .description("1 while PostgreSQL answers").register(registry);
        Gauge.builder("llmchat.redis.available", redis, r -> r.watch().tellsChanges() ? 1 : 0)
                .description("1 while Redis answers, and takes what is new").register(registry);
        Gauge.builder("llmchat.redis.round.trip", redis, r -> r.watch().roundTripNanos() / 1e9).baseUnit("seconds")
                .description("How long Redis took for the last of the reads that come four times a second").register(registry);
        HikariDataSource hikari = dataSource.unwrap(HikariDataSource.class);
        HikariPoolMXBean pool = hikari.getHikariPoolMXBean();
        gauge(registry, "db.connections.max", pool, p -> hikari.getMaximumPoolSize());
        gauge(registry, "db.connections.active", pool, HikariPoolMXBean::getActiveConnections);
        gauge(registry, "db.connections.idle", pool, HikariPoolMXBean::getIdleConnections);
        gauge(registry, "db.connections.waiting", pool, HikariPoolMXBean::getThreadsAwaitingConnection);
        return dataSource;
    }

    private static void gauge(PrometheusMeterRegistry registry, String name, HikariPoolMXBean pool,
                              ToDoubleFunction<HikariPoolMXBean> value) {
        Gauge.builder(name, pool, value).register(registry);
    }
}
