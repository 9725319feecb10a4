package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.json.Json;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which names of users a provider is told, and which as a hash. */
class UserIdsTest {

    private static JsonNode text(String text) {
        return Json.MAPPER.getNodeFactory().textNode(text);
    }

    @ParameterizedTest
    @CsvSource({"u-1, false", "user_0123456789, false", "123456, false", "1234567, true", "+41 (31) 555-01-02, true", "ann@example.org, true", "@, true"})
    void whatLooksLikeAPersonIsHashedForAnthropic(String user, boolean hashed) {
        assertEquals(hashed, !text(user).equals(UserIds.ofAnthropic(text(user))));
        assertEquals(text(user), UserIds.ofOpenAi(text(user)));
    }

    @Test
    void whatIsTooLongIsHashed() {
        assertEquals(text("u".repeat(64)), UserIds.ofOpenAi(text("u".repeat(64))));
        assertTrue(UserIds.ofOpenAi(text("u".repeat(65))).textValue().matches("[0-9a-f]{64}"));
        assertEquals(text("u".repeat(256)), UserIds.ofAnthropic(text("u".repeat(256))));
        assertTrue(UserIds.ofAnthropic(text("u".repeat(257))).textValue().matches("[0-9a-f]{64}"));
        assertTrue(!UserIds.ofOpenAi(text("u".repeat(65))).equals(UserIds.ofOpenAi(text("v".repeat(65)))), "users are told apart");
    }

    @Test
    void whatIsNoTextIsLeftAsItIs() {
        JsonNode number = Json.MAPPER.getNodeFactory().numberNode(41_315_550_102L);
        assertEquals(number, UserIds.ofAnthropic(number));
    }
}
