package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Operation;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.llmchat.wire.AnthropicRequests;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;

/** The dialect of Anthropic's Messages API (API reference, "Create a message", "Count message tokens", "Errors"). */
public final class AnthropicDialect implements Dialect {

    public static final AnthropicDialect CHAT = new AnthropicDialect(Operation.CHAT);
    public static final AnthropicDialect COUNT_TOKENS = new AnthropicDialect(Operation.COUNT_TOKENS);

    /** Request headers that belong to the wire. */
    private static final List<String> HEADERS = List.of("anthropic-version", "anthropic-beta");

    /** As Anthropic says it, the second of a prompt that would leave too little room for the answer. */
    private static final Pattern TOO_LONG = Pattern.compile("prompt is too long|exceed context limit");

    private final Operation operation;

    private AnthropicDialect(Operation operation) {
        this.operation = operation;
    }

    @Override
    public ChatRequest read(byte[] body, UnaryOperator<String> header) {
        Reader r = new Reader();
        var members = Requests.members(body, true, r);
        if (!members.containsKey("messages")) {
            throw ChatException.invalid("messages", "messages is missing.");
        }
        if (operation == Operation.CHAT && !members.containsKey("max_tokens")) {
            throw ChatException.invalid("max_tokens", "max_tokens is missing.");
        }
        Map<String, String> headers = new LinkedHashMap<>();
        for (String name : HEADERS) {
            String value = header.apply(name);
            if (value != null && value.matches("[\\x21-\\x7e ]{1,1024}")) {
                headers.put(name, value);
            }
        }
        return new ChatRequest(operation, "anthropic", body, r.model, r.stream && operation == Operation.CHAT, true, false, null, members,
                Map.of(), headers, AnthropicRequests::read);
    }

    private static final class Reader implements Requests.Member {
        private String model;
        private boolean stream;

        @Override
        public void read(String name, JsonParser p) throws IOException {
            switch (name) {
                case "model" -> model = Requests.model(name, p);
                case "messages" -> Requests.messages(p, Requests.ANTHROPIC_ROLES);
                case "stream" -> stream = Requests.bool(name, p);
                case "temperature", "top_p" -> Requests.number(name, p);
                case "max_tokens" -> {
                    if (p.currentToken() != JsonToken.VALUE_NUMBER_INT) {
                        throw ChatException.invalid(name, "max_tokens must be a whole number.");
                    }
                }
                case "top_k" -> Requests.integer(name, p);
                case "tools", "stop_sequences" -> Requests.array(name, p);
                case "tool_choice", "metadata", "thinking" -> Requests.object(name, p);
                case "system" -> {
                    if (p.currentToken() != JsonToken.VALUE_STRING && p.currentToken() != JsonToken.START_ARRAY) {
                        throw ChatException.invalid(name, "system must be a string or an array of text blocks.");
                    }
                }
                default -> { }
            }
        }
    }

    @Override
    public AnswerWriter writer(ChatRequest request, Names names) {
        return operation == Operation.CHAT ? new AnthropicWriter(request, names.requestId(), names.answerId()) : new PassingWriter("anthropic");
    }

    @Override
    public String requestIdHeader() {
        return "request-id";
    }

    @Override
    public Buffer error(ChatException error, ErrorTable.Entry entry, String requestId) {
        ObjectNode body = Json.MAPPER.createObjectNode().put("type", "error");
        body.putObject("error").put("type", type(error.status() != 0 ? error.status() : entry.status()))
                .put("message", message(error));
        body.put("request_id", requestId);
        return Buffer.buffer(Json.write(body));
    }

    /** That a prompt is too long Anthropic's callers know by the words, and have not those of other providers. */
    private static String message(ChatException error) {
        String said = error.getMessage();
        return "context_length_exceeded".equals(error.openAiCode()) && !TOO_LONG.matcher(said).find() ? "prompt is too long: " + said : said;
    }

    /** Anthropic's types of errors go by the status. */
    private static String type(int status) {
        return switch (status) {
            case 401 -> "authentication_error";
            case 402 -> "billing_error";
            case 403 -> "permission_error";
            case 404 -> "not_found_error";
            case 413 -> "request_too_large";
            case 429 -> "rate_limit_error";
            case 503, 529 -> "overloaded_error";
            case 504 -> "timeout_error";
            default -> status < 500 ? "invalid_request_error" : "api_error";
        };
    }
}
