package io.llmchat.chat;

import java.util.Arrays;
import java.util.List;

/**
 * One event of a streamed answer: as the provider's bytes, for a caller whose dialect is the provider's wire, or else
 * in parts. The bytes are only there while it is handed on: whoever keeps them copies them.
 *
 * @param type the event's name, or null if it has none
 * @param bytes holds the event's data as the provider sent it; null: it is in {@code parts}
 * @param from where the data begins in {@code bytes}
 * @param to where it ends
 * @param parts what it says; may be empty where {@code bytes} are there
 * @param content text of the first choice, or null
 * @param toolCall whether it is part of a tool call, or of a refusal: of what nobody else can go on with
 * @param otherChoice whether it is part of another choice than the first
 * @param token whether there is anything of the answer in it: the role alone is not
 * @param textLength how many characters of the answer are in it, about
 * @param finishReason why the answer ends here, in OpenAI's words, or null
 * @param usage the tokens counted so far, or null
 * @param usageOnly it carries usage and no choice: the extra chunk that is sent on request only
 */
public record ChatEvent(String type, byte[] bytes, int from, int to, List<AnswerPart> parts, String content, boolean toolCall,
                        boolean otherChoice, boolean token, int textLength,
                        String finishReason, Usage usage, boolean usageOnly) {

    /** An event in parts. */
    public static ChatEvent of(List<AnswerPart> parts, Usage usage) {
        return of(null, null, 0, 0, parts, usage, false, false);
    }

    /** The same event, with bytes of its own. */
    public ChatEvent kept() {
        return bytes == null ? this : new ChatEvent(type, Arrays.copyOfRange(bytes, from, to), 0, to - from, parts, content, toolCall,
                otherChoice, token, textLength, finishReason, usage, usageOnly);
    }

    /** Adds what it says to an answer of which nothing was sent: what was sent could not be taken back. */
    public void addTo(List<AnswerPart> answer) {
        for (AnswerPart part : parts) {
            if (part instanceof AnswerPart.Status status && status.replacement() != null) {
                answer.removeIf(AnswerPart.Text.class::isInstance);
                answer.add(new AnswerPart.Text(0, status.replacement()));
            } else {
                answer.add(part);
            }
        }
    }

    /**
     * An event in bytes and parts.
     *
     * @param begun whether it begins something of the answer of which no part tells
     * @param called whether that is a call of a tool
     */
    public static ChatEvent of(String type, byte[] bytes, int from, int to, List<AnswerPart> parts, Usage usage, boolean begun, boolean called) {
        boolean token = begun;
        boolean tool = called;
        boolean other = false;
        int length = 0;
        String finish = null;
        String content = null;
        StringBuilder longer = null;
        for (AnswerPart part : parts) {
            token |= !(part instanceof AnswerPart.Status);
            switch (part) {
                case AnswerPart.Text t -> {
                    length += t.text().length();
                    other |= t.choice() > 0;
                    if (t.choice() == 0 && content == null) {
                        content = t.text();
                    } else if (t.choice() == 0) {
                        longer = longer == null ? new StringBuilder(content) : longer;
                        longer.append(t.text());
                    }
                }
                case AnswerPart.Reasoning r -> length += r.text().length();
                case AnswerPart.Refusal r -> {
                    tool = true;
                    length += r.text().length();
                }
                case AnswerPart.ToolStart t -> tool = true;
                case AnswerPart.ToolArguments a -> {
                    tool = true;
                    length += a.fragment().length();
                }
                case AnswerPart.Finish f -> finish = f.reason();
                default -> { }
            }
        }
        return new ChatEvent(type, bytes, from, to, parts, longer == null ? content : longer.toString(), tool, other, token, length, finish, usage, false);
    }
}
