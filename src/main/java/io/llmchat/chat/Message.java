package io.llmchat.chat;

import java.util.List;

/**
 * One message of a conversation.
 *
 * @param name who speaks, where the caller said so, or null
 */
public record Message(Role role, List<Part> parts, String name) {

    /** Who speaks. A tool's answer is a message of its own, with one {@link Part.ToolResult}. */
    public enum Role {
        SYSTEM, USER, ASSISTANT, TOOL
    }

    public Message(Role role, Part... parts) {
        this(role, List.of(parts), null);
    }

    /** All text in it, in one piece, each on a line of its own unless only thoughts stand between them; empty if there is none. */
    public String text() {
        StringBuilder text = new StringBuilder();
        Part before = null;
        for (Part part : parts) {
            append(text, before, part);
            before = part;
        }
        return text.toString();
    }

    /** Adds what a part says to the text of those before it. */
    public static void append(StringBuilder text, Part before, Part part) {
        if (part instanceof Part.Text t) {
            boolean goesOn = before instanceof Part.Reasoning || before instanceof Part.SealedReasoning;
            text.append(text.isEmpty() || goesOn ? "" : "\n").append(t.text());
        }
    }
}
