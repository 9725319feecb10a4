package io.llmchat.ops;

import com.zaxxer.hikari.HikariDataSource;
import com.zaxxer.hikari.HikariPoolMXBean;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.sql.SQLException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import javax.sql.DataSource;
import org.apache.camel.Processor;

/**
 * How the connections to PostgreSQL are used: as the pool here counts them, and as the server last told the route
 * {@code pool}. Each number the server tells is a gauge of its column's name. Safe for all threads.
 */
public final class Pool {

    private static final List<String> COLUMNS = List.of("db_server_connections_active", "db_server_backends", "db_server_commits", "db_server_rollbacks",
            "db_server_blocks_hit", "db_server_blocks_read");

    private final Map<String, Supplier<Number>> connections = new LinkedHashMap<>();
    private volatile Map<String, Object> server = Map.of();

    public Pool(DataSource dataSource, MeterRegistry meters) throws SQLException {
        HikariDataSource pool = dataSource.unwrap(HikariDataSource.class);
        HikariPoolMXBean now = pool.getHikariPoolMXBean();
        connections.put("active", now::getActiveConnections);
        connections.put("idle", now::getIdleConnections);
        connections.put("waiting", now::getThreadsAwaitingConnection);
        connections.put("max", pool::getMaximumPoolSize);
        connections.forEach((name, count) -> Gauge.builder("db.connections." + name, count).register(meters));
        for (String column : COLUMNS) {
            Gauge.builder(column, this, p -> p.server.get(column) instanceof Number n ? n.doubleValue() : Double.NaN)
                    .description("As PostgreSQL's statistics tell it").register(meters);
        }
    }

    /** A step that keeps the row which the server has told. */
    public Processor seen() {
        return exchange -> {
            @SuppressWarnings("unchecked")
            Map<String, Object> row = exchange.getMessage().getBody(Map.class);
            server = Map.copyOf(row);
        };
    }

    /** The connections of this instance: active, idle, and threads waiting for one; and how many there may be. */
    public Map<String, Object> connections() {
        Map<String, Object> now = new LinkedHashMap<>();
        connections.forEach((name, count) -> now.put(name, count.get()));
        return now;
    }

    /** What the server told last, of all its clients; empty before the first time. */
    public Map<String, Object> server() {
        return server;
    }
}
