package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.llmchat.support.LogLines;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** What waits for PostgreSQL. */
class LaterTest {

    private final List<String> stored = new ArrayList<>();
    private final Later later = new Later(100);
    private boolean away = true;

    private Runnable storing(String what) {
        return () -> {
            if (away) {
                throw new StoreUnavailable(new SQLException("away"));
            }
            stored.add(what);
        };
    }

    private static Runnable never() {
        return () -> {
            throw new AssertionError("there is room");
        };
    }

    @Test
    void whatCouldNotBeStoredIsStoredOnceAndWhatWasRefusedOnceMoreIsTheLast() {
        later.store(40, storing("one"), never());
        later.store(40, storing("two"), never());
        later.again();
        assertEquals(List.of(), stored);
        away = false;
        later.again();
        later.again();
        assertEquals(List.of("two", "one"), stored);
        later.store(90, storing("three"), never());
        assertEquals("three", stored.getLast());
    }

    @Test
    void whatIsNeverTakenKeepsNothingElseFromBeingStored() {
        later.store(10, () -> {
            throw new StoreUnavailable(new SQLException("away"));
        }, never());
        later.store(10, storing("good"), never());
        away = false;
        later.again();
        later.again();
        assertEquals(List.of("good"), stored);
    }

    @Test
    void whatPostgresRefusesThoughItIsThereIsSaid() {
        try (LogLines lines = LogLines.text()) {
            later.store(10, storing("away"), never());
            assertEquals(List.of(), lines.with("refuses"), "that it is away is said elsewhere");
            later.store(10, () -> {
                throw new StoreUnavailable(new SQLException("permission denied for table answers", "42501"));
            }, never());
            assertEquals(1, lines.with("permission denied for table answers (SQLSTATE 42501)").size());
            later.store(10, () -> {
                throw new StoreUnavailable(new SQLTransientConnectionException("postgres - Connection is not available", "53300",
                        new SQLException("too many clients already", "53300")));
            }, never());
            assertEquals(1, lines.with("too many clients already (SQLSTATE 53300)").size());
        }
    }

    @Test
    void whatThereIsNoRoomForIsGivenUpAndSaysSo() {
        List<String> dropped = new ArrayList<>();
        later.store(80, storing("one"), never());
        later.again();
        later.store(30, storing("two"), () -> dropped.add("two"));
        assertEquals(List.of("two"), dropped);
        away = false;
        later.again();
        assertEquals(List.of("one"), stored);
        away = true;
        later.store(100, storing("three"), never());
    }

    @Test
    void twoWhoStoreAtOnceStoreEachThingOnce() throws Exception {
        CountDownLatch both = new CountDownLatch(2);
        AtomicInteger first = new AtomicInteger();
        AtomicInteger second = new AtomicInteger();
        for (AtomicInteger times : List.of(first, second)) {
            later.store(10, () -> {
                if (away) {
                    throw new StoreUnavailable(new SQLException("away"));
                }
                both.countDown();
                await(both);
                times.incrementAndGet();
            }, never());
        }
        away = false;
        Thread other = Thread.ofPlatform().start(later::again);
        later.again();
        other.join();
        assertEquals(1, first.get());
        assertEquals(1, second.get());
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await(2, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
