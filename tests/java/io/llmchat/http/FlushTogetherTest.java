package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.netty.channel.embedded.EmbeddedChannel;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class FlushTogetherTest {

    private final EmbeddedChannel first = new EmbeddedChannel(new FlushTogether());
    private final EmbeddedChannel second = new EmbeddedChannel(new FlushTogether());

    @AfterEach
    void close() {
        first.finishAndReleaseAll();
        second.finishAndReleaseAll();
    }

    @Test
    void whatIsSentInATurnGoesOutAtItsEndInItsOrder() {
        first.pipeline().writeAndFlush("a");
        first.pipeline().writeAndFlush("b");
        assertNull(first.readOutbound());
        first.runPendingTasks();
        assertEquals("a", first.readOutbound());
        assertEquals("b", first.readOutbound());
        first.pipeline().writeAndFlush("c");
        assertNull(first.readOutbound());
        first.runPendingTasks();
        assertEquals("c", first.readOutbound());
    }

    @Test
    void whatWasSentBeforeAConnectionIsClosedGoesBefore() {
        first.pipeline().writeAndFlush("last");
        first.pipeline().close();
        assertEquals("last", first.readOutbound());
        assertFalse(first.isOpen());
        first.runPendingTasks();
        assertNull(first.readOutbound());
    }

    @Test
    void whatIsNotFlushedStays() {
        first.pipeline().write("a");
        first.runPendingTasks();
        assertNull(first.readOutbound());
    }

    @Test
    void aConnectionThatCannotSendKeepsNoOtherFromIt() {
        // both in the same turn of the loop; every embedded channel's loop is this thread
        first.pipeline().writeAndFlush("a");
        second.pipeline().writeAndFlush("b");
        first.unsafe().closeForcibly();
        first.runPendingTasks();
        second.runPendingTasks();
        assertEquals("b", second.readOutbound());
    }
}
