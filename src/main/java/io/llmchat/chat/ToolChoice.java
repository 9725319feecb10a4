package io.llmchat.chat;

/**
 * Whether the model calls tools.
 *
 * @param name the one tool that it must call ({@code mode} is {@code TOOL}), else null
 */
public record ToolChoice(Mode mode, String name) {

    /** It decides itself, must call one, must not, or must call the named one. */
    public enum Mode {
        AUTO, REQUIRED, NONE, TOOL
    }

    /** Whether it must call one, whichever. */
    public boolean isForced() {
        return mode == Mode.REQUIRED || mode == Mode.TOOL;
    }
}
