package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.store.KeyHash;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.LogLines;
import io.llmchat.support.RawHttp;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The log: a line for each request, as text and as JSON, and levels that change while the gateway runs. */
class RequestLogTest {

    private final String id = "r-" + UUID.randomUUID();
    private final String model = "m-" + UUID.randomUUID();

    @AfterEach
    void levelsAreAsBefore() {
        LogLines.reset();
    }

    private static String only(LogLines log, String text) throws Exception {
        until("it is logged", () -> !log.with(text).isEmpty());
        // a second line would be there before that of a request that comes now
        String behind = "behind-" + UUID.randomUUID();
        TestGateway.shared().get("/nothing", "X-Request-Id", behind);
        until("so is what comes behind it", () -> !log.with(behind).isEmpty());
        assertEquals(1, log.with(text).size(), () -> "lines with " + text + ": " + log.with(text));
        return log.with(text).get(0);
    }

    @Test
    void aChatHasOneLineWithWhatCameOfItAndNothingThatWasSaid() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text()) {
            gateway.post("/v1/chat/completions", chat("openai/" + model, true).replace("Hi", "a secret"), "X-Request-Id", id);
            String line = only(log, id);
            assertTrue(line.matches("INFO io\\.llmchat\\.requests - id=" + id + " method=POST path=/v1/chat/completions status=200"
                    + " outcome=completed model=openai/" + model + " attempts=openai=200 stream=true first_token_ms=\\d+ duration_ms=\\d+"
                    + " prompt_tokens=3 completion_tokens=2 user=anonymous"), line);
            assertFalse(line.contains("secret") || line.contains("Hello"), line);
        }
    }

    @Test
    void aMessageThatIsAnsweredOnceMoreHasOneLineLikeAChat() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String path = "/api/chat/history/" + json(gateway.post("/api/chat/completions", nativeChat("openai/" + model, false)).body()).at("/data/chatId").asText();
        String question = json(gateway.get(path).body()).at("/data/messages/0/id").asText();
        try (LogLines log = LogLines.text()) {
            assertEquals(200, gateway.post(path + "/retry", "{\"messageId\":\"" + question + "\"}", "X-Request-Id", id).statusCode());
            assertTrue(only(log, id).contains(" path=" + path + "/retry status=200 outcome=completed model=openai/" + model));
        }
    }

    @Test
    void aChatThatFailsHasOneLineWithTheAttemptsAndTheCode() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on(model, call -> call.json(500, "{}"));
        try (LogLines log = LogLines.text()) {
            gateway.post("/v1/chat/completions", chat("openai/" + model, false), "X-Request-Id", id);
            String line = only(log, id);
            assertTrue(line.contains(" status=502 outcome=UPSTREAM_ERROR model=openai/" + model + " attempts=openai=500,openai=500"), line);
        }
    }

    @Test
    void aProviderThatResetsItsConnectionIsToldInTheLineOfTheRequestAndNowhereElse() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on(model, FakeProvider.first(1, FakeProvider.Call::reset, FakeProvider.says(List.of("well"))));
        try (LogLines log = LogLines.text()) {
            gateway.post("/v1/chat/completions", chat("openai/" + model, false), "X-Request-Id", id);
            assertTrue(only(log, id).contains(" status=200 outcome=completed model=openai/" + model + " attempts=openai=reset,openai=200"));
            assertEquals(List.of(), log.with("ERROR"));
        }
    }

    @Test
    void whatIsTurnedAwayOrAnsweredFromWhatIsKeptHasOneLineToo() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text()) {
            gateway.post("/v1/chat/completions", "{", "X-Request-Id", id + "-body");
            assertTrue(only(log, id + "-body").contains(" status=400 outcome=VALIDATION_ERROR"));
            gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", id + "-key", "Authorization", "Bearer " + gateway.bean(KeyHash.class).make());
            String refused = only(log, id + "-key");
            assertTrue(refused.contains(" path=/v1/chat/completions status=401 outcome=UNAUTHORIZED"), refused);
            gateway.post("/v1/chat/completions", " ".repeat(2_000_000), "X-Request-Id", id + "-large");
            assertTrue(only(log, id + "-large").contains(" status=413"));
            gateway.get("/api/agents", "X-Request-Id", id + "-agents");
            assertTrue(only(log, id + "-agents").contains(" method=GET path=/api/agents status=200 duration_ms="));
            String key = UUID.randomUUID().toString();
            gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", id + "-first", "Idempotency-Key", key);
            only(log, id + "-first");
            gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", id + "-again", "Idempotency-Key", key);
            assertTrue(only(log, id + "-again").contains(" status=200"));
        }
    }

    @Test
    void whoLeavesCountsAsOneWhoLeftAndHasOneLine() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on(model, FakeProvider.Call::hang);
        String counted = "http_requests_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"499\"}";
        double before = gateway.metric(counted);
        String body = chat("openai/" + model, true);
        try (LogLines log = LogLines.text()) {
            try (RawHttp http = new RawHttp(gateway.port())) {
                http.send(RawHttp.head("POST", "/v1/chat/completions", "X-Request-Id: " + id + "-asked", "Content-Length: " + body.length()) + body);
                until("it is asked", () -> !gateway.provider().calls(model).isEmpty());
            }
            assertTrue(only(log, id + "-asked").contains(" status=499 outcome=CLIENT_CLOSED"));
            try (RawHttp http = new RawHttp(gateway.port())) {
                http.send(RawHttp.head("POST", "/v1/chat/completions", "X-Request-Id: " + id + "-upload", "Content-Length: 100") + "{");
            }
            assertTrue(only(log, id + "-upload").contains(" status=499 duration_ms="));
            until("both are counted", () -> gateway.metric(counted) == before + 2);
        }
    }

    @Test
    void soDoesWhoLeavesAnAnswerThatIsMadeAllTheSame() throws Exception {
        TestGateway gateway = TestGateway.shared();
        CountDownLatch go = new CountDownLatch(1);
        gateway.provider().on(model, FakeProvider.waits("one ", go, "two"));
        String counted = "http_requests_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"499\"}";
        double before = gateway.metric(counted);
        try (LogLines log = LogLines.text()) {
            try (Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true),
                    "\r\nIdempotency-Key: " + id + "\r\nX-Request-Id: " + id)) {
                stream.lineWith("one ");
            }
            until("it is counted", () -> gateway.metric(counted) > before);
            go.countDown();
            assertTrue(only(log, id).contains(" status=499 outcome=completed"), () -> log.with(id).toString());
        }
    }

    @Test
    void probesAreToldAtDebugOnly() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text()) {
            String counted = "http_requests_total{method=\"GET\",path=\"/health\",status=\"200\"}";
            double before = gateway.metric(counted);
            gateway.get("/health", "X-Request-Id", id + "-quiet");
            // it would have its line by then
            TestGateway.until("it is counted", () -> gateway.metric(counted) > before);
            assertEquals(200, gateway.send("PUT", "/api/loglevel", "{\"level\":\"debug\",\"logger\":\"io.llmchat.requests\"}").statusCode());
            gateway.get("/health", "X-Request-Id", id + "-told");
            assertTrue(only(log, id + "-told").startsWith("DEBUG"));
            assertEquals(List.of(), log.with(id + "-quiet"));
        }
    }

    @Test
    void asJsonItHasTheNamesOfEcs() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.json()) {
            gateway.post("/v1/chat/completions", chat("openai/" + model, false), "X-Request-Id", id);
            JsonNode line = json(only(log, id));
            assertEquals("INFO", line.path("log.level").asText());
            assertEquals("io.llmchat.requests", line.path("log.logger").asText());
            assertEquals(id, line.path("http.request.id").asText());
            assertEquals("POST", line.path("http.request.method").asText());
            assertEquals("/v1/chat/completions", line.path("url.path").asText());
            assertEquals(200, line.path("http.response.status_code").asInt(), line.toString());
            assertEquals("openai/" + model, line.path("llmchat.model").asText());
            assertEquals("anonymous", line.path("user.id").asText());
            assertEquals(3, line.path("gen_ai.usage.input_tokens").asInt());
            assertTrue(line.path("event.duration").asLong() > 1_000, "nanoseconds");
            assertTrue(line.hasNonNull("@timestamp") && line.hasNonNull("message"));
        }
    }

    @Test
    void aNameThatACallerMadeUpMakesNoLineAndNoFieldOfItsOwn() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text()) {
            gateway.post("/v1/chat/completions", chat("openai/" + model + "\u2028 status=999", false), "X-Request-Id", id);
            assertTrue(only(log, id).contains(" model=openai/" + model + "__status=999 "));
        }
    }

    @Test
    void aLevelIsChangedWhileTheGatewayRuns() throws Exception {
        TestGateway gateway = TestGateway.shared();
        try (LogLines log = LogLines.text()) {
            JsonNode off = json(gateway.send("PUT", "/api/loglevel", "{\"level\":\"warn\",\"logger\":null}").body());
            assertEquals("io.llmchat", off.path("data").path("logger").asText());
            assertEquals("warn", off.path("data").path("level").asText());
            gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", id + "-quiet");
            gateway.send("PUT", "/api/loglevel", "{\"level\":\"info\"}");
            gateway.post("/v1/chat/completions", chat("demo", false), "X-Request-Id", id + "-told");
            only(log, id + "-told");
            assertEquals(List.of(), log.with(id + "-quiet"));
        }
        for (String wrong : List.of("{}", "{\"level\":\"loud\"}", "{\"level\":\"info\",\"logger\":\"a b\"}", "{\"level\":\"info\",\"x\":1}", "[]",
                // what each statement is given would stand in the log
                "{\"level\":\"trace\",\"logger\":\"org.apache.camel.component.sql\"}", "{\"level\":\"debug\",\"logger\":\"io.llmchatter\"}")) {
            assertEquals(400, gateway.send("PUT", "/api/loglevel", wrong).statusCode(), wrong);
        }
    }

    @Test
    void aLevelIsForAdministratorsToChange() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.admin-key", TestGateway.ADMIN_KEY)) {
            assertEquals(401, gateway.send("PUT", "/api/loglevel", "{\"level\":\"info\"}").statusCode());
            assertEquals(200, gateway.send("PUT", "/api/loglevel", "{\"level\":\"info\"}", TestGateway.ADMIN).statusCode());
        }
    }
}
