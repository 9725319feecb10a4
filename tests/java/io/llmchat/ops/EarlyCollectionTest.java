package io.llmchat.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.GatewayProcess;
import java.lang.ref.WeakReference;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class EarlyCollectionTest {

    /** What lives, in pieces of 1 kB. */
    private static final int LIVE = 20_000;

    @Test
    void whatHasGrownOldAndDiedDoesNotTakeAllTheMemoryOfTheHeap() throws Exception {
        int with = megabytesOfHeap("early");
        int without = megabytesOfHeap("never");
        assertTrue(with < 150, with + " MB");
        assertTrue(without > 180, "without it " + without + " MB");
    }

    @Test
    void aLullIsMadeUseOfWhereItGrewLess() throws Exception {
        assertTrue(run(Lull.class, "early").equals("true"));
        assertTrue(run(Lull.class, "never").equals("false"), "without it");
    }

    private static int megabytesOfHeap(String when) throws Exception {
        return Integer.parseInt(run(Churn.class, when));
    }

    private static String run(Class<?> main, String when) throws Exception {
        Process java = GatewayProcess.java("-XX:+UseSerialGC", "-Xms64m", "-Xmx200m", "-Xmn12m", main.getName(), when)
                .redirectErrorStream(true).start();
        try {
            return new String(java.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        } finally {
            java.destroyForcibly().waitFor(10, TimeUnit.SECONDS);
        }
    }

    /** Keeps 20 MB, of which each piece gets as old as a stream, and says how large the heap became at most. */
    static final class Churn {

        public static void main(String[] args) throws InterruptedException {
            if (args[0].equals("early")) {
                EarlyCollection.begin();
            }
            byte[][] live = new byte[LIVE][];
            long most = 0;
            // 400 MB: more than twice the heap
            for (int i = 0; i < 20 * LIVE; i++) {
                live[i % LIVE] = new byte[1_000];
                if (i % 1_000 == 0) {
                    // for the thread that collects
                    Thread.sleep(1);
                    most = Math.max(most, Runtime.getRuntime().totalMemory());
                }
            }
            System.out.println(most >> 20);
        }
    }

    /** Leaves 40 MB that have grown old, rests, and says whether they were collected: within some seconds, or not as long as takes three lulls. */
    static final class Lull {

        public static void main(String[] args) throws InterruptedException {
            if (args[0].equals("early")) {
                EarlyCollection.begin();
            }
            byte[][] live = new byte[40][];
            for (int i = 0; i < live.length; i++) {
                live[i] = new byte[1 << 20];
            }
            live = null;
            WeakReference<Object> dead = new WeakReference<>(new Object());
            long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(args[0].equals("early") ? 10 : 3);
            while (dead.get() != null && System.nanoTime() < until) {
                Thread.sleep(50);
            }
            System.out.println(dead.get() == null);
        }
    }
}
