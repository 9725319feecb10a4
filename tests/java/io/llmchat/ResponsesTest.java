package io.llmchat;

import static io.llmchat.support.TestGateway.json;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** OpenAI's responses in front of a provider of chat completions: what is asked of it, and how its answers are said. */
class ResponsesTest {

    private static final String PATH = "/v1/responses";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    /** Asks with these members besides the model. */
    private HttpResponse<String> ask(String members) throws Exception {
        return gateway.post(PATH, "{\"model\":\"openai/" + model + "\"," + members + "}");
    }

    private JsonNode answer(String members) throws Exception {
        HttpResponse<String> response = ask(members);
        assertEquals(200, response.statusCode(), response.body());
        return json(response.body());
    }

    /** What the provider is asked for these members. */
    private JsonNode sent(String members) throws Exception {
        answer(members);
        List<Call> calls = provider.calls(model);
        return calls.get(calls.size() - 1).body();
    }

    /** The data of the events; checks their names and numbers. */
    private List<JsonNode> events(String members) throws Exception {
        return events(ask("\"stream\":true," + members));
    }

    private static List<JsonNode> events(HttpResponse<String> response) throws Exception {
        String body = response.body();
        List<JsonNode> events = new ArrayList<>();
        for (String event : body.split("\n\n")) {
            String[] lines = event.split("\n");
            JsonNode data = json(lines[1].substring("data: ".length()));
            assertEquals("event: " + data.path("type").asText(), lines[0]);
            assertEquals(events.size(), data.path("sequence_number").asInt(-1), event);
            events.add(data);
        }
        return events;
    }

    private static List<String> types(List<JsonNode> events) {
        return events.stream().map(e -> e.path("type").asText().replaceFirst("^response\\.", "")).toList();
    }

    private static JsonNode the(List<JsonNode> events, String type) {
        return events.stream().filter(e -> e.path("type").asText().equals("response." + type)).findFirst().orElseThrow();
    }

    private void refused(String members, int status, String param) throws Exception {
        HttpResponse<String> response = ask(members);
        assertEquals(status, response.statusCode(), members + " " + response.body());
        assertEquals(param, json(response.body()).path("error").path("param").asText(), response.body());
    }

    // --- requests

    @Test
    void aTextIsAUsersMessageAndInstructionsAreTheSystems() throws Exception {
        assertEquals("[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}]",
                sent("\"instructions\":\"Be brief.\",\"input\":\"Hi\"").path("messages").toString());
    }

    @Test
    void theItemsOfOneTurnAreOneMessageOfTheProvider() throws Exception {
        JsonNode messages = sent("\"input\":[{\"role\":\"developer\",\"content\":\"D\"},{\"role\":\"user\",\"content\":\"Weather?\"},"
                + "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":"
                + "\"output_text\",\"text\":\"I look.\",\"annotations\":[]}]},"
                + "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"},"
                + "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":\"{}\"},"
                + "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"4\"},"
                + "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":\"5\"}]},"
                + "{\"role\":\"user\",\"content\":\"And?\"}]").path("messages");
        assertEquals("[{\"role\":\"system\",\"content\":\"D\"},{\"role\":\"user\",\"content\":\"Weather?\"},"
                + "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                + "\"{\\\"x\\\":1}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}],"
                + "\"content\":\"I look.\"},"
                + "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"4\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"5\"},"
                + "{\"role\":\"user\",\"content\":\"And?\"}]", messages.toString());
    }

    @Test
    void imagesAndFilesGoToTheProviderInItsForm() throws Exception {
        JsonNode content = sent("\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"What?\"},"
                + "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AAAA\",\"detail\":\"low\"},"
                + "{\"type\":\"input_image\",\"image_url\":\"https://example.org/a.png\"},"
                + "{\"type\":\"input_file\",\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,BBBB\"}]}]")
                .path("messages").path(0).path("content");
        assertEquals("[{\"type\":\"text\",\"text\":\"What?\"},"
                + "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\",\"detail\":\"low\"}},"
                + "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://example.org/a.png\"}},"
                + "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,BBBB\"}}]",
                content.toString());
    }

    @Test
    void optionsGoByTheProvidersNamesAndWhatOnlyResponsesHaveIsLeftOut() throws Exception {
        JsonNode sent = sent("\"input\":\"Hi\",\"max_output_tokens\":7,\"temperature\":0.50,\"top_p\":1,\"user\":\"u\","
                + "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},\"parallel_tool_calls\":false,\"store\":true,\"metadata\":{\"a\":\"b\"},"
                + "\"include\":[\"reasoning.encrypted_content\"],\"truncation\":\"auto\",\"background\":false,\"previous_response_id\":null,"
                + "\"text\":{\"verbosity\":\"low\",\"format\":{\"type\":\"json_schema\",\"name\":\"s\",\"strict\":true,\"schema\":{\"type\":\"object\"}}},"
                + "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"F\",\"strict\":true,\"parameters\":{\"type\":\"object\"}}],"
                + "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}");
        assertEquals(json("{\"model\":\"" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_completion_tokens\":7,"
                + "\"temperature\":0.50,\"top_p\":1,\"user\":\"u\",\"reasoning_effort\":\"low\",\"parallel_tool_calls\":false,\"verbosity\":\"low\","
                + "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\",\"strict\":true,\"schema\":{\"type\":\"object\"}}},"
                + "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"F\",\"parameters\":{\"type\":\"object\",\"properties\":{}},\"strict\":true}}],"
                + "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}"), sent);
    }

    @Test
    void withoutToolsNothingIsSaidOfHowTheyAreCalled() throws Exception {
        assertEquals(json("{\"model\":\"" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"),
                sent("\"input\":\"Hi\",\"tools\":[],\"tool_choice\":\"auto\",\"parallel_tool_calls\":true"));
        refused("\"input\":\"Hi\",\"tools\":[],\"tool_choice\":\"required\"", 400, "tool_choice");
    }

    @Test
    void whatNeedsAStoreIsRefused() throws Exception {
        refused("\"input\":\"Hi\",\"previous_response_id\":\"resp_1\"", 400, "previous_response_id");
        refused("\"input\":\"Hi\",\"conversation\":{\"id\":\"conv_1\"}", 400, "conversation");
        refused("\"input\":\"Hi\",\"background\":true", 400, "background");
        refused("\"input\":\"Hi\",\"prompt\":{\"id\":\"p\"}", 400, "prompt");
        String reference = "\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]";
        refused(reference, 400, "input[0].type");
        assertTrue(ask(reference).body().contains("store: false"), "whose SDK sends it knows what to do");
        assertTrue(provider.calls(model).isEmpty());
    }

    @Test
    void whatOnlyChatCompletionsHaveIsRefusedAsOpenAiDoes() throws Exception {
        for (String member : List.of("\"max_tokens\":5", "\"max_completion_tokens\":5", "\"stop\":\"x\"", "\"n\":2", "\"seed\":1", "\"messages\":[]",
                "\"response_format\":{\"type\":\"json_object\"}", "\"reasoning_effort\":\"low\"", "\"logprobs\":true")) {
            refused("\"input\":\"Hi\"," + member, 400, member.substring(1, member.indexOf('"', 1)));
        }
        assertTrue(provider.calls(model).isEmpty());
        assertEquals(200, ask("\"input\":\"Hi\",\"max_tokens\":null").statusCode());
    }

    @Test
    void whatTheProviderIsNotToldIsSaidInAWarning() throws Exception {
        HttpResponse<String> response = ask("\"input\":\"Hi\",\"truncation\":\"auto\",\"max_tool_calls\":2,\"client_metadata\":{\"a\":\"b\"},\"reasoning\":{\"summary\":\"auto\"},"
                + "\"prompt_cache_key\":\"k\",\"frequency_penalty\":1,\"store\":false,\"include\":[],\"stream_options\":{}");
        assertEquals("299 llmchat \"The provider does not know, and was not told: truncation (responses), max_tool_calls (responses), client_metadata (responses), "
                        + "reasoning.summary (responses)\"",
                response.headers().firstValue("warning").orElseThrow());
        assertEquals(json("{\"model\":\"" + model + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"prompt_cache_key\":\"k\","
                + "\"frequency_penalty\":1}"), provider.call(model).body());
    }

    @Test
    void ofToolsThatMayNotBeCalledTheProviderIsNotTold() throws Exception {
        JsonNode sent = sent("\"input\":\"Hi\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"function\",\"name\":\"g\"}],"
                + "\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"name\":\"g\"}]}");
        assertEquals(1, sent.path("tools").size());
        assertEquals("g required", sent.at("/tools/0/function/name").asText() + " " + sent.path("tool_choice").asText());
    }

    @Test
    void toolsOfOpenAiItselfAreRefused() throws Exception {
        String body = ask("\"input\":\"Hi\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"web_search\"}]").body();
        assertEquals("tools[1]", json(body).path("error").path("param").asText());
        assertEquals("unsupported_parameter", json(body).path("error").path("code").asText());
        refused("\"input\":\"Hi\",\"tool_choice\":{\"type\":\"web_search\"}", 400, "tool_choice");
    }

    @Test
    void toolsOfANamespaceAreFunctionsOfALongerName() throws Exception {
        String longer = "x".repeat(60);
        provider.on(model, call -> call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\","
                + "\"type\":\"function\",\"function\":" + call.body().at("/tools/1/function") + "},{\"id\":\"c2\",\"type\":\"function\",\"function\":"
                + "{\"name\":\"mcp__a__f\",\"arguments\":\"{}\"}},{\"id\":\"c3\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                + "\"finish_reason\":\"tool_calls\"}]}"));
        JsonNode output = answer("\"input\":[{\"role\":\"user\",\"content\":\"Hi\"},"
                + "{\"type\":\"function_call\",\"call_id\":\"c0\",\"namespace\":\"mcp__a\",\"name\":\"f\",\"arguments\":\"{}\"},"
                + "{\"type\":\"function_call_output\",\"call_id\":\"c0\",\"output\":\"4\"}],"
                + "\"tools\":[{\"type\":\"namespace\",\"name\":\"mcp__a\",\"description\":\"A\",\"tools\":[{\"type\":\"function\",\"name\":\"f\","
                + "\"description\":\"F\"},{\"type\":\"function\",\"name\":\"" + longer + "\"}]},{\"type\":\"function\",\"name\":\"f\"}]").path("output");
        JsonNode sent = provider.call(model).body();
        assertEquals("mcp__a__f F", sent.at("/tools/0/function/name").asText() + " " + sent.at("/tools/0/function/description").asText());
        assertEquals(64, sent.at("/tools/1/function/name").asText().length());
        assertEquals("f", sent.at("/tools/2/function/name").asText());
        assertEquals("mcp__a__f", sent.at("/messages/1/tool_calls/0/function/name").asText());
        assertEquals("mcp__a " + longer, output.at("/0/namespace").asText() + " " + output.at("/0/name").asText());
        assertEquals("mcp__a f", output.at("/1/namespace").asText() + " " + output.at("/1/name").asText());
        assertEquals("f", output.at("/2/name").asText());
        assertFalse(output.get(2).has("namespace"));
    }

    @Test
    void customToolsAreFunctionsOfOneText() throws Exception {
        provider.on(model, call -> {
            call.sse();
            tool(call, 0, ",\"id\":\"c1\",\"type\":\"function\"", "\"name\":\"g__exec\",\"arguments\":\"\"");
            tool(call, 0, "", "\"arguments\":\"{\\\"input\\\":\\\"a\\\\n\"");
            tool(call, 0, "", "\"arguments\":\"b\\\"}\"");
            call.finish("tool_calls");
            call.done();
        });
        List<JsonNode> events = events("\"input\":[{\"type\":\"additional_tools\",\"role\":\"developer\",\"tools\":[{\"type\":\"namespace\",\"name\":\"g\","
                + "\"tools\":[{\"type\":\"custom\",\"name\":\"exec\",\"description\":\"Runs.\",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\","
                + "\"definition\":\"start: x\"}}]}]},{\"role\":\"user\",\"content\":\"Hi\"},"
                + "{\"type\":\"custom_tool_call\",\"call_id\":\"c0\",\"namespace\":\"g\",\"name\":\"exec\",\"input\":\"x\\n\"},"
                + "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c0\",\"output\":\"4\"}]");
        JsonNode sent = provider.call(model).body();
        assertEquals("{\"name\":\"g__exec\",\"description\":\"Runs.\\n\\nThe input goes by this grammar (lark):\\nstart: x\",\"parameters\":"
                + "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]}}",
                sent.at("/tools/0/function").toString());
        assertEquals("user assistant tool", String.join(" ", sent.path("messages").findValuesAsText("role")));
        assertEquals("{\"name\":\"g__exec\",\"arguments\":\"{\\\"input\\\":\\\"x\\\\n\\\"}\"}",
                sent.at("/messages/1/tool_calls/0/function").toString());
        assertEquals(List.of("created", "in_progress", "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done",
                "output_item.done", "completed"), types(events));
        assertEquals("a\nb", the(events, "custom_tool_call_input.delta").path("delta").asText());
        assertEquals("a\nb", the(events, "custom_tool_call_input.done").path("input").asText());
        JsonNode item = the(events, "completed").at("/response/output/0");
        assertEquals("custom_tool_call c1 g exec a\nb", item.path("type").asText() + " " + item.path("call_id").asText() + " "
                + item.path("namespace").asText() + " " + item.path("name").asText() + " " + item.path("input").asText());
    }

    @Test
    void aSearchInACacheThatOpenAiAloneHasIsLeftOut() throws Exception {
        String tools = "\"input\":\"Hi\",\"tools\":[{\"type\":\"web_search\",\"external_web_access\":false},{\"type\":\"function\",\"name\":\"f\"}";
        HttpResponse<String> response = ask(tools + "],\"tool_choice\":\"auto\"");
        assertEquals(200, response.statusCode(), response.body());
        assertEquals("299 llmchat \"The provider does not know, and was not told: web_search (responses)\"",
                response.headers().firstValue("warning").orElseThrow());
        assertEquals("[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]", provider.call(model).body().path("tools").toString());
        refused(tools + "],\"tool_choice\":{\"type\":\"web_search\"}", 400, "tool_choice");
        refused(tools + ",{\"type\":\"web_search\",\"external_web_access\":true}]", 400, "tools[2]");
        refused(tools.substring(0, tools.indexOf(",{\"type\":\"function")) + "],\"tool_choice\":\"required\"", 400, "tool_choice");
    }

    @Test
    void faultsOfTheInputAreNamed() throws Exception {
        refused("\"stream\":false", 400, "input");
        refused("\"input\":null", 400, "input");
        refused("\"input\":\"\"", 400, "input");
        refused("\"input\":[]", 400, "input");
        refused("\"input\":7", 400, "input");
        refused("\"input\":[\"Hi\"]", 400, "input[0]");
        refused("\"input\":[{}]", 400, "input[0].type");
        refused("\"input\":[{\"role\":\"king\",\"content\":\"Hi\"}]", 400, "input[0].role");
        refused("\"input\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"user\"}]", 400, "input[1].content");
        refused("\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}]", 400, "input[0].content[0].type");
        refused("\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]", 400, "input[0].content[0].text");
        refused("\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"file_id\":\"f\"}]}]", 400, "input[0].content[0].file_id");
        refused("\"input\":[{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}]", 400, "input[0].call_id");
        refused("\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c\"}]", 400, "input[0].output");
        refused("\"input\":\"Hi\",\"max_output_tokens\":1.5", 400, "max_output_tokens");
        refused("\"input\":\"Hi\",\"instructions\":[]", 400, "instructions");
        refused("\"input\":\"Hi\",\"tools\":{}", 400, "tools");
        refused("\"input\":\"Hi\",\"tools\":[{\"type\":\"function\"}]", 400, "tools[0].name");
        refused("\"input\":\"Hi\",\"tool_choice\":\"maybe\"", 400, "tool_choice");
        refused("\"input\":\"Hi\",\"text\":{\"format\":{\"type\":\"xml\"}}", 400, "text.format.type");
        refused("\"input\":\"Hi\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"s\"}}", 400, "text.format.schema");
        assertTrue(provider.calls(model).isEmpty());
    }

    // --- whole answers

    @Test
    void aTextIsAMessageWithUsage() throws Exception {
        JsonNode r = answer("\"input\":\"Hi\",\"metadata\":{\"a\":\"b\"},\"temperature\":0.5");
        String id = r.path("id").asText().replaceFirst("^resp_", "");
        assertEquals("response completed " + model, r.path("object").asText() + " " + r.path("status").asText() + " " + r.path("model").asText());
        assertEquals("[{\"id\":\"msg_" + id + "_0\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":"
                + "[{\"type\":\"output_text\",\"text\":\"Hello there\",\"annotations\":[],\"logprobs\":[]}]}]", r.path("output").toString());
        assertEquals("{\"input_tokens\":3,\"input_tokens_details\":{\"cached_tokens\":0,\"cache_write_tokens\":0},\"output_tokens\":2,"
                + "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":5}", r.path("usage").toString());
        assertEquals("b", r.path("metadata").path("a").asText());
        assertEquals(0.5, r.path("temperature").asDouble());
        for (String name : List.of("error", "incomplete_details", "instructions", "top_p")) {
            assertTrue(r.has(name) && r.get(name).isNull(), name);
        }
        assertEquals("true \"auto\" []", r.path("parallel_tool_calls") + " " + r.path("tool_choice") + " " + r.path("tools"));
        assertTrue(r.path("created_at").asLong() > 1_700_000_000L);
    }

    @Test
    void thoughtsAndCallsAreItemsOfTheirOwn() throws Exception {
        provider.on(model, call -> call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"reasoning_content\":\"Hm\","
                + "\"content\":\"I look.\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                + "\"{\\\"x\\\":1}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,"
                + "\"prompt_tokens_details\":{\"cached_tokens\":8},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}"));
        JsonNode r = answer("\"input\":\"Hi\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]");
        JsonNode output = r.path("output");
        assertEquals(List.of("reasoning", "message", "function_call"), output.findValuesAsText("type").stream()
                .filter(t -> !t.endsWith("_text")).toList());
        assertEquals("Hm", output.at("/0/content/0/text").asText());
        assertEquals("I look.", output.at("/1/content/0/text").asText());
        assertEquals("c1 f {\"x\":1} completed", output.at("/2/call_id").asText() + " " + output.at("/2/name").asText() + " "
                + output.at("/2/arguments").asText() + " " + output.at("/2/status").asText());
        assertEquals("completed", r.path("status").asText());
        assertEquals(8, r.at("/usage/input_tokens_details/cached_tokens").asInt());
        assertEquals(1, r.at("/usage/output_tokens_details/reasoning_tokens").asInt());
        assertEquals("f", r.at("/tools/0/name").asText());
    }

    @Test
    void anAnswerThatIsCutShortSaysWhy() throws Exception {
        for (String[] reason : new String[][] {{"length", "max_output_tokens"}, {"content_filter", "content_filter"}}) {
            provider.on(model, call -> call.json(200, FakeProvider.completion("Half").replace("\"stop\"", "\"" + reason[0] + "\"")));
            JsonNode r = answer("\"input\":\"Hi\"");
            assertEquals("incomplete", r.path("status").asText());
            assertEquals(reason[1], r.at("/incomplete_details/reason").asText());
            assertEquals("incomplete", r.at("/output/0/status").asText());
        }
    }

    @Test
    void aRefusalIsAPartOfTheMessage() throws Exception {
        provider.on(model, call -> call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
                + "\"refusal\":\"No.\"},\"finish_reason\":\"stop\"}]}"));
        assertEquals("[{\"type\":\"refusal\",\"refusal\":\"No.\"}]", answer("\"input\":\"Hi\"").at("/output/0/content").toString());
    }

    @Test
    void probabilitiesAreAskedForAndComeWithTheText() throws Exception {
        String asked = "\"input\":\"Hi\",\"top_logprobs\":1,\"include\":[\"message.output_text.logprobs\"]";
        String logprobs = "[{\"token\":\"Hi\",\"logprob\":-0.25,\"bytes\":null,\"top_logprobs\":[]}]";
        provider.on(model, call -> call.json(200, FakeProvider.completion("Hi").replace("\"logprobs\":null",
                "\"logprobs\":{\"content\":" + logprobs + ",\"refusal\":null}")));
        assertEquals(logprobs, answer(asked).at("/output/0/content/0/logprobs").toString());
        assertEquals("true 1", provider.call(model).body().path("logprobs") + " " + provider.call(model).body().path("top_logprobs"));

        provider.on(model, call -> {
            call.sse();
            call.event(Call.chunk("{\"content\":\"Hi\"}", "null").replace("\"finish_reason\"",
                    "\"logprobs\":{\"content\":" + logprobs + "},\"finish_reason\""));
            call.finish("stop");
            call.done();
        });
        List<JsonNode> events = events(asked);
        assertEquals(logprobs, the(events, "output_text.done").path("logprobs").toString());
        assertEquals(logprobs, the(events, "completed").at("/response/output/0/content/0/logprobs").toString());
    }

    @Test
    void anAgentsPromptComesFirstAndIsNotTold() throws Exception {
        String id = "a-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + id + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"systemPrompt\":\"A secret.\",\"maxTokens\":77}");
        HttpResponse<String> response = gateway.post(PATH, "{\"model\":\"" + id + "\",\"instructions\":\"Be brief.\",\"input\":\"Hi\"}");
        assertEquals("[\"A secret.\", \"Be brief.\", \"Hi\"] 77", provider.call(model).body().path("messages").findValues("content")
                + " " + provider.call(model).body().path("max_completion_tokens"));
        assertEquals("Be brief.", json(response.body()).path("instructions").asText());
        assertFalse(response.body().contains("secret"));
    }

    @Test
    void aFailureIsAnErrorInOpenAisWords() throws Exception {
        provider.on(model, call -> call.error(400, "its_code"));
        for (String stream : List.of("false", "true")) {
            HttpResponse<String> response = ask("\"input\":\"Hi\",\"stream\":" + stream);
            assertEquals(400, response.statusCode());
            JsonNode error = json(response.body()).path("error");
            assertEquals("the provider says 400 provider_error its_code",
                    error.path("message").asText() + " " + error.path("type").asText() + " " + error.path("code").asText());
        }
    }

    // --- streams

    @Test
    void aTextIsStreamedInEventsOfOneItem() throws Exception {
        List<JsonNode> events = events("\"input\":\"Hi\"");
        assertEquals(List.of("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
                "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"), types(events));
        assertEquals("in_progress []", events.get(0).at("/response/status").asText() + " " + events.get(0).at("/response/output"));
        JsonNode delta = events.get(5);
        assertEquals(" there 0 0", delta.path("delta").asText() + " " + delta.path("output_index") + " " + delta.path("content_index"));
        assertEquals(events.get(2).at("/item/id"), delta.path("item_id"));
        assertEquals("Hello there", the(events, "output_text.done").path("text").asText());
        assertEquals("Hello there", the(events, "content_part.done").at("/part/text").asText());
        JsonNode last = events.get(9).path("response");
        assertEquals("completed", last.path("status").asText());
        assertEquals(events.get(8).path("item"), last.at("/output/0"));
        assertEquals(events.get(0).at("/response/id"), last.path("id"));
        assertEquals(5, last.at("/usage/total_tokens").asInt());
    }

    @Test
    void callsOfToolsAreStreamedAlsoWhenTheirArgumentsComeMixed() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.event(Call.chunk("{\"reasoning_content\":\"Hm\"}", "null"));
            call.text("I look.");
            tool(call, 0, ",\"id\":\"c1\",\"type\":\"function\"", "\"name\":\"f\",\"arguments\":\"\"");
            tool(call, 0, "", "\"arguments\":\"{\\\"x\\\"\"");
            tool(call, 1, ",\"id\":\"c2\",\"type\":\"function\"", "\"name\":\"g\",\"arguments\":\"{}\"");
            tool(call, 0, "", "\"arguments\":\":1}\"");
            call.finish("tool_calls");
            call.done();
        });
        List<JsonNode> events = events("\"input\":\"Hi\"");
        assertEquals(List.of("created", "in_progress",
                "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
                "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
                "output_item.added", "function_call_arguments.delta", "output_item.added", "function_call_arguments.delta",
                "function_call_arguments.delta",
                "function_call_arguments.done", "output_item.done", "function_call_arguments.done", "output_item.done",
                "completed"), types(events));
        assertEquals("2 3 2", events.get(15).path("output_index") + " " + events.get(17).path("output_index") + " "
                + events.get(18).path("output_index"));
        assertEquals("{\"x\":1}", the(events, "function_call_arguments.done").path("arguments").asText());
        JsonNode output = the(events, "completed").at("/response/output");
        assertEquals(4, output.size());
        assertEquals("Hm", output.at("/0/content/0/text").asText());
        assertEquals("c1 {\"x\":1} c2 {}", output.at("/2/call_id").asText() + " " + output.at("/2/arguments").asText() + " "
                + output.at("/3/call_id").asText() + " " + output.at("/3/arguments").asText());
        assertTrue(the(events, "completed").at("/response/usage/estimated").asBoolean());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aCallWithoutArgumentsHasThemAsOpenAiSaysThemThoughTheProviderSaysNothing(boolean stream) throws Exception {
        provider.on(model, call -> {
            if (stream) {
                call.sse();
                tool(call, 0, ",\"id\":\"c1\",\"type\":\"function\"", "\"name\":\"now\",\"arguments\":\"\"");
                call.finish("tool_calls");
                call.done();
            } else {
                call.json(200, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\","
                        + "\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":\"\"}}]},\"finish_reason\":\"tool_calls\"}]}");
            }
        });
        JsonNode response;
        if (stream) {
            List<JsonNode> events = events("\"input\":\"Hi\"");
            assertEquals("", the(events, "output_item.added").at("/item/arguments").asText());
            assertEquals("{}", the(events, "function_call_arguments.delta").path("delta").asText());
            assertEquals("{}", the(events, "function_call_arguments.done").path("arguments").asText());
            response = the(events, "completed").path("response");
        } else {
            response = answer("\"input\":\"Hi\"");
        }
        assertEquals("{}", response.at("/output/0/arguments").asText());
    }

    private static void tool(Call call, int index, String more, String function) throws IOException {
        call.event(Call.chunk("{\"tool_calls\":[{\"index\":" + index + more + ",\"function\":{" + function + "}}]}", "null"));
    }

    @Test
    void aRefusalIsStreamedInItsOwnEvents() throws Exception {
        provider.on(model, FakeProvider.refuses("No", "."));
        List<JsonNode> events = events("\"input\":\"Hi\"");
        assertEquals(List.of("created", "in_progress", "output_item.added", "content_part.added", "refusal.delta",
                "refusal.delta", "refusal.done", "content_part.done", "output_item.done", "completed"), types(events));
        assertEquals("No.", the(events, "completed").at("/response/output/0/content/0/refusal").asText());
    }

    @Test
    void aStreamThatIsCutShortByItsLengthEndsIncomplete() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.finish("length");
            call.done();
        });
        List<JsonNode> events = events("\"input\":\"Hi\"");
        JsonNode last = events.get(events.size() - 1);
        assertEquals("response.incomplete", last.path("type").asText());
        assertEquals("max_output_tokens", last.at("/response/incomplete_details/reason").asText());
        assertEquals("incomplete", last.at("/response/output/0/status").asText());
    }

    /** What a provider is given back of an answer with signed thoughts and sealed ones. */
    private JsonNode givenBack(TestGateway of, boolean sealsOnly) throws Exception {
        String begin = "{\"model\":\"openai/" + model + "\",\"input\":";
        of.provider().on(model, call -> {
            call.sse();
            call.event(Call.chunk("{\"reasoning_content\":\"Hm\"}", "null"));
            call.event(Call.chunk("{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"sig\"},"
                    + "{\"type\":\"reasoning.encrypted\",\"data\":\"zzz\"}]}", "null"));
            call.text("So");
            call.finish("stop");
            call.done();
        });
        JsonNode items = the(events(of.post(PATH, begin + "\"Hi\",\"stream\":true}")), "completed").at("/response/output");
        if (sealsOnly) {
            items.forEach(item -> ((ObjectNode) item).remove(item.has("encrypted_content") ? "content" : "status"));
        }
        String output = items.toString();
        of.provider().on(model, call -> call.json(200, FakeProvider.completion("Fine")));
        of.post(PATH, begin + output.substring(0, output.length() - 1) + ",{\"role\":\"user\",\"content\":\"And?\"}]}");
        return of.provider().calls(model).get(1).body().path("messages").path(0);
    }

    /** A gateway whose provider takes thoughts back as they were. */
    private static TestGateway withThoughts(Path temp) throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        routes.save("providers/openai.camel.yaml", routes.read("providers/openai.camel.yaml")
                .replace("tokenLimit:", "thoughts: reasoning_details\n                    tokenLimit:"));
        return TestGateway.with("llmchat.routes.dir", routes.folder().toString());
    }

    @Test
    void signedAndSealedThoughtsComeBackAsTheyWereToAProviderThatTakesThem(@TempDir Path temp) throws Exception {
        try (TestGateway own = withThoughts(temp)) {
            assertEquals("{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"Hm\",\"signature\":\"sig\"},"
                    + "{\"type\":\"reasoning.encrypted\",\"data\":\"zzz\"}],\"content\":\"So\"}", givenBack(own, false).toString());
        }
    }

    @Test
    void aSignatureThatComesBackWithoutItsThoughtsIsLeftOut(@TempDir Path temp) throws Exception {
        try (TestGateway own = withThoughts(temp)) {
            assertEquals("{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"zzz\"}],\"content\":\"So\"}",
                    givenBack(own, true).toString());
        }
    }

    @Test
    void thoughtsAreNotGivenBackToAProviderThatWouldRefuseThem() throws Exception {
        assertEquals("{\"role\":\"assistant\",\"content\":\"So\"}", givenBack(gateway, false).toString());
    }

    @Test
    void aStreamThatBreaksEndsWithOneErrorAndAFailedResponse() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half an");
            call.cut();
        });
        List<JsonNode> events = events("\"input\":\"Hi\"");
        assertEquals(List.of("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "error", "failed"), types(events));
        JsonNode error = events.get(5);
        assertEquals("api_error", error.path("code").asText());
        assertTrue(error.path("message").asText().contains("openai"), error.toString());
        assertTrue(error.has("param") && error.get("param").isNull());
        // OpenAI's SDKs for Python and JavaScript fail by this member alone
        assertEquals(json("{\"type\":\"api_error\",\"code\":\"api_error\",\"message\":" + error.get("message") + ",\"param\":null}"),
                error.path("error"));
        JsonNode failed = events.get(6).path("response");
        assertEquals("failed", failed.path("status").asText());
        assertEquals(json("{\"code\":\"server_error\",\"message\":" + error.get("message") + "}"), failed.path("error"));
        assertEquals(6, events.get(6).path("sequence_number").asInt());
        assertEquals(events.get(0).path("response").path("id"), failed.path("id"));
        assertFalse(ask("\"input\":\"Hi\",\"stream\":true").body().contains("[DONE]"));
    }
}
