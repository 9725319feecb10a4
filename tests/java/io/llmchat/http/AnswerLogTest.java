package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.AnswersInProgress;
import io.llmchat.support.FullMemory;
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
    void whoComesBackGetsWhatFollowsAlsoWhereNumbersAreMissing() {
        Buffer events = Buffer.buffer("id: a:1\ndata: x\n\nid: a:12\ndata: error\n\n");
        assertEquals("id: a:12\ndata: error\n\n", AnswerLog.after(events, "a", 1).toString());
        assertEquals("id: a:12\ndata: error\n\n", AnswerLog.after(events, "a", 11).toString());
        assertEquals("", AnswerLog.after(events, "a", 12).toString());
        assertEquals("", AnswerLog.after(Buffer.buffer("id: a:1\ndata: x\n\nid: a:1"), "a", 2).toString(), "the rest of the number may still come");
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
    void aLongStreamTakesASmallPartOfItsLengthInMemory() {
        StringBuilder events = new StringBuilder();
        for (int n = 1; n <= 10_000; n++) {
            events.append("event: chunk\nid: 01a2199b65a6c02b68f956830854ec1b:").append(n).append("\ndata: {\"content\":\"word").append(n * 7919 % 1000).append("\"}\n\n");
        }
        AnswerLog log = log(false);
        try (FullMemory left = new FullMemory(Memory.KEPT_ANSWERS, events.length() / 5)) {
            for (int at = 0; at < events.length(); at += 90) {
                log.append(Buffer.buffer(events.substring(at, Math.min(events.length(), at + 90))));
            }
            assertTrue(log.isKept(), "a fifth of it is enough");
            assertEquals(events.toString(), log.bytes().toString());
            assertEquals(events.substring(500_000), log.from(500_000).toString());
        }
        log.complete(Buffer.buffer());
        assertTrue(log.isComplete());
    }

    @Test
    void whatThereIsNoMemoryForIsNotKeptAndGivesItsMemoryBack() {
        byte[] noise = new byte[100_000];
        new Random(1).nextBytes(noise);
        AnswerLog log = log(false);
        try (FullMemory left = new FullMemory(Memory.KEPT_ANSWERS, 150_000)) {
            log.append(Buffer.buffer(noise));
            assertTrue(log.isKept());
            log.append(Buffer.buffer(noise));
            assertFalse(log.isKept());
            assertTrue(log.abandoned(), "nobody can come back for it");
            AnswerLog other = log(false);
            other.append(Buffer.buffer(noise));
            other.append(Buffer.buffer("and more"));
            assertTrue(other.isKept(), "there is room again");
            other.complete(Buffer.buffer());
        }
    }

    @Test
    void ofWhatWasAnsweredLatelyTheOldestGoesWhereThereIsNoMoreRoom() {
        AnswerLog log = log(true);
        log.complete(Buffer.buffer("0123456789"));
        AnswersInProgress answers = new AnswersInProgress(20);
        answers.made("one", log);
        answers.made("two", log);
        answers.made("two", log);
        assertSame(log, answers.madeLately("one"), "what is made once more has the place that it had");
        answers.made("three", log);
        assertNull(answers.madeLately("one"));
        assertSame(log, answers.madeLately("two"));
        assertSame(log, answers.madeLately("three"));
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
