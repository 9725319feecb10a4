package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class MemoryTest {

    private static final int TOO_MUCH = (int) Math.min(Integer.MAX_VALUE, Runtime.getRuntime().maxMemory() / 8 + 1);

    @Test
    void oneThatIsAloneHasAsMuchAsItNeedsAndOthersHaveTheirPart() {
        assertTrue(Memory.ANSWERS.take(TOO_MUCH, 0));
        assertTrue(Memory.ANSWERS.take(1, TOO_MUCH), "its own");
        assertFalse(Memory.ANSWERS.take(1, 0));
        Memory.ANSWERS.give(1);
        Memory.ANSWERS.give(TOO_MUCH);
        assertTrue(Memory.ANSWERS.take(1, 0));
        Memory.ANSWERS.give(1);
    }
}
