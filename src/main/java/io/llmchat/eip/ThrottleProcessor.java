package io.llmchat.eip;

import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.apache.camel.AsyncCallback;
import org.apache.camel.Exchange;
import org.apache.camel.Traceable;
import org.apache.camel.processor.BaseProcessorSupport;
import org.apache.camel.spi.IdAware;
import org.apache.camel.spi.RouteIdAware;

/**
 * The {@code throttle} EIP that rejects: so many messages in any window of that length, never more. Camel's keeps what it
 * has let in in a sorted queue; here it is a ring of times, of which only the oldest is looked at, whatever the maximum.
 * Safe for all threads.
 */
final class ThrottleProcessor extends BaseProcessorSupport implements Traceable, IdAware, RouteIdAware {

    private final long window;
    /** When each of the last ones was let in, the oldest at {@link #next}; those that never were, before all windows. */
    private final long[] times;
    private int next;
    private String id;
    private String routeId;

    /**
     * @param max how many; none if it is not positive
     * @param windowMillis the window they share
     */
    ThrottleProcessor(int max, long windowMillis) {
        this.window = TimeUnit.MILLISECONDS.toNanos(windowMillis);
        this.times = new long[Math.max(0, max)];
        Arrays.fill(times, System.nanoTime() - window);
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        long wait = letIn();
        if (wait > 0) {
            exchange.setException(new Throttled(times.length, TimeUnit.NANOSECONDS.toMillis(window), Math.ceilDiv(wait, TimeUnit.MILLISECONDS.toNanos(1))));
        }
        callback.done(true);
        return true;
    }

    /** How many nanoseconds there is no room yet; 0: it is let in. */
    private synchronized long letIn() {
        if (times.length == 0) {
            return window;
        }
        // in here: times of several threads would not be in order
        long now = System.nanoTime();
        long wait = window - (now - times[next]);
        if (wait > 0) {
            return wait;
        }
        times[next] = now;
        next = next + 1 == times.length ? 0 : next + 1;
        return 0;
    }

    @Override
    public String getTraceLabel() {
        return "throttle";
    }

    @Override
    public String getId() {
        return id;
    }

    @Override
    public void setId(String id) {
        this.id = id;
    }

    @Override
    public String getRouteId() {
        return routeId;
    }

    @Override
    public void setRouteId(String routeId) {
        this.routeId = routeId;
    }
}
