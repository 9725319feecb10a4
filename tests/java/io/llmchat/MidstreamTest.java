package io.llmchat;

import static io.llmchat.support.FakeProvider.breaks;
import static io.llmchat.support.FakeProvider.fails;
import static io.llmchat.support.FakeProvider.goesOn;
import static io.llmchat.support.FakeProvider.refusesPrefill;
import static io.llmchat.support.FakeProvider.says;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.Chat;
import io.llmchat.support.Answer;
import io.llmchat.support.AnthropicScript;
import io.llmchat.support.DeafServer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.Living;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.StringCodec;

/** A stream breaks off after its first token: who goes on, how, and what the caller gets when nobody can. */
class MidstreamTest {

    private static final List<String> TOKENS = FaultsTest.TOKENS;
    private static final List<String> OTHER = List.of("Something", " else", " altogether");

    private static TestGateway gateway;
    private static FakeProvider provider;
    private static FakeProvider spare;
    private static DeafServer deaf;

    private final String id = UUID.randomUUID().toString();
    private final String agent = "a-" + id.substring(0, 8);
    private final String first = "p-" + id;
    private final String second = "f-" + id;
    private final String third = "g-" + id;

    @BeforeAll
    static void start() throws Exception {
        spare = new FakeProvider();
        deaf = new DeafServer();
        gateway = gateway("llmchat.fastgpt.base-url", deaf.url());
        provider = gateway.provider();
    }

    private static TestGateway gateway(String... more) throws Exception {
        String[] settings = {"camel.resilience4j.minimum-number-of-calls", "1000", "camel.resilience4j.sliding-window-size", "1000",
            "camel.component.llm.first-token-timeout", "800", "camel.component.llm.idle-timeout", "600",
            "llmchat.complete.deadline", "3000", "llmchat.retry.max", "1",
            "llmchat.anthropic.base-url", spare.url(), "llmchat.anthropic.api-key", "key", "llmchat.ollama.base-url", spare.url() + "/v1"};
        String[] all = Arrays.copyOf(settings, settings.length + more.length);
        System.arraycopy(more, 0, all, settings.length, more.length);
        return TestGateway.with(all).warm();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
        spare.close();
        deaf.close();
    }

    private static void on(String target, Script script) {
        String model = target.substring(target.indexOf('/') + 1);
        (target.startsWith("openai/") ? provider : spare).on(model, script);
    }

    /** An agent of these targets, the first first. */
    private void asks(TestGateway of, String... targets) throws Exception {
        String fallbacks = Arrays.stream(targets).skip(1).map(t -> "\"" + t + "\"").collect(Collectors.joining(","));
        String[] main = targets[0].split("/", 2);
        assertEquals(201, of.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"" + main[0] + "\",\"model\":\""
                + main[1] + "\",\"fallbacks\":[" + fallbacks + "]}").statusCode());
    }

    /** A stream in one of the three dialects. */
    private Answer stream(TestGateway of, String dialect) throws Exception {
        String rest = "\"stream\":true,\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
        try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            return new Answer(client.send(switch (dialect) {
                case "native" -> of.request("POST", "/api/chat/completions", "{\"agentId\":\"" + agent + "\"," + rest);
                case "anthropic" -> of.request("POST", "/v1/messages", "{\"model\":\"" + agent + "\"," + rest);
                default -> of.request("POST", "/v1/chat/completions", "{\"model\":\"" + agent + "\"," + rest);
            }, HttpResponse.BodyHandlers.ofString()));
        }
    }

    private Answer stream() throws Exception {
        return stream(gateway, "openai");
    }

    private static void assertWhole(Answer answer) {
        assertEquals(200, answer.status(), answer.body());
        assertEquals(FaultsTest.TEXT, answer.text(), answer.body());
        assertEquals(0, answer.errors(), answer.body());
        assertEquals(1, answer.ends(), answer.body());
    }

    /** The stream ends with an error after so many tokens; 0: after some. */
    private static void assertBroken(Answer answer, int tokens, String message) {
        assertEquals(200, answer.status(), answer.body());
        FaultsTest.assertSays(tokens, answer);
        assertEquals(1, answer.errors(), answer.body());
        assertEquals(0, answer.ends(), answer.body());
        List<Answer.Event> events = answer.events();
        assertTrue(events.get(events.size() - 1).data().contains(message), answer.body());
    }

    /** A stream on Anthropic's wire is one message, with blocks one after the other. */
    private static void assertWellFormed(Answer answer) {
        int open = -1;
        int next = 0;
        List<Answer.Event> events = answer.events();
        assertEquals("message_start", events.get(0).name(), answer.body());
        for (Answer.Event event : events) {
            JsonNode json = event.json();
            assertEquals(event.name(), json.path("type").asText());
            switch (event.name()) {
                case "content_block_start" -> {
                    assertEquals(-1, open, answer.body());
                    assertEquals(next++, json.path("index").asInt(), answer.body());
                    open = json.path("index").asInt();
                }
                case "content_block_delta" -> assertEquals(open, json.path("index").asInt(), answer.body());
                case "content_block_stop" -> {
                    assertEquals(open, json.path("index").asInt(), answer.body());
                    open = -1;
                }
                case "message_delta" -> assertEquals(-1, open, answer.body());
                default -> { }
            }
        }
        assertEquals(1, events.stream().filter(e -> e.name().equals("message_start")).count(), answer.body());
        assertTrue(events.get(events.size() - 2).json().path("delta").hasNonNull("stop_reason"), answer.body());
        assertEquals("message_stop", events.get(events.size() - 1).name(), answer.body());
    }

    private static Script cutAfter(int tokens) {
        return breaks(TOKENS.subList(0, tokens), Call::cut);
    }

    @ParameterizedTest
    @CsvSource({"openai,openai,anthropic", "openai,openai,ollama", "openai,anthropic,ollama", "openai,ollama,anthropic", "openai,openai,openai",
        "anthropic,anthropic,ollama", "anthropic,anthropic,openai", "anthropic,openai,anthropic", "anthropic,ollama,ollama",
        "native,openai,anthropic", "native,anthropic,openai", "native,ollama,ollama"})
    void anotherProviderGoesOnInTheSameStream(String dialect, String from, String to) throws Exception {
        asks(gateway, from + "/" + first, to + "/" + second);
        on(from + "/" + first, cutAfter(25));
        on(to + "/" + second, goesOn(TOKENS));
        Answer answer = stream(gateway, dialect);
        assertWhole(answer);
        List<Call> calls = (to.equals("openai") ? provider : spare).calls(second);
        assertEquals(1, calls.size());
        assertEquals(to.equals("openai") ? "" : String.join("", TOKENS.subList(0, 25)), calls.get(0).prefill());
        if (dialect.equals("anthropic")) {
            assertWellFormed(answer);
        } else if (dialect.equals("openai")) {
            List<JsonNode> chunks = answer.events().stream().filter(e -> !e.data().equals("[DONE]")).map(Answer.Event::json).toList();
            for (String name : new String[] {"id", "model", "created"}) {
                assertEquals(1, chunks.stream().map(c -> c.path(name).asText()).collect(Collectors.toSet()).size(), "one " + name);
            }
            assertEquals(1, chunks.stream().filter(c -> c.path("choices").path(0).path("delta").has("role")).count(), "one role");
        } else {
            Set<String> ids = answer.body().lines().filter(l -> l.startsWith("id: ")).collect(Collectors.toSet());
            assertEquals(answer.events().size(), ids.size(), "every event has an id of its own");
        }
    }

    @Test
    void whoGoesOnTakesTheNamesOfTheFirstChunkThatHasAny() throws Exception {
        asks(gateway, "openai/" + first, "ollama/" + second);
        on("openai/" + first, call -> {
            call.sse();
            call.bytes(("data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\"}\n\ndata: {\"choices\":[{\"index\":0,"
                    + "\"delta\":{\"role\":\"assistant\",\"content\":\"One \"},\"finish_reason\":null}],\"created\":1700000000,\"id\":\"az\","
                    + "\"model\":\"gpt\",\"object\":\"chat.completion.chunk\"}\n\n").getBytes(StandardCharsets.UTF_8));
            call.reset();
        });
        on("ollama/" + second, says(List.of("One ", "two")));
        Answer answer = stream();
        assertEquals(1, answer.ends(), answer.body());
        List<JsonNode> chunks = answer.events().stream().filter(e -> !e.data().equals("[DONE]")).map(Answer.Event::json).toList();
        assertTrue(chunks.size() > 2, answer.body());
        for (JsonNode chunk : chunks.subList(1, chunks.size())) {
            assertEquals("az gpt 1700000000", chunk.path("id").asText() + " " + chunk.path("model").asText() + " " + chunk.path("created"), answer.body());
        }
    }

    @Test
    void whatIsAskedOfARequestByARouteDoesNotKeepIt() throws Exception {
        asks(gateway, "openai/" + first);
        on("openai/" + first, cutAfter(3));
        for (int i = 0; i < 50; i++) {
            assertBroken(stream(), 3, "broke");
        }
        until("the chats are gone", () -> Living.objects(Chat.class) < 20);
    }

    @Test
    void blanksWhereItBrokeOffAreThereOnce() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, breaks(List.of("w0 "), Call::cut));
        on("anthropic/" + second, goesOn(TOKENS));
        assertWhole(stream());
        assertEquals("w0", spare.call(second).prefill(), "blanks at the end are not taken everywhere");
    }

    @ParameterizedTest
    @CsvSource({"anthropic", "ollama"})
    void nothingButBlanksIsGoneOnWithByAnyAnswer(String other) throws Exception {
        asks(gateway, "openai/" + first, other + "/" + second);
        on("openai/" + first, breaks(List.of("\n"), Call::cut));
        on(other + "/" + second, says(TOKENS));
        Answer answer = stream();
        assertEquals("\n" + FaultsTest.TEXT, answer.text(), answer.body());
        assertEquals(1, answer.ends(), answer.body());
    }

    @Test
    void aThoughtOfWhoGoesOnStandsBehindTheTextOfBoth() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, breaks(List.of("One, ", "two"), Call::cut));
        on("anthropic/" + second, call -> {
            AnthropicScript.start(call);
            AnthropicScript.text(call, 0, ", three");
            AnthropicScript.thinking(call, 1, "Hm.", "S1");
            AnthropicScript.text(call, 2, ", four");
            AnthropicScript.stop(call, "end_turn");
        });
        Answer answer = stream();
        assertEquals("One, two, three, four", answer.text(), answer.body());
        assertTrue(answer.body().contains("\"content_offset\":" + "One, two, three".length() + ","), answer.body());
    }

    @Test
    void aPrefillThatIsRefusedIsNotWhatTheCallerSees() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, cutAfter(25));
        on("anthropic/" + second, refusesPrefill(TOKENS));
        assertWhole(stream());
        assertEquals(2, spare.calls(second).size());
        assertEquals("", spare.calls(second).get(1).prefill());
    }

    @Test
    void aClaudeThatIsKnownToRefuseAPrefillIsAskedOnce() throws Exception {
        String claude = "claude-sonnet-4-6-" + id;
        asks(gateway, "openai/" + first, "anthropic/" + claude);
        on("openai/" + first, cutAfter(25));
        on("anthropic/" + claude, refusesPrefill(TOKENS));
        assertWhole(stream());
        assertEquals(1, spare.calls(claude).size());
    }

    @Test
    void aPrefillThatIsRefusedByOneThatThenSaysSomethingElse() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, cutAfter(25));
        on("anthropic/" + second, refusesPrefill(OTHER));
        Answer answer = stream();
        assertBroken(answer, 25, "connection to the provider 'openai' broke");
        assertFalse(answer.body().contains("Something"));
    }

    @Test
    void aTextThatDiffersIsNotSentAndTheNextProviderIsAsked() throws Exception {
        asks(gateway, "openai/" + first, "openai/" + second, "openai/" + third);
        on("openai/" + first, cutAfter(25));
        // the same at first: what the caller has got is not sent again, what differs is not sent at all
        on("openai/" + second, says(List.of("w0 w1", " w2 and", " so on")));
        on("openai/" + third, says(TOKENS));
        assertWhole(stream());
        assertEquals(1, provider.calls(second).size(), "it is not asked again");
    }

    @Test
    void aTextThatIsShorterThanWhatTheCallerHasIsAnotherOne() throws Exception {
        asks(gateway, "openai/" + first, "openai/" + second);
        on("openai/" + first, cutAfter(25));
        on("openai/" + second, says(TOKENS.subList(0, 10)));
        assertBroken(stream(), 25, "connection to the provider 'openai' broke");
    }

    @Test
    void textsThatDifferAreNoReasonToOpenABreaker() throws Exception {
        try (TestGateway own = gateway("camel.resilience4j.minimum-number-of-calls", "2", "camel.resilience4j.sliding-window-size", "2")) {
            asks(own, "anthropic/" + first, "ollama/" + second);
            on("anthropic/" + first, cutAfter(25));
            on("ollama/" + second, refusesPrefill(OTHER));
            for (int i = 0; i < 3; i++) {
                stream(own, "openai");
            }
            JsonNode breakers = TestGateway.json(own.get("/health/detailed").body()).path("breakers");
            assertEquals("open", breakers.path("anthropic/" + first).asText());
            assertEquals("closed", breakers.path("ollama/" + second).asText());
        }
    }

    @Test
    void itBreaksOffTwice() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second, "ollama/" + third);
        on("openai/" + first, cutAfter(10));
        on("anthropic/" + second, call -> {
            call.begin();
            call.tokens(TOKENS.subList(10, 30));
            call.hang();
        });
        on("ollama/" + third, goesOn(TOKENS));
        assertWhole(stream());
        assertTrue(spare.call(second).leftWithin(10_000));
        assertEquals(String.join("", TOKENS.subList(0, 30)), spare.call(third).prefill());
    }

    @Test
    void anErrorEventOfTheProviderIsABreakToo() throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        on("anthropic/" + first, breaks(TOKENS.subList(0, 10), call -> {
            call.named("error", "\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}");
            call.end();
        }));
        on("ollama/" + second, goesOn(TOKENS));
        Answer answer = stream(gateway, "anthropic");
        assertWhole(answer);
        assertWellFormed(answer);
    }

    @Test
    void aProviderThatCannotGoOnNowIsNotWaitedForLong() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second, "ollama/" + third);
        on("openai/" + first, cutAfter(10));
        on("anthropic/" + second, fails(429, "slow", "Retry-After: 20"));
        on("ollama/" + third, goesOn(TOKENS));
        assertWhole(stream());
        assertEquals(1, spare.calls(second).size(), "it has said when it takes requests again");
    }

    @Test
    void aStreamThatWaitsForTheNextAttemptIsNotSilent() throws Exception {
        try (TestGateway own = gateway("camel.component.llm.heartbeat", "200", "llmchat.retry.max-delay", "1000")) {
            asks(own, "openai/" + first, "anthropic/" + second);
            own.provider().on(first, cutAfter(10));
            on("anthropic/" + second, FakeProvider.first(1, fails(503, "later", "Retry-After: 1"), goesOn(TOKENS)));
            Answer answer = stream(own, "openai");
            assertWhole(answer);
            assertTrue(answer.body().split(": keep-alive", -1).length > 2, answer.body());
        }
    }

    @Test
    void whyItBrokeOffIsToldRatherThanWhyNobodyWentOn() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, cutAfter(10));
        on("anthropic/" + second, fails(429, "slow", "Retry-After: 20"));
        // the second time it is left alone
        for (int i = 0; i < 2; i++) {
            assertBroken(stream(), 10, "connection to the provider 'openai' broke");
            assertEquals(1, spare.calls(second).size());
        }
    }

    @Test
    void whatComesBeforeTheFirstTokenOfOneIsNotMixedWithTheAnswerOfAnother() throws Exception {
        for (String dialect : new String[] {"anthropic", "openai", "native"}) {
            for (String[] from : new String[][] {{"anthropic", "ollama"}, {"openai", "anthropic"}}) {
                String agentBefore = "b-" + UUID.randomUUID().toString().substring(0, 8);
                assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + agentBefore + "\",\"name\":\"A\",\"provider\":\"" + from[0]
                        + "\",\"model\":\"" + first + "\",\"fallbacks\":[\"" + from[1] + "/" + second + "\"]}").statusCode());
                on(from[0] + "/" + first, breaks(List.of(), Call::hang));
                on(from[1] + "/" + second, says(TOKENS));
                String path = dialect.equals("anthropic") ? "/v1/messages" : dialect.equals("native") ? "/api/chat/completions" : "/v1/chat/completions";
                Answer answer = new Answer(gateway.post(path, "{\"model\":\"" + agentBefore + "\",\"agentId\":\"" + agentBefore
                        + "\",\"stream\":true,\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"));
                assertWhole(answer);
                if (dialect.equals("anthropic")) {
                    assertWellFormed(answer);
                } else if (dialect.equals("openai")) {
                    JsonNode chunk = answer.events().get(0).json();
                    assertEquals("assistant", chunk.path("choices").path(0).path("delta").path("role").asText(), answer.body());
                    assertEquals(from[1].equals("anthropic") ? second : "fake-1", chunk.path("model").asText());
                }
            }
        }
    }

    @Test
    void whoGoesOnBehindABlockThatHasEndedBeginsAnother() throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        on("anthropic/" + first, call -> {
            call.begin();
            call.tokens(TOKENS.subList(0, 25));
            call.named("content_block_stop", "\"index\":0");
            call.cut();
        });
        on("ollama/" + second, goesOn(TOKENS));
        Answer answer = stream(gateway, "anthropic");
        assertWhole(answer);
        assertWellFormed(answer);
    }

    @Test
    void anAnswerWhoseClosingEventIsMissingGetsOne() throws Exception {
        asks(gateway, "anthropic/" + first);
        on("anthropic/" + first, call -> {
            call.begin();
            call.tokens(TOKENS);
            call.named("content_block_stop", "\"index\":0");
            call.named("message_delta", "\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}");
            call.end();
        });
        Answer answer = stream(gateway, "anthropic");
        assertWhole(answer);
        assertWellFormed(answer);
    }

    @ParameterizedTest
    @CsvSource({"openai,thinking", "anthropic,thinking", "native,server_tool_use"})
    void whatAModelDoesUnseenIsWaitedForAsLongAsItIsHeardOf(String dialect, String block) throws Exception {
        asks(gateway, "anthropic/" + first);
        on("anthropic/" + first, call -> {
            call.sse();
            call.named("message_start", "\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
                    + "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}");
            call.named("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"" + block + "\",\"id\":\"s\",\"name\":\"web_search\","
                    + "\"input\":{},\"thinking\":\"\",\"signature\":\"\"}");
            for (int i = 0; i < 10; i++) {
                TimeUnit.MILLISECONDS.sleep(100);
                call.named("ping", null);
            }
            call.named("content_block_stop", "\"index\":0");
            call.named("content_block_start", "\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
            call.named("content_block_delta", "\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"" + FaultsTest.TEXT + "\"}");
            call.named("content_block_stop", "\"index\":1");
            call.named("message_delta", "\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}");
            call.named("message_stop", null);
            call.end();
        });
        assertWhole(stream(gateway, dialect));
        assertEquals(1, spare.calls(first).size());
    }

    /** A chunk that says a text and a reason to stop, as some converters of Gemini's answers do with each. */
    private static void textWithReason(Call call, String text) throws Exception {
        call.event(Call.chunk("{\"content\":\"" + text + "\"}", "\"stop\""));
    }

    @ParameterizedTest
    @CsvSource({"openai", "anthropic"})
    void aReasonToStopBesideEveryTextIsNotTheEnd(String dialect) throws Exception {
        try (TestGateway own = gateway("camel.component.llm.idle-timeout", "5000", "llmchat.complete.deadline", "20000")) {
            asks(own, "openai/" + first);
            own.provider().on(first, call -> {
                call.begin();
                for (String token : TOKENS.subList(0, 3)) {
                    textWithReason(call, token);
                }
                TimeUnit.MILLISECONDS.sleep(1_600);
                for (String token : TOKENS.subList(3, TOKENS.size())) {
                    textWithReason(call, token);
                }
                call.done();
            });
            assertWhole(stream(own, dialect));
        }
    }

    @ParameterizedTest
    @CsvSource({"1", "3"})
    void aCutAfterSuchAReasonIsACut(int tokens) throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, call -> {
            call.begin();
            for (String token : TOKENS.subList(0, tokens)) {
                textWithReason(call, token);
            }
            call.cut();
        });
        on("anthropic/" + second, goesOn(TOKENS));
        assertWhole(stream());
    }

    @Test
    void aReasonBesideTheLastTextOnlyIsTheEnd() throws Exception {
        asks(gateway, "openai/" + first);
        on("openai/" + first, call -> {
            call.begin();
            call.tokens(TOKENS.subList(0, TOKENS.size() - 1));
            textWithReason(call, TOKENS.get(TOKENS.size() - 1));
            call.cut();
        });
        assertWhole(stream());
    }

    @Test
    void anEmptyReasonToStopIsNone() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, call -> {
            call.begin();
            for (String token : TOKENS.subList(0, 3)) {
                call.event(Call.chunk("{\"content\":\"" + token + "\"}", "\"\""));
            }
            call.cut();
        });
        on("anthropic/" + second, goesOn(TOKENS));
        assertWhole(stream());
    }

    @ParameterizedTest
    @CsvSource({"openai", "anthropic", "native"})
    void aToolCallThatIsCutIsNeverGoneOnWith(String dialect) throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, call -> {
            call.begin();
            call.text("w0");
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                    + "\"arguments\":\"\"}}]}", "null"));
            call.event(Call.chunk("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\":\\\"Be\"}}]}", "null"));
            call.cut();
        });
        assertBroken(stream(gateway, dialect), 1, "connection to the provider 'openai' broke");
        assertEquals(0, spare.calls(second).size());
    }

    @ParameterizedTest
    @CsvSource({"openai", "anthropic", "native"})
    void norIsARefusal(String dialect) throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second);
        on("openai/" + first, call -> {
            call.begin();
            call.event(Call.chunk("{\"refusal\":\"I cannot\"}", "null"));
            call.cut();
        });
        Answer answer = stream(gateway, dialect);
        assertEquals(1, answer.errors(), answer.body());
        assertEquals(0, spare.calls(second).size());
    }

    @ParameterizedTest
    @CsvSource({"server_tool_use", "mcp_tool_use"})
    void norIsOneThatTheProviderMakesItself(String block) throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        on("anthropic/" + first, call -> {
            call.begin();
            call.tokens(List.of("w0"));
            call.named("content_block_stop", "\"index\":0");
            call.named("content_block_start", "\"index\":1,\"content_block\":{\"type\":\"" + block + "\",\"id\":\"s\",\"name\":\"n\",\"input\":{}}");
            call.cut();
        });
        on("ollama/" + second, goesOn(TOKENS));
        assertBroken(stream(gateway, "anthropic"), 1, "connection to the provider 'anthropic' broke");
        assertEquals(0, spare.calls(second).size());
    }

    @ParameterizedTest
    @CsvSource({"true", "false"})
    void thoughtsOfOneModelAreNotMixedWithThoseOfAnother(boolean told) throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        on("anthropic/" + first, call -> {
            call.sse();
            call.named("message_start", "\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
                    + "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}");
            call.named("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
            if (told) {
                call.named("content_block_delta", "\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Hm\"}");
            }
            call.cut();
        });
        on("ollama/" + second, call -> {
            call.sse();
            if (told) {
                call.event(Call.chunk("{\"reasoning\":\"So\"}", "null"));
            }
            call.text(FaultsTest.TEXT);
            call.finish("stop");
            call.done();
        });
        Answer answer = stream(gateway, "anthropic");
        assertWhole(answer);
        assertWellFormed(answer);
        assertEquals(told ? List.of("thinking", "thinking", "text") : List.of("thinking", "text"), answer.events().stream()
                .filter(e -> e.name().equals("content_block_start")).map(e -> e.json().at("/content_block/type").asText()).toList(), answer.body());
    }

    @Test
    void ofSeveralChoicesAllMustHaveEnded() throws Exception {
        provider.on(first, call -> {
            call.begin();
            call.text("w0");
            call.event(Call.chunk("{\"content\":\"x\"}", "null").replace("\"index\":0", "\"index\":1"));
            call.finish("stop");
            call.end();
        });
        Answer answer = new Answer(gateway.post("/v1/chat/completions", "{\"model\":\"openai/" + first
                + "\",\"n\":2,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"));
        assertEquals(1, answer.errors(), answer.body());
        assertEquals(0, answer.ends(), answer.body());
    }

    @Test
    void whereSeveralChoicesAreAskedForNobodyGoesOn() throws Exception {
        asks(gateway, "openai/" + first, "ollama/" + second);
        on("openai/" + first, breaks(List.of("The"), Call::cut));
        on("ollama/" + second, call -> {
            call.begin();
            // it would be taken for the text that the caller has of the other choice
            call.event(Call.chunk("{\"content\":\"The\"}", "null").replace("\"index\":0", "\"index\":1"));
            call.text("The");
            call.finish("stop");
            call.event(Call.chunk("{}", "\"stop\"").replace("\"index\":0", "\"index\":1"));
            call.done();
        });
        Answer answer = new Answer(gateway.post("/v1/chat/completions", TestGateway.chat(agent, true).replace("{\"model\"", "{\"n\":2,\"model\"")));
        assertEquals("The", answer.text(), answer.body());
        assertEquals(1, answer.errors(), answer.body());
        assertEquals(0, answer.ends(), answer.body());
    }

    @Test
    void aCallerWhoLeavesWhileAnotherGoesOnEndsThatToo() throws Exception {
        asks(gateway, "openai/" + first, "anthropic/" + second, "ollama/" + third);
        on("openai/" + first, cutAfter(10));
        on("anthropic/" + second, breaks(List.of(" w10"), Call::hang));
        try (Sse caller = new Sse(gateway.port(), "/v1/chat/completions", TestGateway.chat(agent, true))) {
            caller.lineWith("w10");
        }
        assertTrue(spare.call(second).leftWithin(10_000));
        String row = "SELECT count(*) FROM usage_records WHERE agent_id = '" + agent + "'";
        until("the request is written down", () -> gateway.count(row) == 1);
        assertEquals(1, gateway.count(row + " AND model = '" + second + "' AND outcome = 'CLIENT_CLOSED'"), "under who was asked last");
        assertEquals(0, spare.calls(third).size(), "nobody goes on for nobody");
    }

    @Test
    void whereItIsNotWantedNobodyGoesOn() throws Exception {
        try (TestGateway own = gateway("llmchat.complete.midstream", "error")) {
            asks(own, "anthropic/" + first, "ollama/" + second);
            on("anthropic/" + first, cutAfter(25));
            assertBroken(stream(own, "openai"), 25, "connection to the provider 'anthropic' broke");
            assertEquals(0, spare.calls(second).size());
        }
    }

    @Test
    void aStreamThatTakesTooLongInAllEndsThere() throws Exception {
        try (TestGateway own = gateway("camel.component.llm.stream-timeout", "1500")) {
            asks(own, "anthropic/" + first, "ollama/" + second);
            on("anthropic/" + first, call -> {
                call.begin();
                for (String token : TOKENS) {
                    call.tokens(List.of(token));
                    TimeUnit.MILLISECONDS.sleep(50);
                }
                call.close("stop");
            });
            assertBroken(stream(own, "openai"), 0, "took too long");
            assertEquals(0, spare.calls(second).size(), "there is no time for another one");
            assertEquals(1.0, own.metric("llmchat_provider_timeouts_total{kind=\"total\",provider=\"anthropic\"}"));
        }
    }

    @Test
    void ofAStreamThatTakesTooLongNobodyIsAskedWhoWouldBeNext() throws Exception {
        try (TestGateway own = gateway("camel.component.llm.stream-timeout", "1000", "camel.component.llm.first-token-timeout", "5000")) {
            asks(own, "openai/" + first, "anthropic/" + second, "ollama/" + third);
            own.provider().on(first, cutAfter(10));
            on("anthropic/" + second, Call::hang);
            on("ollama/" + third, goesOn(TOKENS));
            assertBroken(stream(own, "openai"), 10, "connection to the provider 'openai' broke");
            assertEquals(1, spare.calls(second).size());
            assertEquals(0, spare.calls(third).size(), "there is no time for another one");
        }
    }

    @Test
    void whoWentOnIsWrittenDownAndTheirUsage() throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        // it says 9 tokens of prompt before it breaks off; the one that goes on counts nothing
        on("anthropic/" + first, cutAfter(25));
        on("ollama/" + second, goesOn(TOKENS));
        Answer answer = stream();
        assertWhole(answer);
        wroteDown(answer, "provider = 'ollama' AND model = '" + second + "' AND outcome = 'completed'"
                + " AND attempts = 'anthropic=200,anthropic=cut,ollama=200' AND usage_estimated"
                + " AND completion_tokens >= " + FaultsTest.TEXT.length() / 5);
    }

    @Test
    void whatWasUsedIsNotWrittenDownUnderOneWhoUsedNothing() throws Exception {
        asks(gateway, "openai/gpt-4o", "ollama/" + second);
        on("openai/gpt-4o", cutAfter(25));
        on("ollama/" + second, call -> call.error(503, "down"));
        wroteDown(stream(), "provider = 'openai' AND model = 'gpt-4o' AND cost_usd > 0 AND attempts LIKE 'openai=200,openai=cut,ollama=503%'");
    }

    private void wroteDown(Answer answer, String condition) throws Exception {
        String row = "SELECT count(*) FROM usage_records WHERE request_id = '" + answer.header("x-request-id") + "'";
        until("the request is written down", () -> gateway.count(row) == 1);
        assertEquals(1, gateway.count(row + " AND " + condition), condition);
    }

    @Test
    void aStreamThatBreaksOffHasUsedWhatWasMadeOfIt() throws Exception {
        asks(gateway, "anthropic/" + first);
        // 9 tokens of prompt and one of an answer are counted at the beginning; the rest would be at the end
        on("anthropic/" + first, breaks(List.of("x".repeat(400)), Call::reset));
        wroteDown(stream(), "prompt_tokens = 9 AND completion_tokens = 100 AND total_tokens = 109 AND usage_estimated");
    }

    @Test
    void whatWasAskedIsUsedThoughNothingCameInTime() throws Exception {
        asks(gateway, "openai/" + first);
        on("openai/" + first, Call::hang);
        for (boolean streamed : new boolean[] {true, false}) {
            String body = TestGateway.chat(agent, streamed);
            HttpResponse<String> late = gateway.post("/v1/chat/completions", body);
            assertEquals(504, late.statusCode());
            int sent = provider.calls(first).getLast().text().length();
            wroteDown(new Answer(late), "prompt_tokens = " + Math.ceilDiv(sent, 4) + " AND completion_tokens = 0 AND usage_estimated");
        }
    }

    @Test
    void whatNobodyWasSentIsUsedByNobody() throws Exception {
        asks(gateway, "fastgpt/" + first);
        HttpResponse<String> late = gateway.post("/v1/chat/completions", TestGateway.chat(agent, true));
        assertEquals(504, late.statusCode(), "there was no connection by then");
        wroteDown(new Answer(late), "attempts LIKE 'fastgpt=timeout%' AND prompt_tokens IS NULL AND NOT usage_estimated");
    }

    /** One end, and 9 and 110 tokens for what was asked. */
    private Answer tellsWhatTheFirstAndTheLastHaveUsed() throws Exception {
        Answer answer = new Answer(gateway.post("/v1/chat/completions", TestGateway.chat(agent, true)
                .replace("{\"model\"", "{\"stream_options\":{\"include_usage\":true},\"model\"")));
        assertEquals(1, answer.ends(), answer.body());
        assertTrue(answer.body().contains("\"prompt_tokens\":119,"), answer.body());
        return answer;
    }

    /** Says this in a stream, and that it counts 110 tokens and 2 for it. */
    private static Script countsFor(String text) {
        return call -> {
            call.sse();
            call.text(text);
            call.finish("stop");
            call.usage(110, 2);
            call.done();
        };
    }

    @Test
    void whatWasAskedOfOneWhoWasTooLateIsUsedBesideWhatAnotherAnswered() throws Exception {
        asks(gateway, "openai/" + first, "ollama/" + second);
        on("openai/" + first, Call::hang);
        on("ollama/" + second, countsFor("Hello"));
        String body = TestGateway.chat(agent, true).replace("{\"model\"", "{\"stream_options\":{\"include_usage\":true},\"model\"");
        Answer answer = new Answer(gateway.post("/v1/chat/completions", body));
        assertEquals(1, answer.ends(), answer.body());
        assertTrue(answer.body().contains("\"prompt_tokens\":110,"), "the caller is told of its answer: " + answer.body());
        int sent = provider.call(first).text().length();
        wroteDown(answer, "prompt_tokens = " + (110 + Math.ceilDiv(sent, 4)) + " AND completion_tokens = 2 AND usage_estimated");
    }

    @Test
    void whatOneWhoBeganAnotherAnswerWasAskedIsUsedAndTheCallerIsNotToldOfIt() throws Exception {
        asks(gateway, "anthropic/" + first, "openai/" + second, "ollama/" + third);
        on("anthropic/" + first, breaks(List.of("x".repeat(400)), Call::reset));
        on("openai/" + second, says(OTHER));
        on("ollama/" + third, countsFor("the end"));
        Answer answer = tellsWhatTheFirstAndTheLastHaveUsed();
        int other = Math.ceilDiv(OTHER.get(0).length(), 4);
        wroteDown(answer, "prompt_tokens = " + (119 + Math.ceilDiv(provider.call(second).text().length(), 4))
                + " AND completion_tokens = " + (102 + other));
    }

    @ParameterizedTest
    @CsvSource({"the same at first", "a thought"})
    void norOfWhatOneHadBegunOfWhomTheCallerGotNothing(String held) throws Exception {
        asks(gateway, "anthropic/" + first, "openai/" + second, "ollama/" + third);
        on("anthropic/" + first, breaks(List.of("x".repeat(400)), Call::reset));
        on("openai/" + second, call -> {
            call.sse();
            if (held.equals("a thought")) {
                call.event(Call.chunk("{\"reasoning_content\":\"Hm\"}", "null"));
            } else {
                call.text("x");
            }
            call.text("another one");
            call.finish("stop");
            call.done();
        });
        on("ollama/" + third, countsFor("the end"));
        Answer answer = tellsWhatTheFirstAndTheLastHaveUsed();
        wroteDown(answer, "prompt_tokens = " + (119 + Math.ceilDiv(provider.call(second).text().length(), 4)));
    }

    @Test
    void whatOneCountedInEachChunkBeforeItBrokeOffIsNotToldAsAll() throws Exception {
        asks(gateway, "openai/" + first, "ollama/" + second);
        on("openai/" + first, call -> {
            call.sse();
            call.bytes(("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"One \"},\"finish_reason\":null}],"
                    + "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n").getBytes(StandardCharsets.UTF_8));
            call.reset();
        });
        on("ollama/" + second, countsFor("One and the end"));
        tellsWhatTheFirstAndTheLastHaveUsed();
    }

    @Test
    void aProviderThatFailsHasUsedNothing() throws Exception {
        asks(gateway, "openai/" + first);
        on("openai/" + first, Call::reset);
        wroteDown(stream(), "prompt_tokens IS NULL AND outcome = 'UPSTREAM_ERROR'");
    }

    @Test
    void thoughtsAreUsedTooWhereNothingElseWasSaid() throws Exception {
        asks(gateway, "openai/" + first);
        on("openai/" + first, call -> {
            call.sse();
            call.bytes(("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"" + "x".repeat(400)
                    + "\"},\"finish_reason\":null}]}\n\n").getBytes(StandardCharsets.UTF_8));
            call.reset();
        });
        wroteDown(stream(), "completion_tokens = 100 AND usage_estimated AND prompt_tokens > 0");
    }

    @Test
    void zerosThatStandUntilThereIsACountAreNoCount() throws Exception {
        asks(gateway, "openai/" + first);
        String chunk = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + "x".repeat(400)
                + "\"},\"finish_reason\":%s}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n";
        for (boolean whole : new boolean[] {true, false}) {
            on("openai/" + first, call -> {
                call.sse();
                call.bytes(chunk.formatted(whole ? "\"stop\"" : "null").getBytes(StandardCharsets.UTF_8));
                if (whole) {
                    call.done();
                } else {
                    call.reset();
                }
            });
            wroteDown(stream(), "prompt_tokens > 0 AND completion_tokens = 100 AND usage_estimated");
        }
    }

    /** gpt-4o costs 2.5 and 10 dollars for a million tokens, Ollama's models nothing. */
    @ParameterizedTest
    @CsvSource({"openai/gpt-4o,ollama/other,2.5 * (prompt_tokens - 110) + 10 * 100", "ollama/other,openai/gpt-4o,2.5 * 110 + 10 * 2"})
    void whoeverGoesOnEachOfThemCostsItsOwnPrice(String from, String to, String millionths) throws Exception {
        TestGateway.farFromMidnight();
        asks(gateway, from, to);
        assertEquals(200, gateway.send("PUT", "/api/agents/" + agent, "{\"rateLimit\":{\"budgetPerDay\":5}}").statusCode());
        on(from, breaks(List.of("x".repeat(400)), Call::reset));
        on(to, call -> {
            call.sse();
            call.text((call.prefill().isEmpty() ? "x".repeat(400) : "") + "the end");
            call.finish("stop");
            call.usage(110, 2);
            call.done();
        });
        Answer answer = stream();
        wroteDown(answer, "abs(cost_usd * 1000000 - (" + millionths + ")) < 0.001");
        long billionths = gateway.count("SELECT round(cost_usd * 1000000000) FROM usage_records WHERE agent_id = '" + agent + "'");
        until("so much of the budget is spent", () -> Long.toString(billionths).equals(gateway.bean(RedissonClient.class)
                .getMap("llmchat:limit:AGENT:" + agent + ":budget-per-day", StringCodec.INSTANCE).get("n")));
    }

    @Test
    void whatWasUsedBeforeSomebodyElseWentOnIsNotForgotten() throws Exception {
        asks(gateway, "anthropic/" + first, "ollama/" + second);
        on("anthropic/" + first, breaks(List.of("x".repeat(400)), Call::reset));
        on("ollama/" + second, call -> {
            call.sse();
            call.text("the end");
            call.finish("stop");
            call.bytes("data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":110,\"completion_tokens\":2,\"total_tokens\":112}}\n\n"
                    .getBytes(StandardCharsets.UTF_8));
            call.done();
        });
        wroteDown(stream(), "provider = 'ollama' AND prompt_tokens = 119 AND completion_tokens = 102 AND total_tokens = 221");
    }
}
