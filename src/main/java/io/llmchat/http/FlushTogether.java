package io.llmchat.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.util.concurrent.FastThreadLocal;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.net.impl.ConnectionBase;
import java.util.ArrayList;
import java.util.List;

/**
 * What one turn of an event loop writes to all its connections goes out at the end of that turn. Nothing is late by more
 * than the events that were there already; but those at the other end are woken once for several messages, and that wakes
 * are a good part of what sending costs. Used on the event loop of the connection.
 */
public final class FlushTogether extends ChannelDuplexHandler {

    private static final FastThreadLocal<Turn> TURN = new FastThreadLocal<>() {
        @Override
        protected Turn initialValue() {
            return new Turn();
        }
    };

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
            TURN.get().add(this);
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

    /** The connections that have something to send at the end of this turn of the loop. */
    private static final class Turn implements Runnable {
        private List<FlushTogether> waiting = new ArrayList<>();
        private List<FlushTogether> spare = new ArrayList<>();

        void add(FlushTogether connection) {
            if (waiting.isEmpty()) {
                connection.context.executor().execute(this);
            }
            waiting.add(connection);
        }

        @Override
        public void run() {
            List<FlushTogether> now = waiting;
            waiting = spare;
            spare = now;
            now.forEach(FlushTogether::flushNow);
            now.clear();
        }
    }
}
