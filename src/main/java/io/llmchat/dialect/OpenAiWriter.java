package io.llmchat.dialect;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerMessage;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Part;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import io.llmchat.wire.OpenAiRequests;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** An answer as OpenAI says it (API reference, "The chat completion object" and "chunk object"). */
final class OpenAiWriter implements AnswerWriter {

    private static final byte[] DATA = Json.utf8("data: ");
    private static final byte[] END_OF_EVENT = Json.utf8("\n\n");

    private final ChatRequest request;
    private final String answerId;
    private String id;
    private long created = System.currentTimeMillis() / 1000;
    /** The first chunk with a token of a provider whose bytes pass: should another provider go on, it does so under the same names. */
    private byte[] firstPassed;
    /** How many characters of text were in those bytes. */
    private int passed;
    private final Map<Integer, Choice> choices = new HashMap<>();
    private String model;
    private boolean usageSent;
    private int n;

    /** What has been told of a choice. */
    private static final class Choice {
        private boolean begun;
        /** Entries of {@code reasoning_details}. */
        private int details;
        /** Characters of its text. */
        private int said;
        /** Since the last signature or text: a signature is under these alone, as the caller is to send them back. */
        private StringBuilder thoughts = new StringBuilder();

        /** Whether nothing was told of it before this. */
        boolean begins() {
            boolean first = !begun;
            begun = true;
            return first;
        }

        String takeThoughts() {
            String taken = thoughts.toString();
            if (!taken.isEmpty()) {
                thoughts = new StringBuilder();
            }
            return taken;
        }
    }

    OpenAiWriter(ChatRequest request, String answerId) {
        this.request = request;
        this.answerId = answerId;
        this.id = "chatcmpl-" + answerId;
        this.model = request.model();
    }

    @Override
    public String wire() {
        return "openai";
    }

    @Override
    public Buffer whole(WholeAnswer answer, String model) {
        return Bytes.buffer(answer.json() != null ? answer.json() : Json.write(completion(answer, id, created, model)));
    }

    /** An answer in parts as OpenAI's completion. */
    static ObjectNode completion(WholeAnswer answer, String id, long created, String model) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("id", id).put("object", "chat.completion").put("created", created)
                .put("model", model);
        ArrayNode choices = json.putArray("choices");
        for (AnswerMessage m : AnswerMessage.of(answer.parts())) {
            ObjectNode choice = choices.addObject().put("index", m.choice());
            message(choice.putObject("message").put("role", "assistant"), m);
            if (m.logprobs() != null) {
                choice.set("logprobs", m.logprobs());
            }
            choice.put("finish_reason", m.finishReason());
        }
        if (answer.usage() != null) {
            json.set("usage", usage(answer.usage()));
        }
        return json;
    }

    private static void message(ObjectNode json, AnswerMessage m) {
        boolean text = m.parts().stream().anyMatch(Part.Text.class::isInstance);
        boolean more = m.parts().stream().anyMatch(p -> p instanceof Part.ToolCall || p instanceof Part.Refusal);
        json.put("content", text || !more ? m.text() : null);
        if (!m.reasoning().isEmpty()) {
            json.put("reasoning_content", m.reasoning());
        }
        int before = 0;
        for (Part part : m.parts()) {
            switch (part) {
                case Part.Text t -> before += t.text().length();
                case Part.Refusal r -> json.put("refusal", json.path("refusal").asText("") + r.text());
                case Part.ToolCall call -> json.withArray("tool_calls").addObject().put("id", call.id()).put("type", "function")
                        .putObject("function").put("name", call.name()).put("arguments", call.arguments());
                case Part.Reasoning r when r.signature() != null -> OpenAiRequests.detail(json, "text", before).put("text", r.text())
                        .put("signature", r.signature());
                case Part.SealedReasoning s -> OpenAiRequests.detail(json, "encrypted", before).put("data", s.data());
                default -> { }
            }
        }
    }

    /** Usage as OpenAI says it; what was only estimated says so. */
    static ObjectNode usage(Usage usage) {
        ObjectNode json = Json.MAPPER.createObjectNode().put("prompt_tokens", usage.promptTokens())
                .put("completion_tokens", usage.completionTokens()).put("total_tokens", usage.totalTokens());
        if (usage.cachedTokens() > 0) {
            json.putObject("prompt_tokens_details").put("cached_tokens", usage.cachedTokens());
        }
        if (usage.cacheWriteTokens() > 0) {
            json.withObjectProperty("prompt_tokens_details").put("cache_write_tokens", usage.cacheWriteTokens());
        }
        if (usage.reasoningTokens() > 0) {
            json.putObject("completion_tokens_details").put("reasoning_tokens", usage.reasoningTokens());
        }
        if (usage.estimated()) {
            json.put("estimated", true);
        }
        return json;
    }

    @Override
    public void start(String name, String model, Buffer out) {
        // an OpenAI stream begins with its first chunk
        this.model = model;
    }

    @Override
    public void event(ChatEvent event, Buffer out) {
        if (event.bytes() != null) {
            // Azure begins with an event that has no names
            if (firstPassed == null && event.token()) {
                firstPassed = Arrays.copyOfRange(event.bytes(), event.from(), event.to());
            }
            passed += event.content() == null ? 0 : event.content().length();
            if (!event.usageOnly() || request.includeUsage()) {
                usageSent |= event.usage() != null;
                data(out).appendBytes(event.bytes(), event.from(), event.to() - event.from())
                        .appendBytes(END_OF_EVENT);
            }
            return;
        }
        if (firstPassed != null && choice(0).begins()) {
            underTheSameNames();
            choice(0).said = passed;
        }
        // what another provider has counted, which said so in each chunk and broke off, is not all
        usageSent &= !event.token();
        for (AnswerPart part : event.parts()) {
            part(part, out);
        }
    }

    private void underTheSameNames() {
        try {
            JsonNode first = Json.read(firstPassed);
            id = first.path("id").asText(id);
            created = first.path("created").asLong(created);
            model = first.path("model").asText(model);
        } catch (IOException e) {
            throw new IllegalStateException("a chunk that was read before cannot be read again", e);
        }
    }

    private Choice choice(int index) {
        return choices.computeIfAbsent(index, i -> new Choice());
    }

    private void part(AnswerPart part, Buffer out) {
        switch (part) {
            case AnswerPart.Text t -> {
                Choice choice = choice(t.choice());
                choice.takeThoughts();
                choice.said += t.text().length();
                text(t.choice(), "content", t.text(), out);
            }
            case AnswerPart.Reasoning r -> {
                choice(r.choice()).thoughts.append(r.text());
                text(r.choice(), "reasoning_content", r.text(), out);
            }
            case AnswerPart.Refusal r -> text(r.choice(), "refusal", r.text(), out);
            case AnswerPart.Signature s -> {
                // its thoughts once more, in one piece: right for those who put entries together and for those who do not
                Json.quote(details(s.choice(), "text", out).appendString("\"text\":"), choice(s.choice()).takeThoughts());
                close(Json.quote(out.appendString(",\"signature\":"), s.signature()).appendString("}]"), null);
            }
            case AnswerPart.SealedReasoning s ->
                close(Json.quote(details(s.choice(), "encrypted", out).appendString("\"data\":"), s.data()).appendString("}]"), null);
            case AnswerPart.ToolStart t -> {
                Json.quote(open(t.choice(), out).appendString("\"tool_calls\":[{\"index\":" + t.index() + ",\"id\":"), t.id());
                Json.quote(out.appendString(",\"type\":\"function\",\"function\":{\"name\":"), t.name());
                close(out.appendString(",\"arguments\":\"\"}}]"), null);
            }
            case AnswerPart.ToolArguments t -> {
                Json.quote(open(t.choice(), out).appendString("\"tool_calls\":[{\"index\":" + t.index()
                        + ",\"function\":{\"arguments\":"), t.fragment());
                close(out.appendString("}}]"), null);
            }
            case AnswerPart.Finish f -> close(open(f.choice(), out), f.reason());
            case AnswerPart.Logprobs l -> {
                open(l.choice(), out).appendString("},\"logprobs\":").appendBytes(Json.write(l.json()));
                out.appendString(",\"finish_reason\":null}]}").appendBytes(END_OF_EVENT);
            }
            case AnswerPart.Status s -> { }
        }
    }

    private void text(int choice, String name, String text, Buffer out) {
        close(Json.quote(open(choice, out).appendString("\"" + name + "\":"), text), null);
    }

    private Buffer details(int choice, String type, Buffer out) {
        // who puts the chunks together goes by the index, and openai-python insists on one
        Choice told = choice(choice);
        int index = told.details++;
        int before = told.said;
        return open(choice, out).appendString("\"reasoning_details\":[{\"index\":" + index + ",\"type\":\"reasoning." + type + "\","
                + (before > 0 ? "\"" + OpenAiRequests.OFFSET + "\":" + before + "," : ""));
    }

    private Buffer open(int choice, Buffer out) {
        head(out).appendString("{\"index\":" + choice + ",\"delta\":{");
        if (choice(choice).begins()) {
            // the first chunk of a choice says who speaks
            close(out.appendString("\"role\":\"assistant\",\"content\":\"\""), null);
            head(out).appendString("{\"index\":" + choice + ",\"delta\":{");
        }
        return out;
    }

    private Buffer head(Buffer out) {
        data(out).appendString("{\"id\":\"" + id + "\",\"object\":\"chat.completion.chunk\",\"created\":" + created
                + ",\"model\":");
        return Json.quote(out, model).appendString(",\"choices\":[");
    }

    /** Begins an event. */
    private Buffer data(Buffer out) {
        return number(out).appendBytes(DATA);
    }

    /** A caller who may come back for the rest gets the number of each event. */
    private Buffer number(Buffer out) {
        return request.resumable()
                ? out.appendString("id: ").appendString(answerId).appendString(":").appendString(Integer.toString(++n)).appendString("\n")
                : out;
    }

    private static void close(Buffer out, String finishReason) {
        out.appendString("},\"finish_reason\":");
        if (finishReason == null) {
            out.appendString("null");
        } else {
            Json.quote(out, finishReason);
        }
        out.appendString("}]}").appendBytes(END_OF_EVENT);
    }

    @Override
    public void end(Usage usage, Buffer out) {
        if (request.includeUsage() && !usageSent) {
            if (firstPassed != null) {
                underTheSameNames();
            }
            head(out).appendString("],\"usage\":").appendBytes(Json.write(usage(usage))).appendString("}").appendBytes(END_OF_EVENT);
        }
        data(out).appendString("[DONE]\n\n");
    }

    @Override
    public void error(ChatException error, ErrorTable.Entry entry, Buffer out) {
        // by its name LangChain4j knows it, to which the answer would be whole; OpenAI's SDKs look for the member "error"
        number(out).appendString("event: error\n").appendBytes(DATA)
                .appendBuffer(OpenAiDialect.CHAT.error(error, entry, null)).appendBytes(END_OF_EVENT);
    }
}
