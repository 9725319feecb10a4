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

/** What it means that a provider does not answer: its status, which is the same on every wire, and what its body says. */
final class ProviderErrors {

    /** Providers that have no code of their own for a prompt that is too long say it in words: xAI, llama.cpp, Anthropic, Mistral and others. */
    private static final Pattern TOO_LONG = Pattern.compile("(?i)prompt is too long|maximum (context|prompt) length|context window|context.length"
            + "|exceeds the maximum number of tokens|available context size|exceed context limit|model token limit"
            + "|range of input length");

    /** With a 400 some say that it is our key, or what we have paid: Anthropic, Google, xAI and DashScope, in this order. */
    private static final Pattern OURS = Pattern.compile("(?i)credit balance is too low|API usage limits|API key (not valid|not found|expired)"
            + "|incorrect API key|account is in good standing");

    /** So does Dify, by its code: the model of the app has no key, or its money is used up, or it is no more. */
    private static final Pattern OURS_BY_CODE = Pattern.compile("provider_(not_initialize|quota_exceeded)|model_currently_not_support|app_unavailable");

    /** With a 429 OpenAI, and Moonshot, say by type or code that what we have paid, or may spend, is used up. */
    private static final Pattern UNPAID = Pattern.compile("insufficient_quota|credit_balance_exhausted"
            + "|(organization|project)_spend_limit_exceeded|organization_usage_limit_exceeded|exceeded_current_quota_error");
    /** By its manual DashScope is known, which says {@code insufficient_quota} for a limit by the minute. */
    private static final String DASHSCOPE = "model-studio";

    /** A status that says that the provider is well. */
    private static final Pattern REFUSED = Pattern.compile("4\\d\\d");

    private ProviderErrors() {
    }

    /**
     * The failure that a response of this status is, in the provider's words where it has any for us.
     *
     * @param body what the provider says, wherever in it: OpenAI has an {@code error} with {@code message}, {@code type},
     *             {@code param} and {@code code}, Google a list of one of these, Ollama an {@code error} that is text, vLLM and
     *             Dify the members without it, and what is built on FastAPI a {@code detail}, which may be a list
     */
    static ChatException of(String provider, int status, String retryAfter, JsonNode body) {
        return of("The provider '" + provider + "'", status, error(body), retryAfter);
    }

    private static ChatException of(String who, int status, JsonNode error, String retryAfter) {
        return status == 429 && isUnpaid(error) ? kind(who, 401, null, error).withOutcome("unpaid")
                : kind(who, status, retryAfter, error).withOutcome(Integer.toString(status));
    }

    private static boolean isUnpaid(JsonNode error) {
        String said = message(error);
        return (UNPAID.matcher(error.path("code").asText()).matches() || UNPAID.matcher(error.path("type").asText()).matches())
                && (said == null || !said.contains(DASHSCOPE));
    }

    private static JsonNode error(JsonNode body) {
        JsonNode first = body.isArray() ? body.path(0) : body;
        JsonNode error = first.path("error");
        return error.isObject() || error.isTextual() ? error : first;
    }

    private static ChatException kind(String who, int status, String retryAfter, JsonNode error) {
        String said = message(error);
        return switch (status == 400 && isOurs(said, error) ? 401 : status) {
            case 401, 403 -> new ProviderRefusal("UPSTREAM_UNAUTHORIZED",
                    who + " does not accept the gateway's key.");
            case 400, 404, 413, 422 -> rejected(who, status, said, error);
            case 429 -> new ProviderRefusal("UPSTREAM_RATE_LIMITED", who + " limits our requests"
                    + (said == null ? "" : ": " + said)).retryAfter(seconds(retryAfter));
            // 408 and 409 are asked again like 5xx, but tell nothing of the provider's health
            default -> status >= 500
                    ? new ProviderFailure("UPSTREAM_ERROR", who + " answered " + status + ".")
                            .retryAfter(status == 503 ? seconds(retryAfter) : -1)
                    : new ProviderRefusal("UPSTREAM_ERROR", who + " answered " + status + ".");
        };
    }

    private static boolean isOurs(String said, JsonNode error) {
        return said != null && OURS.matcher(said).find() || OURS_BY_CODE.matcher(error.path("code").asText()).matches();
    }

    private static ChatException rejected(String who, int status, String said, JsonNode error) {
        String type = error.path("type").textValue();
        String code = error.path("code").textValue();
        if (said != null && TOO_LONG.matcher(said).find()) {
            code = "context_length_exceeded";
        } else if (error.path("code").isNumber()) {
            code = error.path("code").asText();
        }
        String param = error.path("param").textValue();
        ChatException.Detail[] details = param == null ? new ChatException.Detail[0]
                : new ChatException.Detail[] {new ChatException.Detail(param, who + " refused it.")};
        return new RequestRejected("UPSTREAM_REJECTED", said == null ? who + " refused the request." : said, details)
                .as(status, type == null ? "invalid_request_error" : type, code);
    }

    /** What it says in words; null if nothing. */
    private static String message(JsonNode error) {
        if (error.isTextual()) {
            return error.asText();
        }
        // Mistral's message holds the detail of FastAPI
        JsonNode detail = error.path("message").isObject() ? error.path("message").path("detail") : error.path("detail");
        String message = error.path("message").textValue();
        return message != null || detail.isMissingNode() || detail.isNull() ? message : detail.isTextual() ? detail.asText() : detail.toString();
    }

    /**
     * An error that the provider reports in place of an answer whose head it had sent: where it says the status that it
     * would have been (OpenRouter, vLLM and Gemini as a number, LiteLLM as a text), it is what that status says.
     */
    static ChatException reportedWithStatus(JsonNode error) {
        return reported(error, error.path("code").asText());
    }

    /** The same where the status is known by something else. */
    static ChatException reported(JsonNode error, String status) {
        return REFUSED.matcher(status).matches() ? of("The provider", Integer.parseInt(status), error, null) : reported(error);
    }

    /** An error that the provider reports in place of an answer. */
    static ChatException reported(JsonNode error) {
        String message = message(error);
        return new ProviderFailure("UPSTREAM_ERROR",
                "The provider reported an error" + (message == null || message.isEmpty() ? "." : ": " + message)).withOutcome("error");
    }

    /** A body as JSON; a missing node if it is none. */
    static JsonNode json(byte[] body) {
        try {
            return Json.read(body);
        } catch (IOException e) {
            return Json.MAPPER.missingNode();
        }
    }

    /**
     * The data of an event as JSON; a missing node if there is none.
     *
     * @throws Wire.MalformedAnswer if it is something else
     */
    static JsonNode event(byte[] bytes, int from, int to) {
        try {
            return Json.MAPPER.readTree(bytes, from, to - from);
        } catch (IOException e) {
            throw new Wire.MalformedAnswer("an event that is not JSON");
        }
    }

    /**
     * {@code Retry-After} in whole seconds from now (RFC 9110, section 10.2.3: seconds or a date); -1 if it is not there
     * or cannot be read.
     */
    static int seconds(String retryAfter) {
        if (retryAfter == null) {
            return -1;
        }
        if (retryAfter.matches("\\d+")) {
            return retryAfter.length() > 6 ? 999_999 : Integer.parseInt(retryAfter);
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
