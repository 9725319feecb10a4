package io.llmchat.wire;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonStreamContext;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;

/**
 * Reads an answer on OpenAI's wire (API reference, "The chat completion object" and "chunk object"): in one pass over
 * each event, which for a caller of the same wire only looks for what the gateway itself must know.
 */
class OpenAiAnswers implements Wire.AnswerReader {

    private static final byte[] DONE = Json.utf8("[DONE]");
    /** Reasons to finish that say that the answer is broken: Mistral's and OpenRouter's, DeepSeek's, Zhipu's, vLLM's. */
    private static final Set<String> BROKEN = Set.of("error", "insufficient_system_resource", "network_error", "abort");
    /** What stands for no reason where others say null: SGLang's and older Ollamas', DashScope's. */
    static final Set<String> NO_REASON = Set.of("", "null");

    /**
     * Lists of a message behind which its text can go on as if they were not there: thoughts as OpenRouter and as LiteLLM have
     * them, and sources.
     */
    private static final Set<String> BESIDE = Set.of("reasoning_details", "thinking_blocks", "annotations");

    private final boolean raw;
    private final ToolCalls calls = new ToolCalls();
    private final TextChunk last = new TextChunk();
    /** Whether the stream has told what is new in it: whole messages say that once more. */
    private boolean deltas;
    private boolean begun;
    /** Characters of thoughts since the last signature or text, by choice. */
    private final Map<Integer, Integer> thought = new HashMap<>();

    OpenAiAnswers(boolean raw) {
        this.raw = raw;
    }

    @Override
    public boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink) {
        if (Arrays.equals(bytes, from, to, DONE, 0, DONE.length)) {
            return false;
        }
        String text = last.like(bytes, from, to);
        if (text != null) {
            sink.accept(new ChatEvent(type, raw ? bytes : null, from, to, raw ? List.of() : List.of(new AnswerPart.Text(0, text)), text,
                    false, false, true, text.length(), null, null, false));
            return true;
        }
        Pass pass = new Pass(false);
        try (JsonParser p = Json.FACTORY.createParser(bytes, from, to - from)) {
            pass.read(p);
        } catch (IOException e) {
            throw new Wire.MalformedAnswer("an event that is not JSON");
        }
        if (raw) {
            // the caller gets it in one line, though it came in several
            Bytes.oneLine(bytes, from, to);
        }
        begun |= pass.token;
        if (last.listens() && pass.isOneText()) {
            last.read(bytes, from, to, pass.contentFrom, pass.contentTo);
        }
        sink.accept(new ChatEvent(type, raw ? bytes : null, from, to, pass.parts, pass.content(), pass.toolCall, pass.otherChoice,
                pass.token, pass.textLength, pass.finishReason, pass.usage, pass.usage != null && pass.choices == 0));
        return true;
    }

    @Override
    public WholeAnswer answer(byte[] body) {
        Pass pass = new Pass(true);
        try (JsonParser p = Json.FACTORY.createParser(body)) {
            pass.read(p);
        } catch (IOException e) {
            throw new Wire.MalformedAnswer("an answer that is not JSON");
        }
        if (pass.choices == 0 && !pass.data) {
            throw new Wire.MalformedAnswer("an answer without choices");
        }
        return new WholeAnswer(raw ? body : null, pass.parts, pass.textLength, pass.finishReason, pass.usage);
    }

    /** One pass over a chunk or a completion. */
    private final class Pass {
        /** Of a completion, whose tool calls are whole, each one at its place; of a chunk they are fragments. */
        private final boolean whole;
        private List<AnswerPart> parts = raw ? List.of() : new ArrayList<>(4);
        private String finishReason;
        /** What is said of a choice that broke off; an error beside the choices says more. */
        private JsonNode broken;
        /** Of a model that has said nothing but what nobody can use. */
        private ProviderRefusal dropped;
        private Usage usage;
        private boolean token;
        private boolean data;
        private String content;
        /** It and what follows it, where it comes in pieces. */
        private StringBuilder longer;
        /** Where it stands, with its quotation marks. */
        private int contentFrom;
        private int contentTo;
        private boolean toolCall;
        private boolean otherChoice;
        private boolean detailed;
        private String thoughts;
        /** Thoughts of a whole message that had text before them, by how much; null: none. */
        private TreeMap<Integer, List<AnswerPart>> between;
        private int texts;
        private int textLength;
        private int choices;
        private int choice;

        Pass(boolean whole) {
            this.whole = whole;
        }

        void read(JsonParser p) throws IOException {
            if (p.nextToken() != JsonToken.START_OBJECT) {
                throw new Wire.MalformedAnswer("not a JSON object");
            }
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (name.equals("choices") && value == JsonToken.START_ARRAY) {
                    while (p.nextToken() == JsonToken.START_OBJECT) {
                        choices++;
                        choice(p);
                    }
                } else if (name.equals("usage") && value == JsonToken.START_OBJECT) {
                    usage(p);
                } else if (name.equals("error") && value != JsonToken.VALUE_NULL) {
                    throw reported(Json.MAPPER.readTree(p));
                } else {
                    data |= name.equals("data") && value == JsonToken.START_ARRAY;
                    p.skipChildren();
                }
            }
            if (p.nextToken() != null) {
                throw new Wire.MalformedAnswer("something after the JSON object");
            }
            if (broken != null) {
                throw reported(broken);
            }
            if (dropped != null) {
                throw dropped.withUsage(usage);
            }
        }

        /** Who has said something can only have failed. */
        private ChatException reported(JsonNode error) {
            return begun ? ProviderErrors.reported(error) : ProviderErrors.reportedWithStatus(error);
        }

        /** Whether it says a text of the first choice and nothing else. */
        boolean isOneText() {
            return choices == 1 && !otherChoice && texts == 1 && contentTo > 0 && finishReason == null && usage == null
                    && !toolCall && (raw || parts.size() == 1);
        }

        private void choice(JsonParser p) throws IOException {
            choice = 0;
            int at = parts.size();
            String finish = null;
            JsonNode message = null;
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (value == JsonToken.START_OBJECT && (name.equals("delta") || whole && name.equals("message"))) {
                    deltas = true;
                    message(p);
                } else if (value == JsonToken.START_OBJECT && name.equals("message") && !deltas) {
                    // MiniMax ends a stream with it, Perplexity has it in each chunk, before or behind what is new
                    message = Json.MAPPER.readTree(p);
                } else if (name.equals("finish_reason") && value == JsonToken.VALUE_STRING && !NO_REASON.contains(p.getText())) {
                    finish = p.getText();
                } else if (name.equals("error") && value == JsonToken.START_OBJECT) {
                    broken = Json.MAPPER.readTree(p);
                } else if (name.equals("index") && value == JsonToken.VALUE_NUMBER_INT) {
                    choice = p.getIntValue();
                } else if (!raw && name.equals("logprobs") && value == JsonToken.START_OBJECT) {
                    parts.add(new AnswerPart.Logprobs(choice, Json.MAPPER.readTree(p)));
                } else {
                    p.skipChildren();
                }
            }
            if (message != null && !deltas) {
                try (JsonParser m = Json.FACTORY.createParser(Json.write(message))) {
                    m.nextToken();
                    message(m);
                }
                // where it stands in the event is not known
                contentTo = 0;
            }
            if (finish != null) {
                if (finish.startsWith("function_call_filter") && !token && !begun) {
                    // Gemini's model has made no sense of the tools: it may the next time, and its provider is well
                    dropped = new ProviderRefusal("UPSTREAM_ERROR", "The provider reported an error: " + finish);
                    dropped.withOutcome("error");
                }
                token = true;
                if (BROKEN.contains(finish) && broken == null) {
                    broken = TextNode.valueOf(finish);
                }
                finishReason = switch (finish) {
                    case "function_call" -> "tool_calls";
                    // Mistral's and Zhipu's, where the model has no more room
                    case "model_length", "model_context_window_exceeded" -> "length";
                    // Zhipu's
                    case "sensitive" -> "content_filter";
                    // Gemini's says behind it what was found
                    default -> finish.startsWith("content_filter") ? "content_filter" : finish;
                };
                if (!raw) {
                    parts.add(new AnswerPart.Finish(choice, finishReason));
                }
            }
            if (choice > 0) {
                otherChoice = true;
                renumber(at);
            }
        }

        /** The index may stand behind the message that it is for. */
        private void renumber(int from) {
            for (int i = from; i < parts.size(); i++) {
                parts.set(i, switch (parts.get(i)) {
                    case AnswerPart.Text t -> new AnswerPart.Text(choice, t.text());
                    case AnswerPart.Reasoning r -> new AnswerPart.Reasoning(choice, r.text());
                    case AnswerPart.Signature s -> new AnswerPart.Signature(choice, s.signature());
                    case AnswerPart.SealedReasoning s -> new AnswerPart.SealedReasoning(choice, s.data());
                    case AnswerPart.Refusal r -> new AnswerPart.Refusal(choice, r.text());
                    case AnswerPart.ToolStart t -> new AnswerPart.ToolStart(choice, t.index(), t.id(), t.name());
                    case AnswerPart.ToolArguments t -> new AnswerPart.ToolArguments(choice, t.index(), t.fragment());
                    case AnswerPart.Logprobs l -> new AnswerPart.Logprobs(choice, l.json());
                    case AnswerPart other -> other;
                });
            }
        }

        private void message(JsonParser p) throws IOException {
            int at = parts.size();
            detailed = false;
            thoughts = null;
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (value == JsonToken.VALUE_STRING) {
                    text(p, name);
                } else if (name.equals("content") && value == JsonToken.START_ARRAY) {
                    content(Json.MAPPER.readTree(p));
                } else if (!raw && name.equals("tool_calls") && value == JsonToken.START_ARRAY) {
                    toolCalls(Json.MAPPER.readTree(p));
                } else if (!raw && name.equals("function_call") && value == JsonToken.START_OBJECT) {
                    toolCall(Json.MAPPER.createObjectNode().put("index", 0).set("function", Json.MAPPER.readTree(p)), 0);
                } else if (!raw && name.equals("reasoning_details") && value == JsonToken.START_ARRAY) {
                    reasoning(Json.MAPPER.readTree(p), at);
                } else if (value == JsonToken.START_ARRAY || value == JsonToken.START_OBJECT) {
                    // an empty list of tool calls is no more of the answer than an empty text
                    JsonStreamContext children = p.getParsingContext();
                    p.skipChildren();
                    token |= children.hasCurrentIndex();
                    toolCall |= children.hasCurrentIndex() && !BESIDE.contains(name);
                }
            }
            if (parts.size() > at + 1) {
                // thoughts come before what they led to, wherever they stand in the message
                parts.subList(at, parts.size()).sort(Comparator.comparing(part -> !thought(part)));
            }
            if (between != null) {
                divide(at);
            }
        }

        /** Divides the text of the message that begins here by the thoughts that the model had on the way. */
        private void divide(int from) {
            int at = from;
            while (at < parts.size() && !(parts.get(at) instanceof AnswerPart.Text)) {
                at++;
            }
            for (Map.Entry<Integer, List<AnswerPart>> last : between.descendingMap().entrySet()) {
                if (at < parts.size() && parts.get(at) instanceof AnswerPart.Text all && all.text().length() > last.getKey()) {
                    parts.set(at, new AnswerPart.Text(choice, all.text().substring(0, last.getKey())));
                    parts.add(at + 1, new AnswerPart.Text(choice, all.text().substring(last.getKey())));
                }
                parts.addAll(Math.min(at + 1, parts.size()), last.getValue());
            }
            between = null;
        }

        private static boolean thought(AnswerPart part) {
            return part instanceof AnswerPart.Reasoning || part instanceof AnswerPart.Signature
                    || part instanceof AnswerPart.SealedReasoning;
        }

        /**
         * Content in pieces of a kind each, as Mistral's reasoning models have it: text, and thoughts whose text stands one
         * level deeper (Mistral API, "Reasoning").
         */
        private void content(JsonNode pieces) {
            for (JsonNode piece : pieces) {
                if (piece.path("text").isTextual()) {
                    listed(piece.path("text").asText(), false);
                }
                if (piece.path("thinking").isTextual()) {
                    listed(piece.path("thinking").asText(), true);
                }
                for (JsonNode thought : piece.path("thinking")) {
                    listed(thought.path("text").asText(), true);
                }
            }
        }

        private void add(String text) {
            if (content == null) {
                content = text;
                return;
            }
            longer = longer == null ? new StringBuilder(content) : longer;
            longer.append(text);
        }

        private String content() {
            return longer == null ? content : longer.toString();
        }

        private void listed(String text, boolean thought) {
            if (text.isEmpty()) {
                return;
            }
            token = true;
            textLength += text.length();
            if (!thought) {
                add(text);
            }
            if (!raw) {
                parts.add(thought ? new AnswerPart.Reasoning(choice, text) : new AnswerPart.Text(choice, text));
            }
        }

        private void text(JsonParser p, String name) throws IOException {
            int length = p.getTextLength();
            if (length == 0 || name.equals("role")) {
                return;
            }
            token = true;
            toolCall |= name.equals("refusal");
            texts++;
            if (name.startsWith("reasoning")) {
                String before = thoughts;
                thoughts = p.getText();
                // vLLM says them by their old name and by their new one
                if (thoughts.equals(before)) {
                    return;
                }
            }
            textLength += length;
            if (raw && whole) {
                // it passes as it is, and whoever wants its text reads it there
                return;
            }
            String text = name.equals("content") || !raw ? p.getText() : null;
            if (name.equals("content")) {
                contentFrom = (int) p.currentTokenLocation().getByteOffset();
                contentTo = (int) p.currentLocation().getByteOffset();
                add(text);
            }
            if (raw) {
                if (name.equals("refusal")) {
                    // a session keeps its words
                    if (parts.isEmpty()) {
                        parts = new ArrayList<>(1);
                    }
                    parts.add(new AnswerPart.Refusal(choice, p.getText()));
                }
                return;
            }
            switch (name) {
                case "content" -> {
                    thought.remove(choice);
                    parts.add(new AnswerPart.Text(choice, text));
                }
                case "reasoning_content", "reasoning" -> {
                    if (!detailed) {
                        thought.merge(choice, text.length(), Integer::sum);
                        parts.add(new AnswerPart.Reasoning(choice, text));
                    }
                }
                case "refusal" -> parts.add(new AnswerPart.Refusal(choice, text));
                default -> { }
            }
        }

        private void toolCalls(JsonNode calls) {
            for (int i = 0; i < calls.size(); i++) {
                toolCall(calls.get(i), i);
            }
        }

        private void toolCall(JsonNode call, int place) {
            token = true;
            toolCall = true;
            boolean numbered = whole || call.path("index").isInt();
            int said = whole ? place : call.path("index").asInt(place);
            String id = call.path("id").asText("");
            JsonNode function = call.path("function");
            String name = function.path("name").asText("");
            boolean begins = calls.begins(choice, said, numbered, id, name);
            int index = calls.index(choice, said);
            if (begins) {
                String own = id.isEmpty() ? ToolCalls.newId() : id;
                String signature = call.at("/extra_content/google/thought_signature").asText("");
                parts.add(new AnswerPart.ToolStart(choice, index, signature.isEmpty() ? own : ToolCalls.signedId(own, signature), name));
            }
            String arguments = ToolCalls.arguments(function);
            if (!arguments.isEmpty()) {
                textLength += arguments.length();
                parts.add(new AnswerPart.ToolArguments(choice, index, arguments));
            }
        }

        /**
         * What OpenRouter and others send beside the plain thoughts: their signature, or thoughts that are sealed. Where
         * a signature comes with its thoughts, the plain ones say no more than that; in a stream it may come with all those
         * that were said before it, as this gateway sends it.
         */
        private void reasoning(JsonNode details, int from) {
            boolean complete = false;
            for (JsonNode detail : details) {
                int length = detail.path("text").asText().length();
                complete |= detail.path("signature").isTextual() && length > 0 && (whole || length != thought.getOrDefault(choice, 0));
            }
            if (complete) {
                parts.subList(from, parts.size()).removeIf(AnswerPart.Reasoning.class::isInstance);
            }
            detailed |= complete;
            token |= !details.isEmpty();
            for (JsonNode detail : details) {
                // in a stream they come where they stand
                int before = whole ? detail.path(OpenAiRequests.OFFSET).asInt() : 0;
                if (before > 0 && between == null) {
                    between = new TreeMap<>();
                }
                List<AnswerPart> to = before > 0 ? between.computeIfAbsent(before, b -> new ArrayList<>()) : parts;
                if (complete && !detail.path("text").asText().isEmpty()) {
                    to.add(new AnswerPart.Reasoning(choice, detail.path("text").asText()));
                }
                if (detail.path("signature").isTextual()) {
                    thought.remove(choice);
                    to.add(new AnswerPart.Signature(choice, detail.path("signature").asText()));
                } else if (detail.path("data").isTextual()) {
                    to.add(new AnswerPart.SealedReasoning(choice, OpenAiRequests.sealed(detail)));
                }
            }
        }

        private void usage(JsonParser p) throws IOException {
            long prompt = -1;
            long completion = 0;
            long total = -1;
            long cached = 0;
            long written = 0;
            long reasoning = 0;
            int depth = 1;
            while (depth > 0) {
                JsonToken token = p.nextToken();
                if (token == JsonToken.START_OBJECT) {
                    depth++;
                } else if (token == JsonToken.END_OBJECT) {
                    depth--;
                } else if (token != null && token.isNumeric()) {
                    // a count may be larger than a long, or have a decimal point
                    long n = (long) p.getDoubleValue();
                    // the sums stand at the top, their parts one level below; Moonshot has one of them at the top
                    switch (p.currentName()) {
                        case "prompt_tokens" -> prompt = depth == 1 ? n : prompt;
                        case "completion_tokens" -> completion = depth == 1 ? n : completion;
                        case "total_tokens" -> total = depth == 1 ? n : total;
                        case "cached_tokens" -> cached = depth <= 2 ? n : cached;
                        case "cache_write_tokens" -> written = depth == 2 ? n : written;
                        case "reasoning_tokens" -> reasoning = depth == 2 ? n : reasoning;
                        case null, default -> { }
                    }
                } else if (token == null) {
                    throw new Wire.MalformedAnswer("an event that is cut");
                }
            }
            if (prompt < 0) {
                // embeddings of some have a total alone (Voyage API, "Text embeddings")
                prompt = Math.max(0, total - completion);
            } else if (prompt > 0 && total > prompt) {
                // some count thoughts in the total alone (xAI API, "Reasoning"; Gemini's for OpenAI's clients)
                completion = Math.max(completion, total - prompt);
            }
            usage = new Usage(prompt, completion, total < 0 ? prompt + completion : total, cached, written, reasoning, false);
        }
    }
}
