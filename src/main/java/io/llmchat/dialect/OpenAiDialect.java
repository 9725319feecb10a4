package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;

/** The dialect of OpenAI's chat completions API (API reference, "Create chat completion" and its streaming). */
public final class OpenAiDialect implements Dialect {

    public static final OpenAiDialect INSTANCE = new OpenAiDialect();

    private static final byte[] DATA = Json.utf8("data: ");
    private static final byte[] END_OF_EVENT = Json.utf8("\n\n");
    private static final byte[] DONE = Json.utf8("data: [DONE]\n\n");

    @Override
    public ChatRequest read(byte[] body) {
        class Reader implements Requests.Member {
            String model;
            boolean stream;
            boolean includeUsage;

            @Override
            public void read(String name, JsonParser p) throws IOException {
                switch (name) {
                    case "model" -> model = Requests.string(name, p);
                    case "messages" -> Requests.messages(p);
                    case "stream" -> stream = Requests.bool(name, p);
                    case "stream_options" -> includeUsage = includeUsage(p);
                    case "temperature", "top_p", "presence_penalty", "frequency_penalty" -> Requests.number(name, p);
                    case "max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs" -> Requests.integer(name, p);
                    case "tools" -> Requests.array(name, p);
                    case "response_format", "logit_bias" -> Requests.object(name, p);
                    default -> { }
                }
            }

            private boolean includeUsage(JsonParser p) throws IOException {
                Requests.object("stream_options", p);
                boolean include = false;
                if (p.currentToken() == JsonToken.START_OBJECT) {
                    while (p.nextToken() == JsonToken.FIELD_NAME) {
                        String name = p.currentName();
                        p.nextToken();
                        if ("include_usage".equals(name)) {
                            include = Requests.bool("stream_options.include_usage", p);
                        }
                        p.skipChildren();
                    }
                }
                return include;
            }
        }
        Reader r = new Reader();
        var members = Requests.members(body, r);
        if (!members.containsKey("messages")) {
            throw ChatException.invalid("messages", "messages is missing.");
        }
        return new ChatRequest(body, r.model, r.stream, r.includeUsage, null, members);
    }

    @Override
    public AnswerWriter writer(ChatRequest request, String requestId) {
        return new AnswerWriter() {
            @Override
            public boolean wantsText() {
                return false;
            }

            @Override
            public Buffer whole(WholeAnswer answer) {
                return Buffer.buffer(answer.json());
            }

            @Override
            public void start(String name, Buffer out) {
                // an OpenAI stream begins with the provider's own first chunk
            }

            @Override
            public void event(ChatEvent event, Buffer out) {
                if (!event.usageOnly() || request.includeUsage()) {
                    out.appendBytes(DATA).appendBytes(event.bytes(), event.from(), event.to() - event.from())
                            .appendBytes(END_OF_EVENT);
                }
            }

            @Override
            public void end(Buffer out) {
                out.appendBytes(DONE);
            }

            @Override
            public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
                out.appendBytes(DATA).appendBuffer(OpenAiDialect.this.error(error, entry, requestId))
                        .appendBytes(END_OF_EVENT);
            }
        };
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
