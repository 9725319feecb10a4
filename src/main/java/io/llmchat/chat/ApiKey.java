package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.json.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;

/**
 * What is known of a key: the caller who shows it, and until when.
 *
 * @param hash what is kept of the key itself
 * @param expiresAt null: never
 */
public record ApiKey(byte[] hash, Caller caller, Instant expiresAt) {

    /** What may be a name, and in words. */
    public static final String NAME = "[^\\x00]{1,200}";
    public static final String NAME_TAKES = "a text of 1 to 200 characters";
    /** What may be the id of a user, and in words: it stands in paths. */
    public static final String USER_ID = "(?!\\.\\.?$)[\\x21-\\x7e]{1,128}";
    public static final String USER_ID_TAKES = "1 to 128 visible characters without spaces, and neither . nor .. alone";

    private static final Set<String> MEMBERS = Set.of("name", "userId", "expiresAt", "agents", "models", "limits");

    /** Whether its time is over. */
    public boolean isExpired() {
        return expiresAt != null && !Instant.now().isBefore(expiresAt);
    }

    /** Reads what a store keeps of a key; {@code id} and {@code hash}, in hex, are there too, {@code userLimits} may be. */
    public static ApiKey read(String document) {
        try {
            return read(Json.MAPPER.readTree(document));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The same of a document that was read. */
    public static ApiKey read(JsonNode key) {
        return new ApiKey(HexFormat.of().parseHex(key.path("hash").asText()),
                new Caller(key.path("userId").asText(), key.path("id").asText(), texts(key.path("agents")), texts(key.path("models")),
                        quota(key, "limits"), quota(key, "userLimits")),
                // the database writes years of more than four digits without the plus that belongs to them
                key.hasNonNull("expiresAt") ? OffsetDateTime.parse(key.path("expiresAt").asText().replaceFirst("^\\d{5}", "+$0")).toInstant() : null);
    }

    private static Set<String> texts(JsonNode array) {
        Set<String> texts = new HashSet<>();
        array.forEach(text -> texts.add(text.asText()));
        return texts;
    }

    private static Quota quota(JsonNode key, String name) {
        return key.hasNonNull(name) ? Quota.read(key.path(name), name) : null;
    }

    /**
     * Looks at a key as people describe it: {@code {name, userId, expiresAt?, agents?, models?, limits?}}.
     *
     * @param others members that it may have besides
     * @throws ChatException VALIDATION_ERROR, naming the member that cannot be used
     */
    public static void check(JsonNode json, Set<String> others) {
        if (!(json instanceof ObjectNode)) {
            throw ChatException.invalid("body", "A key is described by an object.");
        }
        for (Map.Entry<String, JsonNode> member : json.properties()) {
            String name = member.getKey();
            if (!MEMBERS.contains(name) && !others.contains(name)) {
                throw ChatException.invalid(name, name + " is nothing that a key has; there are name, userId, expiresAt, agents,"
                        + " models and limits.");
            }
        }
        checkText(json, "name", NAME, NAME_TAKES);
        checkText(json, "userId", USER_ID, USER_ID_TAKES);
        if (json.hasNonNull("expiresAt")) {
            expiry(json.path("expiresAt"));
        }
        array(json, "agents", "the id of an agent", false);
        array(json, "models", "<provider>/<model> or <provider>/*", true);
        if (json.hasNonNull("limits")) {
            Quota.check(json.path("limits"), "limits");
        }
    }

    /** Looks at a member that must be there, and a text of this pattern. */
    public static void checkText(JsonNode json, String name, String pattern, String takes) {
        JsonNode value = json.path(name);
        if (!json.hasNonNull(name)) {
            throw ChatException.invalid(name, name + " is missing.");
        }
        if (!value.isTextual() || !value.asText().matches(pattern)) {
            throw ChatException.invalid(name, name + " must be " + takes + ".");
        }
    }

    private static void expiry(JsonNode value) {
        try {
            OffsetDateTime.parse(value.asText());
        } catch (DateTimeException e) {
            throw ChatException.invalid("expiresAt", "expiresAt must be a time such as 2030-01-31T12:00:00Z.");
        }
    }

    private static void array(JsonNode json, String name, String takes, boolean targets) {
        if (!json.hasNonNull(name)) {
            return;
        }
        if (!json.path(name).isArray()) {
            throw ChatException.invalid(name, name + " must be an array.");
        }
        for (int i = 0; i < json.path(name).size(); i++) {
            JsonNode value = json.path(name).get(i);
            boolean target = value.isTextual() && Target.parse(value.asText()) != null;
            if (!value.isTextual() || value.asText().isBlank() || value.asText().indexOf('\0') >= 0 || target != targets) {
                throw ChatException.invalid(name + "[" + i + "]", name + "[" + i + "] must be " + takes + ".");
            }
        }
    }
}
