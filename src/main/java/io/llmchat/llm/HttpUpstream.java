package io.llmchat.llm;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.util.concurrent.Future;
import io.vertx.core.Handler;
import io.vertx.core.Vertx;
import io.vertx.core.impl.ContextInternal;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** A call over HTTP. Redirects are not followed: they could carry our key to somebody else. */
final class HttpUpstream implements Upstream {

    /** How long a provider that has said all may take to end its response; then its connection is closed. */
    private static final long LINGER_MILLIS = 1_000;

    private final ProviderConnections connections;
    private final ProviderAddress address;
    private final byte[] head;
    /** Until it is sent, or given up. */
    private byte[] body;
    private final boolean streamed;
    private ContextInternal context;
    /** Null: nothing is to be heard any more. */
    private Receiver receiver;
    /** From when it has sent the request to the end of the response. */
    private ProviderConnection connection;
    private boolean sent;
    private Future<?> closing;

    /**
     * @param head of the request, up to the length of the body
     * @param streamed whether a stream is asked for
     */
    HttpUpstream(ProviderConnections connections, ProviderAddress address, byte[] head, byte[] body, boolean streamed) {
        this.connections = connections;
        this.address = address;
        this.head = head;
        this.body = body;
        this.streamed = streamed;
    }

    @Override
    public void start(Receiver to) {
        receiver = to;
        context = (ContextInternal) Vertx.currentContext();
        connections.connect(context.nettyEventLoop(), address, this);
    }

    // --- what its connection tells it, on the event loop of both

    /** @return false if the request is not sent, because it was given up */
    boolean sendTo(ProviderConnection opened) {
        if (receiver == null) {
            return false;
        }
        sent = true;
        connection = opened;
        byte[] length = (body.length + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII);
        ByteBuf all = Unpooled.buffer(head.length + length.length).writeBytes(head).writeBytes(length);
        opened.send(this, all, Unpooled.wrappedBuffer(body), streamed);
        body = null;
        return true;
    }

    void head(int status, HttpHeaders headers) {
        tell(to -> to.head(status, headers));
    }

    void data(byte[] bytes) {
        tell(to -> to.data(bytes));
    }

    void end() {
        over(Receiver::end);
    }

    void broken(Throwable cause) {
        over(to -> to.broken(cause));
    }

    private void over(Handler<Receiver> last) {
        connection = null;
        if (closing != null) {
            closing.cancel(false);
        }
        Receiver to = receiver;
        receiver = null;
        if (to != null) {
            context.emit(to, last);
        }
    }

    private void tell(Handler<Receiver> what) {
        if (receiver != null) {
            context.emit(receiver, what);
        }
    }

    // --- what its receiver tells it

    @Override
    public boolean sent() {
        return sent;
    }

    @Override
    public void pause() {
        if (connection != null) {
            connection.pause();
        }
    }

    @Override
    public void resume() {
        if (connection != null) {
            connection.resume();
        }
    }

    @Override
    public void release() {
        receiver = null;
        if (connection != null) {
            connection.resume();
            closing = context.nettyEventLoop().schedule(this::abort, LINGER_MILLIS, TimeUnit.MILLISECONDS);
        }
    }

    @Override
    public void abort() {
        receiver = null;
        // a connection that is still being made keeps its call
        body = null;
        if (connection != null) {
            connection.close();
            connection = null;
        }
    }
}
