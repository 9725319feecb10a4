package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;

/** One piece of a message, in no provider's words. */
public sealed interface Part {

    /** Text that is read. */
    record Text(String text) implements Part {
    }

    /**
     * A picture: at {@code url}, or, where that is null, {@code data} in base64 of the media type.
     *
     * @param detail OpenAI's low, high or auto, or null
     */
    record Image(String url, String mediaType, String data, String detail) implements Part {
    }

    /** A document: at {@code url}, or, where that is null, {@code data} in base64 of the media type. */
    record Document(String name, String url, String mediaType, String data) implements Part {
    }

    /** A call of a tool by the model. {@code arguments} is JSON text as the model wrote it: it may be broken. */
    record ToolCall(String id, String name, String arguments) implements Part {
    }

    /** What a tool answered to the call of this id. */
    record ToolResult(String id, List<Part> content, boolean error) implements Part {
    }

    /** Thoughts of the model, and the provider's proof that they are its own, or null; an empty one is none. */
    record Reasoning(String text, String signature) implements Part {
        public Reasoning {
            signature = signature == null || signature.isEmpty() ? null : signature;
        }
    }

    /** Thoughts that only the provider can read. */
    record SealedReasoning(String data) implements Part {

        /** Whether it is of none who speaks Anthropic's wire: an entry of {@code reasoning_details}, as JSON; a seal has no braces. */
        public boolean isEntry() {
            return data.startsWith("{");
        }
    }

    /** The model's words for why it does not answer. */
    record Refusal(String text) implements Part {
    }

    /** Something that one dialect has and the neutral form has not; {@code type} is that dialect's name for it. */
    record Other(String type, JsonNode json) implements Part {
    }
}
