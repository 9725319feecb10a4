package io.llmchat.wire;

import java.util.Arrays;

/** Events that are lines (JSON Lines): each line that is not blank is one, without a name. */
final class LineReader implements Framing {

    private static final byte[] NOTHING = new byte[0];

    private final int maxEvent;
    private final Sink sink;
    private byte[] rest = NOTHING;

    LineReader(int maxEvent, Sink sink) {
        this.maxEvent = maxEvent;
        this.sink = sink;
    }

    @Override
    public void feed(byte[] chunk) {
        byte[] bytes = chunk;
        int scanned = rest.length;
        if (scanned > 0) {
            bytes = Arrays.copyOf(rest, scanned + chunk.length);
            System.arraycopy(chunk, 0, bytes, scanned, chunk.length);
        }
        int line = 0;
        for (int i = scanned; i < bytes.length; i++) {
            if (bytes[i] == '\n') {
                line(bytes, line, i);
                line = i + 1;
            }
        }
        if (bytes.length - line > maxEvent) {
            throw new EventTooLong(maxEvent);
        }
        rest = line == bytes.length ? NOTHING : Arrays.copyOfRange(bytes, line, bytes.length);
    }

    @Override
    public void end() {
        byte[] last = rest;
        rest = NOTHING;
        line(last, 0, last.length);
    }

    private void line(byte[] bytes, int from, int to) {
        int end = to;
        while (end > from && (bytes[end - 1] == '\r' || bytes[end - 1] == ' ')) {
            end--;
        }
        if (end - from > maxEvent) {
            throw new EventTooLong(maxEvent);
        }
        if (end > from) {
            sink.event(null, bytes, from, end);
        }
    }
}
