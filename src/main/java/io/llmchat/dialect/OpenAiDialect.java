package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Prompt;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.llmchat.wire.OpenAiRequests;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.Map;
import java.util.function.UnaryOperator;

/** The dialect of OpenAI's chat completions and embeddings (API reference, "Create chat completion", "Create embeddings"). */
public final class OpenAiDialect implements Dialect {

    public static final OpenAiDialect CHAT = new OpenAiDialect(Operation.CHAT);
    public static final OpenAiDialect EMBEDDINGS = new OpenAiDialect(Operation.EMBEDDINGS);

    private final Operation operation;

    private OpenAiDialect(Operation operation) {
        this.operation = operation;
    }

    @Override
    public ChatRequest read(byte[] body, UnaryOperator<String> header) {
        Reader r = new Reader();
        var members = Requests.members(body, operation == Operation.CHAT, r);
        String needed = operation == Operation.CHAT ? "messages" : "input";
        if (!members.containsKey(needed)) {
            throw ChatException.invalid(needed, needed + " is missing.");
        }
        return new ChatRequest(operation, "openai", body, r.model, r.stream, r.includeUsage,
                r.stream && "true".equalsIgnoreCase(header.apply("X-Resumable")),
                operation == Operation.CHAT ? r.sessionId : null, members, Map.of(), Map.of(),
                r.sessionId == null ? OpenAiRequests::read : OpenAiDialect::withoutSession);
    }

    /** The name of the session is the gateway's: no provider is told it. */
    private static Prompt withoutSession(ObjectNode json) {
        if (OpenAiRequests.withoutSession(json.get("metadata")) == null) {
            json.remove("metadata");
        }
        return OpenAiRequests.read(json);
    }

    private static final class Reader implements Requests.Member {
        private String model;
        private boolean stream;
        private boolean includeUsage;
        private String sessionId;

        @Override
        public void read(String name, JsonParser p) throws IOException {
            switch (name) {
                case "model" -> model = Requests.model(name, p);
                case "messages" -> Requests.messages(p, Requests.OPENAI_ROLES);
                case "stream" -> stream = Requests.bool(name, p);
                case "stream_options" -> {
                    Requests.object(name, p);
                    inside(p, "include_usage", (of, value) -> includeUsage = Requests.bool("stream_options." + of, value));
                }
                // what is not an object is the provider's to refuse
                case "metadata" -> inside(p, "session_id", (of, value) -> sessionId = Requests.session("metadata." + of, value));
                case "temperature", "top_p", "presence_penalty", "frequency_penalty" -> Requests.number(name, p);
                case "max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs" -> Requests.integer(name, p);
                case "tools" -> Requests.array(name, p);
                case "response_format", "logit_bias" -> Requests.object(name, p);
                default -> { }
            }
        }

        /** Looks at one member of an object. */
        private static void inside(JsonParser p, String wanted, Requests.Member member) throws IOException {
            if (p.currentToken() == JsonToken.START_OBJECT) {
                while (p.nextToken() == JsonToken.FIELD_NAME) {
                    String name = p.currentName();
                    p.nextToken();
                    if (wanted.equals(name)) {
                        member.read(name, p);
                    }
                    p.skipChildren();
                }
            }
        }
    }

    @Override
    public AnswerWriter writer(ChatRequest request, Names names) {
        return operation == Operation.CHAT ? new OpenAiWriter(request, names.answerId()) : new PassingWriter("openai");
    }

    @Override
    public Buffer error(ChatException error, ErrorTable.Entry entry, String requestId) {
        ObjectNode body = Json.MAPPER.createObjectNode();
        ObjectNode e = body.putObject("error");
        e.put("message", error.getMessage());
        e.put("type", error.type() != null ? error.type() : entry.type());
        e.put("param", error.details().isEmpty() ? null : error.details().get(0).field());
        e.put("code", error.openAiCode() != null ? error.openAiCode() : entry.openAiCode());
        return Buffer.buffer(Json.write(body));
    }
}
