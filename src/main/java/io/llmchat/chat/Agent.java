package io.llmchat.chat;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;

/**
 * An agent as the API shows it: a name for a provider's model with a system prompt and defaults of its own.
 *
 * @param fallbacks in order: {@code <provider>/<model>} or agent ids, as text or as {@code {model, …}}
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record Agent(String id, String name, String description, String provider, String model, String systemPrompt,
                    Double temperature, Integer maxTokens, List<JsonNode> fallbacks, List<String> capabilities,
                    @JsonProperty("isActive") boolean isActive, JsonNode rateLimit, JsonNode metadata) {

    public Target target() {
        return new Target(provider, model);
    }
}
