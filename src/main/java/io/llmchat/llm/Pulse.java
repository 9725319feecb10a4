package io.llmchat.llm;

import io.vertx.core.Vertx;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.Set;

/**
 * Looks at all open relays of one event loop every {@value #MILLIS} milliseconds. A timer for each request would cost
 * more than this, and all of them are exact to the millisecond where nobody needs it. Used on its event loop only.
 */
final class Pulse {

    static final long MILLIS = 100;

    /** One for each event loop, which is one thread. */
    private static final ThreadLocal<Pulse> OF_THIS_LOOP = ThreadLocal.withInitial(Pulse::new);

    private final Set<Relay> relays = new LinkedHashSet<>();
    private long timer = -1;

    /** The pulse of the event loop that asks. */
    static Pulse ofThisLoop() {
        return OF_THIS_LOOP.get();
    }

    void add(Vertx vertx, Relay relay) {
        relays.add(relay);
        if (timer < 0) {
            timer = vertx.setPeriodic(MILLIS, t -> beat(vertx));
        }
    }

    void remove(Relay relay) {
        relays.remove(relay);
    }

    private void beat(Vertx vertx) {
        if (relays.isEmpty()) {
            vertx.cancelTimer(timer);
            timer = -1;
            return;
        }
        long now = System.nanoTime();
        // a relay that has run out of time leaves while it is looked at
        for (Relay relay : new ArrayList<>(relays)) {
            relay.beat(now);
        }
    }
}
