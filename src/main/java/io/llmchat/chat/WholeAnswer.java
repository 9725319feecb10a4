package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.List;

/**
 * An answer that was not streamed: as the provider's bytes, for a caller whose dialect is the provider's wire, or else
 * in parts.
 *
 * @param json the answer byte for byte as the provider sent it; null: it is in {@code parts}
 * @param parts what it says; empty where {@code json} is there
 * @param finishReason in OpenAI's words, of the last choice
 * @param usage the tokens counted, or null
 */
public record WholeAnswer(byte[] json, List<AnswerPart> parts, int textLength, String finishReason, Usage usage) {

    /** The text of the first choice, or the words in which it refuses. */
    public String text() {
        StringBuilder text = new StringBuilder();
        if (json != null) {
            try {
                // as it was read before: that it has many pieces, such as probabilities, is no reason to lose it
                JsonNode message = Json.readAgain(json, 0, json.length).path("choices").path(0).path("message");
                text.append(message.path("content").asText(""));
                // Mistral's reasoning models say it in pieces
                message.path("content").forEach(piece -> text.append(piece.path("text").asText("")));
                return text.append(message.path("refusal").asText("")).toString();
            } catch (IOException e) {
                throw new IllegalStateException("an answer that was read before cannot be read again", e);
            }
        }
        for (AnswerPart part : parts) {
            if (part instanceof AnswerPart.Text t && t.choice() == 0) {
                text.append(t.text());
            } else if (part instanceof AnswerPart.Refusal r && r.choice() == 0) {
                text.append(r.text());
            }
        }
        return text.toString();
    }
}
