package io.llmchat.step;

import io.llmchat.http.ClientStream;
import io.llmchat.http.Drain;
import java.util.concurrent.TimeUnit;
import org.apache.camel.AsyncCallback;
import org.apache.camel.Exchange;
import org.apache.camel.Expression;
import org.apache.camel.support.AsyncProcessorSupport;

/**
 * A step that waits before a target is asked once more, and keeps no thread meanwhile: not for a caller who has left, nor
 * when the gateway ends, which the next attempt tells. A stream that is silent for long gets its comment lines.
 */
public final class BackOff extends AsyncProcessorSupport {

    private static final long LOOK_MILLIS = 250;

    private final Expression delay;
    private final Drain drain;
    private final long heartbeatNanos;

    /**
     * @param delay how many milliseconds
     * @param heartbeatMillis after so much silence a stream gets a comment line
     */
    public BackOff(Expression delay, Drain drain, long heartbeatMillis) {
        this.delay = delay;
        this.drain = drain;
        this.heartbeatNanos = TimeUnit.MILLISECONDS.toNanos(heartbeatMillis);
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(delay.evaluate(exchange, Long.class));
        ClientStream client = ClientStream.of(exchange);
        client.context().runOnContext(v -> look(client, until, callback));
        return false;
    }

    private void look(ClientStream client, long until, AsyncCallback callback) {
        long now = System.nanoTime();
        if (now >= until || client.gone() || drain.isEnding()) {
            callback.done(false);
            return;
        }
        if (client.committed() && now - client.wroteAt() > heartbeatNanos) {
            client.keepAlive();
        }
        long left = Math.ceilDiv(until - now, TimeUnit.MILLISECONDS.toNanos(1));
        client.context().owner().setTimer(Math.min(left, LOOK_MILLIS), t -> look(client, until, callback));
    }
}
