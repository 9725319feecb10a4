package io.llmchat;

import static io.llmchat.support.TestGateway.ADMIN;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.step.Authenticate;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.LogLines;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What operators look at and change: health, metrics, agents, keys, usage records. */
class OperationsTest {

    private final String model = "m-" + UUID.randomUUID();
    private final String agent = "a-" + UUID.randomUUID().toString().substring(0, 8);

    private String agentJson(String more) {
        return "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model + "\"" + more + "}";
    }

    @Test
    void healthSaysHowItIs() throws Exception {
        TestGateway gateway = TestGateway.shared();
        assertEquals("healthy", json(gateway.get("/health").body()).path("status").asText());
        assertEquals(200, gateway.get("/health/live").statusCode());
        assertEquals(200, gateway.get("/health/ready").statusCode());
        JsonNode detailed = json(gateway.get("/health/detailed").body());
        for (String member : List.of("status", "timestamp", "uptime", "service", "version", "system", "components")) {
            assertTrue(detailed.hasNonNull(member), member);
        }
        for (String part : List.of("database", "redis", "agents")) {
            assertTrue(detailed.path("components").path(part).path("healthy").asBoolean(), part);
            assertTrue(detailed.path("components").path(part).path("latency").asDouble() > 0, part);
        }
        assertTrue(detailed.path("system").path("memory").path("heapUsed").asLong() > 0);
        assertTrue(detailed.path("system").path("cpu").path("processors").asInt() > 0);
        assertFalse(detailed.toString().contains("sk-of-the-gateway"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"/health", "/health/live", "/health/ready"})
    void whoAsksForTheHeadOnlyIsToldHowItIsToo(String path) throws Exception {
        HttpResponse<String> response = TestGateway.shared().send("HEAD", path, "");
        assertEquals(200, response.statusCode());
        assertEquals("", response.body());
        assertEquals(200, TestGateway.shared().get(path).statusCode());
    }

    @Test
    void aScrapeDoesNotGrowMuchWithEachMethodPathAndStatusThatACallerMakesUp() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String one = "{method=\"PATCH\",path=\"/api/audit\",status=\"404\"";
        assertEquals(404, gateway.send("PATCH", "/api/audit-" + model, "{}").statusCode());
        until("it is counted", () -> gateway.metric("http_requests_total" + one + "}") > 0);
        long lines = gateway.get("/metrics").body().lines().filter(l -> l.contains(one)).count();
        assertTrue(lines < 25, lines + " lines");
    }

    @Test
    void metricsHaveTheNamesOfTheGuideAndRealValues() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String ok = "http_requests_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"200\"}";
        String missing = "http_request_errors_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"404\"}";
        String seconds = "http_request_duration_seconds_count{method=\"POST\",path=\"/v1/chat/completions\",status=\"200\"}";
        until("an agent is found near: what others have just changed is not kept", () -> {
            gateway.post("/v1/chat/completions", chat("demo", false));
            return gateway.metric("cache_hits_total{cache=\"agents\"}") > 0;
        });
        double okBefore = gateway.metric(ok);
        double missingBefore = gateway.metric(missing);
        double secondsBefore = gateway.metric(seconds);
        gateway.post("/v1/chat/completions", chat("demo", false));
        gateway.post("/v1/chat/completions", chat("demo", false));
        gateway.post("/v1/chat/completions", chat("nobody", false));
        assertEquals(okBefore + 2, gateway.metric(ok));
        assertEquals(secondsBefore + 2, gateway.metric(seconds));
        assertEquals(missingBefore + 1, gateway.metric(missing));
        assertTrue(gateway.metric("db_connections_active") + gateway.metric("db_connections_idle") > 0);
        assertTrue(gateway.metric("cache_misses_total{cache=\"agents\"}") > 0);
        double rate = gateway.metric("cache_hit_rate{cache=\"agents\"}");
        assertTrue(rate > 0 && rate < 1);
        String all = gateway.get("/metrics").body();
        for (String name : List.of("db_connections_waiting", "circuit_breaker_open{", "circuit_breaker_half_open{")) {
            assertTrue(all.contains("\n" + name), name);
        }
        assertTrue(gateway.get("/metrics").headers().firstValue("content-type").orElseThrow().startsWith("text/plain"));
    }

    @Test
    void anAgentIsMadeReadChangedAndRemoved() throws Exception {
        TestGateway gateway = TestGateway.shared();
        HttpResponse<String> made = gateway.post("/api/agents", agentJson(",\"metadata\":{\"a\":null}"));
        assertEquals(201, made.statusCode());
        assertEquals("CREATED", json(made.body()).path("code").asText());
        HttpResponse<String> twice = gateway.post("/api/agents", agentJson(""));
        assertEquals(409, twice.statusCode());
        assertEquals("AGENT_EXISTS", json(twice.body()).path("code").asText());
        assertTrue(json(gateway.get("/api/agents").body()).path("data").findValuesAsText("id").contains(agent));

        gateway.post("/v1/chat/completions", chat(agent, false));
        HttpResponse<String> changed = gateway.send("PUT", "/api/agents/" + agent, "{\"model\":\"other-" + model + "\"}");
        assertEquals("other-" + model, json(changed.body()).path("data").path("model").asText());
        assertEquals("A", json(changed.body()).path("data").path("name").asText(), "what was not given stays");
        gateway.post("/v1/chat/completions", chat(agent, false));
        assertEquals(1, gateway.provider().calls("other-" + model).size(), "the cache knows at once");

        JsonNode status = json(gateway.get("/api/agents/" + agent + "/status").body()).path("data");
        assertTrue(status.path("available").asBoolean());
        assertEquals(200, gateway.send("DELETE", "/api/agents/" + agent, null).statusCode());
        assertEquals(404, gateway.get("/api/agents/" + agent).statusCode());
        assertEquals(404, gateway.post("/v1/chat/completions", chat(agent, false)).statusCode());
    }

    @Test
    void ofTwoChangesAtOnceNoneIsLost() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.post("/api/agents", agentJson(",\"temperature\":0.1,\"rateLimit\":{\"tokensPerDay\":9}"));
        CompletableFuture<HttpResponse<String>> second;
        try (Connection first = gateway.bean(DataSource.class).getConnection(); var s = first.createStatement()) {
            first.setAutoCommit(false);
            s.execute("UPDATE agent_configs SET name = 'First', system_prompt = 'Be brief.' WHERE id = '" + agent + "'");
            second = TestGateway.begun(() -> gateway.send("PUT", "/api/agents/" + agent, "{\"model\":\"second\"}"));
            until("the second waits", () -> gateway.count("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    + " AND query LIKE '%UPDATE agent_configs%' AND pid <> pg_backend_pid()") > 0);
            first.commit();
            first.setAutoCommit(true);
        }
        JsonNode both = json(second.get(10, TimeUnit.SECONDS).body()).path("data");
        assertEquals("First", both.path("name").asText(), both.toString());
        assertEquals("Be brief.", both.path("systemPrompt").asText());
        assertEquals("second", both.path("model").asText());
        assertEquals(0.1, both.path("temperature").asDouble());
        assertEquals(9, both.at("/rateLimit/tokensPerDay").asInt());
    }

    @Test
    void aChangeIsSeenByAnotherInstance() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (TestGateway other = TestGateway.with()) {
            gateway.post("/api/agents", agentJson(""));
            other.post("/v1/chat/completions", chat(agent, false));
            assertEquals(1, other.provider().calls(model).size());
            gateway.send("PUT", "/api/agents/" + agent, "{\"model\":\"other-" + model + "\"}");
            until("the other instance asks the new model", () -> {
                other.post("/v1/chat/completions", chat(agent, false));
                return !other.provider().calls("other-" + model).isEmpty();
            });
        }
    }

    @Test
    void anAgentThatCannotBeOneIsRefused() throws Exception {
        TestGateway gateway = TestGateway.shared();
        for (String body : List.of("{}", "[]", "{\"name\":\"A\",\"provider\":\"openai\"}", "{\"name\":1,\"provider\":\"openai\",\"model\":\"m\"}",
                "{\"id\":\"Not Good\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"m\"}",
                "{\"name\":\"A\",\"provider\":\"nobody\",\"model\":\"m\"}")) {
            HttpResponse<String> response = gateway.post("/api/agents", body);
            assertEquals(400, response.statusCode(), body);
            assertEquals("VALIDATION_ERROR", json(response.body()).path("code").asText(), body);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"temperature\":1e400", "\"temperature\":1e-400", "\"temperature\":-0.1", "\"temperature\":2.1", "\"temperature\":\"1\"",
            "\"maxTokens\":0", "\"maxTokens\":-5", "\"maxTokens\":1.5", "\"maxTokens\":1e400", "\"maxTokens\":2147483648", "\"maxTokens\":\"9\""})
    void aNumberOfAnAgentThatCannotBeKeptOrUsedIsRefused(String member) throws Exception {
        HttpResponse<String> response = TestGateway.shared().post("/api/agents", agentJson("," + member));
        assertEquals(400, response.statusCode(), response.body());
        JsonNode error = json(response.body());
        assertEquals("VALIDATION_ERROR", error.path("code").asText());
        assertEquals(member.split("\"")[1], error.path("details").path(0).path("field").asText());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
        "model        | 'model':''",
        "name         | 'name':' '",
        "fallbacks[0] | 'fallbacks':[5]",
        "fallbacks[1] | 'fallbacks':['demo',{'weight':1}]",
        "fallbacks[0] | 'fallbacks':[null]",
        "fallbacks[0].weight | 'fallbacks':[{'model':'demo','weight':1e400}]",
        "fallbacks[0].weight | 'fallbacks':[{'model':'demo','weight':-1}]",
        "fallbacks[0].weight | 'fallbacks':[{'model':'demo','weight':'much'}]",
        "fallbacks[0].larger | 'fallbacks':[{'model':'demo','larger':'yes'}]",
        "fallbacks    | 'fallbacks':[{'model':'demo','order':1e1001}]",
        "metadata     | 'metadata':{'a':[{'b':1e1001}]}",
        "metadata     | 'metadata':{'a':1e-1001}",
        "rateLimit    | 'rateLimit':{'budgetPerDay':1e1001}",
        "capabilities | 'capabilities':[1e1001]"})
    void whatAnAgentCannotBeAskedWithIsRefusedAndTheMemberNamed(String field, String member) throws Exception {
        HttpResponse<String> response = TestGateway.shared().send("PUT", "/api/agents/" + agent, "{" + member.replace('\'', '"') + "}");
        assertEquals(400, response.statusCode(), response.body());
        assertEquals(field, json(response.body()).path("details").path(0).path("field").asText());
    }

    @Test
    void whatAnAgentIsOnlyKeptWithMayBeAnything() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String kept = "\"capabilities\":[{\"name\":\"search\"},5],\"metadata\":{\"a\":[1]},\"fallbacks\":[{\"model\":\"demo\",\"weight\":1}]";
        assertEquals(201, gateway.post("/api/agents", agentJson("," + kept)).statusCode());
        assertEquals(200, gateway.post("/v1/chat/completions", chat(agent, false)).statusCode());
        assertEquals(200, gateway.get("/api/agents/" + agent + "/status").statusCode());
        assertEquals("search", json(gateway.get("/api/agents/" + agent).body()).at("/data/capabilities/0/name").asText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"temperature\":0", "\"temperature\":0.0e5", "\"temperature\":2", "\"maxTokens\":1", "\"maxTokens\":2147483647", "\"temperature\":null,\"maxTokens\":null",
            "\"metadata\":{\"a\":1e299,\"b\":-1e-300}", "\"fallbacks\":[{\"model\":\"demo\",\"weight\":1e6},{\"model\":\"demo\",\"weight\":0},{\"model\":\"demo\",\"weight\":null}]"})
    void aNumberAtTheEdgeIsTaken(String members) throws Exception {
        assertEquals(201, TestGateway.shared().post("/api/agents", agentJson("," + members)).statusCode());
    }

    @Test
    void inKeyModeEverybodyNeedsAKeyAndOnlyTheProbesAreOpen() throws Exception {
        try (TestGateway gateway = TestGateway.inKeyMode("llmchat.health.metrics-token", "the-token-of-the-test")) {
            HttpResponse<String> none = gateway.post("/v1/chat/completions", chat("demo", false));
            HttpResponse<String> wrong = gateway.post("/v1/chat/completions", chat("demo", false), "Authorization", "Bearer wrong");
            assertEquals(401, none.statusCode());
            assertEquals(none.body(), wrong.body());
            assertEquals("invalid_api_key", json(none.body()).path("error").path("code").asText());
            assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false), ADMIN).statusCode());
            for (String path : List.of("/v1/models", "/api/agents", "/health/detailed", "/metrics")) {
                assertEquals(401, gateway.get(path).statusCode(), path);
                assertEquals(200, gateway.get(path, ADMIN).statusCode(), path);
            }
            assertEquals(200, gateway.get("/metrics", "Authorization", "Bearer the-token-of-the-test").statusCode());
            assertEquals(200, gateway.get("/health/detailed", "Authorization", "Bearer the-token-of-the-test").statusCode());
            assertEquals(401, gateway.get("/v1/models", "Authorization", "Bearer the-token-of-the-test").statusCode());
            assertEquals(200, gateway.get("/health").statusCode());
            assertEquals(200, gateway.get("/health/ready").statusCode());
        }
    }

    @Test
    void withAnAdminKeyWritingNeedsItInOpenModeToo() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.admin-key", TestGateway.ADMIN_KEY)) {
            assertEquals(401, gateway.post("/api/agents", agentJson("")).statusCode());
            assertEquals(403, gateway.post("/api/agents", agentJson(""), "Authorization", "Bearer other").statusCode());
            assertEquals(201, gateway.post("/api/agents", agentJson(""), ADMIN).statusCode());
            assertEquals(200, gateway.get("/api/agents").statusCode());
        }
    }

    @Test
    void whatPostgresRefusesThoughItIsThereIsInTheLog() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text(); Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.createStatement()) {
            s.execute("ALTER TABLE chat_messages RENAME TO messages_elsewhere");
            try {
                HttpResponse<String> refused = gateway.post("/api/chat/completions", nativeChat("demo", false));
                assertEquals(503, refused.statusCode(), refused.body());
                assertFalse(refused.body().contains("chat_messages"), refused.body());
            } finally {
                s.execute("ALTER TABLE messages_elsewhere RENAME TO chat_messages");
            }
            assertEquals(1, log.with("relation \"chat_messages\" does not exist (SQLSTATE 42P01)").size());
        }
    }

    @Test
    void theRightsThatTheDocumentsNameAreEnough() throws Exception {
        String rights = Files.readString(Path.of("docs/operate.md")).replaceAll("(?s).*```sql\n(GRANT .*?)```.*", "$1");
        String none = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gateway') THEN DROP OWNED BY gateway; DROP ROLE gateway; END IF; END $$";
        try (Connection owner = TestGateway.shared().bean(DataSource.class).getConnection(); var s = owner.createStatement()) {
            // an earlier run may have been killed
            s.execute(none);
            s.execute("CREATE ROLE gateway LOGIN; " + rights);
            try (TestGateway gateway = TestGateway.with("llmchat.postgres.user", "gateway"); LogLines log = LogLines.text()) {
                assertEquals(1, gateway.count("SELECT count(*) WHERE current_user = 'gateway'"));
                assertEquals(201, gateway.post("/api/agents", agentJson("")).statusCode());
                for (String stream : List.of("false", "true")) {
                    HttpResponse<String> chat = gateway.post("/api/chat/completions", nativeChat(agent, stream.equals("true")), "Idempotency-Key", agent + stream);
                    assertEquals(200, chat.statusCode(), chat.body());
                }
                HttpResponse<String> key = gateway.post("/api/keys", "{\"name\":\"A\",\"userId\":\"" + agent + "\"}");
                assertEquals(201, key.statusCode(), key.body());
                assertEquals(200, gateway.send("DELETE", "/api/keys/" + json(key.body()).at("/data/id").asText(), null).statusCode());
                assertEquals(200, gateway.send("DELETE", "/api/agents/" + agent, null).statusCode());
                until("usage is written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE agent_id = '" + agent + "'") == 2);
                assertEquals(List.of(), log.with("permission denied"));
            } finally {
                s.execute(none);
            }
        }
    }

    @Test
    void aKeyIsMadeWhereOneIsNeededAndNoneIsGiven() throws Exception {
        assertTrue(new Authenticate("keys", "127.0.0.1", "", "", null, null).generatedAdminKey().length() > 60);
        assertTrue(new Authenticate("", "0.0.0.0", "", "", null, null).generatedAdminKey() != null, "not only this machine can reach it");
        assertTrue(new Authenticate("open", "0.0.0.0", "", "", null, null).generatedAdminKey() != null, "others may chat, not change things");
        assertEquals(null, new Authenticate("", "127.0.0.1", "", "", null, null).generatedAdminKey());
        assertEquals(null, new Authenticate("keys", "127.0.0.1", "a-key-of-my-own", "", null, null).generatedAdminKey());
    }

    @Test
    void everyChatLeavesAUsageRecord() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.post("/v1/chat/completions", chat("openai/" + model, true));
        gateway.provider().on("bad-" + model, call -> call.error(400, "bad"));
        gateway.post("/v1/chat/completions", chat("openai/bad-" + model, false));
        gateway.provider().on("details-" + model, call -> call.json(200, FakeProvider.completion("Hi").replace("\"total_tokens\":5",
                "\"total_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":1}")));
        gateway.post("/v1/chat/completions", chat("openai/details-" + model, false));
        until("all are written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE model LIKE '%" + model + "'") == 3);
        assertEquals(1, gateway.count("SELECT count(*) FROM usage_records WHERE model = '" + model + "' AND outcome = 'completed' AND stream"
                + " AND total_tokens = 5 AND finish_reason = 'stop' AND attempts = 'openai=200' AND first_token_ms IS NOT NULL"
                + " AND user_id = 'anonymous' AND key_id IS NULL"));
        assertEquals(1, gateway.count("SELECT count(*) FROM usage_records WHERE model = 'bad-" + model
                + "' AND outcome = 'UPSTREAM_REJECTED' AND total_tokens IS NULL AND user_id = 'anonymous'"));
        assertEquals(1, gateway.count("SELECT count(*) FROM usage_records WHERE model = 'details-" + model + "' AND NOT stream AND prompt_tokens = 3"
                + " AND completion_tokens = 2 AND total_tokens = 5 AND cached_tokens = 2 AND reasoning_tokens = 1 AND NOT usage_estimated"));
    }

    @Test
    void anAnswerIsBookedWithItsCost() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on("gpt-4o-mini", call -> call.json(200, FakeProvider.completion("Hi")
                .replace("\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5", "\"prompt_tokens\":2000000,\"completion_tokens\":500000,\"total_tokens\":2500000")));
        String request = gateway.post("/v1/chat/completions", chat("openai/gpt-4o-mini", false)).headers().firstValue("x-request-id").orElseThrow();
        until("its cost is written", () -> gateway.count("SELECT count(*) FROM usage_records WHERE request_id = '" + request
                + "' AND model = 'gpt-4o-mini' AND cost_usd = 0.60") == 1);
    }

    @Test
    void whatIsNotWrittenYetIsWrittenAtTheEnd() throws Exception {
        TestGateway gateway = TestGateway.with("llmchat.record.batch-interval", "600000");
        gateway.post("/v1/chat/completions", chat("openai/" + model, false));
        gateway.close();
        assertEquals(1, TestGateway.shared().count("SELECT count(*) FROM usage_records WHERE model = '" + model + "'"));
    }
}
