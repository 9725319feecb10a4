package io.llmchat;

import static io.llmchat.support.FakeProvider.breaks;
import static io.llmchat.support.FakeProvider.fails;
import static io.llmchat.support.FakeProvider.first;
import static io.llmchat.support.FakeProvider.goesOn;
import static io.llmchat.support.FakeProvider.says;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.Answer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.TestGateway;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/**
 * A table of faults: each is met by a caller who wants a stream and one who does not, with a fallback and without. What
 * the caller gets, who was asked how often, how long it takes, what is written down, and that the gateway lives on.
 */
class FaultsTest {

    static final List<String> TOKENS = IntStream.range(0, 60).mapToObj(i -> i == 0 ? "w0" : " w" + i).toList();
    static final String TEXT = String.join("", TOKENS);

    private static final String PATH = "/v1/chat/completions";
    private static final long DEADLINE = 3_000;
    /** How much longer than its deadline a request may take on a busy machine. */
    private static final long SLACK = 10_000;

    private static final ExecutorService ROWS = Executors.newFixedThreadPool(6);

    private static TestGateway gateway;
    private static FakeProvider provider;
    private static FakeProvider spare;

    /**
     * What is to come of a request.
     *
     * @param status of the response
     * @param attempts as the header says them; empty: it is not there
     * @param end of a response with 200: {@code whole}; or {@code broken}, a stream with an error at its end; otherwise
     *            what the error's message has in it
     * @param spareCalls calls of the fallback
     * @param tokens how many of them the caller gets
     */
    private record Outcome(int status, String attempts, String end, int spareCalls, int tokens) {
    }

    private record Fault(String name, String provider, Script script, Outcome stream, Outcome streamWithFallback, Outcome plain,
                         Outcome plainWithFallback) {
    }

    private static final List<Fault> TABLE = new ArrayList<>();

    /** The answer is whole after these attempts. */
    private static Outcome whole(String attempts) {
        return new Outcome(200, attempts, "whole", (int) Arrays.stream(attempts.split(",")).filter(a -> a.startsWith("anthropic")).count(),
                TOKENS.size());
    }

    /** The stream has begun, and the fallback goes on in it. */
    private static Outcome continued() {
        return new Outcome(200, "openai=200", "whole", 1, TOKENS.size());
    }

    /** The stream ends with an error after so many tokens; 0: after some. */
    private static Outcome broken(int tokens) {
        return new Outcome(200, "openai=200", "broken", 0, tokens);
    }

    private static Outcome error(int status, String attempts, String message) {
        return new Outcome(status, attempts, message, 0, 0);
    }

    /** A fault for which it makes no difference whether a stream is wanted. */
    private static void fault(String name, Script script, Outcome alone, Outcome withFallback) {
        fault(name, script, alone, withFallback, alone, withFallback);
    }

    private static void fault(String name, Script script, Outcome stream, Outcome streamWithFallback, Outcome plain,
                              Outcome plainWithFallback) {
        TABLE.add(new Fault(name, "openai", script, stream, streamWithFallback, plain, plainWithFallback));
    }

    private static String date(int secondsFromNow) {
        return DateTimeFormatter.RFC_1123_DATE_TIME.format(ZonedDateTime.now(ZoneOffset.UTC).plusSeconds(secondsFromNow));
    }

    static {
        for (String status : new String[] {"408", "409", "429", "500", "529"}) {
            fault(status + " once", first(1, fails(Integer.parseInt(status), "once"), says(TOKENS)), whole("openai=" + status + ",openai=200"),
                    whole("openai=" + status + ",openai=200"));
        }
        fault("429 that says when, within the deadline", first(1, fails(429, "slow", "Retry-After: 1"), says(TOKENS)),
                whole("openai=429,openai=200"), whole("openai=429,openai=200"));
        fault("429 that says when, beyond the deadline", fails(429, "slow", "Retry-After: 60"),
                error(429, "openai=429", "limits our requests"), whole("openai=429,anthropic=200"));
        fault("429 until a date, now over", first(1, fails(429, "slow", "Retry-After: " + date(-30)), says(TOKENS)),
                whole("openai=429,openai=200"), whole("openai=429,openai=200"));
        fault("429 until a date, within the deadline", first(1, call -> {
            // the date has whole seconds: this one must not end before the date is read
            while (System.currentTimeMillis() % 1_000 > 800) {
                TimeUnit.MILLISECONDS.sleep(10);
            }
            call.error(429, "slow", "Retry-After: " + date(1));
        }, says(TOKENS)),
                whole("openai=429,openai=200"), whole("openai=429,openai=200"));
        fault("429 until a date, beyond the deadline", fails(429, "slow", "Retry-After: " + date(600)),
                error(429, "openai=429", "limits our requests"), whole("openai=429,anthropic=200"));
        fault("503 that says when, within the deadline", first(1, fails(503, "slow", "Retry-After: 1"), says(TOKENS)),
                whole("openai=503,openai=200"), whole("openai=503,openai=200"));
        fault("503 that says when, beyond the deadline", fails(503, "slow", "Retry-After: 60"),
                error(502, "openai=503", "answered 503"), whole("openai=503,anthropic=200"));
        fault("503 for ever", fails(503, "down"), error(502, "openai=503,openai=503,openai=503", "answered 503"),
                whole("openai=503,openai=503,openai=503,anthropic=200"));
        fault("a reset once", first(1, Call::reset, says(TOKENS)), whole("openai=reset,openai=200"), whole("openai=reset,openai=200"));
        fault("a reset for ever", Call::reset, error(502, "openai=reset,openai=reset,openai=reset", "broke"),
                whole("openai=reset,openai=reset,openai=reset,anthropic=200"));
        fault("the connection is closed without a word", first(1, Call::cut, says(TOKENS)), whole("openai=reset,openai=200"),
                whole("openai=reset,openai=200"));
        fault("no answer at all", Call::hang, error(504, "openai=timeout", "sent no token within"), whole("openai=timeout,anthropic=200"),
                error(504, "openai=timeout", "took too long"), whole("openai=timeout,anthropic=200"));
        fault("no token after the head", breaks(List.of(), Call::hang), error(504, "openai=timeout", "sent no token within"),
                whole("openai=timeout,anthropic=200"), error(504, "openai=timeout", "took too long"), whole("openai=timeout,anthropic=200"));
        fault("a first token that is slow, but in time", call -> {
            TimeUnit.MILLISECONDS.sleep(150);
            says(TOKENS).play(call);
        }, whole("openai=200"), whole("openai=200"));
        fault("a cut before the first token", first(1, breaks(List.of(), Call::cut), says(TOKENS)), whole("openai=reset,openai=200"),
                whole("openai=reset,openai=200"));
        fault("a cut after 40 of 60 tokens", breaks(TOKENS.subList(0, 40), Call::cut), broken(40), continued(),
                error(502, "openai=reset,openai=reset,openai=reset", "broke"), whole("openai=reset,openai=reset,openai=reset,anthropic=200"));
        fault("a reset after 40 of 60 tokens", breaks(TOKENS.subList(0, 40), call -> {
            TimeUnit.MILLISECONDS.sleep(50);
            call.reset();
        }), broken(0), continued(),
                error(502, "openai=reset,openai=reset,openai=reset", "broke"), whole("openai=reset,openai=reset,openai=reset,anthropic=200"));
        fault("a stall after 20 of 60 tokens", breaks(TOKENS.subList(0, 20), Call::hang), broken(20), continued(),
                error(504, "openai=timeout", "took too long"), whole("openai=timeout,anthropic=200"));
        fault("an error object before the first token", first(1, call -> {
            if (call.body().path("stream").asBoolean()) {
                call.begin();
                call.event("{\"error\":{\"message\":\"overloaded\"}}");
                call.end();
            } else {
                call.json(200, "{\"error\":{\"message\":\"overloaded\"}}");
            }
        }, says(TOKENS)), whole("openai=error,openai=200"), whole("openai=error,openai=200"));
        fault("garbage in place of the first chunk", first(1, call -> {
            call.sse();
            call.event("{\"choices\":[{");
            call.end();
        }, says(TOKENS)), whole("openai=malformed,openai=200"), whole("openai=malformed,openai=200"));
        fault("a stream that ends without a token", first(1, call -> {
            call.sse();
            call.end();
        }, says(TOKENS)), whole("openai=malformed,openai=200"), whole("openai=malformed,openai=200"));
        fault("a chunk in the middle that is malformed", call -> {
            if (call.body().path("stream").asBoolean()) {
                call.begin();
                call.tokens(TOKENS.subList(0, 30));
                call.event("{\"choices\":[{");
                call.tokens(TOKENS.subList(30, 60));
                call.close("stop");
            } else {
                says(TOKENS).play(call);
            }
        }, broken(30), continued(), whole("openai=200"), whole("openai=200"));
        fault("an answer in one piece, though a stream was asked for", call -> call.json(200, FakeProvider.completion(String.join("", TOKENS))),
                whole("openai=200"), whole("openai=200"));
        fault("an answer with 201", call -> {
            if (call.streamed()) {
                call.raw("HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
                call.tokens(TOKENS);
                call.close("stop");
            } else {
                call.json(201, FakeProvider.completion(String.join("", TOKENS)));
            }
        }, whole("openai=200"), whole("openai=200"));
        fault("no [DONE], but a reason to stop", ends(Call::end), whole("openai=200"), whole("openai=200"));
        fault("no [DONE], and a cut after the reason to stop", ends(Call::cut), whole("openai=200"), whole("openai=200"));
        fault("no [DONE], and silence after the reason to stop", ends(Call::hang), whole("openai=200"), whole("openai=200"));
        fault("a stream that ends without a reason", breaks(TOKENS.subList(0, 40), Call::end), broken(40), continued(),
                // a body that is longer than was sent
                error(504, "openai=timeout", "took too long"), whole("openai=timeout,anthropic=200"));
        for (int status : new int[] {400, 404, 413, 422}) {
            fault(status + ": the request is at fault", fails(status, "bad"), error(status, "openai=" + status, "the provider says " + status),
                    error(status, "openai=" + status, "the provider says " + status));
        }
        for (int status : new int[] {401, 403}) {
            fault(status + ": our key is not taken", fails(status, "bad"), error(502, "openai=" + status, "does not accept the gateway's key"),
                    whole("openai=" + status + ",anthropic=200"));
        }
        // the status has been said, whatever becomes of the words that should follow
        fault("400 whose words are cut", breaksOffAfterStatus(400, Call::cut), error(400, "openai=400", "refused"), error(400, "openai=400", "refused"));
        fault("401 whose words are reset", breaksOffAfterStatus(401, Call::reset), error(502, "openai=401", "does not accept the gateway's key"),
                whole("openai=401,anthropic=200"));
        fault("429 whose words do not come", breaksOffAfterStatus(429, Call::hang), error(429, "openai=429", "limits our requests"),
                whole("openai=429,anthropic=200"));
        fault("503 whose words have no end", breaksOffAfterStatus(503, call -> {
            call.raw(" ".repeat(100_000));
            call.hang();
        }), error(502, "openai=503", "answered 503"), whole("openai=503,anthropic=200"));
        fault("what we have paid is used up", fails(429, "insufficient_quota"), error(502, "openai=unpaid", "does not accept the gateway's key"),
                whole("openai=unpaid,anthropic=200"));
        fault("the prompt is too long", fails(400, "context_length_exceeded"), error(400, "openai=400", "the provider says 400"),
                whole("openai=400,anthropic=200"));
        fault("the content is refused", fails(400, "content_policy_violation"), error(400, "openai=400", "the provider says 400"),
                error(400, "openai=400", "the provider says 400"));
        TABLE.add(new Fault("nobody listens", "dify", Call::hang, error(502, "dify=connect,dify=connect,dify=connect", "cannot be reached"),
                whole("dify=connect,dify=connect,dify=connect,anthropic=200"),
                error(502, "dify=connect,dify=connect,dify=connect", "cannot be reached"),
                whole("dify=connect,dify=connect,dify=connect,anthropic=200")));
    }

    private static Script breaksOffAfterStatus(int status, Script then) {
        return call -> {
            call.raw("HTTP/1.1 " + status + " No\r\nContent-Length: 1000000\r\nRetry-After: 60\r\n\r\n");
            // the head has arrived when what follows it does
            TimeUnit.MILLISECONDS.sleep(50);
            then.play(call);
        };
    }

    /** The answer has the text of so many tokens; 0: of some, as a reset may take with it what came last. */
    static void assertSays(int tokens, Answer answer) {
        String text = answer.text();
        assertTrue(tokens > 0 ? text.equals(String.join("", TOKENS.subList(0, tokens))) : !text.isEmpty() && TEXT.startsWith(text), answer.body());
    }

    private static String agent(String model, String fallbacks) throws Exception {
        String agent = "a-" + UUID.randomUUID().toString().substring(0, 8);
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\""
                + model + "\",\"fallbacks\":[" + fallbacks + "]}").statusCode());
        return agent;
    }

    @Test
    void aPromptThatIsTooLongGoesToNobodyButThoseWhoTakeLongerOnes() throws Exception {
        String id = UUID.randomUUID().toString();
        provider.on("p-" + id, fails(400, "context_length_exceeded"));
        spare.on("large-" + id, says(TOKENS));
        String agent = agent("p-" + id, "\"anthropic/same-" + id + "\",{\"model\":\"anthropic/large-" + id + "\",\"larger\":true}");
        Answer answer = new Answer(gateway.post(PATH, chat(agent, false)));
        assertEquals(TEXT, answer.text());
        assertEquals(0, spare.calls("same-" + id).size());

        Answer none = new Answer(gateway.post(PATH, chat(agent("p-" + id, "\"anthropic/same-" + id + "\""), true)));
        assertEquals(400, none.status());
        assertEquals("context_length_exceeded", json(none.body()).path("error").path("code").asText());
        assertEquals(0, spare.calls("same-" + id).size());
    }

    @Test
    void aRefusalOfTheContentIsToldInTheProvidersWords() throws Exception {
        String id = UUID.randomUUID().toString();
        provider.on("p-" + id, fails(400, "content_filter"));
        Answer answer = new Answer(gateway.post(PATH, chat(agent("p-" + id, "\"anthropic/f-" + id + "\""), true)));
        assertEquals(400, answer.status());
        JsonNode error = json(answer.body()).path("error");
        assertEquals("content_filter", error.path("code").asText());
        assertEquals("the provider says 400", error.path("message").asText());
    }

    @Test
    void equalsAreDrawnByTheirWeight() throws Exception {
        String id = UUID.randomUUID().toString();
        provider.on("p-" + id, fails(401, "no"));
        spare.on("light-" + id, says(TOKENS)).on("heavy-" + id, says(TOKENS)).on("last-" + id, says(TOKENS));
        String agent = agent("p-" + id, "{\"model\":\"anthropic/light-" + id + "\",\"weight\":1},{\"model\":\"anthropic/heavy-" + id
                + "\",\"weight\":3},\"anthropic/last-" + id + "\"");
        for (int i = 0; i < 100; i++) {
            assertEquals(200, gateway.post(PATH, chat(agent, false)).statusCode());
        }
        int light = spare.calls("light-" + id).size();
        // 25 are to be expected; fewer than 6 or more than 50 come about once in a million
        assertTrue(light >= 6 && light <= 50, light + " of 100");
        assertEquals(100, light + spare.calls("heavy-" + id).size(), "the one without a weight comes after them");
        spare.on("heavy-" + id, fails(401, "no")).on("light-" + id, fails(401, "no"));
        assertEquals(TEXT, new Answer(gateway.post(PATH, chat(agent, false))).text());
        assertEquals(1, spare.calls("last-" + id).size());
    }

    /** A stream whose closing event is missing. */
    private static Script ends(Script then) {
        return call -> {
            if (call.body().path("stream").asBoolean()) {
                call.begin();
                call.tokens(TOKENS);
                call.finish("stop");
                then.play(call);
            } else {
                says(TOKENS).play(call);
            }
        };
    }

    @BeforeAll
    static void start() throws Exception {
        spare = new FakeProvider();
        // a breaker that stays closed, so that the rows do not meet in it
        gateway = TestGateway.with("camel.resilience4j.minimum-number-of-calls", "1000",
                "camel.resilience4j.sliding-window-size", "1000",
                "camel.component.llm.first-token-timeout", "800", "camel.component.llm.idle-timeout", "600",
                "llmchat.complete.deadline", Long.toString(DEADLINE), "llmchat.retry.max", "2",
                "llmchat.anthropic.base-url", spare.url(), "llmchat.anthropic.api-key", "key",
                "llmchat.dify.base-url", "http://127.0.0.1:1/v1", "llmchat.dify.api-key", "key");
        provider = gateway.warm().provider();
    }

    @AfterAll
    static void stop() throws Exception {
        ROWS.shutdownNow();
        gateway.close();
        spare.close();
    }

    @TestFactory
    List<DynamicTest> faults() {
        List<DynamicTest> rows = new ArrayList<>();
        for (Fault f : TABLE) {
            rows.add(row(f.name + ", stream", () -> meet(f, true, false, f.stream)));
            rows.add(row(f.name + ", stream, fallback", () -> meet(f, true, true, f.streamWithFallback)));
            rows.add(row(f.name + ", plain", () -> meet(f, false, false, f.plain)));
            rows.add(row(f.name + ", plain, fallback", () -> meet(f, false, true, f.plainWithFallback)));
        }
        return rows;
    }

    /** Some rows run side by side, as most of them wait. */
    private static DynamicTest row(String name, Executable test) {
        CompletableFuture<Throwable> failure = new CompletableFuture<>();
        ROWS.execute(() -> {
            try {
                test.execute();
                failure.complete(null);
            } catch (Throwable e) {
                failure.complete(e);
            }
        });
        return DynamicTest.dynamicTest(name, () -> {
            Throwable thrown = failure.get(60, TimeUnit.SECONDS);
            if (thrown != null) {
                throw thrown;
            }
        });
    }

    private void meet(Fault fault, boolean stream, boolean fallback, Outcome expected) throws Exception {
        String id = UUID.randomUUID().toString();
        String agent = "a-" + id.substring(0, 8);
        provider.on("p-" + id, fault.script);
        spare.on("f-" + id, goesOn(TOKENS));
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"" + fault.provider
                + "\",\"model\":\"p-" + id + "\",\"fallbacks\":["
                + (fallback ? "{\"model\":\"anthropic/f-" + id + "\",\"larger\":true}" : "") + "]}").statusCode());

        long started = System.nanoTime();
        // a failed stream is the end of its connection: no other row is to meet it there
        Answer answer;
        try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            answer = new Answer(client.send(gateway.request("POST", PATH, chat(agent, stream)), HttpResponse.BodyHandlers.ofString()));
        }
        long millis = (System.nanoTime() - started) / 1_000_000;

        assertEquals(expected.status, answer.status(), answer.body());
        assertEquals(expected.attempts, answer.header("x-llmchat-attempts"));
        String end = expected.end;
        if (answer.status() != 200) {
            assertTrue(json(answer.body()).path("error").path("message").asText().contains(end), answer.body());
        } else {
            assertEquals(stream, answer.streamed());
            boolean broken = end.equals("broken");
            assertEquals(broken ? 1 : 0, answer.errors(), answer.body());
            assertEquals(stream && !broken ? 1 : 0, answer.ends(), answer.body());
            assertSays(expected.tokens, answer);
        }
        assertEquals(Arrays.stream(expected.attempts.split(",")).filter(a -> a.startsWith("openai")).count(),
                provider.calls("p-" + id).size(), "calls of the first");
        assertEquals(expected.spareCalls, spare.calls("f-" + id).size(), "calls of the fallback");
        assertTrue(millis < DEADLINE + SLACK, "took " + millis + " ms");
        if (fault.name.endsWith("within the deadline")) {
            assertTrue(millis >= 950, "the provider has said when: " + millis + " ms");
        }

        boolean bySpare = expected.spareCalls > 0;
        String model = (bySpare ? "f-" : "p-") + id;
        if (bySpare && expected.attempts.contains("anthropic")) {
            JsonNode first = stream ? answer.events().get(0).json() : json(answer.body());
            assertEquals(model, first.path("model").asText(), "the caller sees who answered");
        }
        String row = "SELECT count(*) FROM usage_records WHERE request_id = '" + answer.header("x-request-id") + "'";
        until("the request is written down", () -> gateway.count(row) == 1);
        assertEquals(1, gateway.count(row + " AND model = '" + model + "' AND stream = " + stream + " AND attempts LIKE '" + expected.attempts
                + "%' AND (outcome = 'completed') = " + end.equals("whole") + " AND (" + !end.equals("whole") + " OR total_tokens > 0)"), "as it was");

        assertEquals(200, gateway.post(PATH, chat("openai/well", false)).statusCode(), "the gateway lives on");
    }
}
