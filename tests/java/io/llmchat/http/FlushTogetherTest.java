package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.ChannelPromise;
import io.netty.channel.embedded.EmbeddedChannel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class FlushTogetherTest {

    private final List<String> done = new ArrayList<>();
    private final EmbeddedChannel channel = new EmbeddedChannel(new ChannelOutboundHandlerAdapter() {
        @Override
        public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) {
            done.add(message.toString());
        }

        @Override
        public void flush(ChannelHandlerContext ctx) {
            done.add("flush");
        }

        @Override
        public void close(ChannelHandlerContext ctx, ChannelPromise promise) {
            done.add("close");
        }
    }, new FlushTogether());

    @Test
    void whatIsSentInATurnGoesOutOnceAtItsEnd() {
        channel.pipeline().writeAndFlush("a");
        channel.pipeline().writeAndFlush("b");
        assertEquals(List.of("a", "b"), done);
        channel.runPendingTasks();
        assertEquals(List.of("a", "b", "flush"), done);
        channel.pipeline().writeAndFlush("c");
        channel.runPendingTasks();
        assertEquals(List.of("a", "b", "flush", "c", "flush"), done);
    }

    @Test
    void whatWasSentBeforeAConnectionIsClosedGoesBefore() {
        channel.pipeline().writeAndFlush("last");
        channel.pipeline().close();
        channel.runPendingTasks();
        assertEquals(List.of("last", "flush", "close"), done);
    }

    @Test
    void whatIsNotFlushedStays() {
        channel.pipeline().write("a");
        channel.runPendingTasks();
        channel.pipeline().close();
        assertEquals(List.of("a", "close"), done);
    }
}
