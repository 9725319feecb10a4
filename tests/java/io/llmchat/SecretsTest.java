package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.RawHttp;
import io.llmchat.support.TestGateway;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import javax.sql.DataSource;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.Configurator;
import org.apache.logging.log4j.core.config.Property;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Marked secrets in every place that they can come from, and everything that can go wrong: they are in no response, no
 * metric, no report and no line of the log, at whatever level.
 */
class SecretsTest {

    private static final String OPENAI = "/v1/chat/completions";
    private static final String NATIVE = "/api/chat/completions";
    private static final String MARK = "s3cr3t";
    private static final String ADMIN = MARK + "-of-the-administrator";
    private static final String TOKEN = MARK + "-of-the-metrics";
    private static final String CALLER = MARK + "-of-the-caller";
    private static final String PROVIDER = MARK + "-of-the-provider";
    private static final String SAID = MARK + "-said-by-the-user";
    private static final String ANSWERED = MARK + "-said-by-the-model";

    private static final String NONSENSE = "SELECT count(*) FROM usage_records WHERE model = 'nonsense'";

    private static final Queue<String> logged = new ConcurrentLinkedQueue<>();
    private static TestGateway gateway;
    private static AbstractAppender appender;

    @BeforeAll
    static void start() throws Exception {
        appender = new AbstractAppender("secrets", null, null, true, Property.EMPTY_ARRAY) {
            @Override
            public void append(LogEvent event) {
                StringWriter text = new StringWriter();
                text.append(event.getLoggerName()).append(' ').append(event.getMessage().getFormattedMessage());
                if (event.getThrown() != null) {
                    event.getThrown().printStackTrace(new PrintWriter(text));
                }
                logged.add(text.toString());
            }
        };
        appender.start();
        TestGateway.shared();
        listen();
        gateway = TestGateway.with("llmchat.admit.auth-mode", "keys", "llmchat.admit.admin-key", ADMIN, "llmchat.health.metrics-token", TOKEN,
                "llmchat.openai.api-key", PROVIDER, "llmchat.anthropic.api-key", PROVIDER, "llmchat.dify.api-key", PROVIDER,
                "llmchat.fastgpt.api-key", PROVIDER, "llmchat.postgres.password", MARK + "-of-the-database", "llmchat.retry.max", "1",
                "llmchat.postgres.max-connections", "3", "llmchat.postgres.connection-timeout", "250",
                "camel.component.llm.first-token-timeout", "300", "llmchat.complete.deadline", "600", "camel.component.llm.idle-timeout", "300");
        post(OPENAI, chat("demo", false));
        until("the log is listened to", () -> logged.stream().anyMatch(l -> l.startsWith("io.llmchat")));
    }

    private static void listen() {
        LoggerContext context = (LoggerContext) org.apache.logging.log4j.LogManager.getContext(false);
        context.getConfiguration().getRootLogger().addAppender(appender, Level.ALL, null);
        Configurator.setLevel("io.llmchat", Level.TRACE);
        context.updateLoggers();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
        LoggerContext context = (LoggerContext) org.apache.logging.log4j.LogManager.getContext(false);
        context.getConfiguration().getRootLogger().removeAppender("secrets");
        Configurator.setLevel("io.llmchat", Level.INFO);
        context.updateLoggers();
    }

    @Test
    void whatPostgresWritesDownOfAnErrorHasNoRow() throws Exception {
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.createStatement(); var row = s.executeQuery("SHOW log_error_verbosity")) {
            assertTrue(row.next());
            assertEquals("terse", row.getString(1));
        }
        assertTrue(Files.readString(Path.of("deploy/postgres/postgresql.conf")).contains("\nlog_error_verbosity = terse\n"));
    }

    /** Everything about a response; {@code told} is what its caller may see. */
    private static void clean(HttpResponse<String> response, String... told) {
        String all = response.headers().map() + response.body();
        for (String may : told) {
            all = all.replace(may, "");
        }
        assertFalse(all.contains(MARK), all);
    }

    private static String said(String body) {
        return body.replace("\"Hi\"", "\"" + SAID + "\"");
    }

    private static HttpResponse<String> post(String path, String body, String... headers) throws Exception {
        List<String> all = new ArrayList<>(List.of("Authorization", "Bearer " + ADMIN));
        all.addAll(List.of(headers));
        return gateway.post(path, body, all.toArray(String[]::new));
    }

    private static void nothingWasLogged() {
        assertEquals(List.of(), logged.stream().filter(l -> l.contains(MARK)).toList());
    }

    /** By the models that they are for. */
    private static Map<String, Script> scripts() {
        Map<String, Script> scripts = new HashMap<>();
        String all = PROVIDER + " " + SAID;
        for (int status : new int[] {400, 401, 403, 404, 429, 500, 503}) {
            scripts.put("says-" + status, c -> c.json(status, "{\"error\":{\"message\":\"Wrong key: KEY\",\"type\":\"KEY\",\"param\":\"KEY\",\"code\":\"KEY\"}}".replace("KEY", PROVIDER),
                    "X-Echo: " + c.header("Authorization"), "Set-Cookie: " + all));
        }
        scripts.put("html", c -> c.json(200, "<html>" + all));
        scripts.put("text-500", c -> c.json(500, all));
        scripts.put("broken", c -> c.json(200, "{\"choices\":[{\"message\":{\"content\":\"" + all));
        scripts.put("reset", Call::reset);
        scripts.put("hang", Call::hang);
        scripts.put("cut", c -> {
            c.begin();
            c.tokens(List.of(ANSWERED));
            c.cut();
        });
        scripts.put("stall", c -> {
            c.begin();
            c.tokens(List.of(ANSWERED));
            c.hang();
        });
        scripts.put("reports", c -> {
            c.begin();
            c.tokens(List.of(ANSWERED));
            String error = "\"error\":{\"type\":\"api_error\",\"message\":\"Your key is " + PROVIDER + "\"}";
            if (c.line().endsWith("/v1/messages")) {
                c.named("error", error);
            } else {
                c.event("{" + error + "}");
            }
            c.end();
        });
        scripts.put("nonsense", c -> {
            c.begin();
            c.event("{\"choices\":[" + all);
            c.end();
        });
        scripts.put("fine", c -> c.json(200, FakeProvider.completion(ANSWERED)));
        scripts.forEach(gateway.provider()::on);
        return scripts;
    }

    @Test
    void nothingOfThemIsInAnyAnswerReportMetricOrLine() throws Exception {
        Map<String, Script> scripts = scripts();
        long before = gateway.count(NONSENSE);
        for (String key : new String[] {CALLER, ADMIN + "x", TOKEN}) {
            for (String path : new String[] {OPENAI, NATIVE, "/v1/messages"}) {
                HttpResponse<String> refused = gateway.post(path, said(chat("demo", false)), "Authorization", "Bearer " + key, "X-Api-Key", CALLER);
                assertEquals(401, refused.statusCode());
                clean(refused);
            }
        }
        for (String model : new String[] {"says-400", "says-401", "says-403", "says-404", "says-429", "says-500", "says-503", "html", "text-500",
            "broken", "reset", "hang", "cut", "stall", "reports", "nonsense"}) {
            for (boolean stream : new boolean[] {true, false}) {
                clean(post(OPENAI, said(chat("openai/" + model, stream))), ANSWERED);
                clean(post(NATIVE, said(nativeChat("openai/" + model, stream))), ANSWERED);
            }
            clean(post("/v1/messages", said(chat("anthropic/" + model, true)).replace("{\"model", "{\"max_tokens\":9,\"model")), ANSWERED);
            // Dify is told no model
            gateway.provider().on("", scripts.get(model));
            clean(post(NATIVE, said(nativeChat("dify/" + model, true))), ANSWERED);
            clean(post(NATIVE, said(nativeChat("fastgpt/" + model, true))), ANSWERED);
        }
        // requests that are refused, some of them for what is secret in them
        for (String body : new String[] {"{\"" + SAID, "{\"model\":\"demo\",\"messages\":\"" + SAID + "\"}", "\"" + SAID + "\"",
            "{\"model\":\"demo\",\"messages\":[{\"role\":\"" + SAID + "\",\"content\":\"x\"}]}",
            "{\"model\":\"demo\",\"temperature\":\"" + SAID + "\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"}) {
            clean(post(OPENAI, body));
            clean(post(NATIVE, body.replace("model", "agentId")));
            clean(post("/api/agents", body));
            clean(post("/api/chat/feedback", body));
        }
        clean(post(OPENAI, said(chat("demo", false)), "Idempotency-Key", SAID + " with a space"));
        assertEquals(200, post(OPENAI, said(chat("openai/fine", false)), "Idempotency-Key", CALLER).statusCode());
        clean(post(OPENAI, said(chat("openai/fine", true)), "Idempotency-Key", CALLER));
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send("GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + CALLER + "\r\nContent-Length: " + CALLER + "\r\n\r\n");
            assertFalse(http.rest().contains(MARK));
        }
        withoutADatabase();
        reports();
        until("all usage is written", () -> gateway.count(NONSENSE) == before + 7);
        assertEquals(0, gateway.count("SELECT count(*) FROM usage_records u WHERE u::text LIKE '%" + MARK + "%'"));
        nothingWasLogged();
    }

    @Test
    void whatAProviderQuotesOfARequestIsToldToItsCallerAndNobodyElse() throws Exception {
        gateway.provider().on("quotes", c -> c.json(400, "{\"error\":{\"message\":\"Not this: " + SAID + "\"}}"));
        for (boolean stream : new boolean[] {true, false}) {
            until("its caller is told", () -> post(OPENAI, said(chat("openai/quotes", stream))).body().contains(SAID));
            until("its caller is told", () -> post(NATIVE, said(nativeChat("openai/quotes", stream))).body().contains(SAID));
        }
        nothingWasLogged();
    }

    private static void withoutADatabase() throws Exception {
        List<Connection> all = new ArrayList<>();
        try {
            for (int i = 0; i < 3; i++) {
                all.add(gateway.bean(DataSource.class).getConnection());
            }
            HttpResponse<String> away = post(NATIVE, said(nativeChat("openai/fine", false)));
            assertEquals(503, away.statusCode());
            clean(away);
        } finally {
            for (Connection c : all) {
                c.close();
            }
        }
    }

    private static void reports() throws Exception {
        for (String path : new String[] {"/health", "/health/live", "/health/ready", "/health/detailed", "/metrics", "/api/agents", "/api/agents/demo/status",
            "/v1/models"}) {
            for (String key : new String[] {ADMIN, TOKEN, CALLER}) {
                clean(gateway.get(path, "Authorization", "Bearer " + key));
            }
        }
    }

    @Test
    void anErrorOfTheDatabaseDoesNotRepeatTheRow() throws Exception {
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var insert = c.prepareStatement(
                "INSERT INTO chat_messages (id, session_id, role, content) VALUES ('x', 'x', 'alien', ?)")) {
            insert.setString(1, SAID);
            SQLException refused = assertThrows(SQLException.class, insert::executeUpdate);
            assertTrue(refused.getMessage().contains("chat_messages"), refused.getMessage());
            assertFalse(refused.getMessage().contains(MARK), refused.getMessage());
        }
        nothingWasLogged();
    }

    @Test
    void theStartDoesNotTellPasswordsThatAreRefused() {
        for (String[] setting : new String[][] {{"llmchat.redis.max-retries", "0", "llmchat.redis.password", MARK + "-of-redis"},
            {"llmchat.postgres.connection-timeout", "250", "llmchat.postgres.name", "nowhere", "llmchat.postgres.password", MARK + "-of-the-database"}}) {
            Exception refused = assertThrows(Exception.class, () -> TestGateway.with(setting).close());
            StringWriter text = new StringWriter();
            refused.printStackTrace(new PrintWriter(text));
            assertFalse(text.toString().contains(MARK), text.toString());
        }
        nothingWasLogged();
    }
}
