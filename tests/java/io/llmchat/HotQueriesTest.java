package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.llmchat.support.TestDatabase;
import io.llmchat.support.TestGateway;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The queries of the routes that touch conversations, keys and the audit log, as they stand there, on a hundred thousand
 * sessions with a million messages and as many keys: none of them reads a big table from its beginning to its end.
 */
class HotQueriesTest {

    private static final int SESSIONS = 100_000;
    private static final int USERS = 1_000;

    /** What the routes bind, by the expression that it is bound from. */
    private static final Map<String, String> VALUES = Map.ofEntries(
            Map.entry("${exchangeProperty.chatId}", "'s-50000'"), Map.entry("${exchangeProperty.newId}", "'s-new'"),
            Map.entry("${exchangeProperty.named}", "'s-50000'"),
            Map.entry("${exchangeProperty.CamelAggregatedCompletedBy}", "'true'"),
            Map.entry("${exchangeProperty.userId}", "'u-0'"), Map.entry("${exchangeProperty.ofAgentId}", "'a-0'"),
            Map.entry("${exchangeProperty.sessionAgent}", "'a-0'"), Map.entry("${exchangeProperty.title}", "'A title'"),
            Map.entry("${exchangeProperty.mayBegin}", "'false'"), Map.entry("${exchangeProperty.question}", "'What?'"),
            Map.entry("${exchangeProperty.questionId}", "'q'"),
            Map.entry("${body}", "'{\"id\": \"a\", \"session\": \"s-50000\"}'"),
            Map.entry("${exchangeProperty.page}", "'3'"), Map.entry("${exchangeProperty.pageSize}", "'20'"),
            Map.entry("${exchangeProperty.offset}", "'40'"), Map.entry("${header.id}", "'k-5'"), Map.entry("${exchangeProperty.ofUserId}", "'u-0'"),
            Map.entry("${exchangeProperty.ofAction}", "'key.create'"), Map.entry("${exchangeProperty.ofObjectType}", "'key'"),
            Map.entry("${exchangeProperty.ofObjectId}", "'k-5'"), Map.entry("${exchangeProperty.caller.userId}", "'admin'"),
            Map.entry("${exchangeProperty.address}", "'127.0.0.1'"), Map.entry("${exchangeProperty.client.requestId}", "'r'"), Map.entry("${exchangeProperty.messageId}", "'m-500005'"),
            Map.entry("${exchangeProperty.askedId}", "'m-500004'"), Map.entry("${exchangeProperty.rating}", "'up'"),
            Map.entry("${exchangeProperty.comment}", "NULL"), Map.entry("${exchangeProperty.conversation}", "'c-1'"),
            Map.entry("${variable.since}", "'-infinity'"),
            Map.entry("{{llmchat.retain.days}}", "30"), Map.entry("{{llmchat.history.max-messages}}", "40"), Map.entry("{{llmchat.history.max-tokens}}", "8000"));

    private static TestDatabase database;

    @BeforeAll
    static void fill() throws Exception {
        database = new TestDatabase(TestGateway.shared(), "hot_queries");
        database.migrate(null);
        try (Statement s = database.connection().createStatement()) {
            // made data need neither the log of a crash nor a check of each reference
            s.execute("SET session_replication_role = replica");
            s.execute("ALTER TABLE chat_messages SET UNLOGGED");
            s.execute("INSERT INTO users (id, name) SELECT 'u-' || n, 'U' FROM generate_series(0, " + (USERS - 1) + ") n");
            s.execute("INSERT INTO chat_sessions (id, name, user_id, agent_id, title, external_session_id, provider, created_at,"
                    + " updated_at) SELECT 's-' || n, CASE WHEN n % 3 = 0 THEN 'n-' || n END, 'u-' || n % " + USERS + ", 'a-' || n % 7, 'Title ' || n, CASE WHEN n % 10 = 0 THEN 'e-' || n END,"
                    + " CASE WHEN n % 10 = 0 THEN 'dify' END, now() - n * interval '1 minute', now() - n * interval '1 minute'"
                    + " FROM generate_series(0, " + (SESSIONS - 1) + ") n");
            s.execute("DROP INDEX chat_messages_session");
            s.execute("INSERT INTO chat_messages (id, session_id, role, content, created_at)"
                    + " SELECT 'm-' || n, 's-' || n / 10, CASE WHEN n % 2 = 0 THEN 'user' ELSE 'assistant' END, 'Text of message ' || n,"
                    + " now() - interval '1 year' + n * interval '1 second' FROM generate_series(0, " + (SESSIONS * 10 - 1) + ") n");
            s.execute("CREATE INDEX chat_messages_session ON chat_messages (session_id, created_at ASC)");
            s.execute("INSERT INTO api_keys (id, user_id, name, prefix, hash, created_at) SELECT 'k-' || n, 'u-' || n % " + USERS + ", 'K', 'llmchat_sk_',"
                    + " sha256(n::text::bytea), now() - n * interval '1 minute' FROM generate_series(0, " + (SESSIONS - 1) + ") n");
            s.execute("INSERT INTO audit_log (actor, action, object_type, object_id, address, request_id, details)"
                    + " SELECT 'admin', 'key.create', 'key', 'k-' || n, '127.0.0.1', 'r', '{}' FROM generate_series(0, " + (SESSIONS - 1) + ") n");
            s.execute("ANALYZE users, chat_sessions, chat_messages, api_keys, audit_log");
            s.execute("SET session_replication_role = DEFAULT");
        }
    }

    @AfterAll
    static void remove() throws Exception {
        database.close();
    }

    /** The queries of the routes, by the id of the step. */
    static Map<String, String> queries() throws Exception {
        Map<String, String> queries = new HashMap<>();
        try (Stream<Path> files = Files.walk(Path.of("src/main/resources/routes"))) {
            for (Path file : files.filter(f -> f.toString().endsWith(".camel.yaml")).toList()) {
                for (JsonNode step : new YAMLMapper().readTree(file.toFile()).findValues("to")) {
                    if (step.path("uri").asText().equals("sql")) {
                        queries.put(step.path("id").asText(), step.path("parameters").path("query").asText());
                    }
                }
            }
        }
        return queries;
    }

    private static String bound(String query) {
        String sql = query.replace(":#", "");
        for (Map.Entry<String, String> value : VALUES.entrySet()) {
            sql = sql.replace(value.getKey(), value.getValue());
        }
        assertFalse(sql.contains("${") || sql.contains("{{"), "a value that this test does not know: " + sql);
        return sql;
    }

    private static String plan(String sql) throws SQLException {
        try (Statement s = database.connection().createStatement(); ResultSet rows = s.executeQuery("EXPLAIN " + sql)) {
            StringBuilder plan = new StringBuilder();
            while (rows.next()) {
                plan.append(rows.getString(1)).append('\n');
            }
            return plan.toString();
        }
    }

    @Test
    void everyQueryThatTouchesConversationsIsLookedAt() throws Exception {
        List<String> touching = queries().entrySet().stream().filter(q -> q.getValue().contains("chat_session")
                || q.getValue().contains("chat_message")).map(Map.Entry::getKey).sorted().toList();
        assertEquals(List.of("to-postgres-answer", "to-postgres-conversation", "to-postgres-conversation-kept", "to-postgres-feedback",
                "to-postgres-history", "to-postgres-history-delete", "to-postgres-history-of-chat", "to-postgres-partial",
                "to-postgres-retain-messages", "to-postgres-retain-sessions", "to-postgres-retry", "to-postgres-session"), touching);
    }

    @ParameterizedTest
    @ValueSource(strings = {"to-postgres-answer", "to-postgres-conversation", "to-postgres-conversation-kept", "to-postgres-feedback",
        "to-postgres-history", "to-postgres-history-delete", "to-postgres-history-of-chat", "to-postgres-partial", "to-postgres-retry",
        "to-postgres-session",
        "to-postgres-retain-messages", "to-postgres-retain-sessions"})
    void noQueryReadsABigTableFromEndToEnd(String id) throws Exception {
        String plan = plan(bound(queries().get(id)));
        assertFalse(Pattern.compile("Seq Scan on chat_").matcher(plan).find(), plan);
    }

    @ParameterizedTest
    @ValueSource(strings = {"to-postgres-feedback", "to-postgres-history-delete", "to-postgres-history-of-chat", "to-postgres-retry", "to-postgres-session"})
    void aSessionIsFoundByItsNameAndByItsId(String id) throws Exception {
        String plan = plan(bound(queries().get(id)));
        assertTrue(plan.contains("Index Scan using chat_sessions_name") && plan.contains("Index Scan using chat_sessions_pkey"), plan);
    }

    @Test
    void aPageOfAllAgentsIsFoundByItsUserToo() throws Exception {
        String plan = plan(bound(queries().get("to-postgres-history").replace("${exchangeProperty.ofAgentId}", "NULL").replace(":#NULL", "NULL")));
        assertFalse(Pattern.compile("Seq Scan on chat_").matcher(plan).find(), plan);
        assertTrue(plan.contains("chat_sessions_user"), plan);
    }

    @Test
    void aPageMakesTheDocumentsOfItsSessionsAndOfNoOthers() throws Exception {
        String third = bound(queries().get("to-postgres-history").replace("${exchangeProperty.ofAgentId}", "NULL").replace(":#NULL", "NULL"));
        assertEquals(2 * 20, timesWritten("SELECT 1", third), "when it began, and when it was used");
    }

    @Test
    void aPageMakesTheDocumentsOfItsRowsOfTheAuditLogAndOfNoOthers() throws Exception {
        String third = queries().get("to-postgres-audit").replaceAll(":#\\$\\{exchangeProperty\\.of[A-Z]\\w+}", "NULL");
        assertEquals(20, timesWritten("SELECT 1", bound(third)), "when each of them was written");
    }

    @ParameterizedTest
    @ValueSource(strings = {"to-postgres-retain-messages", "to-postgres-retain-sessions"})
    void whatIsRemovedIsLookedForFromWhereTheLastOneWas(String id) throws Exception {
        String plan = plan(bound(queries().get(id)));
        assertTrue(Pattern.compile("Index Cond: \\(\\(\\w+ >= ").matcher(plan).find(), plan);
    }

    @Test
    void ofALongSessionOnlyThoseMessagesAreMadeThatMayBeTold() throws Exception {
        long written = timesWritten("INSERT INTO chat_messages (id, session_id, role, content) SELECT 'long-' || n, 's-50000', 'user',"
                + " repeat('x', 1000000) FROM generate_series(1, 60) n", bound(queries().get("to-postgres-history-of-chat")));
        assertTrue(written < 2 * 20, written + ", to tell four of sixty");
    }

    @Test
    void whatACallerSaysGoesToTheDatabaseOnce() throws Exception {
        assertEquals(2, queries().get("to-postgres-session").split("exchangeProperty.question}", -1).length, "a question may have megabytes");
    }

    /** How many times of day are written for people, by all that is asked. Nothing of it lasts. */
    private static long timesWritten(String before, String sql) throws SQLException {
        database.connection().setAutoCommit(false);
        try {
            database.execute("CREATE SEQUENCE written");
            database.execute("CREATE OR REPLACE FUNCTION iso(at timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN"
                    + " RETURN nextval('written'); END $$");
            database.execute(before);
            database.value(sql);
            return Long.parseLong(database.value("SELECT last_value FROM written"));
        } finally {
            database.connection().rollback();
            database.connection().setAutoCommit(true);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"to-postgres-key", "to-postgres-key-by-id", "to-postgres-keys", "to-postgres-key-revoke", "to-postgres-audit"})
    void noQueryReadsAllKeysOrAllThatWasDone(String id) throws Exception {
        String plan = plan(bound(queries().get(id).replace("${body}", "'" + "00".repeat(32) + "'").replace(":#'", "'")));
        assertFalse(Pattern.compile("Seq Scan on (api_keys|audit_log)").matcher(plan).find(), plan);
    }

    @Test
    void removingASessionFindsItsMessagesByTheirIndex() throws Exception {
        // what PostgreSQL itself runs for ON DELETE CASCADE
        String plan = plan("DELETE FROM ONLY chat_messages WHERE 's-7' OPERATOR(pg_catalog.=) session_id");
        assertFalse(plan.contains("Seq Scan"), plan);
    }

    @Test
    void aPlanThatWouldBeRefusedIsRecognised() throws Exception {
        assertEquals(Integer.toString(SESSIONS * 10), database.value("SELECT count(*) FROM chat_messages"));
        assertTrue(plan("SELECT count(*) FROM chat_messages WHERE content LIKE '%7'").contains("Seq Scan on chat_messages"));
    }
}
