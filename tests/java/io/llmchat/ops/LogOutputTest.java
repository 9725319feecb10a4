package io.llmchat.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.vertx.core.Vertx;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class LogOutputTest {

    private final Vertx vertx = Vertx.vertx();
    private final List<String> writes = Collections.synchronizedList(new ArrayList<>());
    private final PrintStream log = new PrintStream(new LogOutput(new OutputStream() {
        @Override
        public void write(int b) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void write(byte[] bytes, int from, int count) {
            writes.add(new String(bytes, from, count, StandardCharsets.UTF_8));
        }
    }), false, StandardCharsets.UTF_8);

    @AfterEach
    void close() {
        vertx.close();
    }

    private void line(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        log.write(bytes, 0, bytes.length);
    }

    /** Does this in one turn of an event loop, and returns when the turn is over. */
    private void turn(Runnable work) throws Exception {
        CompletableFuture<Void> over = new CompletableFuture<>();
        vertx.getOrCreateContext().runOnContext(v -> {
            try {
                work.run();
                vertx.runOnContext(w -> over.complete(null));
            } catch (Throwable e) {
                over.completeExceptionally(e);
            }
        });
        over.get(10, TimeUnit.SECONDS);
    }

    @Test
    void linesOfOneTurnGoOutInOnePieceAndThoseOfTheNextInAnother() throws Exception {
        turn(() -> {
            line("a\n");
            line("b\n");
            assertEquals(List.of(), writes);
        });
        turn(() -> line("c\n"));
        assertEquals(List.of("a\nb\n", "c\n"), writes);
    }

    @Test
    void otherThreadsWriteAtOnceAndAfterWhatIsHeld() throws Exception {
        line("first\n");
        assertEquals(List.of("first\n"), writes);
        turn(() -> {
            line("held\n");
            CompletableFuture.runAsync(() -> line("now\n")).join();
            assertEquals(List.of("first\n", "held\n", "now\n"), writes);
        });
    }

    @Test
    void whatALoopLogsOutsideOfAContextGoesOutAtOnceToo() {
        vertx.nettyEventLoopGroup().next().submit(() -> line("of Redisson\n")).syncUninterruptibly();
        assertEquals(List.of("of Redisson\n"), writes);
    }

    @Test
    void moreThanIsHeldGoesOutInItsOrder() throws Exception {
        String much = "x".repeat(10_000) + "\n";
        turn(() -> {
            line("1" + much);
            line("2" + much);
            line("3\n");
        });
        assertEquals("1" + much + "2" + much + "3\n", String.join("", writes));
    }
}
