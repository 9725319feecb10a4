package io.llmchat.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.ChannelPromise;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.net.impl.ConnectionBase;

/**
 * What one turn of an event loop writes to all its connections goes out at the end of that turn. Nothing is late by more
 * than the events that were there already; but those at the other end are woken once for several messages, and that wakes
 * are a good part of what sending costs. Used on the event loop of the connection.
 */
public final class FlushTogether extends ChannelOutboundHandlerAdapter {

    private ChannelHandlerContext context;
    private boolean pending;

    FlushTogether() {
    }

    /** Of a connection that has just been made. */
    public static void on(HttpConnection connection) {
        Channel channel = ((ConnectionBase) connection).channel();
        channel.pipeline().addBefore("handler", "flush-together", new FlushTogether());
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
    }

    @Override
    public void flush(ChannelHandlerContext ctx) {
        if (!pending) {
            pending = true;
            // what a loop is given to do it does when it has read what there was
            ctx.executor().execute(this::flushNow);
        }
    }

    @Override
    public void close(ChannelHandlerContext ctx, ChannelPromise promise) {
        // what was written before goes before
        flushNow();
        ctx.close(promise);
    }

    private void flushNow() {
        if (pending) {
            pending = false;
            context.flush();
        }
    }
}
