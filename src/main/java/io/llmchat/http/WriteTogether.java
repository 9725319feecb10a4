package io.llmchat.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.concurrent.FastThreadLocal;
import io.netty.util.concurrent.PromiseNotifier;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.http.impl.headers.HeadersMultiMap;
import io.vertx.core.net.impl.ConnectionBase;
import java.nio.channels.ClosedChannelException;
import java.nio.charset.StandardCharsets;
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
    private static final int CRLF = '\r' << 8 | '\n';
    private static final byte[] VERSION = "HTTP/1.1 ".getBytes(StandardCharsets.US_ASCII);
    private static final FastThreadLocal<ByteBuf> HEAD = new FastThreadLocal<>() {
        @Override
        protected ByteBuf initialValue() {
            return Unpooled.buffer(1_024);
        }
    };

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

    /** The one of this connection, or null. */
    static WriteTogether of(HttpConnection connection) {
        return ((ConnectionBase) connection).channel().pipeline().get(WriteTogether.class);
    }

    /** Of a connection that has just been made. */
    static void on(HttpConnection connection) {
        on(((ConnectionBase) connection).channel().pipeline());
    }

    /** Of a connection that has just been made. */
    public static void on(ChannelPipeline pipeline) {
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
        room(bytes.readableBytes()).writeBytes(bytes);
        bytes.release();
        written(promise);
    }

    /**
     * Sends a chunk of a body that goes in chunks (RFC 9112, section 7.1), after a head that has gone the usual way: what
     * the HTTP server and the codec would make of it, at a fraction of what they take for each token of a stream.
     *
     * @return false if it has to go that way too: a long one, or from another thread
     */
    boolean chunk(ByteBuf bytes) {
        int length = bytes.readableBytes();
        if (length == 0 || length > SMALL || context.isRemoved() || !context.executor().inEventLoop()) {
            return false;
        }
        ByteBuf to = room(length + 8);
        for (int digit = (31 - Integer.numberOfLeadingZeros(length)) & ~3; digit >= 0; digit -= 4) {
            to.writeByte(Character.forDigit(length >> digit & 15, 16));
        }
        ByteBufUtil.writeShortBE(to, CRLF);
        to.writeBytes(bytes, bytes.readerIndex(), length);
        ByteBufUtil.writeShortBE(to, CRLF);
        if (to.readableBytes() > MAX) {
            passOn();
        }
        flush(context);
        return true;
    }

    /**
     * Sends a short answer in one piece, as the codec would write it: its lines into an array first, from which a copy is
     * one, while the codec writes each name and each value into memory outside of the heap by itself.
     *
     * @param answer to a request that wants its content too; is released
     * @param promise is told what became of it
     * @return false if it has to go the usual way: a long one, one whose status has no content, or from another thread
     */
    boolean whole(FullHttpResponse answer, ChannelPromise promise) {
        int status = answer.status().code();
        ByteBuf content = answer.content();
        if (!(answer.headers() instanceof HeadersMultiMap lines) || answer.protocolVersion() != HttpVersion.HTTP_1_1
                || lines.contains(HttpHeaderNames.TRANSFER_ENCODING) || !answer.trailingHeaders().isEmpty() || content.readableBytes() > SMALL
                || status < 200 || status == 204 || status == 205 || status == 304 || context.isRemoved()
                || !context.executor().inEventLoop()) {
            return false;
        }
        ByteBuf head = HEAD.get().clear();
        head.writeBytes(VERSION).writeBytes(answer.status().codeAsText().array()).writeByte(' ');
        head.writeCharSequence(answer.status().reasonPhrase(), StandardCharsets.US_ASCII);
        ByteBufUtil.writeShortBE(head, CRLF);
        lines.encode(head);
        ByteBufUtil.writeShortBE(head, CRLF);
        room(head.readableBytes() + content.readableBytes()).writeBytes(head).writeBytes(content);
        answer.release();
        written(promise);
        return true;
    }

    private void written(ChannelPromise promise) {
        if (!promise.isVoid()) {
            asked.add(promise);
        }
        if (small.readableBytes() > MAX) {
            passOn();
        }
    }

    private ByteBuf room(int length) {
        if (small == null) {
            small = context.alloc().directBuffer(Math.max(usual, length));
        }
        return small;
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
