package io.llmchat.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMessageDecoderResult;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import io.vertx.core.http.HttpConnection;
import io.vertx.core.net.impl.ConnectionBase;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;

/**
 * What one connection waits for, and since when; it stands between the HTTP codec and Vert.x. Used on the event loop of
 * the connection, but for {@link #look} and {@link #isSending}.
 */
final class Connection extends ChannelDuplexHandler {

    private enum Waiting {
        /** for a request head: nothing of it is there */
        IDLE,
        /** for the rest of a request head */
        HEAD,
        /** for more of a request body */
        BODY,
        /** for ourselves; the caller may be silent as long as he takes what he gets */
        ANSWER
    }

    /** Requests that may wait behind one another: each is kept, and one that is answered at once begins the next within it. */
    private static final int MAX_UNANSWERED = 32;
    /** Bytes of a head that have no place in memory of their own: most are shorter. */
    private static final int SHORT_HEAD = 2_048;

    /** A long body or answer may be so often late, and take this long besides: 32 KiB a second, which a bad mobile link has. */
    private static final int SLOW_PIECES = 5;
    private static final long NANOS_PER_BYTE = TimeUnit.SECONDS.toNanos(1) / 32_768;

    private final Channel channel;
    private final Connections.Patience patience;
    private final BiFunction<String, String, FullHttpResponse> timedOut;
    /** What is written and closed here passes Vert.x by: it would close only when all is sent. */
    private ChannelHandlerContext context;
    /** The one of this connection, or null. */
    private WriteTogether together;
    private volatile Waiting waiting = Waiting.HEAD;
    private volatile long since = System.nanoTime();
    /** Requests whose answers are not complete. */
    private int unanswered;
    /** How many bytes each of them takes, but for the first: Vert.x keeps them until it is their turn. */
    private final ArrayDeque<Integer> behind = new ArrayDeque<>(0);
    private boolean reading;
    /** Whether Vert.x has a request whose end it has not got. */
    private boolean open;
    /** Whether nothing is read until what is to be sent is taken. */
    private boolean held;
    /** Since when the body at hand is read, and how much of it has come. */
    private long bodySince;
    private long bodyBytes;
    private boolean begun;
    /** Whether the bytes that were read last have made a message. */
    private boolean made;
    private int messages;
    /** Bytes in them, but for what stands between lines and chunks. */
    private int understood;
    /** Bytes of the longest head that has come: until its end the codec keeps room for another one. */
    private int longestHead = SHORT_HEAD;
    /** Whether the request that was read last asks for a head only. */
    private boolean headOnly;
    /** Whether the request at hand is the last one of its connection. */
    private boolean last;
    /** Whether the answer at hand, or the last one, says that the connection closes after it. */
    private boolean closing;
    /** Whether what still comes is nobody's: it is thrown away, where Vert.x would keep it or answer it. */
    private boolean deaf;
    private String path = "";
    private String requestId;
    /** What was answered here, where Vert.x does not see it, or null. */
    private HttpResponse told;
    private volatile Object stuck;
    private long stuckAt;
    private long stuckSince;
    /** Since when it is at the head of the queue. */
    private long firstSince;

    /** @param timedOut the answer to a request that did not come to its end, by its path and the caller's id for it */
    Connection(Channel channel, Connections.Patience patience, BiFunction<String, String, FullHttpResponse> timedOut) {
        this.channel = channel;
        this.patience = patience;
        this.timedOut = timedOut;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
        together = ctx.pipeline().get(WriteTogether.class);
    }

    @Override
    public void handlerRemoved(ChannelHandlerContext ctx) {
        behind.forEach(Memory.BEHIND::give);
        behind.clear();
        Memory.HEADS.give(longestHead - SHORT_HEAD);
        longestHead = SHORT_HEAD;
    }

    /** How many messages, heads and pieces of bodies, its bytes have made. */
    int messages() {
        return messages;
    }

    /** How many bytes these messages have. */
    int understood() {
        return understood;
    }

    /** Takes the place of a head of so many bytes, also where it has not come to its end; false if there is no room for it. */
    boolean takeHead(int bytes) {
        if (bytes > longestHead) {
            if (!Memory.HEADS.take(bytes - longestHead, longestHead - SHORT_HEAD)) {
                return false;
            }
            longestHead = bytes;
        }
        return true;
    }

    /** The one of this connection, or null where connections are not looked at. */
    private static Connection of(HttpConnection connection) {
        return ((ConnectionBase) connection).channel().pipeline().get(Connection.class);
    }

    /** Nothing that still comes on it is read as a request, also if it is here already. */
    static void readNoMore(HttpConnection connection) {
        Connection of = of(connection);
        if (of != null) {
            of.deaf = true;
        }
    }

    /** The head of an answer is about to say that the connection closes after it. */
    static void closeAfterAnswer(HttpConnection connection) {
        Connection of = of(connection);
        if (of != null) {
            of.closing = true;
        }
    }

    /** Whether an answer has said that it is the last one. */
    static boolean isClosing(HttpConnection connection) {
        Connection of = of(connection);
        return of != null && of.closing;
    }

    /** Whether it is closed. */
    static boolean isClosed(HttpConnection connection) {
        return !((ConnectionBase) connection).channel().isActive();
    }

    /** What the request that this connection was closed for was told here, or null. */
    static HttpResponse told(HttpConnection connection) {
        Connection of = of(connection);
        return of == null ? null : of.told;
    }

    /** Cuts it: what was not taken yet is not waited for. */
    static void cut(HttpConnection connection) {
        Connection of = of(connection);
        if (of != null) {
            of.context.close();
        } else {
            ((ConnectionBase) connection).channel().close();
        }
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
        made = true;
        messages++;
        int bytes = message instanceof HttpContent content ? content.content().readableBytes()
                : ((HttpRequest) message).decoderResult() instanceof HttpMessageDecoderResult head ? head.totalSize() : 0;
        understood += bytes;
        if (deaf) {
            ReferenceCountUtil.release(message);
            return;
        }
        if (message instanceof HttpRequest request) {
            if (!takeHead(bytes)) {
                deaf = true;
                ctx.close();
                return;
            }
            if (!channel.isWritable()) {
                // one that is answered at once waits for nothing: the answers of who takes none would fill the memory
                held = true;
                channel.config().setAutoRead(false);
            }
            unanswered++;
            reading = true;
            bodySince = System.nanoTime();
            bodyBytes = 0;
            begun = false;
            // RFC 9112, section 9.6: what follows a request that closes is not for us
            HttpVersion version = request.protocolVersion();
            last = !HttpUtil.isKeepAlive(request) || version != HttpVersion.HTTP_1_1 && version != HttpVersion.HTTP_1_0;
            if (last || version == HttpVersion.HTTP_1_0) {
                // Vert.x reads no lists: where it came to another end than we do, it would drop what follows, and never release it
                request.headers().set(HttpHeaderNames.CONNECTION, last ? HttpHeaderValues.CLOSE : HttpHeaderValues.KEEP_ALIVE);
            }
            headOnly = request.method() == HttpMethod.HEAD;
            path = request.uri();
            requestId = request.headers().get(ClientStream.REQUEST_ID);
        }
        if (unanswered > 1 && !mayWait(message)) {
            deaf = true;
            ReferenceCountUtil.release(message);
            ctx.close();
            return;
        }
        open = message instanceof HttpRequest || open && !(message instanceof LastHttpContent end && end.decoderResult().isSuccess());
        if (message instanceof HttpContent content) {
            bodyBytes += content.content().readableBytes();
            reading &= !(message instanceof LastHttpContent);
            deaf |= last && !reading;
        }
        settle();
        super.channelRead(ctx, message);
        closeIfSaid(unanswered == 0);
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext ctx) throws Exception {
        if (held && channel.isWritable()) {
            held = false;
            channel.config().setAutoRead(true);
        }
        super.channelWritabilityChanged(ctx);
    }

    /** Vert.x forgets the request in progress over one that has not come whole, and waits: that one gets its end before. */
    @Override
    public void channelInactive(ChannelHandlerContext ctx) throws Exception {
        if (open && unanswered > 1) {
            ctx.fireChannelRead(LastHttpContent.EMPTY_LAST_CONTENT);
        }
        super.channelInactive(ctx);
    }

    /** Nor does it close the connection then. */
    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) throws Exception {
        if (unanswered > 1) {
            deaf = true;
            ctx.close();
        } else {
            super.exceptionCaught(ctx, cause);
        }
    }

    /** Whether there is room for what waits behind another request. */
    private boolean mayWait(Object message) {
        if (unanswered > MAX_UNANSWERED) {
            return false;
        }
        // a piece is kept as some objects, however short it is
        int bytes = message instanceof HttpRequest head ? size(head)
                : message == LastHttpContent.EMPTY_LAST_CONTENT ? 0 : 100 + ((HttpContent) message).content().readableBytes();
        if (!Memory.BEHIND.take(bytes, 0)) {
            return false;
        }
        behind.addLast(message instanceof HttpRequest ? bytes : behind.removeLast() + bytes);
        return true;
    }

    /** What a head takes of the heap, about: each of its lines is some objects. */
    private static int size(HttpRequest head) {
        int bytes = 1_000 + head.uri().length();
        for (var lines = head.headers().iteratorCharSequence(); lines.hasNext();) {
            var line = lines.next();
            bytes += 100 + line.getKey().length() + line.getValue().length();
        }
        return bytes;
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) throws Exception {
        if (waiting == Waiting.IDLE && !made) {
            // bytes have come, and made nothing yet
            since = System.nanoTime();
            waiting = Waiting.HEAD;
            path = "";
            requestId = null;
        }
        made = false;
        super.channelReadComplete(ctx);
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) throws Exception {
        boolean interim = message instanceof HttpResponse head && head.status().code() < 200;
        begun |= message instanceof HttpResponse && !interim;
        // Vert.x has a void promise of its own: for any but the pipeline's the codec makes one for each piece of a message
        ChannelPromise asked = promise.isVoid() ? ctx.voidPromise() : promise;
        if (together == null || headOnly || unanswered != 1 || !(message instanceof FullHttpResponse answer) || !together.whole(answer, asked)) {
            super.write(ctx, message, asked);
        }
        if (message instanceof LastHttpContent && !interim) {
            unanswered--;
            if (!behind.isEmpty()) {
                Memory.BEHIND.give(behind.removeFirst());
                // what has come of it was not awaited until now
                begun = false;
                bodySince = System.nanoTime();
                bodyBytes = 0;
            }
            settle();
            closeIfSaid(true);
        }
    }

    /** RFC 9112, section 9.6: closed as soon as the answer that said so is sent, and its request is read. */
    private void closeIfSaid(boolean answered) {
        if (closing && answered && !(reading && unanswered == 0)) {
            deaf = true;
            context.writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(f -> context.close());
        }
    }

    private void settle() {
        // what is short has no time to be late often: there is less room for all that is
        since = reading ? slowest(System.nanoTime(), bodySince + (bodyBytes > Memory.SMALL ? SLOW_PIECES : 1) * patience.body(), bodyBytes)
                : System.nanoTime();
        // a body behind another request is not read before its turn
        waiting = unanswered > 1 ? Waiting.ANSWER : reading ? Waiting.BODY : unanswered > 0 ? Waiting.ANSWER : Waiting.IDLE;
    }

    /** Now, or when so many bytes should have gone at the latest: who moves one now and then is slower than anybody may be. */
    private static long slowest(long now, long begin, long bytes) {
        return Math.min(now, begin + bytes * NANOS_PER_BYTE);
    }

    /** Whether the caller has not taken all that was sent. Called on any thread. */
    boolean isSending() {
        ChannelOutboundBuffer queue = channel.unsafe().outboundBuffer();
        return queue != null && queue.totalPendingWriteBytes() > 0;
    }

    /** Closes the connection if it has waited too long. Called on any thread, with the time. */
    void look(long now) {
        Waiting what = waiting;
        boolean sending = isSending();
        // what was sent is forgotten too: Netty may take its object for what is sent next
        if (sending || stuck != null) {
            channel.eventLoop().execute(() -> lookAtWrites(now));
        }
        if (what != Waiting.ANSWER && !(what == Waiting.IDLE && sending) && now - since > limit(what)) {
            channel.eventLoop().execute(() -> {
                if (waiting == what && now - since > limit(what)) {
                    end(what);
                }
            });
        }
    }

    private long limit(Waiting what) {
        return switch (what) {
            case HEAD -> patience.head();
            case BODY -> patience.body();
            default -> patience.idle();
        };
    }

    private void end(Waiting what) {
        if (what == Waiting.IDLE || what == Waiting.BODY && begun) {
            context.close();
        } else {
            FullHttpResponse response = timedOut.apply(path, requestId);
            told = response;
            context.writeAndFlush(response).addListener(f -> context.close());
        }
    }

    /** The caller takes nothing if the same message is at the head of the queue, and no byte of it has gone, or hardly any. */
    private void lookAtWrites(long now) {
        ChannelOutboundBuffer queue = channel.unsafe().outboundBuffer();
        Object first = queue == null ? null : queue.current();
        long taken = first == null ? 0 : queue.currentProgress();
        if (first == null || first != stuck || taken != stuckAt) {
            firstSince = first == stuck && taken > stuckAt ? firstSince : now;
            stuck = first;
            stuckAt = taken;
            // short ones may be another one each time
            stuckSince = first instanceof ByteBuf left && left.readableBytes() > Memory.SMALL
                    ? slowest(now, firstSince + SLOW_PIECES * patience.write(), taken) : now;
            if (waiting == Waiting.IDLE || held) {
                since = now;
                bodySince = now;
            }
        }
        if (now - stuckSince > patience.write()) {
            context.close();
        }
    }
}
