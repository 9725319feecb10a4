package io.llmchat.ops;

import com.zaxxer.hikari.HikariDataSource;
import com.zaxxer.hikari.HikariPoolMXBean;
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

    /** Watches the connection pool. */
    public static DataSource watched(DataSource dataSource, PrometheusMeterRegistry registry) throws SQLException {
        HikariPoolMXBean pool = dataSource.unwrap(HikariDataSource.class).getHikariPoolMXBean();
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
