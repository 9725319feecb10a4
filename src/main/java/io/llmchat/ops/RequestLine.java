package io.llmchat.ops;

import org.apache.logging.log4j.message.AsynchronouslyFormattable;
import org.apache.logging.log4j.message.MapMessage;
import org.apache.logging.log4j.util.IndexedReadOnlyStringMap;
import org.apache.logging.log4j.util.SortedArrayStringMap;

/**
 * What the log says of one request: as text {@code name=value}, and as fields for JSON, by the names of the Elastic
 * Common Schema and the GenAI conventions where they have one. It makes only the form that the log's layout asks for,
 * when it asks: nothing in it changes, which is what the annotation promises.
 */
@AsynchronouslyFormattable
final class RequestLine extends MapMessage<RequestLine, Object> {

    /** What can be told, in the order of the text. */
    enum Field {
        ID("id", "http.request.id"), METHOD("method", "http.request.method"), PATH("path", "url.path"),
        STATUS("status", "http.response.status_code"), OUTCOME("outcome", "llmchat.outcome"),
        AGENT("agent", "gen_ai.agent.id"), MODEL("model", "llmchat.model"), ATTEMPTS("attempts", "llmchat.attempts"),
        STREAM("stream", "llmchat.stream"), FIRST_TOKEN("first_token_ms", "llmchat.first_token_ms"),
        /** Nanoseconds, as ECS wants them; milliseconds in the text. */
        DURATION("duration_ms", "event.duration"),
        PROMPT_TOKENS("prompt_tokens", "gen_ai.usage.input_tokens"),
        COMPLETION_TOKENS("completion_tokens", "gen_ai.usage.output_tokens"),
        USER("user", "user.id"), KEY("key", "llmchat.key_id");

        private final String text;
        private final String ecs;

        Field(String text, String ecs) {
            this.text = text + "=";
            this.ecs = ecs;
        }
    }

    private static final long serialVersionUID = 1L;
    private static final Field[] FIELDS = Field.values();

    private final transient Object[] values = new Object[FIELDS.length];

    /** Tells this; null: nothing. */
    RequestLine tell(Field field, Object value) {
        values[field.ordinal()] = value;
        return this;
    }

    @Override
    public void formatTo(StringBuilder out) {
        String gap = "";
        for (Field field : FIELDS) {
            Object value = values[field.ordinal()];
            if (value != null) {
                out.append(gap).append(field.text);
                gap = " ";
                if (value instanceof Long number) {
                    out.append(field == Field.DURATION ? number / 1_000_000 : number);
                } else {
                    word(value.toString(), out);
                }
            }
        }
    }

    /** Callers choose names: none of them makes a line of its own, or a field. */
    private static void word(String value, StringBuilder out) {
        int n = value.length();
        int plain = 0;
        while (plain < n && value.charAt(plain) > ' ' && value.charAt(plain) < 0x7f) {
            plain++;
        }
        out.append(value, 0, plain);
        for (int i = plain; i < n; i++) {
            char c = value.charAt(i);
            out.append(c <= ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' ? '_' : c);
        }
    }

    @Override
    public String getFormattedMessage() {
        StringBuilder out = new StringBuilder(256);
        formatTo(out);
        return out.toString();
    }

    @Override
    public IndexedReadOnlyStringMap getIndexedReadOnlyStringMap() {
        SortedArrayStringMap map = new SortedArrayStringMap(FIELDS.length);
        for (Field field : FIELDS) {
            if (values[field.ordinal()] != null) {
                map.putValue(field.ecs, values[field.ordinal()]);
            }
        }
        return map;
    }
}
