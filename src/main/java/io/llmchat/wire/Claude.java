package io.llmchat.wire;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a Claude can be told, by the version in its name (Anthropic, "Models overview", "Troubleshooting thinking", "Effort",
 * "Migration guide", "Mid-conversation system messages", "Prefix checks on thinking blocks"). A model of another name is one
 * of those who took Anthropic's wire over as it was before 4.6.
 *
 * @param version 100 times the first number and the second: 406 is 4.6; 0: not known
 */
record Claude(int version) {

    /**
     * The version stands behind the name of the line, or before it in older names; a number of eight digits is a date:
     * {@code claude-opus-4-7}, {@code us.anthropic.claude-sonnet-4-5-20250929-v1:0}, {@code claude-3-7-sonnet-20250219}.
     */
    private static final Pattern NAME = Pattern.compile("claude-(?:[a-z]+-)?(\\d{1,2})(?:[-.](\\d{1,2}))?(?!\\d)");

    static Claude named(String model) {
        Matcher name = NAME.matcher(model);
        return new Claude(!name.find() ? 0
                : 100 * Integer.parseInt(name.group(1)) + (name.group(2) == null ? 0 : Integer.parseInt(name.group(2))));
    }

    /** Whether it decides itself how much it thinks, and is told how hard to try; older ones are given tokens for it. */
    boolean thinksAdaptively() {
        return version >= 406;
    }

    /** Whether it thinks unless it is told otherwise. */
    boolean thinksByItself() {
        return version >= 500;
    }

    /**
     * Whether it takes what the system says behind a user's turn too. Some from 4.8 on do, and all that refuse their thoughts
     * where anything before them has changed.
     */
    boolean takesSystemLater() {
        return version > 500;
    }

    /** Whether it takes a {@code tool_choice} that demands a tool ("What's new in Claude Opus 5.5"). */
    boolean takesForcedTools() {
        return version <= 500;
    }

    /** Whether it takes {@code temperature}, {@code top_p} and {@code top_k}. */
    boolean takesSampling() {
        return version < 407;
    }

    /** Whether it takes either {@code temperature} or {@code top_p}, and refuses both together. */
    boolean takesEither() {
        return version >= 401;
    }

    /** Whether it goes on from an assistant's message at the end; newer ones refuse a conversation that ends with one. */
    boolean goesOn() {
        return version < 406;
    }

    /** Its word for OpenAI's {@code reasoning_effort}; null: it has none, or is not told that way. */
    String effort(String effort) {
        return !thinksAdaptively() ? null : switch (effort) {
            case "minimal", "low" -> "low";
            case "medium", "high", "max" -> effort;
            case "xhigh" -> version < 407 ? "high" : effort;
            // what cannot be turned off everywhere can be kept small
            case "none" -> thinksByItself() ? "low" : null;
            default -> null;
        };
    }
}
