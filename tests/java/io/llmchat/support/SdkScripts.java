package io.llmchat.support;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.UUID;

/**
 * The models that the tests with official SDKs ask: each does the same on OpenAI's wire ({@code openai/sdk-…}) and on
 * Anthropic's ({@code anthropic/sdk-…}).
 */
public final class SdkScripts {

    /** The key that callers need; {@code tests/clients/common.mjs} has it too. */
    public static final String KEY = "sk-of-the-caller";

    private SdkScripts() {
    }

    /** A gateway of its own, with these models; it wants a key, asks once, and its breakers do not mind the failures. */
    public static TestGateway gateway() throws Exception {
        TestGateway gateway = TestGateway.with("llmchat.retry.max", "0",
                "llmchat.admit.auth-mode", "keys", "llmchat.admit.admin-key", KEY,
                "camel.resilience4j.sliding-window-size", "1000", "camel.resilience4j.minimum-number-of-calls", "1000");
        gateway.provider()
                .on("sdk-text", call -> say(call, "Hello", " there"))
                .on("sdk-split", SdkScripts::everyByteAlone)
                .on("sdk-thinking", SdkScripts::think)
                .on("sdk-tool", SdkScripts::askForTheTool)
                .on("sdk-two-tools", SdkScripts::askTwice)
                .on("sdk-image", SdkScripts::tellTheImage)
                .on("sdk-json", SdkScripts::tellTheCity)
                .on("sdk-roles", call -> say(call, roles(call)))
                .on("sdk-embedding", SdkScripts::embed)
                .on("sdk-once", call -> call.json(200,
                        FakeProvider.completion("Once").replace("chatcmpl-1", "chatcmpl-" + UUID.randomUUID())))
                .on("sdk-refused", failing(400, "its_code"))
                .on("sdk-limited", failing(429, "too_many", "Retry-After: 7"))
                .on("sdk-failing", failing(500, "broken"))
                .on("sdk-hanging-up", Call::cut)
                .on("sdk-cut", call -> {
                    begin(call, "Half an");
                    call.cut();
                })
                .on("sdk-aborted", SdkScripts::oneWordAndSilence)
                .on("sdk-left", SdkScripts::oneWordAndSilence);
        return gateway;
    }

    private static Script failing(int status, String code, String... headers) {
        return call -> {
            if (AnthropicScript.spoken(call)) {
                AnthropicScript.error(call, status, headers);
            } else {
                call.error(status, code, headers);
            }
        };
    }

    /** An answer of this text, streamed in these pieces if that was asked for. */
    private static void say(Call call, String... pieces) throws IOException {
        boolean anthropic = AnthropicScript.spoken(call);
        if (!call.body().path("stream").asBoolean()) {
            String text = String.join("", pieces);
            call.json(200, anthropic ? AnthropicScript.message("end_turn", AnthropicScript.text(text)) : FakeProvider.completion(text.replace("\"", "\\\"")));
        } else if (anthropic) {
            AnthropicScript.start(call);
            AnthropicScript.text(call, 0, pieces);
            AnthropicScript.stop(call, "end_turn");
        } else {
            head(call);
            for (String piece : pieces) {
                call.text(piece);
            }
            call.finish("stop");
            if (call.body().path("stream_options").path("include_usage").asBoolean()) {
                call.usage(3, 2);
            }
            call.done();
        }
    }

    /** OpenAI's head of a stream: the first chunk says who speaks. */
    private static void head(Call call) throws IOException {
        call.sse();
        call.role();
    }

    private static void begin(Call call, String text) throws IOException {
        if (AnthropicScript.spoken(call)) {
            AnthropicScript.start(call);
            AnthropicScript.begin(call, 0, AnthropicScript.text(""));
            AnthropicScript.delta(call, 0, "text_delta", "text", text);
        } else {
            head(call);
            call.text(text);
        }
    }

    private static void oneWordAndSilence(Call call) throws IOException {
        begin(call, "One");
        call.hang();
    }

    private static void everyByteAlone(Call call) throws IOException {
        String text = "Grüße 你好 🌍";
        boolean anthropic = AnthropicScript.spoken(call);
        String event;
        if (anthropic) {
            AnthropicScript.start(call);
            AnthropicScript.begin(call, 0, AnthropicScript.text(""));
            event = AnthropicScript.event("content_block_delta",
                    "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" + text + "\"}")
                    + AnthropicScript.event("content_block_stop", "\"index\":0");
        } else {
            head(call);
            event = "data: " + Call.chunk("{\"content\":\"" + text + "\"}", "null") + "\n\n";
        }
        for (byte b : event.getBytes(StandardCharsets.UTF_8)) {
            call.bytes(new byte[] {b});
        }
        if (anthropic) {
            AnthropicScript.stop(call, "end_turn");
        } else {
            call.finish("stop");
            call.done();
        }
    }

    private static void think(Call call) throws IOException {
        boolean stream = call.body().path("stream").asBoolean();
        if (AnthropicScript.spoken(call) && stream) {
            AnthropicScript.start(call);
            AnthropicScript.thinking(call, 0, "Hm", "c2ln");
            AnthropicScript.text(call, 1, "Yes");
            AnthropicScript.stop(call, "end_turn");
        } else if (AnthropicScript.spoken(call)) {
            call.json(200, AnthropicScript.message("end_turn", AnthropicScript.thinking("Hm", "c2ln"), AnthropicScript.text("Yes")));
        } else if (stream) {
            head(call);
            call.event(Call.chunk("{\"reasoning_content\":\"Hm\"}", "null"));
            call.text("Yes");
            call.finish("stop");
            call.done();
        } else {
            call.json(200, FakeProvider.completion("Yes")
                    .replace("\"content\":\"Yes\"", "\"content\":\"Yes\",\"reasoning_content\":\"Hm\""));
        }
    }

    /** Asks for the caller's tool once, and says its result when it comes. */
    private static void askForTheTool(Call call) throws IOException {
        if (!AnthropicScript.spoken(call)) {
            askForTheToolAsOpenAi(call);
            return;
        }
        JsonNode content = call.body().path("messages").path(call.body().path("messages").size() - 1).path("content");
        String tool = call.body().at("/tools/0/name").asText();
        if (content.path(0).path("type").asText().equals("tool_result")) {
            JsonNode result = content.path(0).path("content");
            say(call, content.path(0).path("tool_use_id").asText() + ": " + (result.isTextual() ? result : result.path(0).path("text")).asText());
        } else if (call.body().path("stream").asBoolean()) {
            AnthropicScript.start(call);
            AnthropicScript.toolUse(call, 0, "call-1", tool, "{\"city\":", "\"Oslo\"}");
            AnthropicScript.stop(call, "tool_use");
        } else {
            call.json(200, AnthropicScript.message("tool_use", AnthropicScript.toolUse("call-1", tool, "{\"city\":\"Oslo\"}")));
        }
    }

    private static void askForTheToolAsOpenAi(Call call) throws IOException {
        JsonNode last = call.body().path("messages").path(call.body().path("messages").size() - 1);
        if (last.path("role").asText().equals("tool")) {
            JsonNode result = last.path("content");
            say(call, last.path("tool_call_id").asText() + ": " + (result.isTextual() ? result : result.path(0).path("text")).asText());
        } else if (call.body().path("stream").asBoolean()) {
            call.sse();
            call.event(toolStart(call, 0));
            call.event(toolArguments(0, "{\\\"city\\\":"));
            call.event(toolArguments(0, "\\\"Oslo\\\"}"));
            call.finish("tool_calls");
            call.done();
        } else {
            call.json(200, "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"fake-1\","
                    + "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call-1\","
                    + "\"type\":\"function\",\"function\":{\"name\":\"" + openAiTool(call) + "\",\"arguments\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}]},"
                    + "\"finish_reason\":\"tool_calls\"}]}");
        }
    }

    /** Says something, and asks for the caller's tool twice; only streamed, on OpenAI's wire the calls in turn. */
    private static void askTwice(Call call) throws IOException {
        if (AnthropicScript.spoken(call)) {
            String tool = call.body().at("/tools/0/name").asText();
            AnthropicScript.start(call);
            AnthropicScript.text(call, 0, "Let me", " look");
            AnthropicScript.toolUse(call, 1, "call-1", tool, "{\"city\":", "\"Oslo\"}");
            AnthropicScript.toolUse(call, 2, "call-2", tool, "{\"city\":", "\"Rome\"}");
            AnthropicScript.stop(call, "tool_use");
        } else {
            head(call);
            call.text("Let me");
            call.text(" look");
            call.event(toolStart(call, 0));
            call.event(toolStart(call, 1));
            call.event(toolArguments(0, "{\\\"city\\\":"));
            call.event(toolArguments(1, "{\\\"city\\\":"));
            call.event(toolArguments(0, "\\\"Oslo\\\"}"));
            call.event(toolArguments(1, "\\\"Rome\\\"}"));
            call.finish("tool_calls");
            call.done();
        }
    }

    private static String openAiTool(Call call) {
        return call.body().at("/tools/0/function/name").asText();
    }

    private static String toolStart(Call call, int index) {
        return Call.chunk("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":" + index + ",\"id\":\"call-"
                + (index + 1) + "\",\"type\":\"function\",\"function\":{\"name\":\"" + openAiTool(call)
                + "\",\"arguments\":\"\"}}]}", "null");
    }

    private static String toolArguments(int index, String escaped) {
        return Call.chunk("{\"tool_calls\":[{\"index\":" + index + ",\"function\":{\"arguments\":\"" + escaped + "\"}}]}", "null");
    }

    /** Says the image of the first message, as a URL, and the detail to look at. */
    private static void tellTheImage(Call call) throws IOException {
        JsonNode image = null;
        for (JsonNode part : call.body().at("/messages/0/content")) {
            if (part.path("type").asText().startsWith("image")) {
                image = part;
            }
        }
        if (image == null) {
            say(call, "no image in " + call.text().replace("\"", "'"));
        } else if (AnthropicScript.spoken(call)) {
            JsonNode source = image.path("source");
            say(call, source.path("type").asText().equals("url") ? source.path("url").asText()
                    : "data:" + source.path("media_type").asText() + ";base64," + source.path("data").asText());
        } else {
            String detail = image.at("/image_url/detail").asText();
            say(call, (detail.isEmpty() ? "" : detail + " ") + image.at("/image_url/url").asText());
        }
    }

    /** Says a city as JSON, if the answer was to have the form of an object with a city. */
    private static void tellTheCity(Call call) throws IOException {
        JsonNode format = AnthropicScript.spoken(call) ? call.body().at("/output_config/format") : call.body().path("response_format");
        JsonNode schema = AnthropicScript.spoken(call) ? format.path("schema") : format.at("/json_schema/schema");
        boolean right = format.path("type").asText().equals("json_schema") && schema.path("properties").has("city")
                && (AnthropicScript.spoken(call) || !format.at("/json_schema/name").asText().isEmpty());
        say(call, right ? "{\"city\":\"Oslo\"}" : "no schema in " + call.text());
    }

    /** The roles of all messages, where a system prompt of its own is one. */
    private static String roles(Call call) {
        StringBuilder roles = new StringBuilder(call.body().has("system") ? "system" : "");
        call.body().path("messages").forEach(m -> roles.append(roles.isEmpty() ? "" : " ").append(m.path("role").asText()));
        return roles.toString();
    }

    private static void embed(Call call) throws IOException {
        String vector = "[0.5,-0.25]";
        if (call.body().path("encoding_format").asText().equals("base64")) {
            vector = '"' + Base64.getEncoder().encodeToString(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN)
                    .putFloat(0.5f).putFloat(-0.25f).array()) + '"';
        }
        StringBuilder data = new StringBuilder();
        int inputs = call.body().path("input").isArray() ? call.body().path("input").size() : 1;
        for (int i = 0; i < inputs; i++) {
            data.append(i == 0 ? "" : ",").append("{\"object\":\"embedding\",\"index\":" + i + ",\"embedding\":" + vector + "}");
        }
        call.json(200, "{\"object\":\"list\",\"data\":[" + data + "],\"model\":\"fake-embedding-1\","
                + "\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}");
    }
}
