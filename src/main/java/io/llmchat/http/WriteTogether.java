package io.llmchat.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.ChannelPromise;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.concurrent.PromiseNotifier;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.net.impl.ConnectionBase;
import java.nio.channels.ClosedChannelException;
import java.util.ArrayList;
import java.util.List;

/**
 * What one turn of an event loop writes to all its connections goes out at the end of that turn, what is small in one
 * piece for each. Nothing is late by more than the events that were there already; but those at the other end are woken
 * once for several messages, and that wakes are a good part of what sending costs. It stands next to the socket, or to
 * TLS, where a head, a body and what frames a chunk are bytes. Used on the event loop of the connection.
 */
public final class WriteTogether extends ChannelOutboundHandlerAdapter {

    /** Bytes: what is longer goes as it is. Shorter ones of the heap have to be copied for the socket anyway. */
    private static final int SMALL = 8_192;
    /** Bytes that are kept here at most, and that nobody who asks how much is waiting to be sent knows of. */
    private static final int MAX = 8_192;
    private static final int LEAST = 512;

    private ChannelHandlerContext context;
    private final Runnable flush = this::flushNow;
    private boolean pending;
    /** What was written and not passed on, or null. */
    private ByteBuf small;
    /** How long it was the last time: the next one of this connection is likely to be as long. */
    private int usual = LEAST;
    /** Those who want to know what became of it. */
    private final List<ChannelPromise> asked = new ArrayList<>(0);

    WriteTogether() {
    }

    /** Of a connection that has just been made. */
    public static void on(HttpConnection connection) {
        ChannelPipeline pipeline = ((ConnectionBase) connection).channel().pipeline();
        ChannelHandlerContext tls = pipeline.context(SslHandler.class);
        if (tls == null) {
            pipeline.addFirst("write-together", new WriteTogether());
        } else {
            pipeline.addAfter(tls.name(), "write-together", new WriteTogether());
        }
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) {
        if (!(message instanceof ByteBuf bytes) || !bytes.isReadable() || bytes.readableBytes() > SMALL) {
            passOn();
            ctx.write(message, promise);
            return;
        }
        if (small == null) {
            small = ctx.alloc().directBuffer(Math.max(usual, bytes.readableBytes()));
        }
        small.writeBytes(bytes);
        bytes.release();
        if (!promise.isVoid()) {
            asked.add(promise);
        }
        if (small.readableBytes() > MAX) {
            passOn();
        }
    }

    private void passOn() {
        ByteBuf bytes = small;
        if (bytes == null) {
            return;
        }
        small = null;
        usual = Math.max(LEAST, bytes.readableBytes());
        if (asked.isEmpty()) {
            context.write(bytes, context.voidPromise());
            return;
        }
        var all = new PromiseNotifier<Void, ChannelFuture>(false, asked.toArray(ChannelPromise[]::new));
        asked.clear();
        context.write(bytes).addListener(all);
    }

    @Override
    public void flush(ChannelHandlerContext ctx) {
        if (!pending) {
            pending = true;
            // what a loop is given to do it does when it has read what there was
            ctx.executor().execute(flush);
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
            passOn();
            context.flush();
        }
    }

    @Override
    public void handlerRemoved(ChannelHandlerContext ctx) {
        if (small != null) {
            small.release();
            small = null;
            asked.forEach(promise -> promise.tryFailure(new ClosedChannelException()));
            asked.clear();
        }
    }
}
