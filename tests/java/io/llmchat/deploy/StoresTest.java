package io.llmchat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.redisson.api.RedissonClient;
import org.redisson.api.redisnode.RedisNodes;
import org.redisson.client.RedisOutOfMemoryException;
import org.redisson.client.codec.StringCodec;

/** PostgreSQL and Redis start with the configurations of {@code deploy/}, and do what these say. */
class StoresTest {

    @TempDir
    Path folder;

    @Test
    void postgresTakesItsConfigurationAndHasTheValuesOfTheTuningGuide() throws Exception {
        Map<String, String> values = new TreeMap<>();
        Map<String, String> faults = new TreeMap<>();
        try (Stores.Database postgres = Stores.postgres(folder);
                Connection connection = postgres.connection();
                Statement statement = connection.createStatement()) {
            ResultSet row = statement.executeQuery("SELECT f.name, error FROM pg_file_settings f LEFT JOIN pg_settings s USING (name) "
                    + "WHERE error IS NOT NULL AND s.source IS DISTINCT FROM 'command line'");
            while (row.next()) {
                faults.put(row.getString(1), row.getString(2));
            }
            // what the file says, and where the library that starts the server here does not say something else, what is in force
            row = statement.executeQuery("SELECT f.name, CASE WHEN s.source = 'command line' THEN f.setting ELSE current_setting(f.name) END "
                    + "FROM pg_file_settings f JOIN pg_settings s USING (name) WHERE f.sourcefile LIKE '%deploy/postgres/postgresql.conf'");
            while (row.next()) {
                values.put(row.getString(1), row.getString(2));
            }
        }
        assertEquals(Map.of(), faults);
        Map<String, String> guide = new TreeMap<>(Map.ofEntries(Map.entry("max_connections", "200"), Map.entry("shared_buffers", "256MB"),
                Map.entry("effective_cache_size", "1GB"), Map.entry("maintenance_work_mem", "64MB"),
                Map.entry("checkpoint_completion_target", "0.9"), Map.entry("wal_buffers", "16MB"),
                Map.entry("default_statistics_target", "100"), Map.entry("random_page_cost", "1.1"),
                Map.entry("effective_io_concurrency", "200"), Map.entry("work_mem", "4MB"), Map.entry("min_wal_size", "1GB"),
                Map.entry("max_wal_size", "4GB")));
        assertEquals("terse", values.get("log_error_verbosity"), "its log repeats what callers said");
        values.keySet().retainAll(guide.keySet());
        assertEquals(guide, values);
    }

    @Test
    void redisTakesItsConfigurationAndThrowsNothingAway() throws Exception {
        try (Stores.Cache redis = Stores.redis(folder)) {
            RedissonClient client = redis.client();
            var server = client.getRedisNodes(RedisNodes.SINGLE).getInstance();
            Map<String, String> expected = new TreeMap<>(Map.of("maxmemory", Long.toString(2L << 30), "maxmemory-policy", "noeviction",
                    "save", "900 1 300 10 60 10000", "tcp-backlog", "511", "timeout", "0", "tcp-keepalive", "300", "maxclients", "10000",
                    "appendonly", "yes"));
            Map<String, String> values = new TreeMap<>();
            for (String name : expected.keySet()) {
                values.put(name, server.getConfig(name).get(name));
            }
            assertEquals(expected, values);

            // full: what is there stays, what is new is refused
            client.getBucket("limit", StringCodec.INSTANCE).set("1");
            server.setConfig("maxmemory", "1");
            assertThrows(RedisOutOfMemoryException.class, () -> client.getBucket("more", StringCodec.INSTANCE).set("1"));
            assertEquals("1", client.getBucket("limit", StringCodec.INSTANCE).get());
        }
    }
}
