package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.EventLoops.Gatherer;
import io.llmchat.support.TestGateway;
import io.netty.channel.SelectStrategy;
import io.vertx.core.Vertx;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** One Vert.x for all. A loop with many streams takes their events together; one with few, or with time, keeps nobody waiting. */
class EventLoopsTest {

    private static final int TURNS = 2_000;

    /** How many of so many turns without a task were rests, where each rest finds so many events. */
    private static int rests(int connections, int events) throws Exception {
        int[] asked = {0};
        Gatherer gatherer = new Gatherer(() -> connections);
        for (int i = 0; i < TURNS; i++) {
            int strategy = gatherer.calculateStrategy(() -> {
                asked[0]++;
                return events;
            }, false);
            assertTrue(strategy == SelectStrategy.SELECT || strategy == events);
        }
        return asked[0];
    }

    @Test
    void aLoopWithManyBusyConnectionsRestsEachTime() throws Exception {
        assertEquals(TURNS, rests(2_000, 8));
    }

    @Test
    void aLoopWithFewConnectionsNeverRests() throws Exception {
        assertEquals(0, rests(200, 8));
    }

    @Test
    void aLoopWithManyConnectionsAndNothingToGatherHardlyEverRests() throws Exception {
        assertTrue(rests(2_000, 1) < TURNS / 8);
        assertTrue(rests(2_000, 0) < TURNS / 8);
    }

    @Test
    void noFolderForTemporaryFilesIsMade() throws Exception {
        // now and then another process makes one
        TestGateway.until("none is made", () -> {
            Set<Path> before = folders();
            Vertx vertx = EventLoops.vertx();
            Set<Path> made = folders();
            vertx.close().toCompletionStage().toCompletableFuture().get();
            made.removeAll(before);
            return made.isEmpty();
        });
    }

    private static Set<Path> folders() throws IOException {
        try (Stream<Path> files = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
            return files.filter(file -> file.getFileName().toString().startsWith("vertx-cache")).collect(Collectors.toSet());
        }
    }

    @Test
    void aTaskIsNotKeptWaiting() throws Exception {
        int rests = 0;
        for (int i = 0; i < TURNS; i++) {
            long begun = System.nanoTime();
            assertEquals(0, new Gatherer(() -> 2_000).calculateStrategy(() -> 0, true));
            rests += System.nanoTime() - begun > 500_000L ? 1 : 0;
        }
        // now and then the machine does something else
        assertTrue(rests < TURNS / 8, rests + " rests before a task");
    }
}
