package io.llmchat.wire;

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Message;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A wire that is described and not programmed: a template for the request, and JSON Pointers (RFC 6901) to what matters
 * in an answer. The template is JSON; a string that is nothing but {@code ${name}} becomes that value, and
 * {@code ${name}} within a longer string becomes its text; a member whose value is not there is left out. Names are
 * {@code model}, {@code query} (the last message), {@code system}, {@code messages} and {@code tools} (as OpenAI has
 * them), {@code transcript} (all messages as text), {@code stream}, {@code chatId}, {@code answerId}, {@code variables} and
 * {@code metadata} (of the native dialect), and every option of the request, such as {@code max_tokens}.
 */
public final class MappedWire implements Wire {

    private static final Pattern NAME = Pattern.compile("\\$\\{([A-Za-z0-9_]+)}");
    private static final Set<String> NEEDED = Set.of("n", "response_format", "logprobs", "modalities");

    private final Options options;
    private final JsonNode template;
    /** The names in it. */
    private final Set<String> used;

    /**
     * The description.
     *
     * @param path below the base URL
     * @param template of the request
     * @param framing {@code sse}, or {@code lines}: one JSON document on each line
     * @param text where the text of an event is; that of a whole answer too, unless {@code answerText} says otherwise
     * @param end the name of the event that ends the stream, or its whole data; empty: the finish reason ends it
     * @param keyHeader in which request header our key is shown, after {@code keyPrefix}
     */
    public record Options(String path, String template, String framing, String text, String answerText, String reasoning,
                          String finishReason, String promptTokens, String completionTokens, String error, String end,
                          String keyHeader, String keyPrefix) {
    }

    /** @throws IllegalArgumentException if the description cannot be used; it says what of it */
    public MappedWire(Options options) {
        this.options = options;
        try {
            template = Json.read(Json.utf8(options.template()));
        } catch (IOException e) {
            throw new IllegalArgumentException("requestTemplate is not JSON: " + e.getMessage());
        }
        if (!template.isObject()) {
            throw new IllegalArgumentException("requestTemplate must be a JSON object");
        }
        if (!options.framing().equals("sse") && !options.framing().equals("lines")) {
            throw new IllegalArgumentException("framing is '" + options.framing() + "'; it takes sse or lines");
        }
        used = NAME.matcher(options.template()).results().map(m -> m.group(1)).collect(Collectors.toSet());
        if (pointer(options.text()) == null) {
            throw new IllegalArgumentException("textPointer is missing");
        }
        for (String p : new String[] {options.answerText(), options.reasoning(), options.finishReason(), options.promptTokens(),
            options.completionTokens(), options.error()}) {
            pointer(p);
        }
        if (options.end().isBlank() && options.finishReason().isBlank() && used.contains("stream")) {
            throw new IllegalArgumentException("nothing ends a stream; endEvent or finishReasonPointer says what does");
        }
    }

    private static JsonPointer pointer(String text) {
        if (text.isBlank()) {
            return null;
        }
        try {
            return JsonPointer.compile(text);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("'" + text + "' is not a JSON Pointer; one begins with a slash");
        }
    }

    @Override
    public String name() {
        return "mapped";
    }

    // --- request

    @Override
    public Call call(Asked asked) {
        if (asked.request().operation() != Operation.CHAT) {
            throw Unsayable.operation("do anything but chat");
        }
        Prompt prompt = asked.prompt();
        ObjectNode values = values(asked, prompt);
        List<String> warnings = new ArrayList<>();
        Unsayable.options(prompt.options(), used, NEEDED, warnings);
        if (!prompt.tools().isEmpty() && !used.contains("tools")) {
            throw Unsayable.field("tools");
        }
        if (prompt.system() != null && !used.contains("system") && !used.contains("messages") && !used.contains("transcript")) {
            throw Unsayable.field("messages (system)");
        }
        if (!used.contains("messages")) {
            texts(prompt, used.contains("transcript"), warnings);
            Unsayable.names(prompt, warnings);
        }
        return new Call(options.path(), Json.write(fill(template, values)), Map.of(), asked.request().stream(), warnings);
    }

    /**
     * What the template has of the messages is text: nothing else may be in those that are told.
     *
     * @param all whether all are told, or the system's and the last one only
     */
    private static void texts(Prompt prompt, boolean all, List<String> warnings) {
        List<Message> conversation = prompt.conversation();
        for (int i = 0; i < prompt.messages().size(); i++) {
            Message message = prompt.messages().get(i);
            if (all || message.role() == Message.Role.SYSTEM || message == conversation.getLast()) {
                texts(message, "messages[" + i + "]");
            }
        }
        if (!all && conversation.size() > 1) {
            warnings.add("messages (all but the last)");
        }
    }

    private static void texts(Message message, String at) {
        int i = 0;
        for (Part part : message.parts()) {
            switch (part) {
                case Part.Image p -> throw Unsayable.field(at + ".content[" + i + "]");
                case Part.Document p -> throw Unsayable.field(at + ".content[" + i + "]");
                case Part.ToolCall p -> throw Unsayable.field(at + ".tool_calls");
                case Part.ToolResult p -> throw Unsayable.field(at);
                case Part.Other p -> throw Unsayable.field(at + ".content[" + i + "]");
                // thoughts are nobody's but the model's
                default -> i++;
            }
        }
    }

    private static ObjectNode values(Asked asked, Prompt prompt) {
        ObjectNode values = Json.MAPPER.createObjectNode();
        prompt.options().forEach(values::set);
        ObjectNode openAi = OpenAiRequests.write(prompt, asked.model(), OpenAiWire.MAX_TOKENS, OpenAiWire.NO_THOUGHTS);
        List<Message> conversation = prompt.conversation();
        StringBuilder transcript = new StringBuilder();
        prompt.messages().forEach(m -> transcript.append(m.role().name().toLowerCase(Locale.ROOT)).append(": ")
                .append(m.text()).append('\n'));
        values.put("model", asked.model()).put("stream", asked.request().stream()).put("answerId", asked.answerId())
                .put("transcript", transcript.toString().strip()).put("chatId", asked.request().chatId())
                .put("query", conversation.isEmpty() ? "" : conversation.getLast().text())
                .put("system", prompt.system());
        values.set("messages", openAi.get("messages"));
        if (openAi.has("tools")) {
            values.set("tools", openAi.get("tools"));
        }
        return values;
    }

    private static JsonNode fill(JsonNode node, ObjectNode values) {
        if (node.isObject()) {
            ObjectNode filled = Json.MAPPER.createObjectNode();
            node.properties().forEach(m -> {
                JsonNode value = fill(m.getValue(), values);
                if (!value.isMissingNode()) {
                    filled.set(m.getKey(), value);
                }
            });
            return filled;
        }
        if (node.isArray()) {
            ArrayNode filled = Json.MAPPER.createArrayNode();
            node.forEach(e -> {
                JsonNode value = fill(e, values);
                if (!value.isMissingNode()) {
                    filled.add(value);
                }
            });
            return filled;
        }
        if (!node.isTextual()) {
            return node;
        }
        Matcher names = NAME.matcher(node.asText());
        if (names.matches()) {
            JsonNode value = values.path(names.group(1));
            return value.isNull() ? Json.MAPPER.missingNode() : value;
        }
        return TextNode.valueOf(names.replaceAll(m -> Matcher.quoteReplacement(text(values.path(m.group(1))))));
    }

    private static String text(JsonNode value) {
        return value.isValueNode() ? value.asText("") : value.toString();
    }

    // --- answer

    @Override
    public Framing framing(int maxEvent, Framing.Sink sink) {
        return options.framing().equals("sse") ? new SseReader(maxEvent, sink) : new LineReader(maxEvent, sink);
    }

    @Override
    public boolean streamType(String contentType) {
        return options.framing().equals("lines") || Wire.super.streamType(contentType);
    }

    @Override
    public AnswerReader reader(boolean raw) {
        return new Reader();
    }

    private final class Reader implements AnswerReader {
        private long promptTokens = -1;
        private long completionTokens = -1;
        private boolean finished;

        @Override
        public boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink) {
            boolean named = !options.end().isBlank();
            if (named && to - from <= 64 && options.end().equals(new String(bytes, from, to - from, StandardCharsets.UTF_8))) {
                finish(sink);
                return false;
            }
            boolean last = named && options.end().equals(type);
            List<AnswerPart> parts = new ArrayList<>(2);
            // the data of the one that ends it may be anything
            Usage usage = read(last ? ProviderErrors.json(Arrays.copyOfRange(bytes, from, to)) : ProviderErrors.event(bytes, from, to),
                    options.text(), parts);
            if (!parts.isEmpty() || usage != null) {
                sink.accept(ChatEvent.of(parts, usage));
            }
            finished |= parts.stream().anyMatch(AnswerPart.Finish.class::isInstance);
            last |= !named && finished;
            if (last) {
                finish(sink);
            }
            return !last;
        }

        /** The end of the stream is a reason to finish where none was told. */
        private void finish(Consumer<ChatEvent> sink) {
            if (!finished) {
                finished = true;
                sink.accept(ChatEvent.of(List.of(new AnswerPart.Finish(0, "stop")), null));
            }
        }

        private Usage read(JsonNode json, String textPointer, List<AnswerPart> parts) {
            JsonNode error = at(json, options.error());
            if (isSomething(error)) {
                throw ProviderErrors.reported(error);
            }
            JsonNode reasoning = at(json, options.reasoning());
            if (reasoning.isTextual() && !reasoning.asText().isEmpty()) {
                parts.add(new AnswerPart.Reasoning(0, reasoning.asText()));
            }
            JsonNode text = at(json, textPointer);
            if (text.isTextual() && !text.asText().isEmpty()) {
                parts.add(new AnswerPart.Text(0, text.asText()));
            }
            JsonNode finish = at(json, options.finishReason());
            // a reason, or a flag that it is done
            if (finish.isTextual() ? !OpenAiAnswers.NO_REASON.contains(finish.asText()) : finish.isBoolean() && finish.booleanValue()) {
                parts.add(new AnswerPart.Finish(0, reason(finish.asText())));
            }
            return usage(json);
        }

        private Usage usage(JsonNode json) {
            JsonNode prompt = at(json, options.promptTokens());
            JsonNode completion = at(json, options.completionTokens());
            if (!prompt.isNumber() && !completion.isNumber()) {
                return null;
            }
            promptTokens = prompt.asLong(promptTokens);
            completionTokens = completion.asLong(completionTokens);
            return new Usage(Math.max(0, promptTokens), Math.max(0, completionTokens));
        }

        @Override
        public WholeAnswer answer(byte[] body) {
            JsonNode json = ProviderErrors.json(body);
            if (!json.isObject()) {
                throw new MalformedAnswer("an answer that is not a JSON object");
            }
            List<AnswerPart> parts = new ArrayList<>();
            Usage usage = read(json, options.answerText().isBlank() ? options.text() : options.answerText(), parts);
            ChatEvent all = ChatEvent.of(parts, usage);
            if (!all.token()) {
                throw new MalformedAnswer("an answer without text");
            }
            return new WholeAnswer(null, parts, all.textLength(), all.finishReason() == null ? "stop" : all.finishReason(), usage);
        }
    }

    private static JsonNode at(JsonNode json, String pointer) {
        return pointer.isBlank() ? Json.MAPPER.missingNode() : json.at(pointer);
    }

    /** Some say in each event that there is no error: by an empty text or object, false, or 0. */
    private static boolean isSomething(JsonNode error) {
        return error.isContainerNode() ? !error.isEmpty() : error.isTextual() ? !error.asText().isEmpty() : error.asBoolean();
    }

    private static String reason(String said) {
        String lower = said.toLowerCase(Locale.ROOT);
        return lower.contains("length") || lower.contains("max") ? "length"
                : lower.contains("filter") || lower.contains("safety") ? "content_filter" : "stop";
    }

    @Override
    public ChatException failure(String provider, int status, String retryAfter, byte[] body) {
        JsonNode json = ProviderErrors.json(body);
        JsonNode error = at(json, options.error());
        return ProviderErrors.of(provider, status, retryAfter, isSomething(error) ? error : json);
    }

    @Override
    public Map<String, String> headers(String apiKey) {
        return apiKey == null || apiKey.isBlank() ? Map.of() : Map.of(options.keyHeader(), options.keyPrefix() + apiKey);
    }
}
