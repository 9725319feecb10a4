package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class IdsTest {

    @Test
    void noTwoAreTheSame() {
        Set<String> ids = new HashSet<>();
        for (int i = 0; i < 100_000; i++) {
            String id = Ids.next();
            assertTrue(id.matches("[0-9a-f]{32}"), id);
            ids.add(id);
        }
        assertEquals(100_000, ids.size());
    }

    @Test
    void laterOnesComeLaterInAnIndex() {
        long before = System.currentTimeMillis();
        String id = Ids.next();
        long made = Long.parseLong(id.substring(0, 12), 16);
        assertTrue(before <= made && made <= System.currentTimeMillis(), id);
    }
}
