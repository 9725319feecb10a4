package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.json.Json;
import java.io.IOException;
import java.time.Duration;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.regex.Pattern;

/** What the status of a provider's response means; the same on every wire. What the body says differs. */
final class ProviderErrors {

    /** Providers that have no code for a prompt that is too long say it in words. */
    private static final Pattern TOO_LONG = Pattern.compile("(?i)prompt is too long|maximum context length|context window|context.length");

    private ProviderErrors() {
    }

    /**
     * @param said the provider's own message, or null
     * @param type the provider's type of the error, or null
     * @param code the provider's code of the error, or null
     */
    static ChatException of(String provider, int status, String retryAfter, String said, String type, String code) {
        return kind(provider, status, retryAfter, said, type, code).withOutcome(Integer.toString(status));
    }

    private static ChatException kind(String provider, int status, String retryAfter, String said, String type, String code) {
        return switch (status) {
            case 401, 403 -> new ProviderRefusal("UPSTREAM_UNAUTHORIZED",
                    "The provider '" + provider + "' does not accept the gateway's key.");
            case 400, 404, 413, 422 -> new RequestRejected("UPSTREAM_REJECTED",
                    said == null ? "The provider '" + provider + "' refused the request." : said)
                    .as(status, type, code != null || said == null || !TOO_LONG.matcher(said).find() ? code : "context_length_exceeded");
            case 429 -> new ProviderRefusal("UPSTREAM_RATE_LIMITED", "The provider '" + provider + "' limits our requests"
                    + (said == null ? "" : ": " + said)).retryAfter(seconds(retryAfter));
            // 408 and 409 are asked again like 5xx, but tell nothing of the provider's health
            default -> status >= 500
                    ? new ProviderFailure("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".")
                            .retryAfter(status == 503 ? seconds(retryAfter) : -1)
                    : new ProviderRefusal("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".");
        };
    }

    /** An error that the provider reports in place of an answer. */
    static ChatException reported(JsonNode error) {
        String message = error.isTextual() ? error.asText() : error.path("message").asText("");
        return new ProviderFailure("UPSTREAM_ERROR",
                "The provider reported an error" + (message.isEmpty() ? "." : ": " + message)).withOutcome("error");
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

    /**
     * {@code Retry-After} in whole seconds from now (RFC 9110, section 10.2.3: seconds or a date); -1 if it is not there
     * or cannot be read.
     */
    static int seconds(String retryAfter) {
        if (retryAfter == null) {
            return -1;
        }
        if (retryAfter.matches("\\d{1,6}")) {
            return Integer.parseInt(retryAfter);
        }
        try {
            long seconds = Duration.between(ZonedDateTime.now(ZoneOffset.UTC),
                    ZonedDateTime.parse(retryAfter, DateTimeFormatter.RFC_1123_DATE_TIME)).toSeconds();
            return (int) Math.max(0, Math.min(seconds + 1, 999_999));
        } catch (DateTimeParseException e) {
            return -1;
        }
    }
}
