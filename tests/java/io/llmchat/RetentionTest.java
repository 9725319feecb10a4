package io.llmchat;

import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** How much of what is said is kept, and how long. */
class RetentionTest {

    private static final String PATH = "/api/chat/completions";

    private final String model = "m-" + UUID.randomUUID();
    private final String marked = "marked-" + UUID.randomUUID();

    private static String ask(String model, String chatId, String text) {
        return nativeChat("openai/" + model, false).replace("\"Hi\"", "\"" + text + "\"")
                .replace("{\"agentId", chatId == null ? "{\"agentId" : "{\"chatId\":\"" + chatId + "\",\"agentId");
    }

    @Test
    void whereTextsAreNotKeptSessionsAreEmptyAndProvidersKnowWhatTheCallerSends() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.history.store-messages", "false")) {
            gateway.provider().on(model, c -> c.json(200, FakeProvider.completion("The answer " + marked)));
            JsonNode first = json(gateway.post(PATH, ask(model, null, marked)).body()).path("data");
            String chatId = first.path("chatId").asText();
            assertEquals("The answer " + marked, first.at("/choices/0/message/content").asText());
            assertEquals(200, gateway.post(PATH, ask(model, chatId, marked + " again")).statusCode());

            JsonNode session = json(gateway.get("/api/chat/history/" + chatId).body()).path("data");
            assertEquals(4, session.path("messages").size());
            assertEquals("", session.path("title").asText());
            session.path("messages").forEach(m -> assertEquals("", m.path("content").asText()));
            assertEquals(1, gateway.provider().calls(model).get(1).body().path("messages").size());
            assertEquals(0, gateway.count("SELECT count(*) FROM chat_messages WHERE content LIKE '%" + marked + "%'"));
            assertEquals(0, gateway.count("SELECT count(*) FROM chat_sessions WHERE title LIKE '%" + marked + "%'"));

            HttpResponse<String> retry = gateway.post("/api/chat/history/" + chatId + "/retry",
                    "{\"messageId\":\"" + first.path("messageId").asText() + "\"}");
            assertEquals(404, retry.statusCode(), retry.body());

            String keyed = gateway.post(PATH, ask(model, null, marked), "Idempotency-Key", model).body();
            assertTrue(keyed.contains("The answer " + marked), keyed);
            HttpResponse<String> again = gateway.post(PATH, ask(model, null, marked), "Idempotency-Key", model);
            assertEquals("true", again.headers().firstValue("idempotent-replayed").orElse("is not kept for its key"));
            assertEquals(keyed, again.body());
        }
    }

    @Test
    void messagesAndSessionsThatAreTooOldGo() throws Exception {
        TestGateway shared = TestGateway.shared();
        shared.provider().on(model, c -> c.json(200, FakeProvider.completion("Fine")));
        String old = json(shared.post(PATH, ask(model, null, "Old")).body()).at("/data/chatId").asText();
        String alive = json(shared.post(PATH, ask(model, null, "Old too")).body()).at("/data/chatId").asText();
        String young = json(shared.post(PATH, ask(model, null, "Young")).body()).at("/data/chatId").asText();
        shared.execute("UPDATE chat_messages SET created_at = now() - interval '400 days' WHERE session_id IN ('" + old + "','" + alive + "')");
        shared.execute("UPDATE chat_sessions SET updated_at = now() - interval '400 days' WHERE id = '" + old + "'");
        shared.execute("INSERT INTO chat_sessions (id, user_id, agent_id, title, updated_at) SELECT '" + model + "' || n, 'anonymous', 'demo',"
                + " '', now() - interval '366 days' FROM generate_series(1, 2500) n");
        assertEquals(200, shared.post(PATH, ask(model, alive, "New")).statusCode());
        until("all usage is there", () -> shared.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'") == 4);

        try (TestGateway gateway = TestGateway.with("llmchat.retain.days", "365", "llmchat.retain.delay", "0")) {
            until("the old session is gone", () -> gateway.get("/api/chat/history/" + old).statusCode() == 404);
            until("so are many", () -> gateway.count("SELECT count(*) FROM chat_sessions WHERE id LIKE '" + model + "%'") == 0);
            assertEquals(2, json(gateway.get("/api/chat/history/" + alive).body()).at("/data/messages").size(), "what is new of an old session stays");
            assertEquals("", json(gateway.get("/api/chat/history/" + alive).body()).at("/data/title").asText(), "its title was said in an old message");
            JsonNode kept = json(gateway.get("/api/chat/history/" + young).body()).path("data");
            assertEquals(2, kept.path("messages").size());
            assertEquals("Young", kept.path("title").asText());
            assertEquals(4, gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'"));
            assertFalse(gateway.count("SELECT count(*) FROM chat_messages WHERE session_id = '" + old + "'") > 0);
        }
    }

    @Test
    void anAnswerToAKeyIsKeptForADay() throws Exception {
        TestGateway shared = TestGateway.shared();
        for (String hours : List.of("23", "25")) {
            assertEquals(200, shared.post(PATH, ask(model, null, hours), "Idempotency-Key", model + hours).statusCode());
            shared.execute("UPDATE answers SET created_at = now() - interval '" + hours + " hours' WHERE key LIKE '%" + model + hours + "'");
        }
        try (TestGateway gateway = TestGateway.with()) {
            until("one is gone", () -> gateway.count("SELECT count(*) FROM answers WHERE key LIKE '%" + model + "%'") == 1);
            assertEquals("true", shared.post(PATH, ask(model, null, "23"), "Idempotency-Key", model + "23").headers()
                    .firstValue("idempotent-replayed").orElseThrow());
            assertTrue(shared.post(PATH, ask(model, null, "25"), "Idempotency-Key", model + "25").headers()
                    .firstValue("idempotent-replayed").isEmpty());
            assertEquals(3, shared.provider().calls(model).size());
        }
    }

    @Test
    void ofAnAnswerThatIsTooOldNothingIsLeftWhereItsKeyIsUsedAgain() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String key = model + "again";
        String row = " WHERE key LIKE '%" + key + "'";
        assertEquals(200, gateway.post(PATH, ask(model, null, "Hi"), "Idempotency-Key", key).statusCode());
        gateway.execute("UPDATE answers SET created_at = now() - interval '25 hours'" + row);
        AtomicLong claims = new AtomicLong();
        gateway.provider().on(model, call -> {
            claims.set(gateway.count("SELECT count(*) FROM answers" + row + " AND body IS NULL AND created_at > now() - interval '1 hour'"));
            call.json(200, FakeProvider.completion("new"));
        });
        HttpResponse<String> made = gateway.post(PATH, ask(model, null, "Another"), "Idempotency-Key", key);
        assertEquals(200, made.statusCode(), made.body());
        assertEquals(1, claims.get(), "others wait for the new one, and nobody removes it as too old");
        HttpResponse<String> again = gateway.post(PATH, ask(model, null, "Another"), "Idempotency-Key", key);
        assertEquals(made.body(), again.body());
        assertTrue(again.headers().firstValue("idempotent-replayed").isPresent());
    }

    @Test
    void answersThatAreTooOldGoAHundredAtATime() throws Exception {
        TestGateway shared = TestGateway.shared();
        shared.execute("INSERT INTO answers (key, claimed_by, created_at) SELECT '" + model + "' || n, 'x', now() - interval '400 days'"
                + " FROM generate_series(1, 2500) n");
        // an earlier run may have been killed
        shared.execute("DROP TRIGGER IF EXISTS few ON answers");
        shared.execute("CREATE OR REPLACE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                + " IF (SELECT count(*) FROM gone) > 100 THEN RAISE EXCEPTION 'too many'; END IF; RETURN NULL; END $$");
        shared.execute("CREATE TRIGGER few AFTER DELETE ON answers REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION few()");
        try (TestGateway gateway = TestGateway.with()) {
            until("all are gone", () -> gateway.count("SELECT count(*) FROM answers WHERE key LIKE '" + model + "%'") == 0);
        } finally {
            shared.execute("DROP FUNCTION few CASCADE");
        }
    }
}
