package io.llmchat.support;

import io.llmchat.json.Json;
import io.llmchat.support.FakeProvider.Call;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** What Anthropic says on its wire (API reference, "Messages", "Streaming messages", "Errors"), for scripts. */
public final class AnthropicScript {

    private static final String USAGE = "{\"input_tokens\":3,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
            + "\"output_tokens\":%d,\"service_tier\":\"standard\"}";

    private AnthropicScript() {
    }

    /** Whether a call came on this wire. */
    public static boolean spoken(Call call) {
        return call.line().startsWith("POST /v1/messages");
    }

    /** What is done without a script: "Hello there", or a count of tokens. */
    static void hello(Call call) throws IOException {
        if (call.line().endsWith("/count_tokens")) {
            call.json(200, "{\"input_tokens\":14}");
        } else if (call.body().path("stream").asBoolean()) {
            start(call);
            text(call, 0, "Hello", " there");
            stop(call, "end_turn");
        } else {
            call.json(200, message("end_turn", text("Hello there")));
        }
    }

    // --- whole

    /** A whole answer of these blocks. */
    public static String message(String stopReason, String... blocks) {
        return "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-fake-1\",\"content\":["
                + String.join(",", blocks) + "],\"stop_reason\":\"" + stopReason + "\",\"stop_sequence\":null,\"usage\":"
                + USAGE.formatted(2) + "}";
    }

    public static String text(String text) {
        return "{\"type\":\"text\",\"text\":" + quoted(text) + "}";
    }

    public static String thinking(String text, String signature) {
        return "{\"type\":\"thinking\",\"thinking\":" + quoted(text) + ",\"signature\":" + quoted(signature) + "}";
    }

    public static String toolUse(String id, String name, String input) {
        return "{\"type\":\"tool_use\",\"id\":" + quoted(id) + ",\"name\":" + quoted(name) + ",\"input\":" + input + "}";
    }

    /** An error; its type goes by the status. */
    public static void error(Call call, int status, String... more) throws IOException {
        call.json(status, error(switch (status) {
            case 401 -> "authentication_error";
            case 404 -> "not_found_error";
            case 429 -> "rate_limit_error";
            case 529 -> "overloaded_error";
            default -> status < 500 ? "invalid_request_error" : "api_error";
        }, "the provider says " + status), more);
    }

    private static String error(String type, String message) {
        return "{\"type\":\"error\",\"error\":{\"type\":\"" + type + "\",\"message\":" + quoted(message)
                + "},\"request_id\":\"req_1\"}";
    }

    // --- stream

    /** The head of a stream and its first event. */
    public static void start(Call call) throws IOException {
        call.sse();
        call.named("message_start", "\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
                + "\"model\":\"claude-fake-1\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":"
                + USAGE.formatted(1) + "}");
        call.named("ping", null);
    }

    /** A block of text, in these pieces. */
    public static void text(Call call, int index, String... pieces) throws IOException {
        begin(call, index, text(""));
        for (String piece : pieces) {
            delta(call, index, "text_delta", "text", piece);
        }
        end(call, index);
    }

    /** A block of thought, with the proof of it. */
    public static void thinking(Call call, int index, String text, String signature) throws IOException {
        begin(call, index, thinking("", ""));
        delta(call, index, "thinking_delta", "thinking", text);
        delta(call, index, "signature_delta", "signature", signature);
        end(call, index);
    }

    /** A tool call, its arguments in these pieces. */
    public static void toolUse(Call call, int index, String id, String name, String... pieces) throws IOException {
        begin(call, index, toolUse(id, name, "{}"));
        delta(call, index, "input_json_delta", "partial_json", "");
        for (String piece : pieces) {
            delta(call, index, "input_json_delta", "partial_json", piece);
        }
        end(call, index);
    }

    public static void begin(Call call, int index, String block) throws IOException {
        call.named("content_block_start", "\"index\":" + index + ",\"content_block\":" + block);
    }

    public static void delta(Call call, int index, String type, String name, String value) throws IOException {
        call.named("content_block_delta", "\"index\":" + index + ",\"delta\":{\"type\":\"" + type + "\",\"" + name + "\":"
                + quoted(value) + "}");
    }

    private static void end(Call call, int index) throws IOException {
        call.named("content_block_stop", "\"index\":" + index);
    }

    /** The closing events, and the end of the response. */
    public static void stop(Call call, String stopReason) throws IOException {
        call.named("message_delta", "\"delta\":{\"stop_reason\":\"" + stopReason + "\",\"stop_sequence\":null},"
                + "\"usage\":{\"output_tokens\":2}");
        call.named("message_stop", null);
        call.end();
    }

    /** The text of an event with these members beside its type; null: none. */
    static String event(String type, String members) {
        return "event: " + type + "\ndata: {\"type\":\"" + type + "\"" + (members == null ? "" : "," + members) + "}\n\n";
    }

    /** As JSON. */
    static String quoted(String text) {
        return new String(Json.write(text), StandardCharsets.UTF_8);
    }
}
