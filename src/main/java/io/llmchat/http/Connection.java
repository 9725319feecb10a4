package io.llmchat.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.LastHttpContent;
import java.util.function.BiFunction;

/**
 * What one connection waits for, and since when; it stands between the HTTP codec and Vert.x. Used on the event loop of
 * the connection, but for {@link #look}.
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

    private final Channel channel;
    private final Connections.Patience patience;
    private final BiFunction<String, String, FullHttpResponse> timedOut;
    /** What is written and closed here passes Vert.x by: it would close only when all is sent. */
    private ChannelHandlerContext context;
    private volatile Waiting waiting = Waiting.HEAD;
    private volatile long since = System.nanoTime();
    /** Requests whose answers are not complete. */
    private int unanswered;
    private boolean reading;
    private boolean begun;
    private String path = "";
    private String requestId;
    private Object stuck;
    private long stuckAt;
    private long stuckSince;

    /** @param timedOut the answer to a request that did not come to its end, by its path and the caller's id for it */
    Connection(Channel channel, Connections.Patience patience, BiFunction<String, String, FullHttpResponse> timedOut) {
        this.channel = channel;
        this.patience = patience;
        this.timedOut = timedOut;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
        if (message instanceof HttpRequest request) {
            unanswered++;
            reading = true;
            begun = unanswered > 1;
            path = request.uri();
            requestId = request.headers().get(ClientStream.REQUEST_ID);
        }
        if (message instanceof HttpContent) {
            reading &= !(message instanceof LastHttpContent);
        }
        settle();
        super.channelRead(ctx, message);
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) throws Exception {
        if (waiting == Waiting.IDLE) {
            // bytes have come, and made nothing yet
            since = System.nanoTime();
            waiting = Waiting.HEAD;
        }
        super.channelReadComplete(ctx);
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) throws Exception {
        boolean interim = message instanceof HttpResponse head && head.status().code() < 200;
        begun |= message instanceof HttpResponse && !interim;
        // Vert.x has a void promise of its own: for any but the pipeline's the codec makes one for each piece of a message
        super.write(ctx, message, promise.isVoid() ? ctx.voidPromise() : promise);
        if (message instanceof LastHttpContent && !interim) {
            unanswered--;
            settle();
        }
    }

    private void settle() {
        since = System.nanoTime();
        waiting = reading ? Waiting.BODY : unanswered > 0 ? Waiting.ANSWER : Waiting.IDLE;
    }

    /** Closes the connection if it has waited too long. Called on any thread, with the time. */
    void look(long now) {
        Waiting what = waiting;
        ChannelOutboundBuffer queue = channel.unsafe().outboundBuffer();
        boolean sending = queue != null && queue.totalPendingWriteBytes() > 0;
        if (sending) {
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
            context.writeAndFlush(timedOut.apply(path, requestId)).addListener(f -> context.close());
        }
    }

    /** The caller takes nothing if the same message is at the head of the queue, and no byte of it has gone. */
    private void lookAtWrites(long now) {
        ChannelOutboundBuffer queue = channel.unsafe().outboundBuffer();
        Object first = queue == null ? null : queue.current();
        if (first == null || first != stuck || queue.currentProgress() != stuckAt) {
            stuck = first;
            stuckAt = first == null ? 0 : queue.currentProgress();
            stuckSince = now;
            if (waiting == Waiting.IDLE) {
                since = now;
            }
        } else if (now - stuckSince > patience.write()) {
            context.close();
        }
    }
}
