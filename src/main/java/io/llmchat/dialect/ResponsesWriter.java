package io.llmchat.dialect;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerMessage;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.llmchat.wire.ResponseTools;
import io.vertx.core.buffer.Buffer;
import java.util.Map;
import java.util.TreeMap;

/**
 * An answer as OpenAI's responses say it (API reference, "The response object" and "Streaming events"): items, each
 * with an index in the output, and a number on every event. Text and thoughts come one item after the other; calls of
 * tools stay open to the end, as their arguments may come mixed. Of several choices the first is told.
 */
final class ResponsesWriter implements AnswerWriter {

    /** What is told in pieces: the item and the part it belongs to, and what its events and its text are called. */
    private enum Kind {
        TEXT("message", "response.output_text", "text"),
        REFUSAL("message", "response.refusal", "refusal"),
        REASONING("reasoning", "response.reasoning_text", "text");

        private final String item;
        private final String event;
        private final String member;

        Kind(String item, String event, String member) {
            this.item = item;
            this.event = event;
            this.member = member;
        }
    }

    /** A call of a tool that is open. */
    private record Call(int index, String id, String callId, ResponseTools.Known tool, StringBuilder arguments) {
        private ObjectNode item(String status) {
            return ResponseItems.call(id, status, callId, tool, arguments.toString());
        }
    }

    private final ChatRequest request;
    private final String answerId;
    private final ResponseTools tools;
    private final long created = System.currentTimeMillis() / 1000;
    private String model;
    private long number;
    private int items;
    /** The items that are complete, by their index. */
    private final Map<Integer, ObjectNode> output = new TreeMap<>();
    private final Map<Integer, Call> calls = new TreeMap<>();
    /** The part that is open; null: none. Its item is open too. */
    private Kind kind;
    private int index;
    private String itemId;
    /** The parts of the open message that are complete. */
    private ArrayNode content = Json.MAPPER.createArrayNode();
    private final StringBuilder text = new StringBuilder();
    private ObjectNode logprobs = Json.MAPPER.createObjectNode();
    private String signature;
    private String finishReason = "stop";

    ResponsesWriter(ChatRequest request, String answerId) {
        this.request = request;
        this.answerId = answerId;
        this.tools = new ResponseTools(request);
        this.model = request.model();
    }

    @Override
    public String wire() {
        return null;
    }

    private ObjectNode response() {
        return ResponseItems.response(request, "resp_" + answerId, created, model);
    }

    @Override
    public Buffer whole(WholeAnswer answer, String model) {
        this.model = model;
        AnswerMessage m = AnswerMessage.of(answer.parts()).get(0);
        ObjectNode response = response();
        ResponseItems.addAll(response.withArray("output"), m, answerId, tools);
        return Buffer.buffer(Json.write(ResponseItems.end(response, m.finishReason(), answer.usage())));
    }

    @Override
    public void start(String name, String model, Buffer out) {
        this.model = model;
        say("response.created", response(), out);
        say("response.in_progress", response(), out);
    }

    private void say(String type, ObjectNode response, Buffer out) {
        begin(type, out).appendString(",\"response\":").appendBytes(Json.write(response)).appendString("}\n\n");
    }

    @Override
    public void event(ChatEvent event, Buffer out) {
        for (AnswerPart part : event.parts()) {
            if (part.choice() == 0) {
                part(part, out);
            }
        }
    }

    private void part(AnswerPart part, Buffer out) {
        switch (part) {
            case AnswerPart.Text t -> delta(Kind.TEXT, t.text(), out);
            case AnswerPart.Refusal r -> delta(Kind.REFUSAL, r.text(), out);
            case AnswerPart.Reasoning r -> delta(Kind.REASONING, r.text(), out);
            case AnswerPart.Signature s -> {
                open(Kind.REASONING, out);
                signature = s.signature();
                close(ResponseItems.COMPLETED, out);
            }
            case AnswerPart.SealedReasoning s -> {
                close(ResponseItems.COMPLETED, out);
                int at = items++;
                String id = ResponseItems.id("rs", answerId, at);
                item("added", at, ResponseItems.reasoning(id, ResponseItems.IN_PROGRESS, null, null), out);
                done(at, ResponseItems.reasoning(id, ResponseItems.COMPLETED, null, s.data()), out);
            }
            case AnswerPart.ToolStart t -> {
                close(ResponseItems.COMPLETED, out);
                int at = items++;
                Call call = new Call(at, ResponseItems.id("fc", answerId, at), t.id(), tools.known(t.name()), new StringBuilder());
                calls.put(t.index(), call);
                item("added", at, call.item(ResponseItems.IN_PROGRESS), out);
            }
            case AnswerPart.ToolArguments t when calls.containsKey(t.index()) -> {
                Call call = calls.get(t.index());
                call.arguments().append(t.fragment());
                // the text of a custom tool stands within them: it is told when it is whole
                if (!call.tool().custom()) {
                    Json.quote(about("response.function_call_arguments.delta", call.id(), call.index(), out)
                            .appendString(",\"delta\":"), t.fragment()).appendString("}\n\n");
                }
            }
            case AnswerPart.Logprobs l ->
                    l.json().path("content").forEach(logprobs.withArray("content")::add);
            case AnswerPart.Finish f -> finishReason = f.reason();
            default -> { }
        }
    }

    // --- text and thoughts

    private void delta(Kind more, String fragment, Buffer out) {
        open(more, out);
        text.append(fragment);
        Json.quote(inPart(more.event + ".delta", out).appendString(",\"delta\":"), fragment)
                .appendString(more == Kind.TEXT ? ",\"logprobs\":[]}\n\n" : "}\n\n");
    }

    /** Opens a part of this kind, and an item for it, unless they are open. */
    private void open(Kind more, Buffer out) {
        if (kind == more) {
            return;
        }
        if (kind != null && kind.item.equals(more.item)) {
            closePart(out);
        } else {
            close(ResponseItems.COMPLETED, out);
            index = items++;
            itemId = ResponseItems.id(more == Kind.REASONING ? "rs" : "msg", answerId, index);
            ObjectNode item = more == Kind.REASONING ? ResponseItems.reasoning(itemId, ResponseItems.IN_PROGRESS, null, null)
                    : ResponseItems.message(itemId, ResponseItems.IN_PROGRESS, content);
            item.putArray("content");
            item("added", index, item, out);
        }
        kind = more;
        inPart("response.content_part.added", out).appendString(",\"part\":").appendBytes(Json.write(partOf("")))
                .appendString("}\n\n");
    }

    private ObjectNode partOf(String words) {
        return switch (kind) {
            case TEXT -> ResponseItems.text(words, words.isEmpty() ? null : logprobs);
            case REFUSAL -> ResponseItems.refusal(words);
            case REASONING -> ResponseItems.thought(words);
        };
    }

    private void closePart(Buffer out) {
        ObjectNode part = partOf(text.toString());
        Json.quote(inPart(kind.event + ".done", out).appendString(",\"" + kind.member + "\":"), text.toString());
        if (kind == Kind.TEXT) {
            out.appendString(",\"logprobs\":").appendBytes(Json.write(part.get("logprobs")));
        }
        out.appendString("}\n\n");
        inPart("response.content_part.done", out).appendString(",\"part\":").appendBytes(Json.write(part)).appendString("}\n\n");
        content.add(part);
        text.setLength(0);
        logprobs = Json.MAPPER.createObjectNode();
    }

    /** Ends the item of text or thoughts that is open. */
    private void close(String status, Buffer out) {
        if (kind == null) {
            return;
        }
        closePart(out);
        done(index, kind == Kind.REASONING
                ? ResponseItems.reasoning(itemId, status, content.path(0).path("text").asText(), signature)
                : ResponseItems.message(itemId, status, content), out);
        content = Json.MAPPER.createArrayNode();
        signature = null;
        kind = null;
    }

    // --- events

    private void done(int at, ObjectNode item, Buffer out) {
        output.put(at, item);
        item("done", at, item, out);
    }

    private void item(String what, int at, ObjectNode item, Buffer out) {
        begin("response.output_item." + what, out).appendString(",\"output_index\":" + at + ",\"item\":")
                .appendBytes(Json.write(item)).appendString("}\n\n");
    }

    /** Begins an event about the part that is open. */
    private Buffer inPart(String type, Buffer out) {
        return about(type, itemId, index, out).appendString(",\"content_index\":" + content.size());
    }

    private Buffer about(String type, String id, int at, Buffer out) {
        return begin(type, out).appendString(",\"item_id\":\"" + id + "\",\"output_index\":" + at);
    }

    private Buffer begin(String type, Buffer out) {
        return out.appendString("event: " + type + "\ndata: {\"type\":\"" + type + "\",\"sequence_number\":" + number++);
    }

    // --- the end

    @Override
    public void end(Usage usage, Buffer out) {
        String status = ResponseItems.status(finishReason);
        // only what was being said last can have been cut short
        close(status, out);
        for (Map.Entry<Integer, Call> one : calls.entrySet()) {
            Call call = one.getValue();
            if (call.arguments().isEmpty() && !call.tool().custom() && status.equals(ResponseItems.COMPLETED)) {
                // OpenAI says so where there are none, and callers read it as JSON
                part(new AnswerPart.ToolArguments(0, one.getKey(), ResponseItems.NO_ARGUMENTS), out);
            }
            told(call, out);
            done(call.index(), call.item(call.index() == items - 1 ? status : ResponseItems.COMPLETED), out);
        }
        ObjectNode response = ResponseItems.end(response(), finishReason, usage);
        output.values().forEach(response.withArray("output")::add);
        say("response." + status, response, out);
    }

    private void told(Call call, Buffer out) {
        if (call.tool().custom()) {
            String input = ResponseTools.input(call.arguments().toString());
            for (String[] event : new String[][] {{"delta", "delta"}, {"done", "input"}}) {
                Json.quote(about("response.custom_tool_call_input." + event[0], call.id(), call.index(), out)
                        .appendString(",\"" + event[1] + "\":"), input).appendString("}\n\n");
            }
            return;
        }
        Json.quote(Json.quote(about("response.function_call_arguments.done", call.id(), call.index(), out)
                .appendString(",\"name\":"), call.tool().name()).appendString(",\"arguments\":"), call.arguments().toString())
                .appendString("}\n\n");
    }

    @Override
    public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
        String code = error.openAiCode() != null ? error.openAiCode() : entry.openAiCode();
        String type = error.type() != null ? error.type() : entry.type();
        ObjectNode told = Json.MAPPER.createObjectNode().put("code", code != null ? code : type).put("message", error.getMessage())
                .put("param", error.details().isEmpty() ? null : error.details().get(0).field());
        // as the reference has it, and once more as OpenAI sends it, where its SDKs look
        ObjectNode json = Json.MAPPER.createObjectNode().put("type", "error").put("sequence_number", number++).setAll(told);
        json.putObject("error").put("type", type).setAll(told);
        out.appendString("event: error\ndata: ").appendBytes(Json.write(json)).appendString("\n\n");
        // the end of a response, of which Codex and others take an error alone for none
        ObjectNode response = response().put("status", "failed");
        response.putObject("error").put("code", code != null ? code : "server_error").put("message", error.getMessage());
        output.values().forEach(response.withArray("output")::add);
        say("response.failed", response, out);
    }
}
