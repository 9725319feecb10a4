package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.LogLines;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a provider does wrong, and who is asked instead. */
class FailoverTest {

    private static final String PATH = "/v1/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();
    private final String agent = "a-" + UUID.randomUUID().toString().substring(0, 8);

    @BeforeAll
    static void start() throws Exception {
        // a breaker that stays closed, so that the tests do not meet in it
        gateway = TestGateway.with("camel.resilience4j.minimum-number-of-calls", "1000",
                "camel.resilience4j.sliding-window-size", "1000",
                "camel.component.llm.first-token-timeout", "600", "camel.component.llm.idle-timeout", "600",
                "llmchat.complete.deadline", "3000", "llmchat.retry.max", "2");
        provider = gateway.warm().provider();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
    }

    private void agentWithFallback(String... fallbacks) throws Exception {
        String list = fallbacks.length == 0 ? "" : "\"" + String.join("\",\"", fallbacks) + "\"";
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\""
                + model + "\",\"fallbacks\":[" + list + "]}").statusCode());
    }

    private static String attempts(HttpResponse<String> response) {
        return response.headers().firstValue("x-llmchat-attempts").orElseThrow();
    }

    @Test
    void aFailureIsMadeGoodByAskingAgain() throws Exception {
        AtomicInteger n = new AtomicInteger();
        provider.on(model, call -> {
            if (n.incrementAndGet() < 3) {
                call.error(500, "oops");
            } else {
                call.json(200, FakeProvider.completion("at last"));
            }
        });
        HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, false));
        assertEquals(200, response.statusCode());
        assertEquals("openai=500,openai=500,openai=200", attempts(response));
    }

    @Test
    void whatAFailedProviderSaidBeforeItsFirstTokenIsNotOfTheAnswer() throws Exception {
        AtomicInteger n = new AtomicInteger();
        provider.on(model, call -> {
            call.sse();
            call.role();
            if (n.incrementAndGet() == 1) {
                call.reset();
            } else {
                call.text("at last");
                call.finish("stop");
                call.done();
            }
        });
        HttpResponse<String> response = gateway.post("/v1/messages", "{\"model\":\"openai/" + model + "\",\"max_tokens\":9,\"stream\":true,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
        assertEquals("openai=reset,openai=200", attempts(response));
        assertTrue(response.body().startsWith("event: message_start\n"), response.body());
        assertEquals(2, response.body().split("event: message_start", -1).length, response.body());
        assertTrue(response.body().contains("\"model\":\"" + model + "\""), response.body());
    }

    @Test
    void aProviderThatKeepsFailingIsAskedAsOftenAsSaidAndThenNamed() throws Exception {
        provider.on(model, call -> call.error(503, "down"));
        HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, false));
        assertEquals(502, response.statusCode());
        assertEquals(3, provider.calls(model).size());
        assertEquals("openai=503,openai=503,openai=503", attempts(response));
        assertTrue(json(response.body()).path("error").path("message").asText().contains("'openai' answered 503"));
        assertEquals("api_error", json(response.body()).path("error").path("type").asText());
    }

    @Test
    void theFallbackAnswersWhenTheFirstCannot() throws Exception {
        agentWithFallback("openai/good-" + model);
        provider.on(model, call -> call.error(500, "oops"));
        HttpResponse<String> response = gateway.post(PATH, chat(agent, true));
        assertEquals(200, response.statusCode());
        assertTrue(response.body().contains("Hello") && response.body().endsWith("data: [DONE]\n\n"));
        assertEquals("openai=500,openai=500,openai=500,openai=200", attempts(response));
    }

    @Test
    void aFallbackMayBeAnAgent() throws Exception {
        agentWithFallback("demo");
        provider.on(model, call -> call.error(500, "oops"));
        HttpResponse<String> response = gateway.post(PATH, chat(agent, false));
        assertEquals(200, response.statusCode());
        assertTrue(attempts(response).endsWith("demo=200"));
    }

    @Test
    void aConnectionThatIsResetIsAFailure() throws Exception {
        agentWithFallback("demo");
        provider.on(model, Call::reset);
        assertEquals("openai=reset,openai=reset,openai=reset,demo=200", attempts(gateway.post(PATH, chat(agent, false))));
    }

    @Test
    void aProviderWithoutRoomIsAskedAgainAndThenTheNext() throws Exception {
        agentWithFallback("demo");
        provider.on(model, call -> call.error(429, "slow_down"));
        assertEquals("openai=429,openai=429,openai=429,demo=200", attempts(gateway.post(PATH, chat(agent, false))));
    }

    @Test
    void aProvidersLimitIsPassedOnWithItsRetryAfter() throws Exception {
        provider.on(model, call -> call.error(429, "slow_down", "Retry-After: 7"));
        HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, false));
        assertEquals(429, response.statusCode());
        assertEquals("7", response.headers().firstValue("retry-after").orElseThrow());
        assertEquals("rate_limit_exceeded", json(response.body()).path("error").path("code").asText());
    }

    @ParameterizedTest
    @CsvSource({"429,429,UPSTREAM_RATE_LIMITED", "401,502,UPSTREAM_UNAUTHORIZED", "403,502,UPSTREAM_UNAUTHORIZED", "500,502,UPSTREAM_ERROR",
        "silent,504,UPSTREAM_TIMEOUT"})
    void onTheNativeDialectWhatAProviderDidHasACode(String said, int status, String code) throws Exception {
        provider.on(model, said.equals("silent") ? Call::hang : call -> call.error(Integer.parseInt(said), "no"));
        HttpResponse<String> response = gateway.post("/api/chat/completions", nativeChat("openai/" + model, true));
        assertEquals(status, response.statusCode(), response.body());
        assertEquals(code, json(response.body()).path("code").asText());
    }

    @Test
    void aProviderThatAsksForADayIsLeftAloneForAMinute() throws Exception {
        provider.on(model, call -> call.error(429, "slow_down", "Retry-After: 86400"));
        for (String told : new String[] {"86400", "60"}) {
            HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, false));
            assertEquals(429, response.statusCode());
            assertEquals(told, response.headers().firstValue("retry-after").orElseThrow());
        }
        assertEquals(1, provider.calls(model).size());
    }

    @Test
    void whoFailsAndSaysForHowLongIsAskedByTheNextRequestAllTheSame() throws Exception {
        provider.on(model, FakeProvider.first(1, FakeProvider.fails(503, "down", "Retry-After: 86400"), FakeProvider.says(List.of("well"))));
        assertEquals(502, gateway.post(PATH, chat("openai/" + model, false)).statusCode());
        assertEquals(200, gateway.post(PATH, chat("openai/" + model, false)).statusCode());
    }

    @Test
    void aRequestAtFaultIsNotTakenToTheFallback() throws Exception {
        agentWithFallback("demo");
        provider.on(model, call -> call.error(400, "bad"));
        HttpResponse<String> response = gateway.post(PATH, chat(agent, false));
        assertEquals(400, response.statusCode());
        assertEquals("openai=400", attempts(response));
    }

    @Test
    void aSilentProviderIsGivenUpAndItsConnectionClosed() throws Exception {
        provider.on(model, Call::hang);
        HttpResponse<String> response = gateway.post(PATH, chat("openai/" + model, true));
        assertEquals(504, response.statusCode());
        assertTrue(provider.calls(model).get(0).leftWithin(10_000));
        assertTrue(attempts(response).startsWith("openai=timeout"));
    }

    @Test
    void anAnswerThatIsNotStreamedHasATimeOfItsOwnAndLeavesSomeToTheNext() throws Exception {
        agentWithFallback("demo");
        provider.on(model, Call::hang);
        long started = System.nanoTime();
        HttpResponse<String> response = gateway.post(PATH, chat(agent, false));
        assertEquals("openai=timeout,demo=200", attempts(response));
        assertTrue(System.nanoTime() - started > 1_200_000_000L, "the time to the first token is for streams");
    }

    @Test
    void aStreamThatStallsEndsWithAnErrorEvent() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.hang();
        });
        String body = gateway.post(PATH, chat("openai/" + model, true)).body();
        assertTrue(body.contains("\"Half\"") && body.contains("sent nothing more"), body);
        assertFalse(body.contains("[DONE]"));
        assertTrue(provider.call(model).leftWithin(10_000));
    }

    @Test
    void anErrorInsideAResponseThatSaysOkIsAFailure() throws Exception {
        agentWithFallback("demo");
        provider.on(model, call -> {
            call.sse();
            call.event("{\"error\":{\"message\":\"overloaded\"}}");
            call.done();
        });
        assertEquals("openai=error,openai=error,openai=error,demo=200", attempts(gateway.post(PATH, chat(agent, true))));
    }

    @Test
    void nonsenseIsAFailure() throws Exception {
        agentWithFallback("demo");
        for (String body : new String[] {"<html>Bad gateway</html>", "{\"choices\":[{\"mess", "[]", "{\"ok\":true}"}) {
            provider.on(model, call -> call.json(200, body));
            HttpResponse<String> response = gateway.post(PATH, chat(agent, false));
            assertEquals(200, response.statusCode());
            assertTrue(attempts(response).endsWith("openai=malformed,demo=200"), body);
        }
        provider.on(model, call -> {
            call.sse();
            for (int i = 0; i <= 1_000; i++) {
                call.role();
            }
            call.text("Hello");
            call.finish("stop");
            call.done();
        });
        assertTrue(attempts(gateway.post(PATH, chat(agent, true))).endsWith("openai=malformed,demo=200"), "event after event and no token");
    }

    @Test
    void anAnswerThatIsTooLongIsPaidForOnceAndTheProviderIsWell() throws Exception {
        try (TestGateway own = TestGateway.with("camel.component.llm.max-answer", "2000", "camel.component.llm.max-event", "2000",
                "camel.resilience4j.minimum-number-of-calls", "2", "camel.resilience4j.sliding-window-size", "2", "llmchat.retry.base-delay", "1")) {
            String text = "x".repeat(3_000);
            own.provider().on(model, call -> {
                if (call.streamed()) {
                    call.sse();
                    call.text(text);
                    call.finish("stop");
                    call.done();
                } else {
                    call.json(200, FakeProvider.completion(text));
                }
            });
            String asked = "openai/" + model;
            for (HttpResponse<String> response : List.of(own.post(PATH, chat(asked, false)), own.post(PATH, chat(asked, true)),
                    own.post("/v1/embeddings", "{\"model\":\"" + asked + "\",\"input\":[\"Hi\"]}"))) {
                assertEquals(400, response.statusCode(), "or an SDK asks again: " + response.body());
                assertTrue(response.body().contains("2000 bytes: ask for less at once."), response.body());
                assertEquals("openai=toolong", attempts(response));
            }
            assertEquals(3, own.provider().calls(model).size());
            assertEquals("closed", json(own.get("/health/detailed").body()).path("breakers").path(asked).asText());
            String rows = "SELECT count(*) FROM usage_records WHERE usage_estimated AND prompt_tokens > 0 AND model = '" + model + "'";
            TestGateway.until("what was asked is written down", () -> own.count(rows) == 3);
            agentWithFallback("demo");
            own.provider().on(model, call -> {
                call.begin();
                for (int i = 0; i < 100; i++) {
                    call.text("x");
                }
                call.hang();
            });
            for (int i = 0; i < 2; i++) {
                HttpResponse<String> begun = own.post(PATH, chat(agent, true));
                assertEquals(200, begun.statusCode(), "it is a stream, of which there is a part");
                assertTrue(begun.body().contains("8000 bytes: ask for less at once."), begun.body());
            }
            TestGateway.until("nobody goes on with it", () -> own.count(rows + " AND attempts = 'openai=200,openai=toolong'") == 2);
            assertEquals("closed", json(own.get("/health/detailed").body()).path("breakers").path(asked).asText());
        }
    }

    @Test
    void aProviderThatCannotBeReachedIsSaidToBe() throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.openai.base-url", "http://127.0.0.1:1/v1", "llmchat.retry.max", "0")) {
            HttpResponse<String> response = own.post(PATH, chat("openai/x", false));
            assertEquals(502, response.statusCode());
            assertEquals("openai=connect", attempts(response));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"HTTP/1.1 200 OK\r\nX: %70000d\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"})
    void whyAResponseCannotBeReadIsInTheLog(String response) throws Exception {
        try (TestGateway own = TestGateway.with("llmchat.retry.max", "0"); LogLines log = LogLines.text()) {
            own.provider().on("x", call -> call.raw(response.formatted(0)));
            own.provider().on("closes", Call::cut);
            assertEquals("openai=reset", attempts(own.post(PATH, chat("openai/closes", false))));
            assertEquals(List.of(), log.with("The provider 'openai' "), "connections close");
            assertEquals("openai=reset", attempts(own.post(PATH, chat("openai/x", false))));
            assertEquals(1, log.with("The provider 'openai' sends what cannot be read: ").size());
        }
    }

    private String breakerAndAvailability(TestGateway of) throws Exception {
        JsonNode status = json(of.get("/api/agents/" + agent + "/status").body()).path("data");
        assertTrue(status.path("configured").asBoolean(), status::toString);
        return status.path("circuitBreaker").asText() + " " + status.path("available");
    }

    @Test
    void aBreakerOpensAfterRepeatedFailuresAnswersAtOnceAndClosesAgain() throws Exception {
        agentWithFallback();
        try (TestGateway own = TestGateway.with("llmchat.retry.max", "0", "llmchat.breaker.reset-timeout", "3000")) {
            own.provider().on(model, call -> call.error(500, "oops"));
            for (int i = 0; i < 5; i++) {
                assertEquals(502, own.post(PATH, chat("openai/" + model, false)).statusCode());
            }
            HttpResponse<String> open = own.post(PATH, chat("openai/" + model, false));
            assertEquals(503, open.statusCode());
            assertEquals("openai=open", attempts(open));
            HttpResponse<String> nativeOpen = own.post("/api/chat/completions", nativeChat("openai/" + model, false));
            assertEquals("CIRCUIT_BREAKER_OPEN", json(nativeOpen.body()).path("code").asText());
            assertEquals("open false", breakerAndAvailability(own));
            assertTrue(open.headers().firstValue("retry-after").isPresent());
            assertEquals(5, own.provider().calls(model).size(), "an open breaker calls nobody");
            assertEquals(1.0, own.metric("circuit_breaker_open{breaker=\"openai/" + model + "\"}"));
            assertEquals("open", json(own.get("/health/detailed").body()).path("breakers").path("openai/" + model).asText());

            assertEquals(200, own.post(PATH, chat("openai/another", false)).statusCode(), "another model is another matter");
            own.provider().on(model, call -> call.json(200, FakeProvider.completion("well again")));
            TestGateway.until("the provider is tried again and answers",
                    () -> own.post(PATH, chat("openai/" + model, false)).statusCode() == 200);
            for (int i = 0; i < 3; i++) {
                assertEquals(200, own.post(PATH, chat("openai/" + model, false)).statusCode());
            }
            assertEquals("closed", json(own.get("/health/detailed").body()).path("breakers").path("openai/" + model).asText());
            assertEquals("closed true", breakerAndAvailability(own));
        }
    }

    @Test
    void whoMeetsAnOpenBreakerIsToldItsOwnTime(@TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.edit("providers/openai.camel.yaml", "            id: openai\n            steps:\n",
                "            id: openai\n            resilience4jConfiguration: {waitDurationInOpenState: 7}\n            steps:\n");
        try (TestGateway own = TestGateway.with("llmchat.retry.max", "0", "llmchat.routes.dir", routes.folder().toString())) {
            own.provider().on(model, call -> call.error(500, "oops"));
            for (int i = 0; i < 5; i++) {
                own.post(PATH, chat("openai/" + model, false));
            }
            assertEquals("7", own.post(PATH, chat("openai/" + model, false)).headers().firstValue("retry-after").orElseThrow());
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aCallerGetsOneAnswerHoweverManyAreAskedForIt(boolean atOnce, @TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        String twice = "- multicast: {parallelProcessing: " + atOnce + ", steps: [{to: \"direct:provider-openai\"}, {to: \"direct:provider-openai\"}]}\n";
        String step = routes.read("complete.camel.yaml").replaceAll("(?s).*(- toD:.*?provider}\n).*", "$1");
        routes.edit("complete.camel.yaml", step, twice);
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "llmchat.retry.max", "0"); LogLines log = LogLines.text()) {
            own.provider().on(model, FakeProvider.says(List.of("One")));
            assertTrue(own.post(PATH, chat("openai/" + model, true)).body().contains("One"));
            TestGateway.until("what is wrong is told", () -> !log.with("A multicast or wireTap leads here").isEmpty());
            assertEquals(1, own.provider().calls(model).size());
        }
    }

    @Test
    void aFullBreakerThatIsNoModelsLeadsToTheNextProviderToo(@TempDir Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("kamelets/openai-chat.kamelet.yaml", routes.read("kamelets/openai-chat-action.kamelet.yaml").replace("name: openai-chat-action", "name: openai-chat"));
        routes.edit("providers/openai.camel.yaml", "kamelet:openai-chat-action", "kamelet:openai-chat");
        try (TestGateway own = TestGateway.with("llmchat.routes.dir", routes.folder().toString(), "camel.resilience4j.bulkhead-max-concurrent-calls", "1")) {
            own.provider().on(model, Call::hang);
            try (Sse first = new Sse(own.port(), PATH, chat("openai/" + model, true))) {
                TestGateway.until("its place is taken", () -> own.provider().calls(model).size() == 1);
                HttpResponse<String> full = own.post(PATH, chat("openai/" + model, false));
                assertEquals(503, full.statusCode(), full.body());
                assertEquals("1", full.headers().firstValue("retry-after").orElseThrow());
                agentWithFallback("demo");
                assertEquals(200, own.post(PATH, chat(agent, false)).statusCode());
            }
        }
    }

    @Test
    void streamsThatAreCutOpenTheBreakerToo() throws Exception {
        try (TestGateway own = TestGateway.with()) {
            own.provider().on(model, call -> {
                call.sse();
                call.text("Half");
                call.cut();
            });
            for (int i = 0; i < 5; i++) {
                own.post(PATH, chat("openai/" + model, true));
            }
            assertEquals(503, own.post(PATH, chat("openai/" + model, true)).statusCode());
        }
    }
}
