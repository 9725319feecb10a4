package io.llmchat.host;

import java.util.Map;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.camel.component.timer.TimerComponent;
import org.apache.camel.component.timer.TimerConsumer;
import org.apache.camel.spi.annotations.Component;

/**
 * Camel's {@code timer:} by a clock that nobody sets. Java's own timers wait for a time of day: where that is set back by
 * an hour, nothing began for an hour, and the claims of the answers that are being made, which nobody renewed, were taken
 * over by others. Safe for all threads.
 */
@Component("timer")
final class Timers extends TimerComponent {

    private final Map<TimerConsumer, Timer> timers = new ConcurrentHashMap<>();

    @Override
    public Timer getTimer(TimerConsumer consumer) {
        return timers.computeIfAbsent(consumer, c -> new Steady(c.getEndpoint().getTimerName()));
    }

    @Override
    public void removeTimer(TimerConsumer consumer) {
        Timer timer = timers.remove(consumer);
        if (timer != null) {
            timer.cancel();
        }
    }

    /** What is to begin at a time of day does, by Java's own thread; all else on a thread that is virtual. */
    private static final class Steady extends Timer {

        private final String name;
        private volatile boolean running = true;
        private volatile Thread thread;

        Steady(String name) {
            super(name, true);
            this.name = name;
        }

        @Override
        public void schedule(TimerTask task, long delay) {
            schedule(task, delay, 0);
        }

        @Override
        public void scheduleAtFixedRate(TimerTask task, long delay, long period) {
            schedule(task, delay, period);
        }

        @Override
        public void schedule(TimerTask task, long delay, long period) {
            // its thread is of no use
            super.cancel();
            thread = Thread.ofVirtual().name("timer " + name).start(() -> {
                long next = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(delay);
                do {
                    for (long left; running && (left = next - System.nanoTime()) > 0;) {
                        LockSupport.parkNanos(left);
                    }
                    if (running) {
                        // what was missed while this process stood still is not made up for
                        next = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(period);
                        task.run();
                    }
                } while (running && period > 0);
            });
        }

        @Override
        public void cancel() {
            running = false;
            // or it would keep its version of the routes until it is due
            LockSupport.unpark(thread);
            super.cancel();
        }
    }
}
