package io.llmchat.soak;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Everything that is asked of the gateway during the soak: so many streams all the time, and the other requests beside them, at their pace. */
final class Load {

    /** One request, or a few that belong together: throws where it gets something else than it wants. */
    private interface Asked {
        void ask() throws Exception;
    }

    private record Kind(String name, Asked asked) {
    }

    private static final int RAMP_MILLIS = 10_000;

    private final Outcomes outcomes;
    private final List<String> kinds = new ArrayList<>();
    private final List<Thread> callers = new ArrayList<>();
    private volatile boolean over;

    /** @param streams how many there are all the time */
    Load(int streams, Streams of, Requests requests, Outcomes outcomes) {
        this.outcomes = outcomes;
        Map<Kind, Integer> shares = new LinkedHashMap<>();
        shares.put(new Kind("stream, undisturbed", of::undisturbed), 66);
        shares.put(new Kind("stream, retried", of::retried), 8);
        shares.put(new Kind("stream, fallen back", of::fallenBack), 5);
        shares.put(new Kind("stream, continued", of::continued), 5);
        shares.put(new Kind("stream, broken", of::broken), 5);
        shares.put(new Kind("stream, left before first token", of::leftBeforeTheFirstToken), 3);
        shares.put(new Kind("stream, left in midstream", of::leftInMidstream), 4);
        shares.put(new Kind("stream, resumed", of::resumed), 3);
        shares.put(new Kind("stream, abandoned", of::abandoned), 1);
        List<Kind> drawn = new ArrayList<>();
        shares.forEach((kind, share) -> {
            kinds.add(kind.name);
            for (int i = 0; i < share; i++) {
                drawn.add(kind);
            }
        });
        for (int i = 0; i < streams; i++) {
            callers.add(Thread.ofVirtual().unstarted(() -> {
                pause(Client.random(RAMP_MILLIS));
                while (!over) {
                    run(Client.any(drawn));
                }
            }));
        }
        every(200, "whole answer", requests::wholeAnswer);
        every(500, "left during a whole answer", requests::leftDuringAWholeAnswer);
        every(1_000, "refused", requests::refused);
        every(500, "dead model", requests::deadModel);
        every(500, "new name", requests::newName);
        every(500, "session", requests::session);
        every(500, "idempotent stream", requests::idempotentStream);
        every(500, "SDK's retry", requests::sdkRetry);
        every(500, "key made, used, revoked", requests::keyThatIsRevoked);
    }

    private void every(long millis, String name, Asked asked) {
        kinds.add(name);
        Kind kind = new Kind(name, asked);
        callers.add(Thread.ofVirtual().unstarted(() -> {
            while (!over) {
                run(kind);
                pause(millis);
            }
        }));
    }

    private void run(Kind kind) {
        try {
            kind.asked.ask();
            outcomes.asExpected(kind.name);
        } catch (Exception | AssertionError e) {
            outcomes.otherwise(kind.name, e);
            // whoever is refused at once must not come back at once
            pause(500);
        }
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The names of all kinds of requests. */
    List<String> kinds() {
        return kinds;
    }

    void start() {
        callers.forEach(Thread::start);
    }

    /** Begins nothing more, and returns when what was begun has ended. */
    void stop() throws InterruptedException {
        over = true;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
        for (Thread caller : callers) {
            if (!caller.join(java.time.Duration.ofNanos(Math.max(1, end - System.nanoTime())))) {
                throw new AssertionError("two minutes after the end of the load a request has not ended");
            }
        }
    }
}
