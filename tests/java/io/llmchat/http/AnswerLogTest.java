package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.vertx.core.buffer.Buffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

class AnswerLogTest {

    private static AnswerLog log(boolean spare) {
        return new AnswerLog("a", "ada", 0, spare);
    }

    @Test
    void whatCameInPiecesOfAnyLengthIsThereByteForByteFromAnyPlaceOn() {
        Random random = new Random(1);
        AnswerLog log = log(false);
        Buffer all = Buffer.buffer();
        for (int length : new int[] {1, 511, 0, 1, 3, 700, 20_000, 8_192, 90, 5}) {
            byte[] piece = new byte[length];
            random.nextBytes(piece);
            all.appendBytes(piece);
            log.append(Buffer.buffer(piece));
            assertEquals(all, log.bytes());
            assertEquals(all.length(), log.length());
        }
        for (int from = 0; from <= all.length(); from += 97) {
            assertEquals(all.slice(from, all.length()), log.from(from));
        }
        assertEquals(0, log.from(all.length()).length());
    }

    @Test
    void aSpareOneThatIsLongIsNotKept() {
        AnswerLog log = log(true);
        log.append(Buffer.buffer(new byte[200_000]));
        assertEquals(200_000, log.length());
        log.append(Buffer.buffer(new byte[100_000]));
        assertEquals(0, log.length());
        log.complete(Buffer.buffer("end"));
        assertTrue(log.isOver());
        assertFalse(log.isComplete(), "nobody can have it again");
    }

    @Test
    void whatComesAfterTheEndIsNoPartOfIt() {
        AnswerLog log = log(true);
        log.complete(Buffer.buffer("all"));
        log.append(Buffer.buffer("more"));
        assertEquals("all", log.bytes().toString());
        assertTrue(log.isComplete());
    }
}
