package io.llmchat.http;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What an error code means on the wire. Filled in {@code errors.camel.yaml}: a code, and after it the HTTP status,
 * OpenAI's {@code type} and OpenAI's {@code code} (a dash for none).
 */
public final class ErrorTable {

    /** @param openAiCode may be null */
    public record Entry(int status, String type, String openAiCode) {
    }

    private static final Entry INTERNAL = new Entry(500, "api_error", null);

    private final Map<String, String> codes = new LinkedHashMap<>();
    private final Map<String, Entry> entries = new LinkedHashMap<>();

    /** The table as it is written; the routes fill it. */
    public Map<String, String> getCodes() {
        return codes;
    }

    /** @throws IllegalArgumentException if an entry is not {@code status type code} */
    public void check() {
        codes.forEach((code, words) -> {
            String[] w = words.trim().split("\\s+");
            if (w.length != 3 || !w[0].matches("[45]\\d\\d")) {
                throw new IllegalArgumentException("errors.camel.yaml: " + code + " is '" + words
                        + "'; it takes a status of 400 to 599, a type and a code");
            }
            entries.put(code, new Entry(Integer.parseInt(w[0]), w[1], "-".equals(w[2]) ? null : w[2]));
        });
    }

    /** The entry of a code; that of an internal error for one that is not in the table. */
    public Entry of(String code) {
        return entries.getOrDefault(code, INTERNAL);
    }
}
