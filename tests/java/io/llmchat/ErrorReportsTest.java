package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.ChatException;
import io.llmchat.ops.ErrorReports;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.Intake;
import io.llmchat.support.RawHttp;
import io.llmchat.support.TestGateway;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import java.util.stream.StreamSupport;
import org.apache.camel.Exchange;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.junit.jupiter.api.Test;

/** What Sentry gets, in envelopes (Sentry developer documentation, "Envelopes"): of what is nobody's input, and no more. */
class ErrorReportsTest {

    private final String model = "m-" + UUID.randomUUID();
    private final String id = "r-" + UUID.randomUUID();

    /** The items of this type: each is a line that says what it is, and one with it. */
    private static List<JsonNode> items(Intake sentry, String type) {
        return sentry.posts().stream().map(p -> new String(p.body(), StandardCharsets.UTF_8)).map(e -> e.split("\n"))
                .filter(lines -> json(lines[1]).path("type").asText().equals(type)).map(lines -> json(lines[2])).toList();
    }

    private static TestGateway gateway(Intake sentry, String rate, String... more) throws Exception {
        List<String> settings = new ArrayList<>(List.of("llmchat.report.enabled", "true", "llmchat.report.dsn", "http://public@" + sentry.address() + "/7",
                "llmchat.report.traces-rate", rate, "llmchat.retry.max", "1", "llmchat.record.batch-interval", "50"));
        settings.addAll(List.of(more));
        return TestGateway.with(settings.toArray(String[]::new));
    }

    @Test
    void aProviderThatIsUsedUpIsReportedWithItsRoutesAndCallersFaultsAreNot() throws Exception {
        try (Intake sentry = new Intake()) {
            try (TestGateway gateway = gateway(sentry, "0")) {
                gateway.provider().on(model, call -> call.json(500, "{\"error\":{\"message\":\"you said a secret\"}}"));
                assertEquals(502, gateway.post("/v1/chat/completions", chat("openai/" + model, false).replace("Hi", "a secret"),
                        "X-Request-Id", id, "Authorization", "Bearer sk-of-the-caller").statusCode());
                assertEquals(400, gateway.post("/v1/chat/completions", "{").statusCode());
                assertEquals(404, gateway.post("/v1/chat/completions", chat("nobody", false)).statusCode());
                assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            }
            List<JsonNode> events = items(sentry, "event");
            assertEquals(1, events.size(), events.toString());
            JsonNode event = events.get(0);
            assertEquals("UPSTREAM_ERROR", event.path("message").path("message").asText(event.path("message").path("formatted").asText()));
            assertEquals("llmchat@development", event.path("release").asText());
            assertEquals(id, event.path("tags").path("request_id").asText());
            assertEquals("openai=500,openai=500", event.path("tags").path("attempts").asText());
            List<String> routes = StreamSupport.stream(event.path("breadcrumbs").spliterator(), false).map(b -> b.path("message").asText()).toList();
            assertTrue(routes.containsAll(List.of("http-openai-chat", "chat", "admit", "complete", "provider-openai", "tell")), routes.toString());
            String all = sentry.posts().stream().map(p -> new String(p.body(), StandardCharsets.UTF_8)).reduce("", String::concat);
            for (String word : List.of("secret", "sk-of-the-caller", "sk-of-the-gateway", "Authorization")) {
                assertFalse(all.contains(word), word);
            }
            assertTrue(sentry.posts().stream().allMatch(p -> p.path().equals("/api/7/envelope/")));
        }
    }

    @Test
    void ofMoreAttemptsThanATagHoldsTheLastOnesAreTold() throws Exception {
        try (Intake sentry = new Intake()) {
            try (TestGateway gateway = gateway(sentry, "0", "llmchat.retry.max", "20", "llmchat.retry.budget-floor", "100", "llmchat.retry.base-delay", "1",
                    "camel.resilience4j.minimum-number-of-calls", "1000", "camel.resilience4j.sliding-window-size", "1000")) {
                gateway.provider().on(model, call -> call.error(500, "oops"));
                assertEquals(502, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
            }
            String told = items(sentry, "event").get(0).path("tags").path("attempts").asText();
            assertTrue(told.length() == 200 && told.endsWith(",openai=500,openai=500"), told);
        }
    }

    /** Reports to it from now on. */
    private static ErrorReports reports(Intake sentry, LongSupplier clock) {
        ErrorReports reports = new ErrorReports(clock);
        reports.setEnabled(true);
        reports.setDsn("http://public@" + sentry.address() + "/7");
        reports.start();
        return reports;
    }

    @Test
    void whatBreaksHereIsReportedWithItsPlaceButNotItsWords() throws Exception {
        try (Intake sentry = new Intake()) {
            try (ErrorReports reports = reports(sentry, System::nanoTime)) {
                Exchange exchange = new DefaultExchange(new DefaultCamelContext());
                exchange.setProperty(Exchange.EXCEPTION_CAUGHT, new IllegalStateException("a secret was said", new RuntimeException("a secret")));
                exchange.setProperty("toldCode", "INTERNAL_ERROR");
                reports.report().process(exchange);
            }
            JsonNode event = items(sentry, "event").get(0);
            JsonNode exception = event.path("exception").path("values").get(1);
            assertEquals("IllegalStateException", exception.path("type").asText());
            assertTrue(exception.path("stacktrace").path("frames").size() > 0);
            assertFalse(event.toString().contains("secret"), event.toString());
        }
    }

    @Test
    void whatGoesOnFailingIsReportedOnceAMinute() throws Exception {
        try (Intake sentry = new Intake()) {
            AtomicLong now = new AtomicLong();
            try (ErrorReports reports = reports(sentry, now::get)) {
                // the last one comes when the minute of the first is over
                for (String failure : List.of("chat 0", "chat 59", "enrich 59", "chat 60")) {
                    now.set(Long.parseLong(failure.split(" ")[1]) * 1_000_000_000);
                    Exchange exchange = new DefaultExchange(new DefaultCamelContext());
                    exchange.setProperty(Exchange.EXCEPTION_CAUGHT, new IllegalStateException());
                    exchange.setProperty(Exchange.FAILURE_ROUTE_ID, failure.split(" ")[0]);
                    exchange.setProperty("toldCode", "INTERNAL_ERROR");
                    reports.report().process(exchange);
                }
            }
            assertEquals(3, items(sentry, "event").size());
        }
    }

    @Test
    void whoMeetsAnOpenBreakerIsNoReportOfItsOwn() throws Exception {
        try (Intake sentry = new Intake()) {
            try (TestGateway gateway = gateway(sentry, "0", "llmchat.retry.max", "0")) {
                gateway.provider().on(model, call -> call.error(500, "oops"));
                for (int status : new int[] {502, 502, 502, 502, 502, 503, 503, 503}) {
                    assertEquals(status, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
                }
            }
            assertEquals(List.of("UPSTREAM_ERROR"), items(sentry, "event").stream().map(e -> e.path("tags").path("code").asText()).toList());
        }
    }

    @Test
    void whoFollowsAnAnswerThatFailsIsNoReportOfItsOwn() throws Exception {
        try (Intake sentry = new Intake()) {
            try (ErrorReports reports = reports(sentry, System::nanoTime)) {
                for (String code : List.of("UPSTREAM_ERROR", "INTERNAL_ERROR")) {
                    Exchange follower = new DefaultExchange(new DefaultCamelContext());
                    follower.setProperty(Exchange.EXCEPTION_CAUGHT, new ChatException(code, "The answer that was followed has failed."));
                    follower.setProperty("toldCode", code);
                    reports.report().process(follower);
                }
            }
            assertEquals(List.of(), items(sentry, "event"));
        }
    }

    @Test
    void asManyChatsAsWantedAreTransactions() throws Exception {
        try (Intake sentry = new Intake()) {
            try (TestGateway gateway = gateway(sentry, "1")) {
                gateway.post("/v1/chat/completions", chat("openai/" + model, false));
            }
            JsonNode transaction = items(sentry, "transaction").get(0);
            assertEquals("http-openai-chat", transaction.path("transaction").asText());
            assertEquals("completed", transaction.path("tags").path("outcome").asText());
            assertEquals("ok", transaction.path("contexts").path("trace").path("status").asText());
        }
    }

    @Test
    void aTransactionSaysWhoseFaultItIs() throws Exception {
        try (Intake sentry = new Intake()) {
            try (TestGateway gateway = gateway(sentry, "1"); RawHttp http = new RawHttp(gateway.port())) {
                gateway.provider().on(model, call -> call.error(422, "bad")).on("down-" + model, call -> call.error(500, "oops"))
                        .on("cut-" + model, FakeProvider.breaks(List.of("Half"), FakeProvider.Call::cut)).on("slow-" + model, FakeProvider.Call::hang);
                gateway.post("/v1/chat/completions", chat("nobody", false));
                gateway.post("/v1/chat/completions", chat("openai/" + model, false));
                gateway.post("/v1/chat/completions", chat("openai/down-" + model, false));
                gateway.post("/v1/chat/completions", chat("openai/cut-" + model, true));
                String body = chat("openai/slow-" + model, true);
                http.send(RawHttp.post("/v1/chat/completions", body));
                until("it is asked", () -> !gateway.provider().calls("slow-" + model).isEmpty());
                http.close();
                assertTrue(gateway.provider().call("slow-" + model).leftWithin(10_000));
            }
            List<String> told = items(sentry, "transaction").stream().map(t -> t.path("tags").path("outcome").asText() + " "
                    + t.path("contexts").path("trace").path("status").asText()).sorted().toList();
            assertEquals(List.of("AGENT_NOT_FOUND not_found", "CLIENT_CLOSED cancelled", "UPSTREAM_ERROR internal_error", "UPSTREAM_ERROR internal_error",
                    "UPSTREAM_REJECTED invalid_argument"), told);
        }
    }

    @Test
    void whoSwitchesItOnSaysWhere() {
        ErrorReports nowhere = new ErrorReports();
        nowhere.setEnabled(true);
        String why = assertThrows(IllegalArgumentException.class, nowhere::start).getMessage();
        assertEquals("SENTRY_ENABLED is true, but there is no SENTRY_DSN.", why);
    }
}
