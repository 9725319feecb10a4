package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.llmchat.wire.OpenAiRequests;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/** The dialect of {@code /api}: envelopes around answers and errors, and named, numbered events in a stream. */
public final class NativeDialect implements Dialect {

    public static final NativeDialect INSTANCE = new NativeDialect();

    /** What of a request the provider gets, and its name there. */
    private static final Map<String, String> PASSED = Map.of("messages", "messages", "stream", "stream",
            "temperature", "temperature", "maxTokens", "max_tokens");

    /** What of it only some providers can be told. */
    private static final Set<String> EXTRAS = Set.of("variables", "metadata");

    @Override
    public ChatRequest read(byte[] body, UnaryOperator<String> header) {
        class Reader implements Requests.Member {
            String agentId;
            String chatId;
            boolean stream;

            @Override
            public void read(String name, JsonParser p) throws IOException {
                switch (name) {
                    case "agentId" -> agentId = Requests.model(name, p);
                    case "messages" -> Requests.messages(p, Requests.OPENAI_ROLES);
                    case "stream" -> stream = Requests.bool(name, p);
                    case "chatId" -> chatId = Requests.session(name, p);
                    case "temperature" -> Requests.number(name, p);
                    case "maxTokens" -> Requests.integer(name, p);
                    case "variables", "metadata" -> Requests.object(name, p);
                    default -> { }
                }
            }
        }
        Reader r = new Reader();
        var members = Requests.members(body, true, r);
        if (!members.containsKey("messages")) {
            throw ChatException.invalid("messages", "messages is missing.");
        }
        Map<String, ChatRequest.Slice> passed = new LinkedHashMap<>();
        members.forEach((ours, value) -> {
            if (PASSED.containsKey(ours)) {
                passed.put(PASSED.get(ours), value);
            }
        });
        Map<String, ChatRequest.Slice> extras = new LinkedHashMap<>(members);
        extras.keySet().retainAll(EXTRAS);
        return new ChatRequest(Operation.CHAT, "openai", body, r.agentId, r.stream, true, r.stream, r.chatId, passed, extras, Map.of(),
                OpenAiRequests::read);
    }

    @Override
    public AnswerWriter writer(ChatRequest request, Names names) {
        return new Writer(request, names);
    }

    @Override
    public boolean sessions() {
        return true;
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
        body.put("timestamp", Json.now());
        body.put("requestId", requestId);
        return Buffer.buffer(Json.write(body));
    }

    /** The envelope of everything under {@code /api} that succeeds. */
    public static Buffer envelope(String code, byte[] data, String requestId) {
        return Buffer.buffer("{\"code\":\"" + code + "\",\"message\":\"success\",\"data\":").appendBytes(data)
                .appendString(",\"timestamp\":\"" + Json.now() + "\",\"requestId\":\"" + requestId + "\"}");
    }

    private static final class Writer implements AnswerWriter {
        private final String answerId;
        private final String chatId;
        private final String requestId;
        private final boolean stream;
        private String finishReason;
        private int n;

        Writer(ChatRequest request, Names names) {
            this.answerId = names.answerId();
            this.chatId = names.chatId();
            this.requestId = names.requestId();
            this.stream = request.stream();
        }

        @Override
        public String wire() {
            // what is not streamed is OpenAI's completion in an envelope
            return stream ? null : "openai";
        }

        @Override
        public Buffer whole(WholeAnswer answer, String model) {
            byte[] json = answer.json() != null ? answer.json() : Json.write(OpenAiWriter.completion(answer,
                    "chatcmpl-" + answerId, System.currentTimeMillis() / 1000, model));
            int brace = 0;
            while (json[brace] != '{') {
                brace++;
            }
            Buffer data = Json.quote(Buffer.buffer(json.length + 64).appendString("{\"chatId\":"), chatId)
                    .appendString(",\"messageId\":\"" + answerId + "\",").appendBytes(json, brace + 1, json.length - brace - 1);
            return envelope("OK", data.getBytes(), requestId);
        }

        @Override
        public void start(String name, String model, Buffer out) {
            begin("chatId", out);
            Json.quote(out.appendString("{\"chatId\":"), chatId);
            close(out);
            begin("start", out);
            Json.quote(out.appendString("{\"id\":\"" + answerId + "\",\"timestamp\":\"" + Json.now() + "\",\"agentId\":"),
                    name);
            close(out);
        }

        @Override
        public void event(ChatEvent event, Buffer out) {
            for (AnswerPart part : event.parts()) {
                switch (part) {
                    case AnswerPart.Reasoning r -> text("reasoning", r.text(), out);
                    case AnswerPart.Text t -> text("chunk", t.text(), out);
                    case AnswerPart.Refusal r -> text("chunk", r.text(), out);
                    case AnswerPart.Status s -> status(s, out);
                    case AnswerPart.Finish f -> finishReason = f.reason();
                    case AnswerPart.ToolStart t -> tool(t.index(), t.id(), t.name(), "", out);
                    case AnswerPart.ToolArguments t -> tool(t.index(), null, null, t.fragment(), out);
                    default -> { }
                }
            }
        }

        private void status(AnswerPart.Status s, Buffer out) {
            begin("status", out);
            Json.quote(Json.quote(out.appendString("{\"type\":"), s.type()).appendString(",\"status\":"), s.status());
            if (s.moduleName() != null) {
                Json.quote(out.appendString(",\"moduleName\":"), s.moduleName());
            }
            if (s.replacement() != null) {
                Json.quote(out.appendString(",\"content\":"), s.replacement());
            }
            close(out);
        }

        /** A tool call as it grows, in OpenAI's words: who calls tools asks for them in OpenAI's words too. */
        private void tool(int index, String id, String name, String arguments, Buffer out) {
            begin("tool", out);
            out.appendString("{\"index\":" + index);
            if (id != null) {
                Json.quote(Json.quote(out.appendString(",\"id\":"), id).appendString(",\"name\":"), name);
            }
            Json.quote(out.appendString(",\"arguments\":"), arguments);
            close(out);
        }

        @Override
        public void end(Usage usage, Buffer out) {
            begin("usage", out);
            out.appendBytes(Json.write(OpenAiWriter.usage(usage))).appendString("\n\n");
            begin("end", out);
            out.appendString("{\"timestamp\":\"" + Json.now() + "\",\"finishReason\":");
            Json.quote(out, finishReason == null ? "stop" : finishReason);
            close(out);
        }

        @Override
        public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
            begin("error", out);
            Json.quote(out.appendString("{\"code\":\"" + error.code() + "\",\"message\":"), error.getMessage())
                    .appendString(",\"timestamp\":\"" + Json.now() + "\"");
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
