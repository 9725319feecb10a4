package io.llmchat.chat;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;

/**
 * An agent, as much of it as its chats need: a name for a provider's model with a system prompt and defaults of its own.
 *
 * @param fallbacks in order: {@code <provider>/<model>} or agent ids, as text or as {@code {model, …}}
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Agent(String id, String provider, String model, String systemPrompt, Double temperature,
                    Integer maxTokens, List<JsonNode> fallbacks, @JsonProperty("isActive") boolean isActive, JsonNode rateLimit) {

    public Target target() {
        return new Target(provider, model);
    }
}
