package io.llmchat.ops;

import com.sun.management.OperatingSystemMXBean;
import io.llmchat.http.Drain;
import io.llmchat.json.Json;
import io.llmchat.llm.Breakers;
import io.llmchat.llm.LlmComponent;
import io.llmchat.store.Postgres;
import java.lang.management.ManagementFactory;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.redisson.api.RedissonClient;
import org.redisson.api.redisnode.RedisNodes;

/** How the gateway and its parts are, as the health routes report it. */
public final class Health {

    private final DataSource database;
    private final RedissonClient redis;
    private final Breakers breakers;
    private final Drain drain;
    private final RouteVersions routes;
    private final Pool pool;
    private final Postgres postgres;

    public Health(DataSource database, RedissonClient redis, Breakers breakers, Drain drain, RouteVersions routes, Pool pool, Postgres postgres) {
        this.postgres = postgres;
        this.drain = drain;
        this.routes = routes;
        this.pool = pool;
        this.database = database;
        this.redis = redis;
        this.breakers = breakers;
    }

    /** A step: the short report; it is well as long as it serves. */
    public Processor brief() {
        return exchange -> reply(exchange, 200, report("healthy"));
    }

    /**
     * A step: whether traffic should be sent here. A store that is away is so for all instances alike, and chats go on
     * without it: were they not ready, nobody would be.
     */
    public Processor ready() {
        return exchange -> {
            if (drain.isReady()) {
                reply(exchange, 200, report(postgres.available() ? "ready" : "degraded"));
            } else {
                reply(exchange, 503, report("draining"));
            }
        };
    }

    /** A step: the report with every part. */
    public Processor detailed() {
        return exchange -> {
            Map<String, Object> components = new LinkedHashMap<>();
            components.put("database", component(this::database));
            components.put("redis", component(() -> {
                if (!redis.getRedisNodes(RedisNodes.SINGLE).pingAll(1, TimeUnit.SECONDS)) {
                    // of one that cannot save its file, an error is all that comes back
                    throw new IllegalStateException("PING got no PONG");
                }
                return null;
            }));
            components.put("agents", component(this::agents));
            boolean well = components.values().stream().allMatch(c -> Boolean.TRUE.equals(((Map<?, ?>) c).get("healthy")));
            Map<String, Object> report = report(well ? "healthy" : "degraded");
            report.put("system", system());
            report.put("components", components);
            report.put("providers", providers(exchange));
            Map<String, Object> states = new LinkedHashMap<>();
            breakers.states().forEach((name, state) -> states.put(name, state.name().toLowerCase(Locale.ROOT)));
            report.put("breakers", states);
            report.put("routes", routes.report());
            reply(exchange, 200, report);
        };
    }

    private static Map<String, Object> report(String status) {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("status", status);
        report.put("timestamp", Json.now());
        report.put("uptime", ManagementFactory.getRuntimeMXBean().getUptime() / 1000);
        report.put("service", "llmchat");
        report.put("version", version());
        return report;
    }

    /** Which version of the gateway this is. */
    static String version() {
        String version = Health.class.getPackage().getImplementationVersion();
        return version == null ? "development" : version;
    }

    private static Map<String, Object> system() {
        Runtime runtime = Runtime.getRuntime();
        Map<String, Object> memory = new LinkedHashMap<>();
        memory.put("heapUsed", runtime.totalMemory() - runtime.freeMemory());
        memory.put("heapMax", runtime.maxMemory());
        OperatingSystemMXBean os = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Map<String, Object> cpu = new LinkedHashMap<>();
        cpu.put("processors", runtime.availableProcessors());
        cpu.put("processLoad", os.getProcessCpuLoad());
        cpu.put("systemLoad", os.getSystemLoadAverage());
        return Map.of("memory", memory, "cpu", cpu);
    }

    private Map<String, Object> database() throws SQLException {
        ask("SELECT 1");
        return Map.of("pool", pool.connections(), "server", pool.server());
    }

    private Map<String, Object> agents() throws SQLException {
        return Map.of("active", ask("SELECT count(*) FROM agent_configs WHERE is_active"));
    }

    private long ask(String sql) throws SQLException {
        try (Connection c = database.getConnection(); Statement s = c.createStatement()) {
            s.setQueryTimeout(2);
            try (ResultSet row = s.executeQuery(sql)) {
                row.next();
                return row.getLong(1);
            }
        }
    }

    private static Map<String, Object> component(Callable<Map<String, Object>> check) {
        Map<String, Object> result = new LinkedHashMap<>();
        long started = System.nanoTime();
        try {
            Map<String, Object> facts = check.call();
            result.put("healthy", true);
            result.put("latency", (System.nanoTime() - started) / 1_000_000.0);
            if (facts != null) {
                result.putAll(facts);
            }
        } catch (Exception e) {
            result.put("healthy", false);
            result.put("latency", (System.nanoTime() - started) / 1_000_000.0);
            result.put("error", e.getMessage());
        }
        return result;
    }

    private static Map<String, Object> providers(Exchange exchange) {
        Map<String, Object> all = new LinkedHashMap<>();
        LlmComponent.of(exchange.getContext()).providers().forEach(p -> all.put(p.getProvider(), Map.of("configured", p.isConfigured())));
        return all;
    }

    private static void reply(Exchange exchange, int status, Map<String, Object> report) {
        exchange.getMessage().setHeader(Exchange.HTTP_RESPONSE_CODE, status);
        exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
        exchange.getMessage().setBody(Json.write(report));
    }
}
