package io.llmchat.wire;

/** Splits the bytes of a stream into its events. Not safe for several threads; holds at most one unfinished event. */
public interface Framing {

    /** Takes the events; the bytes are only there during the call. */
    interface Sink {
        /**
         * @param type the event's name, or null if it has none
         * @param from where its data begins in {@code bytes}
         * @param to where its data ends
         */
        void event(String type, byte[] bytes, int from, int to);
    }

    /** An event that is longer than may be. */
    final class EventTooLong extends RuntimeException {
        EventTooLong(int max) {
            super("an event that is longer than " + max + " bytes", null, false, false);
        }
    }

    /**
     * Takes the next bytes of the stream and hands on the events that they complete.
     *
     * @throws EventTooLong if an event is longer than it may be
     */
    void feed(byte[] bytes);

    /** The stream is over: hands on an event whose end is missing. */
    void end();
}
