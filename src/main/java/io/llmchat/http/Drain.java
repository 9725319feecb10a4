package io.llmchat.http;

/**
 * How far the end of this process has come. Who sends requests is told first, then nobody new is let in, and at last
 * what still runs is ended. Only goes forward; safe for all threads.
 */
public final class Drain {

    private enum Phase { SERVING, LEAVING, CLOSING, ENDING }

    private volatile Phase phase = Phase.SERVING;

    /** From now on it is not ready, though it still takes requests. */
    public void leave() {
        phase = Phase.LEAVING;
    }

    /** From now on every response closes its connection. */
    public void close() {
        phase = Phase.CLOSING;
    }

    /** From now on no provider is asked, and answers that are under way break off. */
    public void end() {
        phase = Phase.ENDING;
    }

    /** Whether requests should be sent here. */
    public boolean isReady() {
        return phase == Phase.SERVING;
    }

    /** Whether every response closes its connection; it stays so. */
    public boolean isClosing() {
        return phase.compareTo(Phase.CLOSING) >= 0;
    }

    /** Whether no provider is asked any more. */
    public boolean isEnding() {
        return phase == Phase.ENDING;
    }
}
