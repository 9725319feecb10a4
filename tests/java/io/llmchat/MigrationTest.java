package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.Postgres;
import io.llmchat.support.LogLines;
import io.llmchat.support.TestDatabase;
import io.llmchat.support.TestGateway;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import org.flywaydb.core.Flyway;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The schema comes to its last version from nothing and from an earlier one, with what was in it. */
class MigrationTest {

    private TestDatabase database;

    @BeforeEach
    void open() throws Exception {
        database = new TestDatabase(TestGateway.shared(), "migration");
    }

    @AfterEach
    void close() throws Exception {
        database.close();
    }

    private String indexes(String table) throws Exception {
        return database.value("SELECT string_agg(indexdef, '\n') FROM pg_indexes WHERE schemaname = 'migration' AND tablename = '" + table + "'");
    }

    @Test
    void anEmptyDatabaseGetsTheWholeSchema() throws Exception {
        database.migrate(null);
        assertEquals("admin anonymous", database.value("SELECT string_agg(id, ' ' ORDER BY id) FROM users"));
        assertEquals("0", database.value("SELECT count(*) FROM chat_sessions"));
        for (String index : List.of("(user_id, updated_at DESC)", "(agent_id, created_at DESC)",
                "(external_session_id, provider) WHERE (external_session_id IS NOT NULL)")) {
            assertTrue(indexes("chat_sessions").contains(index), index);
        }
        assertTrue(indexes("chat_messages").contains("(session_id, created_at)"));
    }

    @Test
    void theVersionThatNeedsNoMigrationIsTheLastOne() throws Exception {
        database.migrate(null);
        assertEquals(Postgres.SCHEMA, database.value("SELECT max(version::int) FROM flyway_schema_history"));
    }

    @Test
    void conversationsOfProvidersAreSessionsFromTheThirdVersionOn() throws Exception {
        database.migrate("2");
        database.execute("INSERT INTO provider_conversations VALUES ('c1', 'dify', 'd1', '2026-01-01 00:00:00Z'),"
                + " ('c2', 'dify', 'd2', '2026-01-02 00:00:00Z'), ('c2', 'later', 'd3', '2026-01-03 00:00:00Z')");
        database.execute("INSERT INTO agent_configs (id, name, provider, model) VALUES ('mine', 'Mine', 'openai', 'm')");
        database.migrate(null);
        assertEquals("c1 anonymous d1 dify, c2 anonymous d3 later", database.value("SELECT string_agg(id || ' ' || user_id || ' '"
                + " || external_session_id || ' ' || provider, ', ' ORDER BY id) FROM chat_sessions"));
        assertEquals("2026-01-03T00:00:00.000Z", database.value("SELECT document ->> 'updatedAt' FROM chat_session_documents WHERE id = 'c2'"));
        assertEquals(null, database.value("SELECT to_regclass('migration.provider_conversations')"));
        assertEquals("Mine", database.value("SELECT name FROM agent_configs WHERE id = 'mine'"));
    }

    @Test
    void eachUserHasNamesOfItsOwnFromTheTenthVersionOn() throws Exception {
        database.migrate("9");
        String before = "INSERT INTO chat_sessions (id, user_id, agent_id, title) VALUES ('%s', 'admin', 'a', 't')";
        database.execute(before.formatted("default"));
        database.migrate(null);
        database.execute(before.formatted("old"));
        String named = "INSERT INTO chat_sessions (id, name, user_id, agent_id, title) VALUES ('%s', 'default', '%s', 'a', 't')";
        database.execute(named.formatted("1", "anonymous"));
        assertEquals("1 default, default default, old old", database.value("SELECT string_agg(id || ' ' || (document ->> 'chatId'), ', '"
                + " ORDER BY id) FROM chat_session_documents"));
        assertEquals("23505", assertThrows(SQLException.class, () -> database.execute(named.formatted("2", "anonymous"))).getSQLState());
    }

    private static String url() throws Exception {
        return "jdbc:postgresql://127.0.0.1:" + TestGateway.shared().postgresPort() + "/migration";
    }

    /** A database of its own that waits for the last migration, and what brings it up to date. */
    private Postgres ofTheVersionBefore() throws Exception {
        // an earlier run may have been killed
        database.execute("DROP DATABASE IF EXISTS migration WITH (FORCE)");
        database.execute("CREATE DATABASE migration");
        Flyway.configure().dataSource(url(), "postgres", "").target("9").load().migrate();
        Postgres postgres = new Postgres();
        postgres.setHost("127.0.0.1");
        postgres.setPort(TestGateway.shared().postgresPort());
        postgres.setUser("postgres");
        postgres.setName("migration");
        postgres.setMaxConnections(1);
        return postgres;
    }

    /** Behind PgBouncer what ends statements that nobody waits for any more is a setting of the role. */
    @Test
    void aMigrationMayTakeLongerThanOtherStatements() throws Exception {
        Postgres postgres = ofTheVersionBefore();
        try (Connection connection = DriverManager.getConnection(url(), "postgres", "");
             Statement slow = connection.createStatement()) {
            slow.execute("CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); END'");
            slow.execute("CREATE EVENT TRIGGER slow ON ddl_command_start WHEN tag IN ('CREATE INDEX') EXECUTE FUNCTION slow()");
            slow.execute("ALTER DATABASE migration SET statement_timeout = '400ms'");
            postgres.start();
            postgres.dataSource();
        } finally {
            postgres.stop();
            database.execute("DROP DATABASE migration WITH (FORCE)");
        }
    }

    @Test
    void aMigrationKeepsNobodyWaitingAndIsMadeWhenABackupHasEnded() throws Exception {
        Postgres postgres = ofTheVersionBefore();
        String url = url();
        try (LogLines logs = LogLines.text();
             Connection backups = DriverManager.getConnection(url, "postgres", "");
             Connection readers = DriverManager.getConnection(url, "postgres", "");
             Statement backup = backups.createStatement();
             Statement reader = readers.createStatement()) {
            backup.execute("BEGIN; LOCK TABLE chat_sessions IN ACCESS SHARE MODE");
            reader.execute("SET statement_timeout = '5s'");
            postgres.start();
            long longest = 0;
            do {
                long begun = System.nanoTime();
                reader.execute("SELECT count(*) FROM chat_session_documents");
                longest = Math.max(longest, System.nanoTime() - begun);
            } while (logs.with("The schema waits").isEmpty());
            assertTrue(longest < 4_000_000_000L, longest + " ns");
            backup.execute("COMMIT");
            postgres.dataSource();
            reader.execute("SELECT name FROM chat_sessions");
        } finally {
            postgres.stop();
            database.execute("DROP DATABASE migration WITH (FORCE)");
        }
    }

    @Test
    void usageThatHasWaitedInRedisSinceTheVersionBeforeIsWritten() throws Exception {
        database.migrate(null);
        String before = "[{\"answer_id\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\",\"request_id\":\"r\",\"stream\":false,"
                + "\"outcome\":\"completed\",\"attempts\":\"demo=200\",\"usage_estimated\":false,\"duration_ms\":5}]";
        database.execute(HotQueriesTest.queries().get("to-postgres-usage").replace(":#${body}", "'" + before + "'"));
        assertEquals("r", database.value("SELECT request_id FROM usage_records WHERE user_id IS NULL AND key_id IS NULL"));
    }

    @Test
    void anAnswerThatHasWaitedInRedisSinceTheVersionBeforeIsWritten() throws Exception {
        database.migrate(null);
        database.execute("INSERT INTO chat_sessions (id, user_id, agent_id, title) VALUES ('s', 'admin', 'a', 't')");
        String before = "{\"id\":\"m\",\"session\":\"s\",\"text\":\"Hello\",\"status\":\"complete\",\"keyed\":false}";
        database.execute(HotQueriesTest.queries().get("to-postgres-answer").replace(":#${body}", "'" + before + "'")
                .replace(":#${exchangeProperty.CamelAggregatedCompletedBy}", "'true'"));
        assertEquals("Hello", database.value("SELECT content FROM chat_messages WHERE id = 'm'"));
    }

    @Test
    void anAnswerThatHasWaitedTakesThePlaceOfNothingThatCameMeanwhile() throws Exception {
        database.migrate(null);
        database.execute("INSERT INTO chat_sessions (id, user_id, agent_id, title) VALUES ('s', 'admin', 'a', 't')");
        database.execute("INSERT INTO chat_messages (id, session_id, role, content, created_at) VALUES ('q', 's', 'user', 'One?', to_timestamp(10)),"
                + " ('old', 's', 'assistant', 'Old', to_timestamp(20)), ('next', 's', 'user', 'Two?', to_timestamp(40))");
        String answer = "{\"id\":\"m\",\"session\":\"s\",\"text\":\"New\",\"status\":\"complete\",\"keyed\":false,\"asked\":\"q\",\"ended\":30}";
        database.execute(HotQueriesTest.queries().get("to-postgres-answer").replace(":#${body}", "'" + answer + "'")
                .replace(":#${exchangeProperty.CamelAggregatedCompletedBy}", "'interval'"));
        assertEquals("q m next", database.value("SELECT string_agg(id, ' ' ORDER BY created_at) FROM chat_messages"));
    }

    @Test
    void aMessageGoesWithItsSessionAndHasNothingButKnownValues() throws Exception {
        database.migrate(null);
        database.execute("INSERT INTO chat_sessions (id, user_id, agent_id, title) VALUES ('s', 'admin', 'a', 't')");
        database.execute("INSERT INTO chat_messages (id, session_id, role, content) VALUES ('m', 's', 'user', 'Hi')");
        for (String wrong : List.of("role = 'system'", "status = 'lost'", "rating = 'fine'", "session_id = 'none'")) {
            try {
                database.execute("UPDATE chat_messages SET " + wrong);
                throw new AssertionError(wrong);
            } catch (SQLException refused) {
                assertTrue(refused.getSQLState().startsWith("23"), refused.getMessage());
            }
        }
        database.execute("DELETE FROM chat_sessions");
        assertEquals("0", database.value("SELECT count(*) FROM chat_messages"));
    }
}
