package io.llmchat.wire;

/** Events that are lines (JSON Lines): each line that is not blank is one, without a name. */
final class LineReader implements Framing {

    private final int maxEvent;
    private final Sink sink;
    private final Rest rest = new Rest();

    LineReader(int maxEvent, Sink sink) {
        this.maxEvent = maxEvent;
        this.sink = sink;
    }

    @Override
    public void feed(byte[] chunk) {
        int scanned = rest.length();
        byte[] bytes = scanned > 0 ? rest.join(chunk) : chunk;
        int end = scanned + chunk.length;
        int line = 0;
        for (int i = scanned; i < end; i++) {
            if (bytes[i] == '\n') {
                line(bytes, line, i);
                line = i + 1;
            }
        }
        if (end - line > maxEvent) {
            throw new EventTooLong(maxEvent);
        }
        rest.keep(bytes, line, end);
    }

    @Override
    public void end() {
        line(rest.bytes(), 0, rest.length());
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
