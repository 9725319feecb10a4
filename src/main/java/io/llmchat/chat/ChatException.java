package io.llmchat.chat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.List;

/**
 * Why a chat was not answered, in the words of the HTTP contract. Status and OpenAI type of a code stand in
 * {@code errors.camel.yaml}; what stands here belongs to this one failure.
 *
 * <p>Carries no stack trace: it reports what a caller or a provider did, not a fault of this program.
 */
public class ChatException extends RuntimeException {

    /** One fault of the input: the field, as a path such as {@code messages[0].role}, and what is wrong with it. */
    public record Detail(String field, String message) {
    }

    private final String code;
    private final List<Detail> details;
    private int status;
    private String type;
    private String openAiCode;
    private int retryAfterSeconds = -1;
    private String outcome;
    private String hidden;

    public ChatException(String code, String message, Detail... details) {
        super(message, null, false, false);
        this.code = code;
        this.details = List.of(details);
    }

    /** A fault of the caller's input in the given field. */
    public static ChatException invalid(String field, String message) {
        return new ChatException("VALIDATION_ERROR", message, new Detail(field, message));
    }

    /** What the parsers of {@link Json} say of a request body. */
    public static ChatException unreadable(IOException e) {
        if (e instanceof Json.NumberTooLarge) {
            String why = "The request body has a number whose exponent is too large.";
            return new RequestRejected("VALIDATION_ERROR", why, new Detail("body", why));
        }
        if (e instanceof StreamConstraintsException) {
            return invalid("body", "The request body has more than is read: " + Json.BOUNDS + ".");
        }
        if (!(e instanceof JsonProcessingException json)) {
            return invalid("body", "The request body is not valid JSON in UTF-8.");
        }
        String twice = Json.duplicate(json);
        return twice != null ? invalid(twice, twice + " is there twice.") : invalid("body", "The request body is not valid JSON (line "
                + json.getLocation().getLineNr() + ", column " + json.getLocation().getColumnNr() + ").");
    }

    /** There is no room for this: a little later there may be. */
    public static ChatException overloaded(String message) {
        return new ChatException("OVERLOADED", message).retryAfter(1);
    }

    /** The gateway ends: another one, or this one a little later, will answer. */
    public static ChatException shuttingDown() {
        return new ChatException("SHUTTING_DOWN", "The gateway is shutting down.").retryAfter(1);
    }

    /** The status, type and code of the provider, where the answer must say what the provider said. */
    public ChatException as(int status, String type, String openAiCode) {
        this.status = status;
        this.type = type;
        this.openAiCode = openAiCode;
        return this;
    }

    /** When to try again: whole seconds from now. */
    public ChatException retryAfter(int seconds) {
        this.retryAfterSeconds = seconds;
        return this;
    }

    /** What came of the call of a provider, as {@code X-LLMChat-Attempts} says it. */
    public ChatException withOutcome(String result) {
        this.outcome = result;
        return this;
    }

    /** Says what it says without this text, which the caller is not to see. */
    public ChatException without(String secret) {
        this.hidden = secret;
        return this;
    }

    @Override
    public String getMessage() {
        return shown(super.getMessage());
    }

    private String shown(String said) {
        return hidden == null || said == null ? said : said.replace(hidden, "***");
    }

    /** A status, or what went wrong on the way; null where it has nothing to do with a call. */
    public String getOutcome() {
        return outcome;
    }

    public String code() {
        return code;
    }

    public List<Detail> details() {
        return hidden == null ? details : details.stream().map(d -> new Detail(shown(d.field()), shown(d.message()))).toList();
    }

    /** The provider's status, or 0: the one of the code. */
    public int status() {
        return status;
    }

    /** The provider's error type, or null: the one of the code. */
    public String type() {
        return shown(type);
    }

    /** The provider's error code, or null: the one of the code. */
    public String openAiCode() {
        return shown(openAiCode);
    }

    /** Seconds, or -1: not said. */
    public int retryAfterSeconds() {
        return retryAfterSeconds;
    }
}
