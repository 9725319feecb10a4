package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.http.Ids;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/** The dialect of {@code /api}: envelopes around answers and errors, and named, numbered events in a stream. */
public final class NativeDialect implements Dialect {

    public static final NativeDialect INSTANCE = new NativeDialect();

    /** What of a request the provider gets, and its name there. */
    private static final Map<String, String> PASSED = Map.of("messages", "messages", "stream", "stream",
            "temperature", "temperature", "maxTokens", "max_tokens");

    @Override
    public ChatRequest read(byte[] body) {
        class Reader implements Requests.Member {
            String agentId;
            String chatId;
            boolean stream;

            @Override
            public void read(String name, JsonParser p) throws IOException {
                switch (name) {
                    case "agentId" -> agentId = Requests.string(name, p);
                    case "messages" -> Requests.messages(p);
                    case "stream" -> stream = Requests.bool(name, p);
                    case "chatId" -> chatId = Requests.string(name, p);
                    case "temperature" -> Requests.number(name, p);
                    case "maxTokens" -> Requests.integer(name, p);
                    case "variables", "metadata" -> Requests.object(name, p);
                    default -> { }
                }
            }
        }
        Reader r = new Reader();
        var members = Requests.members(body, r);
        if (!members.containsKey("messages")) {
            throw ChatException.invalid("messages", "messages is missing.");
        }
        Map<String, ChatRequest.Slice> passed = new LinkedHashMap<>();
        PASSED.forEach((ours, openAi) -> {
            if (members.containsKey(ours)) {
                passed.put(openAi, members.get(ours));
            }
        });
        return new ChatRequest(body, r.agentId, r.stream, true, r.chatId, passed);
    }

    @Override
    public AnswerWriter writer(ChatRequest request, String requestId) {
        return new Writer(request.chatId() != null ? request.chatId() : Ids.next(), requestId);
    }

    @Override
    public Buffer error(ChatException error, ErrorTable.Entry entry, String requestId) {
        ObjectNode body = Json.MAPPER.createObjectNode();
        body.put("code", error.code());
        body.put("message", error.getMessage());
        if (!error.details().isEmpty()) {
            ArrayNode details = body.putArray("details");
            error.details().forEach(d -> details.addObject().put("field", d.field()).put("message", d.message()));
        }
        body.put("timestamp", Instant.now().toString());
        body.put("requestId", requestId);
        return Buffer.buffer(Json.write(body));
    }

    /** The envelope of everything under {@code /api} that succeeds. */
    public static Buffer envelope(String code, byte[] data, String requestId) {
        return Buffer.buffer("{\"code\":\"" + code + "\",\"message\":\"success\",\"data\":").appendBytes(data)
                .appendString(",\"timestamp\":\"" + Instant.now() + "\",\"requestId\":\"" + requestId + "\"}");
    }

    private static final class Writer implements AnswerWriter {
        private final String answerId = Ids.next();
        private final String chatId;
        private final String requestId;
        private String finishReason;
        private Usage usage;
        private int n;

        Writer(String chatId, String requestId) {
            this.chatId = chatId;
            this.requestId = requestId;
        }

        @Override
        public boolean wantsText() {
            return true;
        }

        @Override
        public Buffer whole(WholeAnswer answer) {
            byte[] json = answer.json();
            int brace = 0;
            while (json[brace] != '{') {
                brace++;
            }
            Buffer data = Json.quote(Buffer.buffer(json.length + 64).appendString("{\"chatId\":"), chatId).appendString(",")
                    .appendBytes(json, brace + 1, json.length - brace - 1);
            return envelope("OK", data.getBytes(), requestId);
        }

        @Override
        public void start(String name, Buffer out) {
            begin("chatId", out);
            Json.quote(out.appendString("{\"chatId\":"), chatId);
            close(out);
            begin("start", out);
            Json.quote(out.appendString("{\"id\":\"" + answerId + "\",\"timestamp\":\"" + Instant.now() + "\",\"agentId\":"),
                    name);
            close(out);
        }

        @Override
        public void event(ChatEvent event, Buffer out) {
            if (event.reasoning() != null) {
                text("reasoning", event.reasoning(), out);
            }
            if (event.content() != null && !event.content().isEmpty()) {
                text("chunk", event.content(), out);
            }
            if (event.finishReason() != null) {
                finishReason = event.finishReason();
            }
            if (event.usage() != null) {
                usage = event.usage();
            }
        }

        @Override
        public void end(Buffer out) {
            if (usage != null) {
                begin("usage", out);
                out.appendString("{\"prompt_tokens\":" + usage.promptTokens() + ",\"completion_tokens\":"
                        + usage.completionTokens() + ",\"total_tokens\":" + usage.totalTokens());
                close(out);
            }
            begin("end", out);
            out.appendString("{\"timestamp\":\"" + Instant.now() + "\",\"finishReason\":");
            Json.quote(out, finishReason == null ? "stop" : finishReason);
            close(out);
        }

        @Override
        public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
            begin("error", out);
            Json.quote(out.appendString("{\"code\":\"" + error.code() + "\",\"message\":"), error.getMessage())
                    .appendString(",\"timestamp\":\"" + Instant.now() + "\"");
            close(out);
        }

        private void text(String name, String text, Buffer out) {
            begin(name, out);
            Json.quote(out.appendString("{\"content\":"), text);
            close(out);
        }

        private void begin(String name, Buffer out) {
            out.appendString("id: ").appendString(answerId).appendString(":").appendString(Integer.toString(++n))
                    .appendString("\nevent: ").appendString(name).appendString("\ndata: ");
        }

        private static void close(Buffer out) {
            out.appendString("}\n\n");
        }
    }
}
