package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.embedded.EmbeddedChannel;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class ConnectionTest {

    private static final long PATIENCE = 1_000;

    /** A caller who takes what is sent, or nothing. */
    private static final class Caller extends EmbeddedChannel {
        private boolean takes;

        @Override
        protected void doWrite(ChannelOutboundBuffer queue) throws Exception {
            if (takes) {
                super.doWrite(queue);
            }
        }
    }

    private final Caller caller = new Caller();
    private final Connection connection = new Connection(caller, new Connections.Patience(PATIENCE, PATIENCE, PATIENCE, PATIENCE), (path, id) -> null);
    private final long begin = System.nanoTime();

    private void look(long after) {
        connection.look(begin + after);
        caller.runPendingTasks();
    }

    @Test
    void whoWasSlowOnceIsNotLeftBecauseNettyUsesTheSameObjectAgain() {
        caller.pipeline().addLast(connection);
        ByteBuf bytes = Unpooled.copiedBuffer("data: x\n\n", StandardCharsets.UTF_8).retain();
        caller.writeAndFlush(bytes);
        look(0);
        caller.takes = true;
        caller.flush();
        look(PATIENCE / 2);
        caller.takes = false;
        caller.writeAndFlush(bytes);
        look(PATIENCE + 1);
        assertTrue(caller.isOpen(), "he has taken all that was sent before");
        look(2 * PATIENCE + 2);
        assertFalse(caller.isOpen(), "now he takes nothing");
    }
}
