package io.llmchat.llm;

import io.llmchat.http.WriteTogether;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.socket.ChannelOutputShutdownException;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpDecoderConfig;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseDecoder;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.AsciiString;
import io.netty.util.ReferenceCountUtil;
import java.nio.channels.ClosedChannelException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A connection to a provider, which serves one call after the other: HTTP/1.1 as Netty's codec reads it. Between two
 * calls it is in its pool. Used on its event loop.
 */
final class ProviderConnection extends ChannelInboundHandlerAdapter {

    /** A head that is too long is an answer that is lost, though it is paid for: proxies' policies and cookies take some kilobytes. */
    private static final HttpDecoderConfig LIMITS = new HttpDecoderConfig().setMaxInitialLineLength(4_096).setMaxHeaderSize(65_536)
            .setMaxChunkSize(8_192);
    private static final int SWITCHING = 101;
    /** Seconds that it waits for its next call, unless the provider says how long it does. */
    private static final int IDLE = 60;
    private static final CharSequence KEEP_ALIVE = AsciiString.cached("keep-alive");
    private static final Pattern TIMEOUT = Pattern.compile("(?:^|[,;\\s])timeout=\"?(\\d{1,9})", Pattern.CASE_INSENSITIVE);

    private static final class Decoder extends HttpResponseDecoder {
        Decoder() {
            super(LIMITS);
        }

        /** Whether it has read more than it could make something of. */
        boolean hasMore() {
            return actualReadableBytes() > 0;
        }
    }

    private final ProviderConnections.Pool pool;
    private final ChunkDecoder chunks = new ChunkDecoder(this::data);
    private final Decoder decoder = new Decoder();
    private ChannelHandlerContext context;
    /** The one whose response is to come, or null. */
    private HttpUpstream call;
    /** Whether the head of its response was read. */
    private boolean begun;
    /** Whether a response has ended, and what is being read may have more behind it. */
    private boolean ended;
    /** Whether it can be used again. */
    private boolean stays = true;
    private int patience = IDLE;
    private long past;

    private ProviderConnection(ProviderConnections.Pool pool) {
        this.pool = pool;
    }

    /** Takes a channel that has just been opened. */
    static ProviderConnection on(Channel channel, ProviderConnections.Pool pool) {
        ChannelPipeline pipeline = channel.pipeline();
        // those of Vert.x' socket
        List<ChannelHandler> others = new ArrayList<>();
        pipeline.forEach(handler -> {
            if (!(handler.getValue() instanceof SslHandler)) {
                others.add(handler.getValue());
            }
        });
        others.forEach(pipeline::remove);
        WriteTogether.on(pipeline);
        // who has left without reading all of a request may have answered it before
        channel.config().setAutoClose(false);
        ProviderConnection connection = new ProviderConnection(pool);
        pipeline.addLast(connection.chunks, connection.decoder, connection);
        connection.waits();
        return connection;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
    }

    /** Sends a request, head and body. What comes of it is told to the call, until its end or failure. */
    void send(HttpUpstream from, ByteBuf head, ByteBuf body, boolean streamed) {
        call = from;
        begun = false;
        stays = true;
        if (streamed) {
            chunks.expect();
        } else {
            chunks.forget();
        }
        context.write(head, context.voidPromise());
        context.writeAndFlush(body, context.voidPromise());
    }

    /** Whether it can no longer be used, because nobody has for so long, or the provider has left; then it is closed. */
    boolean isPast(long now) {
        boolean is = !stays || now - past > 0 || !context.channel().isActive();
        if (is) {
            close();
        }
        return is;
    }

    void pause() {
        chunks.pause();
    }

    void resume() {
        chunks.resume();
    }

    /** Ends it, and the call at hand, which hears nothing of it. */
    void close() {
        call = null;
        stays = false;
        context.close();
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
        try {
            if (call == null) {
                close();
            } else if (!(message instanceof HttpObject object) || object.decoderResult().isFailure()) {
                fail(message instanceof HttpObject bad ? bad.decoderResult().cause() : new DecoderException("no HTTP"));
            } else {
                if (object instanceof HttpResponse response) {
                    head(response);
                }
                if (object instanceof HttpContent content) {
                    body(content);
                }
            }
        } finally {
            ReferenceCountUtil.release(message);
        }
    }

    private void head(HttpResponse response) {
        int status = response.status().code();
        if (!response.protocolVersion().equals(HttpVersion.HTTP_1_1) && !response.protocolVersion().equals(HttpVersion.HTTP_1_0)) {
            fail(new DecoderException("not HTTP/1.1 but " + response.protocolVersion()));
        } else if (status == SWITCHING || !HttpStatusClass.INFORMATIONAL.contains(status)) {
            // behind an informational one the response is still to come
            begun = true;
            stays = HttpUtil.isKeepAlive(response) && status != SWITCHING;
            String keepAlive = response.headers().get(KEEP_ALIVE);
            if (keepAlive != null) {
                Matcher timeout = TIMEOUT.matcher(keepAlive);
                patience = timeout.find() ? Integer.parseInt(timeout.group(1)) : patience;
            }
            if (!(response.protocolVersion().equals(HttpVersion.HTTP_1_1) && HttpUtil.isTransferEncodingChunked(response) && chunks.take())) {
                chunks.forget();
            }
            call.head(status, response.headers());
        }
    }

    private void body(HttpContent content) {
        if (begun && content.content().isReadable()) {
            data(ByteBufUtil.getBytes(content.content()));
        }
        if (begun && call != null && content instanceof LastHttpContent) {
            HttpUpstream of = call;
            call = null;
            ended = true;
            waits();
            of.end();
        }
    }

    private void data(byte[] bytes) {
        if (call != null) {
            call.data(bytes);
        }
    }

    private void waits() {
        chunks.expectNothing();
        chunks.resume();
        past = System.nanoTime() + TimeUnit.SECONDS.toNanos(patience);
    }

    /** Whatever came with the end of a response has been looked at. */
    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
        if (ended) {
            ended = false;
            if (stays && !decoder.hasMore() && hasSent() && context.channel().isActive()) {
                pool.idle(this);
            } else {
                close();
            }
        }
    }

    /** Whether nothing of its request is left: it would stand before the next one, for who may never read it. */
    private boolean hasSent() {
        ChannelOutboundBuffer rest = context.channel().unsafe().outboundBuffer();
        return rest != null && rest.isEmpty();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
        // what cannot be sent is told by reading too, behind an answer if there is one
        if (!(cause instanceof ChannelOutputShutdownException)) {
            fail(cause);
        }
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
        pool.left(this);
        fail(new ClosedChannelException());
    }

    private void fail(Throwable cause) {
        HttpUpstream of = call;
        close();
        if (of != null) {
            of.broken(cause);
        }
    }
}
