package io.llmchat.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class EarlyCollectionTest {

    /** What lives, in pieces of 1 kB. */
    private static final int LIVE = 20_000;

    @Test
    void what_has_grown_old_and_died_does_not_take_all_the_memory_of_the_heap() throws Exception {
        int with = megabytesOfHeap("early");
        int without = megabytesOfHeap("never");
        assertTrue(with < 150, with + " MB");
        assertTrue(without > 180, "without it " + without + " MB");
    }

    private static int megabytesOfHeap(String when) throws Exception {
        Process java = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC", "-Xms64m", "-Xmx200m", "-Xmn12m", "-cp", System.getProperty("java.class.path"),
                Churn.class.getName(), when).redirectErrorStream(true).start();
        try {
            String said = new String(java.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            assertTrue(said.matches("\\d+"), said);
            return Integer.parseInt(said);
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
}
