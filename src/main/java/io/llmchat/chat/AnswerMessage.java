package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * One choice of an answer, put together from its parts.
 *
 * @param parts in order, neighbours of one kind joined: text, thoughts, refusal and tool calls
 * @param finishReason in OpenAI's words; {@code stop} where the provider said nothing
 * @param logprobs as OpenAI says them, or null
 */
public record AnswerMessage(int choice, List<Part> parts, String finishReason, JsonNode logprobs) {

    /** The choices of an answer, in order; at least one. */
    public static List<AnswerMessage> of(List<AnswerPart> parts) {
        Map<Integer, Builder> choices = new TreeMap<>();
        choices.put(0, new Builder());
        parts.forEach(part -> choices.computeIfAbsent(part.choice(), c -> new Builder()).add(part));
        List<AnswerMessage> messages = new ArrayList<>();
        choices.forEach((choice, builder) -> messages.add(builder.build(choice)));
        return messages;
    }

    /** All text in it, in one piece; empty if there is none. */
    public String text() {
        StringBuilder text = new StringBuilder();
        parts.forEach(p -> text.append(p instanceof Part.Text t ? t.text() : ""));
        return text.toString();
    }

    /** All thoughts in it, in one piece; empty if there are none. */
    public String reasoning() {
        StringBuilder text = new StringBuilder();
        parts.forEach(p -> text.append(p instanceof Part.Reasoning r ? r.text() : ""));
        return text.toString();
    }

    private static final class Builder {
        private enum Kind {
            NONE, TEXT, REASONING, REFUSAL
        }

        private final List<Part> parts = new ArrayList<>();
        private final StringBuilder open = new StringBuilder();
        private Kind kind = Kind.NONE;
        private String signature;
        /** Where in {@code parts} a tool call stands, by its index, and its arguments. */
        private final Map<Integer, Integer> places = new TreeMap<>();
        private final Map<Integer, StringBuilder> arguments = new TreeMap<>();
        private String finish = "stop";
        private JsonNode logprobs;

        void add(AnswerPart part) {
            switch (part) {
                case AnswerPart.Text t -> grow(Kind.TEXT, t.text());
                case AnswerPart.Reasoning r -> grow(Kind.REASONING, r.text());
                case AnswerPart.Refusal r -> grow(Kind.REFUSAL, r.text());
                case AnswerPart.Signature s -> {
                    grow(Kind.REASONING, "");
                    signature = s.signature();
                    close();
                }
                case AnswerPart.SealedReasoning s -> {
                    close();
                    parts.add(new Part.SealedReasoning(s.data()));
                }
                case AnswerPart.ToolStart t -> {
                    close();
                    places.put(t.index(), parts.size());
                    arguments.put(t.index(), new StringBuilder());
                    parts.add(new Part.ToolCall(t.id(), t.name(), ""));
                }
                case AnswerPart.ToolArguments t -> arguments.computeIfAbsent(t.index(), i -> new StringBuilder()).append(t.fragment());
                case AnswerPart.Logprobs l -> logprobs(l.json());
                case AnswerPart.Finish f -> finish = f.reason();
                case AnswerPart.Status s -> { }
            }
        }

        private void grow(Kind more, String text) {
            if (kind != more) {
                close();
                kind = more;
            }
            open.append(text);
        }

        private void logprobs(JsonNode more) {
            if (logprobs == null) {
                logprobs = more.deepCopy();
            } else {
                more.properties().forEach(list -> list.getValue().forEach(
                        ((ObjectNode) logprobs).withArray(list.getKey())::add));
            }
        }

        private void close() {
            switch (kind) {
                case TEXT -> parts.add(new Part.Text(open.toString()));
                case REASONING -> parts.add(new Part.Reasoning(open.toString(), signature));
                case REFUSAL -> parts.add(new Part.Refusal(open.toString()));
                case NONE -> { }
            }
            open.setLength(0);
            signature = null;
            kind = Kind.NONE;
        }

        AnswerMessage build(int choice) {
            close();
            places.forEach((index, place) -> {
                Part.ToolCall call = (Part.ToolCall) parts.get(place);
                parts.set(place, new Part.ToolCall(call.id(), call.name(), arguments.get(index).toString()));
            });
            return new AnswerMessage(choice, parts, finish, logprobs);
        }
    }
}
