package io.llmchat;

import static io.llmchat.support.TestGateway.ADMIN;
import static io.llmchat.support.TestGateway.json;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.TestGateway;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The audit log: every change that an administrator makes stands there, and nobody takes it away. */
class AuditTest {

    private static TestGateway gateway;

    private final String id = "audited-" + UUID.randomUUID().toString().substring(0, 8);
    private final String agent = "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"m\",\"systemPrompt\":\"Keep this to yourself.\"}";

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.inKeyMode();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
    }

    private static JsonNode page(String query) throws Exception {
        return json(gateway.get("/api/audit?" + query, ADMIN).body()).path("data");
    }

    private static List<String> actions(JsonNode page) {
        List<String> actions = new ArrayList<>();
        page.path("items").forEach(row -> actions.add(row.path("action").asText()));
        return actions;
    }

    @Test
    void whatBecomesOfAnAgentStandsThereTheLatestFirst() throws Exception {
        gateway.post("/api/agents", agent, "Authorization", ADMIN[1], "X-Request-Id", "the-request-" + id);
        assertEquals(409, gateway.post("/api/agents", agent, ADMIN).statusCode());
        gateway.send("PUT", "/api/agents/" + id, "{\"model\":\"other\",\"systemPrompt\":null,\"note\":1}", ADMIN);
        gateway.send("DELETE", "/api/agents/" + id, null, ADMIN);
        assertEquals(404, gateway.send("DELETE", "/api/agents/" + id, null, ADMIN).statusCode());

        JsonNode page = page("objectType=agent&objectId=" + id);
        assertEquals(List.of("agent.delete", "agent.update", "agent.create"), actions(page), "what was refused is no change");
        assertEquals(3, page.path("total").asInt());
        JsonNode created = page.path("items").path(2);
        assertEquals("admin", created.path("actor").asText());
        assertEquals("127.0.0.1", created.path("address").asText());
        assertEquals("the-request-" + id, created.path("requestId").asText());
        assertTrue(created.path("at").asText().matches("\\d{4}-\\d\\d-\\d\\dT.*Z"), created.toString());
        JsonNode updated = page.path("items").path(1).path("details");
        assertEquals("[\"model\",\"systemPrompt\"]", updated.path("changed").toString());
        assertEquals("other", updated.path("model").asText());
        assertFalse(page.toString().contains("to yourself"), page.toString());
    }

    @Test
    void whatBecomesOfAKeyStandsThereButNotTheKey() throws Exception {
        JsonNode key = json(gateway.post("/api/keys", "{\"name\":\"K\",\"userId\":\"" + id + "\",\"agents\":[\"demo\"]}", ADMIN).body()).path("data");
        String path = "/api/keys/" + key.path("id").asText();
        gateway.send("DELETE", path, null, ADMIN);
        gateway.send("DELETE", path, null, ADMIN);
        gateway.send("PUT", "/api/users/" + id, "{\"limits\":{\"budgetPerDay\":1.5}}", ADMIN);
        JsonNode page = page("objectType=key&objectId=" + key.path("id").asText());
        assertEquals(List.of("key.revoke", "key.create"), actions(page), "it is revoked once");
        assertEquals("[\"demo\"]", page.path("items").path(1).path("details").path("agents").toString());
        assertEquals(key.path("prefix"), page.path("items").path(0).path("details").path("prefix"));
        assertFalse(page.toString().contains(key.path("key").asText().substring(20)) || page.toString().contains("hash"), page.toString());
        JsonNode user = page("action=user.update&objectId=" + id);
        assertEquals(1.5, user.path("items").path(0).path("details").path("limits").path("budgetPerDay").asDouble());
    }

    @Test
    void whoChangesWhatIsLoggedStandsThereToo() throws Exception {
        assertEquals(200, gateway.send("PUT", "/api/loglevel", "{\"level\":\"info\",\"logger\":\"io.llmchat." + id + "\"}", ADMIN).statusCode());
        JsonNode changed = page("objectType=logger&objectId=io.llmchat." + id).path("items").path(0);
        assertEquals("loglevel.update", changed.path("action").asText());
        assertEquals("info", changed.path("details").path("level").asText().toLowerCase(java.util.Locale.ROOT));
    }

    @Test
    void itIsReadByPages() throws Exception {
        gateway.post("/api/agents", agent, ADMIN);
        gateway.send("DELETE", "/api/agents/" + id, null, ADMIN);
        assertEquals(List.of("agent.create"), actions(page("pageSize=1&page=2&objectId=" + id)));
        assertEquals(400, gateway.get("/api/audit?page=0", ADMIN).statusCode());
        assertEquals(0, page("objectId=%00").path("total").asInt(-1));
    }

    @Test
    void behindAProxyItSaysWhomTheProxyHeard() throws Exception {
        try (TestGateway behind = TestGateway.with("llmchat.http.trusted-proxies", "127.0.0.1", "llmchat.admit.admin-key", TestGateway.ADMIN_KEY)) {
            behind.send("PUT", "/api/users/" + id, "{}", "Authorization", ADMIN[1], "X-Forwarded-For", "10.0.0.1, 2001:db8:1:2:3:4:5:6");
            behind.send("PUT", "/api/loglevel", "{\"level\":\"info\",\"logger\":\"" + id + "\"}", "Authorization", ADMIN[1], "X-Forwarded-For", "203.0.113.9");
        }
        // nobody trusts this one's callers
        gateway.post("/api/agents", agent, "Authorization", ADMIN[1], "X-Forwarded-For", "203.0.113.9");
        gateway.send("DELETE", "/api/agents/" + id, null, ADMIN);
        assertEquals(List.of("127.0.0.1", "127.0.0.1", "203.0.113.9", "2001:db8:1:2:3:4:5:6"), page("objectId=" + id).findValuesAsText("address"));
    }

    @Test
    void inOpenModeItSaysThatItWasAnybody() throws Exception {
        TestGateway open = TestGateway.shared();
        open.post("/api/agents", agent);
        open.send("DELETE", "/api/agents/" + id, null);
        JsonNode rows = json(open.get("/api/audit?objectId=" + id).body()).path("data").path("items");
        assertEquals(List.of("anonymous", "anonymous"), rows.findValuesAsText("actor"));
    }

    @Test
    void nobodyChangesOrRemovesWhatStandsThere() throws Exception {
        gateway.post("/api/agents", agent, ADMIN);
        gateway.send("DELETE", "/api/agents/" + id, null, ADMIN);
        for (String change : List.of("UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log")) {
            assertTrue(assertThrows(SQLException.class, () -> gateway.execute(change)).getMessage().contains("append-only"), change);
        }
        assertEquals(2, page("objectId=" + id).path("total").asInt());
    }
}
