package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.chat.Agent;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Message;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.dialect.ResponsesDialect;
import io.llmchat.json.Json;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** OpenAI's wire: what is asked, and what is made of what comes back. */
class OpenAiWireTest {

    private static final String MESSAGES = "[ {\"role\":\"user\", \"content\":\"Hi\"} ]";

    private final OpenAiWire wire = new OpenAiWire(true, OpenAiWire.MAX_TOKENS, OpenAiWire.NO_THOUGHTS, true);

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Agent agent(String systemPrompt, Double temperature, Integer maxTokens) {
        return new Agent("a", "openai", "gpt-x", systemPrompt, temperature, maxTokens, List.of(), true, null);
    }

    /** What the provider is asked for a caller's request with these members beside the messages. */
    private String request(String members, Agent agent) {
        byte[] body = utf8("{" + members + (members.isEmpty() ? "" : ",") + "\"messages\":" + MESSAGES + "}");
        return request(body, agent, "gpt-x");
    }

    private String request(byte[] body, Agent agent, String model) {
        return new String(wire.call(new Wire.Asked(OpenAiDialect.CHAT.read(body, name -> null), agent, model, "a1", null, null)).body(),
                StandardCharsets.UTF_8);
    }

    // --- the request

    @Test
    void membersAreKeptByteForByteAndInOrder() {
        assertEquals("{\"model\":\"gpt-x\",\"top_p\":0.90,\"x\":{ \"n\" : [1e5, 12345678901234567890.10,\"\\u00e9é\"] },\"seed\":-1,"
                        + "\"messages\":" + MESSAGES + "}",
                request("\"top_p\" : 0.90 , \"x\":{ \"n\" : [1e5, 12345678901234567890.10,\"\\u00e9é\"] }\n,\"seed\":\t-1", null));
    }

    @Test
    void theModelIsTheProvidersNameForIt() {
        assertEquals("{\"model\":\"gpt-x\",\"messages\":" + MESSAGES + "}", request("\"model\":\"openai/other\"", null));
    }

    @Test
    void namesAreEscapedWhereJsonNeedsIt() {
        assertEquals("{\"model\":\"gpt-x\",\"a\\\"b\\\\\":1,\"ü\":2,\"\\n\":3,\"messages\":" + MESSAGES + "}",
                request("\"a\\\"b\\\\\":1,\"\\u00fc\":2,\"\\n\":3", null));
        byte[] body = utf8("{\"messages\":" + MESSAGES + "}");
        assertTrue(request(body, null, "a\"b\\é").startsWith("{\"model\":\"a\\\"b\\\\é\","));
    }

    @Test
    void aStreamAsksForUsageBesideWhatTheCallerSays() {
        assertEquals("{\"model\":\"gpt-x\",\"stream\":true,\"messages\":" + MESSAGES + ",\"stream_options\":{\"include_usage\":true}}",
                request("\"stream\":true", null));
        assertTrue(request("\"stream_options\":{\"other\":1.50,\"include_usage\":false},\"stream\":true", null)
                .endsWith(",\"stream_options\":{\"other\":1.50,\"include_usage\":true}}"));
        assertTrue(request("\"stream\":true,\"stream_options\":null", null)
                .endsWith(",\"stream_options\":{\"include_usage\":true}}"));
    }

    @Test
    void whoRefusesToBeAskedForUsageIsNotAskedThoughTheCallerAsks() {
        byte[] body = utf8("{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":" + MESSAGES + "}");
        Wire.Asked asked = new Wire.Asked(OpenAiDialect.CHAT.read(body, name -> null), null, "m", "a1", null, null);
        assertEquals("{\"model\":\"m\",\"stream\":true,\"messages\":" + MESSAGES + "}",
                new String(Wires.of("openai", Map.of("askUsage", "false")).call(asked).body(), StandardCharsets.UTF_8));
    }

    @Test
    void withoutAStreamTheCallersStreamOptionsStayAsTheyAre() {
        assertTrue(request("\"stream_options\":{ \"other\" : 1 }", null).endsWith(",\"stream_options\":{ \"other\" : 1 }}"));
    }

    @Test
    void theAgentsPromptComesFirst() {
        assertEquals("{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"system\",\"content\":\"Be \\\"brief\\\".\\n\"},"
                + MESSAGES.substring(1) + "}", request("", agent("Be \"brief\".\n", null, null)));
    }

    @Test
    void theAgentsDefaultsFillInOnlyWhatTheCallerLeftOut() {
        Agent agent = agent(null, 0.5, 77);
        assertTrue(request("", agent).endsWith(",\"temperature\":0.5,\"max_tokens\":77}"));
        assertTrue(request("\"temperature\":0", agent).endsWith(MESSAGES + ",\"max_tokens\":77}"));
        assertTrue(request("\"max_tokens\":1", agent).endsWith(MESSAGES + ",\"temperature\":0.5}"));
        assertTrue(request("\"max_completion_tokens\":1", agent).endsWith(MESSAGES + ",\"temperature\":0.5}"));
        for (String nothing : List.of("\"temperature\":null,\"max_tokens\": null", "\"temperature\":null,\"max_completion_tokens\":null")) {
            assertEquals(request("", agent), request(nothing, agent));
        }
        assertTrue(request("\"temperature\":null,\"max_tokens\":null", null).startsWith("{\"model\":\"gpt-x\",\"temperature\":null,\"max_tokens\":null,"));
    }

    @Test
    void theSessionThatTheGatewayTakesIsNotPassedOn() {
        assertEquals("{\"model\":\"gpt-x\",\"messages\":" + MESSAGES + "}", request("\"metadata\":{ \"session_id\" : \"s\" }", null));
        assertEquals("{\"model\":\"gpt-x\",\"metadata\":{\"a\":\"b\"},\"store\":true,\"messages\":" + MESSAGES + "}",
                request("\"metadata\":{\"session_id\":\"s\",\"a\":\"b\"},\"store\":true", null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{ \"a\" : \"b\" }", "{}", "null", "\"s\"", "{\"session_id\":null}"})
    void metadataWithoutASessionStaysAsItIs(String metadata) {
        assertEquals("{\"model\":\"gpt-x\",\"metadata\":" + metadata + ",\"messages\":" + MESSAGES + "}",
                request("\"metadata\":" + metadata, null));
    }

    private String limited(String tokenLimit, String members, Agent agent) {
        byte[] body = utf8("{" + members + "\"messages\":" + MESSAGES + "}");
        Wire.Asked asked = new Wire.Asked(OpenAiDialect.CHAT.read(body, name -> null), agent, "m", "a1", null, null);
        return new String(Wires.of("openai", Map.of("tokenLimit", tokenLimit)).call(asked).body(), StandardCharsets.UTF_8)
                .replace(",\"messages\":" + MESSAGES, "");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            max_completion_tokens | "max_tokens":5,                               | "max_completion_tokens":5
            max_completion_tokens | "max_completion_tokens":5,                    | "max_completion_tokens":5
            max_completion_tokens | "max_tokens":9,"max_completion_tokens":5,     | "max_completion_tokens":5
            max_completion_tokens | "max_tokens":5,"max_completion_tokens":null,  | "max_completion_tokens":5
            max_tokens            | "max_completion_tokens":5,                    | "max_tokens":5
            max_tokens            | "max_tokens":5,"max_completion_tokens":9,     | "max_tokens":5
            max_tokens            | "max_completion_tokens":5,"max_tokens":null,  | "max_tokens":5""")
    void theLimitGoesByTheNameThatTheProviderKnows(String tokenLimit, String said, String sent) {
        assertEquals("{\"model\":\"m\"," + sent + "}", limited(tokenLimit, said, null));
        assertEquals("{\"model\":\"m\"," + sent + "}", limited(tokenLimit, said, agent(null, null, 77)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"max_tokens", "max_completion_tokens"})
    void theAgentsLimitGoesByThatNameToo(String tokenLimit) {
        assertEquals("{\"model\":\"m\",\"" + tokenLimit + "\":77}", limited(tokenLimit, "", agent(null, null, 77)));
    }

    @Test
    void aLimitHasOneOfTwoNames() {
        assertThrows(IllegalArgumentException.class, () -> Wires.of("openai", Map.of("tokenLimit", "num_predict")));
    }

    @Test
    void whatOpenAiHasForItselfOthersAreNotTold() {
        byte[] body = utf8("{\"input\":\"Hi\",\"prompt_cache_key\":\"k\",\"user\":\"u\",\"safety_identifier\":\"s\"}");
        Wire.Asked asked = new Wire.Asked(ResponsesDialect.INSTANCE.read(body, name -> null), null, "m", "a1", null, null);
        Wire.Call others = wire.call(asked);
        assertEquals("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"user\":\"u\"}", new String(others.body(), StandardCharsets.UTF_8));
        assertEquals(List.of("prompt_cache_key", "safety_identifier"), others.warnings());
        assertEquals(List.of(), new OpenAiWire(true, OpenAiWire.MAX_COMPLETION_TOKENS, OpenAiWire.NO_THOUGHTS, true).call(asked).warnings());
    }

    @ParameterizedTest
    @CsvSource(nullValues = "-", textBlock = """
            gpt-5.6-sol,  -,    max_completion_tokens, none, false
            gpt-5.6,      high, max_completion_tokens, none, true
            gpt-6-luna,   none, max_completion_tokens, none, false
            gpt-5.4-mini, high, max_completion_tokens, none, true
            gpt-5.5,      -,    max_completion_tokens, -,    false
            gpt-5.2,      high, max_completion_tokens, high, false
            gpt-4o,       -,    max_completion_tokens, -,    false
            gpt-5.6,      high, max_tokens,            high, false""")
    void modelsThatRefuseToolsBesideThoughtsAreToldNotToThink(String model, String said, String tokenLimit, String told, boolean warned) throws Exception {
        for (boolean tools : new boolean[] {true, false}) {
            byte[] body = utf8("{\"input\":\"Hi\"" + (said == null ? "" : ",\"reasoning\":{\"effort\":\"" + said + "\"}")
                    + (tools ? ",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}]" : "") + "}");
            Wire.Call call = new OpenAiWire(true, tokenLimit, OpenAiWire.NO_THOUGHTS, true)
                    .call(new Wire.Asked(ResponsesDialect.INSTANCE.read(body, name -> null), null, model, "a1", null, null));
            assertEquals(tools ? told : said, Json.read(call.body()).path("reasoning_effort").textValue());
            assertEquals(tools && warned ? List.of("reasoning_effort") : List.of(), call.warnings());
        }
    }

    @Test
    void thoughtsGoByAMemberThatSomebodyReads() {
        assertThrows(IllegalArgumentException.class, () -> Wires.of("openai", Map.of("thoughts", "thinking")));
    }

    // --- the events of a stream

    private ChatEvent event(String json) {
        // a place in the middle of other bytes, as in a stream
        byte[] bytes = utf8("data: " + json + "\n\ndata: {");
        List<ChatEvent> events = new ArrayList<>();
        assertTrue(wire.reader(true).event(null, bytes, 6, 6 + utf8(json).length, events::add));
        assertEquals(1, events.size());
        ChatEvent event = events.get(0);
        assertEquals(json, new String(event.bytes(), event.from(), event.to() - event.from(), StandardCharsets.UTF_8));
        return event;
    }

    private ChatEvent delta(String delta) {
        return event("{\"choices\":[{\"index\":0,\"delta\":" + delta + ",\"finish_reason\":null}],\"usage\":null,\"error\":null}");
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"role\":\"assistant\"}", "{\"role\":\"assistant\",\"content\":\"\"}", "{}",
            "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"\",\"refusal\":null}",
            "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]}"})
    void anEmptyDeltaIsNoToken(String delta) {
        assertFalse(delta(delta).token());
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"content\":\" \"}", "{\"reasoning_content\":\"Hm\"}", "{\"reasoning\":\"Hm\"}", "{\"refusal\":\"No\"}",
            "{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}", "{\"function_call\":{\"arguments\":\"{\"}}",
            "{\"content\":\"\",\"audio\":{\"data\":\"AA\"}}"})
    void whateverIsOfTheAnswerIsAToken(String delta) {
        assertTrue(delta(delta).token());
    }

    private List<AnswerPart> parts(String delta) {
        byte[] bytes = utf8("{\"choices\":[{\"index\":0,\"delta\":" + delta + "}]}");
        List<AnswerPart> parts = new ArrayList<>();
        wire.reader(false).event(null, bytes, 0, bytes.length, event -> {
            assertNull(event.bytes());
            parts.addAll(event.parts());
        });
        return parts;
    }

    @Test
    void contentInPiecesIsTextAndNoToolCall() {
        ChatEvent event = delta("{\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm\"},{\"type\":\"text\",\"text\":\"Yes\"}]}");
        assertTrue(event.token() && !event.toolCall());
        assertEquals("Yes", event.content());
        assertEquals(5, event.textLength());
        assertFalse(delta("{\"content\":[{\"type\":\"text\",\"text\":\"\"}]}").token());
    }

    @Test
    void anotherProviderCanGoOnBehindThoughtsAndSourcesButNotBehindAPictureOrARefusal() {
        for (String beside : List.of("reasoning_details", "thinking_blocks", "annotations")) {
            assertFalse(delta("{\"content\":\"\",\"" + beside + "\":[{\"type\":\"x\"}]}").toolCall(), beside);
        }
        assertTrue(delta("{\"content\":\"\",\"images\":[{\"type\":\"image_url\"}]}").toolCall());
        assertTrue(delta("{\"refusal\":\"No\"}").toolCall());
    }

    @Test
    void thoughtsUnderBothTheirNamesAreCountedOnce() {
        assertEquals(2, delta("{\"reasoning\":\"Hm\",\"reasoning_content\":\"Hm\"}").textLength());
        assertEquals(5, delta("{\"reasoning\":\"Hm\",\"reasoning_content\":\"Hm.\"}").textLength());
    }

    @Test
    void textThoughtsAndRefusalsAreToldApart() {
        assertEquals(List.of(new AnswerPart.Text(0, "ü€")), parts("{\"content\":\"\\u00fc€\"}"));
        assertEquals(List.of(new AnswerPart.Reasoning(0, "Hm")), parts("{\"reasoning_content\":\"Hm\"}"));
        assertEquals(List.of(new AnswerPart.Reasoning(0, "Hm")), parts("{\"reasoning\":\"Hm\"}"));
        assertEquals(List.of(new AnswerPart.Refusal(0, "No")), parts("{\"refusal\":\"No\"}"));
    }

    @Test
    void refusalsOfSeveralChoicesThatPassAsTheyAreAreTold() {
        byte[] bytes = utf8("{\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"No\"}},{\"delta\":{\"refusal\":\"Never\"},\"index\":1}]}");
        assertTrue(wire.reader(true).event(null, bytes, 0, bytes.length, event ->
                assertEquals(List.of(new AnswerPart.Refusal(0, "No"), new AnswerPart.Refusal(1, "Never")), event.parts())));
    }

    @Test
    void toolCallsWithoutAnIdGetOneThatNoOtherCallHasInAnyAnswer() {
        String call = "{\"function\":{\"name\":\"f\"}}";
        Set<String> ids = new HashSet<>();
        for (int turn = 0; turn < 2; turn++) {
            for (AnswerPart part : parts("{\"tool_calls\":[" + call + "," + call + "]}")) {
                String id = assertInstanceOf(AnswerPart.ToolStart.class, part).id();
                assertTrue(id.matches("[A-Za-z0-9_-]{1,40}"), id + " is not one that every provider takes");
                ids.add(id);
            }
        }
        assertEquals(4, ids.size(), ids.toString());
    }

    @Test
    void partsAreOnlyMadeWhereTheBytesAreNotEnough() {
        byte[] bytes = utf8("{\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}");
        assertTrue(wire.reader(true).event(null, bytes, 0, bytes.length, event -> {
            assertEquals(List.of(), event.parts());
            assertTrue(event.token());
            assertEquals(2, event.textLength());
        }));
    }

    @Test
    void theFinishReasonIsATokenAndIsTold() {
        ChatEvent event = event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}");
        assertTrue(event.token());
        assertEquals("length", event.finishReason());
        assertEquals("length", event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"model_length\"}]}").finishReason());
    }

    @ParameterizedTest
    @ValueSource(strings = {"null", "\"\"", "\"null\""})
    void whatStandsForNoReasonIsNone(String said) {
        ChatEvent event = event("{\"choices\":[{\"delta\":{},\"finish_reason\":" + said + "}]}");
        assertFalse(event.token());
        assertNull(event.finishReason());
    }

    @Test
    void aChunkOfUsageAloneIsNoTokenAndIsToldApart() {
        String usage = "\"usage\":{\"prompt_tokens\":3,\"details\":{\"total_tokens\":9},\"completion_tokens\":2,\"total_tokens\":5}";
        ChatEvent alone = event("{\"choices\":[]," + usage + "}");
        assertTrue(alone.usageOnly());
        assertFalse(alone.token());
        assertEquals(new Usage(3, 2), alone.usage());
        ChatEvent beside = event("{" + usage + ",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}");
        assertFalse(beside.usageOnly());
        assertEquals(new Usage(3, 2), beside.usage());
        assertFalse(event("{\"choices\":[]}").usageOnly());
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"message\":{\"content\":\"%1$s\"},\"delta\":{\"content\":\"%2$s\"}",
            "\"delta\":{\"content\":\"%2$s\"},\"message\":{\"content\":\"%1$s\"}"})
    void aMessageThatSaysAgainWhatItsStreamHasToldIsPassedOnAndNotCounted(String choice) {
        StringBuilder said = new StringBuilder();
        Wire.AnswerReader reader = wire.reader(true);
        for (String[] chunk : new String[][] {{"Grü", "Grü"}, {"Grüezi", "ezi"}, {"Grüezi", ""}}) {
            byte[] bytes = utf8("{\"choices\":[{" + choice.formatted((Object[]) chunk) + "}]}");
            reader.event(null, bytes, 0, bytes.length, event -> {
                assertEquals(chunk[1].length(), event.textLength());
                said.append(event.content() == null ? "" : event.content());
            });
        }
        assertEquals("Grüezi", said.toString());
    }

    @Test
    void doneIsTheEndAndNoEvent() {
        byte[] bytes = utf8("data: [DONE]\n");
        assertFalse(wire.reader(true).event(null, bytes, 6, 12, event -> {
            throw new AssertionError("an event");
        }));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "{", "{\"choices\":[{]}", "Hello", "[]", "\"x\"", "null", "{} {}", "{}x", "{\"choices\":[null]}", "[DONE]x",
        "{\"error\":{\"n\":1e99999999999}}"})
    void whatIsNotAJsonObjectIsMalformed(String data) {
        assertThrows(Wire.MalformedAnswer.class, () -> event(data));
        assertThrows(Wire.MalformedAnswer.class, () -> wire.reader(true).answer(utf8(data)));
    }

    @Test
    void anErrorInsteadOfAnAnswerIsTheProvidersFailure() {
        for (String error : new String[] {"{\"error\":{\"message\":\"Overloaded\",\"code\":500}}", "{\"choices\":[],\"error\":\"Overloaded\"}"}) {
            ProviderFailure inStream = assertThrows(ProviderFailure.class, () -> event(error));
            assertEquals("UPSTREAM_ERROR", inStream.code());
            assertTrue(inStream.getMessage().endsWith(": Overloaded"), inStream.getMessage());
            assertThrows(ProviderFailure.class, () -> wire.reader(true).answer(utf8(error)));
        }
        assertEquals("The provider reported an error.", assertThrows(ProviderFailure.class, () -> event("{\"error\":{}}")).getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            RequestRejected | 400     | {"error":{"message":"This endpoint's maximum context length is 8192 tokens","code":400}}
            RequestRejected | 400     | {"error":{"message":"prompt is too long","type":"BadRequestError","code":"400"}}
            ProviderRefusal | 429     | {"error":{"message":"Slow down","code":429},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}
            ProviderRefusal | 429     | {"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"message":"Slow down","code":429}}]}
            ProviderRefusal | 402     | {"error":{"message":"Insufficient credits","code":402}}
            ProviderFailure | error   | {"error":{"message":"No server","code":503}}
            ProviderFailure | error   | {"error":{"message":"No server","code":"1234"}}""")
    void anErrorThatSaysItsStatusIsWhatThatSaysUnlessSomethingWasSaid(String kind, String outcome, String error) {
        for (boolean raw : new boolean[] {true, false}) {
            byte[] chunk = utf8(error);
            ChatException inStream = assertThrows(ChatException.class, () -> wire.reader(raw).event(null, chunk, 0, chunk.length, event -> { }));
            assertEquals(kind + " " + outcome, inStream.getClass().getSimpleName() + " " + inStream.getOutcome());
            if (outcome.equals("400")) {
                assertEquals("context_length_exceeded", inStream.openAiCode());
            }
            assertEquals(kind, assertThrows(ChatException.class, () -> wire.reader(raw).answer(chunk)).getClass().getSimpleName());
            byte[] text = utf8("{\"choices\":[{\"delta\":{\"content\":\"Let me see.\"}}]}");
            Wire.AnswerReader said = wire.reader(raw);
            said.event(null, text, 0, text.length, event -> { });
            assertEquals("error", assertThrows(ProviderFailure.class, () -> said.event(null, chunk, 0, chunk.length, event -> { })).getOutcome());
        }
    }

    @ParameterizedTest
    @CsvSource({"model_length,length", "model_context_window_exceeded,length", "sensitive,content_filter",
            "content_filter: PROHIBITED_CONTENT,content_filter", "function_call,tool_calls", "eos,eos"})
    void reasonsToStopThatOthersSayInTheirOwnWordsAreKnown(String said, String reason) {
        byte[] chunk = utf8("{\"choices\":[{\"delta\":{},\"finish_reason\":\"" + said + "\"}]}");
        List<ChatEvent> events = new ArrayList<>();
        wire.reader(false).event(null, chunk, 0, chunk.length, events::add);
        assertEquals(List.of(new AnswerPart.Finish(0, reason)), events.get(0).parts());
        assertEquals(reason, wire.reader(true).answer(utf8("{\"choices\":[{\"finish_reason\":\"" + said + "\"}]}")).finishReason());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            Provider down | "finish_reason":"error","error":{"code":502,"message":"Provider down"}}]
            Provider down | "error":{"code":502,"message":"Provider down"}}]
            Provider down | "finish_reason":"error"}],"error":{"code":502,"message":"Provider down"}
            error         | "finish_reason":"error"}]
            abort         | "finish_reason":"abort"}]
            network_error | "finish_reason":"network_error","error":null}]
            insufficient_system_resource | "finish_reason":"insufficient_system_resource"}]""")
    void aChoiceThatTheProviderCallsBrokenIsItsFailure(String said, String rest) {
        for (boolean raw : new boolean[] {true, false}) {
            byte[] chunk = utf8("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"}," + rest + "}");
            ProviderFailure inStream = assertThrows(ProviderFailure.class,
                    () -> wire.reader(raw).event(null, chunk, 0, chunk.length, event -> { }));
            assertEquals("The provider reported an error: " + said, inStream.getMessage());
            assertThrows(ProviderFailure.class,
                    () -> wire.reader(raw).answer(utf8("{\"choices\":[{\"message\":{\"content\":\"half\"}," + rest + "}")));
        }
    }

    @Test
    void thoughtsWithoutNumberBehindALongTextTakeNoTimeWithoutEnd() {
        List<Part> parts = new ArrayList<>(List.of(new Part.Text("x".repeat(500_000))));
        parts.addAll(Collections.nCopies(26_000, new Part.Reasoning("", null)));
        Prompt prompt = new Prompt(List.of(new Message(Message.Role.ASSISTANT, parts, null)), List.of(), null, Map.of());
        assertTimeout(Duration.ofSeconds(2), () -> OpenAiRequests.write(prompt, "m", OpenAiWire.MAX_TOKENS, "none"));
    }

    @Test
    void aToolCallThatGeminiDropsIsAskedForAgainUnlessSomethingWasSaid() {
        String dropped = "\"finish_reason\":\"function_call_filter: MALFORMED_FUNCTION_CALL\"}],\"usage\":{\"prompt_tokens\":7}}";
        byte[] chunk = utf8("{\"choices\":[{\"delta\":{\"role\":\"assistant\"}," + dropped);
        for (boolean raw : new boolean[] {true, false}) {
            ProviderRefusal inStream = assertThrows(ProviderRefusal.class,
                    () -> wire.reader(raw).event(null, chunk, 0, chunk.length, event -> { }));
            assertEquals("error", inStream.getOutcome());
            assertEquals(7, inStream.usage().promptTokens());
            assertThrows(ProviderRefusal.class, () -> wire.reader(raw).answer(utf8("{\"choices\":[{\"message\":{\"content\":null}," + dropped)));
            byte[] text = utf8("{\"choices\":[{\"delta\":{\"content\":\"Let me see.\"}}]}");
            Wire.AnswerReader said = wire.reader(raw);
            said.event(null, text, 0, text.length, event -> { });
            assertTrue(said.event(null, chunk, 0, chunk.length, event -> assertTrue(event.finishReason().startsWith("function_call_filter"))));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            as xAI counts    | 387 | {"prompt_tokens":12,"completion_tokens":1,"total_tokens":399,"completion_tokens_details":{"reasoning_tokens":386}}
            as OpenAI counts | 387 | {"prompt_tokens":12,"completion_tokens":387,"total_tokens":399,"completion_tokens_details":{"reasoning_tokens":386}}
            without a prompt | 1   | {"completion_tokens":1,"total_tokens":399}
            without a total  | 1   | {"prompt_tokens":12,"completion_tokens":1}""")
    void thoughtsAreOfTheCompletionAlsoWhereTheyAreCountedBesideIt(String who, long completion, String usage) {
        assertEquals(completion, event("{\"choices\":[],\"usage\":" + usage + "}").usage().completionTokens(), who);
    }

    @Test
    void tokensWrittenToTheCacheAreKnown() {
        assertEquals(new Usage(9, 1, 10, 2, 4, 0, false), event("{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,"
                + "\"total_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":2,\"cache_write_tokens\":4}}}").usage());
    }

    @Test
    void tokensFromTheCacheAreKnownAlsoWhereMoonshotHasThem() {
        assertEquals(new Usage(9, 1, 10, 2, 0, 0, false), event("{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,"
                + "\"total_tokens\":10,\"cached_tokens\":2}}").usage());
    }

    // --- a whole answer

    @Test
    void aWholeAnswerIsKeptByteForByte() {
        byte[] body = utf8(" {\"choices\":[{\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],"
                + "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n");
        WholeAnswer answer = wire.reader(true).answer(body);
        assertEquals(body, answer.json());
        assertEquals("stop", answer.finishReason());
        assertEquals(new Usage(3, 2), answer.usage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}", "{\"choices\":[]}", "{\"choices\":null}", "{\"choices\":{}}", "{\"object\":\"chat.completion\",\"usage\":{}}"})
    void anAnswerWithoutChoicesIsMalformed(String body) {
        assertThrows(Wire.MalformedAnswer.class, () -> wire.reader(true).answer(utf8(body)));
    }

    // --- a response that is not 200

    private ChatException failure(int status, String retryAfter) {
        return wire.failure("openai", status, retryAfter,
                utf8("{\"error\":{\"message\":\"Because.\",\"type\":\"its_type\",\"code\":\"its_code\"}}"));
    }

    @ParameterizedTest
    @CsvSource({
        "400, RequestRejected, UPSTREAM_REJECTED",     "401, ProviderRefusal, UPSTREAM_UNAUTHORIZED",
        "403, ProviderRefusal, UPSTREAM_UNAUTHORIZED", "404, RequestRejected, UPSTREAM_REJECTED",
        "413, RequestRejected, UPSTREAM_REJECTED",     "422, RequestRejected, UPSTREAM_REJECTED",
        "429, ProviderRefusal, UPSTREAM_RATE_LIMITED", "408, ProviderRefusal, UPSTREAM_ERROR",
        "409, ProviderRefusal, UPSTREAM_ERROR",        "500, ProviderFailure, UPSTREAM_ERROR",
        "502, ProviderFailure, UPSTREAM_ERROR",        "503, ProviderFailure, UPSTREAM_ERROR",
        "529, ProviderFailure, UPSTREAM_ERROR",        "402, ProviderRefusal, UPSTREAM_ERROR",
        "302, ProviderRefusal, UPSTREAM_ERROR"})
    void theStatusSaysWhoseFaultItIs(int status, String kind, String code) {
        ChatException failure = failure(status, null);
        assertEquals(kind, failure.getClass().getSimpleName());
        assertEquals(code, failure.code());
    }

    @Test
    void aRejectedRequestComesBackInTheProvidersWords() {
        ChatException failure = failure(422, null);
        assertEquals("Because.", failure.getMessage());
        assertEquals(422, failure.status());
        assertEquals("its_type", failure.type());
        assertEquals("its_code", failure.openAiCode());
    }

    @Test
    void whatTheProviderSaysOfOurKeyStaysHere() {
        assertFalse(failure(401, null).getMessage().contains("Because"));
        assertEquals(0, failure(401, null).status());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low to access the Anthropic API.\"}}",
        "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"You have reached your specified API usage limits. You will regain access soon.\"}}",
        "[{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\",\"status\":\"INVALID_ARGUMENT\"}}]",
        "{\"code\":\"Client specified an invalid argument\",\"error\":\"Incorrect API key provided: na***ys.\"}",
        "{\"error\":{\"code\":\"Arrearage\",\"message\":\"Access denied, please make sure your account is in good standing.\"}}"})
    void whatIsWrongWithOurKeyOrAccountIsNotTheCallersFault(String body) {
        ChatException failure = wire.failure("p", 400, null, utf8(body));
        assertInstanceOf(ProviderRefusal.class, failure);
        assertEquals("UPSTREAM_UNAUTHORIZED", failure.code());
        assertEquals(failure(401, null).getMessage().replace("openai", "p"), failure.getMessage());
        assertEquals("400", failure.getOutcome());
        assertInstanceOf(RequestRejected.class, wire.failure("p", 404, null, utf8(body)));
    }

    @Test
    void aRateLimitSaysWhenToComeBack() {
        assertEquals(7, failure(429, "7").retryAfterSeconds());
        assertEquals(999_999, failure(429, "31536000").retryAfterSeconds());
        assertEquals(-1, failure(429, null).retryAfterSeconds());
        assertEquals(0, failure(429, "Wed, 21 Oct 2020 07:28:00 GMT").retryAfterSeconds());
        String soon = DateTimeFormatter.RFC_1123_DATE_TIME.format(ZonedDateTime.now(ZoneOffset.UTC).plusSeconds(30));
        assertTrue(Math.abs(failure(429, soon).retryAfterSeconds() - 30) <= 1);
        assertEquals(-1, failure(429, "-3").retryAfterSeconds());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "<html>Bad Request</html>", "[]", "{\"error\":null}", "{\"error\":{\"message\":[1]}}", "{\"detail\":null}", "\u00ff", "{"})
    void anErrorBodyOfAnotherKindIsNoObstacle(String body) {
        ChatException failure = wire.failure("openai", 400, null, utf8(body));
        assertInstanceOf(RequestRejected.class, failure);
        assertEquals("The provider 'openai' refused the request.", failure.getMessage());
        assertEquals("UPSTREAM_ERROR", wire.failure("openai", 500, null, utf8(body)).code());
        assertInstanceOf(ProviderRefusal.class, wire.failure("openai", 429, null, utf8(body)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            {"error":{"message":"m","type":"t","code":"c"}}                             | m | t | c
            [{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]          | m | invalid_request_error | 400
            {"error":"m"}                                                               | m | invalid_request_error |
            {"object":"error","message":"m","type":"t","param":null,"code":400}         | m | t | 400
            {"message":"m"}                                                             | m | invalid_request_error |
            {"detail":"m"}                                                              | m | invalid_request_error |
            {"detail":[{"loc":["body","x"],"msg":"m"}]}                                 | [{"loc":["body","x"],"msg":"m"}] | invalid_request_error |
            {"object":"error","message":{"detail":[{"msg":"m"}]},"type":"t","code":null} | [{"msg":"m"}] | t |
            {"object":"error","message":"This model's maximum context length is 5","code":400} | This model's maximum context length is 5 | invalid_request_error | context_length_exceeded
            {"error":{"message":"This model's maximum context length is 5","type":"invalid_request_error","param":null,"code":"invalid_request_error"}} | This model's maximum context length is 5 | invalid_request_error | context_length_exceeded
            {"error":{"message":"m","type":"invalid_request_error","code":"invalid_request_error"}} | m | invalid_request_error | invalid_request_error
            {"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 5"} | This model's maximum prompt length is 5 | invalid_request_error | context_length_exceeded
            {"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}} | the request exceeds the available context size | exceed_context_size_error | context_length_exceeded
            {"error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 4 + 2 > 5"}} | input length and `max_tokens` exceed context limit: 4 + 2 > 5 | invalid_request_error | context_length_exceeded
            {"message":"Prompt contains 9 tokens and 0 draft tokens, too large for model with 5 maximum context length","type":"t","code":"3051"} | Prompt contains 9 tokens and 0 draft tokens, too large for model with 5 maximum context length | t | context_length_exceeded
            {"error":{"message":"Range of input length should be [1, 5]","type":"t","code":"invalid_parameter_error"}} | Range of input length should be [1, 5] | t | context_length_exceeded
            {"error":{"message":"Your request exceeded model token limit: 5","type":"invalid_request_error"}} | Your request exceeded model token limit: 5 | invalid_request_error | context_length_exceeded""")
    void whatAProviderSaysIsFoundWhereverItSaysIt(String body, String message, String type, String code) {
        ChatException failure = wire.failure("p", 400, null, utf8(body));
        assertEquals(message, failure.getMessage());
        assertEquals(type, failure.type());
        assertEquals(code, failure.openAiCode());
        assertTrue(wire.failure("p", 429, null, utf8(body)).getMessage().endsWith("limits our requests: " + message));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            {"error":{"message":"m","type":"insufficient_quota","code":null}}                        | unpaid
            {"error":{"message":"m","type":"t","code":"insufficient_quota"}}                         | unpaid
            {"error":{"message":"m","type":"t","code":"credit_balance_exhausted"}}                   | unpaid
            {"error":{"message":"m","type":"t","code":"project_spend_limit_exceeded"}}               | unpaid
            {"error":{"type":"exceeded_current_quota_error"}}                                        | unpaid
            {"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}}                   | 429
            {"error":{"message":"See https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}} | 429""")
    void moneyThatIsUsedUpIsNoLimitThatPasses(String body, String outcome) {
        ChatException failure = wire.failure("p", 429, "5", utf8(body));
        assertEquals(outcome, failure.getOutcome());
        assertEquals(outcome.equals("429") ? "UPSTREAM_RATE_LIMITED 5" : "UPSTREAM_UNAUTHORIZED -1", failure.code() + " " + failure.retryAfterSeconds());
        assertFalse(outcome.equals("unpaid") && failure.getMessage().endsWith("m"), "the words are for who pays");
    }

    @Test
    void theFieldThatTheProviderBlamesIsTold() {
        ChatException failure = wire.failure("p", 400, null, utf8("{\"error\":{\"message\":\"m\",\"param\":\"top_p\"}}"));
        assertEquals("top_p", failure.details().get(0).field());
    }
}
