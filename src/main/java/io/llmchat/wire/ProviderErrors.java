package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.json.Json;
import java.io.IOException;

/** What the status of a provider's response means; the same on every wire. What the body says differs. */
final class ProviderErrors {

    private ProviderErrors() {
    }

    /**
     * @param said the provider's own message, or null
     * @param type the provider's type of the error, or null
     * @param code the provider's code of the error, or null
     */
    static ChatException of(String provider, int status, String retryAfter, String said, String type, String code) {
        return switch (status) {
            case 401, 403 -> new ProviderRefusal("UPSTREAM_UNAUTHORIZED",
                    "The provider '" + provider + "' does not accept the gateway's key.");
            case 400, 404, 413, 422 -> new RequestRejected("UPSTREAM_REJECTED",
                    said == null ? "The provider '" + provider + "' refused the request." : said).as(status, type, code);
            case 429 -> new ProviderRefusal("UPSTREAM_RATE_LIMITED", "The provider '" + provider + "' limits our requests"
                    + (said == null ? "" : ": " + said)).retryAfter(seconds(retryAfter));
            default -> status == 408 || status == 409 || status >= 500
                    ? new ProviderFailure("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".")
                    : new ProviderRefusal("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".");
        };
    }

    /** An error that the provider reports in place of an answer. */
    static ProviderFailure reported(JsonNode error) {
        String message = error.isTextual() ? error.asText() : error.path("message").asText("");
        return new ProviderFailure("UPSTREAM_ERROR",
                "The provider reported an error" + (message.isEmpty() ? "." : ": " + message));
    }

    /** A body as JSON; a missing node if it is none. */
    static JsonNode json(byte[] body) {
        try {
            JsonNode json = Json.read(body);
            return json == null ? Json.MAPPER.missingNode() : json;
        } catch (IOException e) {
            return Json.MAPPER.missingNode();
        }
    }

    static String text(JsonNode object, String name) {
        return object.path(name).isTextual() ? object.path(name).asText() : null;
    }

    private static int seconds(String retryAfter) {
        return retryAfter != null && retryAfter.matches("\\d{1,6}") ? Integer.parseInt(retryAfter) : 1;
    }
}
