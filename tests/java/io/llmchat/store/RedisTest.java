package io.llmchat.store;

import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.vertx.core.Vertx;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Redis of our own. */
class RedisTest {

    @TempDir
    Path data;

    /** A process that begins has for a moment all that we have open, and what is open to be written cannot be run. */
    @Test
    void aServerThatCannotBeRunYetIsTriedAgain() throws Exception {
        Path script = Files.createFile(Files.createDirectories(data.resolve("redis")).resolve("start"));
        Vertx vertx = Vertx.vertx();
        Redis redis = new Redis();
        redis.setDataDir(data.toString());
        redis.setVertx(vertx);
        try {
            FileChannel open = FileChannel.open(script, StandardOpenOption.WRITE);
            redis.start();
            until("it could not be run", () -> Thread.getAllStackTraces().entrySet().stream().anyMatch(thread -> thread.getKey().getName().equals("redis-start")
                    && thread.getKey().getState() == Thread.State.TIMED_WAITING && List.of(thread.getValue()).toString().contains("startServer")));
            open.close();
            assertTrue(redis.watch().available());
        } finally {
            redis.stop();
            vertx.close().toCompletionStage().toCompletableFuture().join();
        }
    }
}
