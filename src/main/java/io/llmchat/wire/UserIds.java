package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import java.util.HexFormat;
import java.util.regex.Pattern;

/**
 * What a caller calls its user, for a provider of another dialect than the caller's: where that would refuse it, its SHA-256
 * in hex, which tells users apart as well.
 */
final class UserIds {

    /** Anthropic refuses what looks like a mail address or a telephone number (API reference, "Create a message", metadata). */
    private static final Pattern PERSONAL = Pattern.compile(".*@.*|\\+?[\\d\\s().-]{7,}", Pattern.DOTALL);

    private UserIds() {
    }

    /** OpenAI takes 64 characters (error "string too long" of {@code user}). */
    static JsonNode ofOpenAi(JsonNode user) {
        return user.isTextual() && user.textValue().length() > 64 ? hashed(user) : user;
    }

    /** Anthropic takes 256 characters. */
    static JsonNode ofAnthropic(JsonNode user) {
        return user.isTextual() && (user.textValue().length() > 256 || PERSONAL.matcher(user.textValue()).matches()) ? hashed(user) : user;
    }

    private static JsonNode hashed(JsonNode user) {
        return TextNode.valueOf(HexFormat.of().formatHex(Bytes.sha256(Json.utf8(user.textValue()))));
    }
}
