package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A piece of an answer in no provider's words: of a stream as it comes, or of a whole answer. {@code choice} counts the
 * alternatives of one answer from 0; most have one.
 */
public sealed interface AnswerPart {

    /** The alternative that it belongs to; what belongs to none counts for the first. */
    default int choice() {
        return 0;
    }

    record Text(int choice, String text) implements AnswerPart {
    }

    /** Thoughts of the model, where the provider tells them. */
    record Reasoning(int choice, String text) implements AnswerPart {
    }

    /** The provider's proof that the thoughts before it are its own. */
    record Signature(int choice, String signature) implements AnswerPart {
    }

    /** Thoughts that only the provider can read. */
    record SealedReasoning(int choice, String data) implements AnswerPart {
    }

    record Refusal(int choice, String text) implements AnswerPart {
    }

    /** The model begins to call a tool; {@code index} counts the calls of a choice from 0. */
    record ToolStart(int choice, int index, String id, String name) implements AnswerPart {
    }

    /** More of the arguments of that call: a fragment of JSON text. */
    record ToolArguments(int choice, int index, String fragment) implements AnswerPart {
    }

    /** Probabilities of the tokens, as OpenAI says them. */
    record Logprobs(int choice, JsonNode json) implements AnswerPart {
    }

    /**
     * The choice is complete.
     *
     * @param reason in OpenAI's words: stop, length, tool_calls, content_filter
     */
    record Finish(int choice, String reason) implements AnswerPart {
    }

    /**
     * What a provider that runs a workflow is at.
     *
     * @param type the provider's name of the event
     * @param moduleName the step of the workflow, or null
     * @param replacement what stands from now on in place of all text before it, or null
     */
    record Status(String type, String status, String moduleName, String replacement) implements AnswerPart {
    }
}
