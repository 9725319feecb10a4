package io.llmchat.chat;

import java.util.List;

/**
 * One event of a streamed answer: as the provider's bytes, for a caller whose dialect is the provider's wire, or else
 * in parts. The bytes are only there while it is handed on: whoever keeps them copies them.
 *
 * @param type the event's name, or null if it has none
 * @param bytes holds the event's data as the provider sent it; null: it is in {@code parts}
 * @param from where the data begins in {@code bytes}
 * @param to where it ends
 * @param parts what it says; empty where {@code bytes} are there
 * @param token whether there is anything of the answer in it: the role alone is not
 * @param textLength how many characters of the answer are in it, about
 * @param finishReason why the answer ends here, in OpenAI's words, or null
 * @param usage the tokens counted so far, or null
 * @param usageOnly it carries usage and no choice: the extra chunk that is sent on request only
 */
public record ChatEvent(String type, byte[] bytes, int from, int to, List<AnswerPart> parts, boolean token, int textLength,
                        String finishReason, Usage usage, boolean usageOnly) {

    /** An event in parts. */
    public static ChatEvent of(List<AnswerPart> parts, Usage usage) {
        boolean token = false;
        int length = 0;
        String finish = null;
        for (AnswerPart part : parts) {
            token |= !(part instanceof AnswerPart.Status);
            switch (part) {
                case AnswerPart.Text t -> length += t.text().length();
                case AnswerPart.Reasoning r -> length += r.text().length();
                case AnswerPart.Refusal r -> length += r.text().length();
                case AnswerPart.ToolArguments a -> length += a.fragment().length();
                case AnswerPart.Finish f -> finish = f.reason();
                default -> { }
            }
        }
        return new ChatEvent(null, null, 0, 0, parts, token, length, finish, usage, false);
    }
}
