package io.llmchat.wire;

import io.llmchat.json.Bytes;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Splits a byte stream into server-sent events (WHATWG HTML, section 9.2.6 "Interpreting an event stream"): LF, CR
 * and CRLF, comments, several data lines, a leading byte order mark, and bytes that are cut anywhere. It looks at
 * bytes only; data is UTF-8 when the caller makes text of it.
 *
 * <p>Not safe for several threads. Holds at most one unfinished event.
 */
public final class SseReader implements Framing {

    private static final int FIELD = "data: ".length();
    private static final VarHandle EIGHT = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final long ONES = 0x0101010101010101L;
    private static final long HIGH_BITS = ONES << 7;
    private static final long CR = ONES * '\r';
    private static final long LF = ONES * '\n';

    private final int maxEvent;
    private final Sink sink;
    private final boolean names;
    private final Rest rest = new Rest();
    private boolean afterCr;
    private boolean first = true;
    private String type;
    private byte[] joined;
    private int joinedLength = -1;

    /** @param maxEvent how many bytes the data of an event may have */
    public SseReader(int maxEvent, Sink sink) {
        this(maxEvent, sink, false);
    }

    /** @param names whether an event that has a name and no data is one: by the standard it is none */
    SseReader(int maxEvent, Sink sink, boolean names) {
        this.maxEvent = maxEvent;
        this.sink = sink;
        this.names = names;
    }

    @Override
    public void feed(byte[] chunk) {
        int scanned = rest.length();
        byte[] bytes = scanned > 0 ? rest.join(chunk) : chunk;
        int end = scanned + chunk.length;
        int line = 0;
        if (first) {
            if (end < 3 && startsLikeMark(bytes, end)) {
                rest.keep(bytes, 0, end);
                return;
            }
            first = false;
            if (end >= 3 && startsLikeMark(bytes, end)) {
                line = 3;
                scanned = 3;
            }
        }
        for (int i = lineEnd(bytes, scanned, end); i < end; i = lineEnd(bytes, i + 1, end)) {
            // the second half of a CRLF ends no line of its own
            if (bytes[i] == '\r' || !afterCr || i > line) {
                line(bytes, line, i);
            }
            afterCr = bytes[i] == '\r';
            line = i + 1;
        }
        checkLine(end - line);
        if (bytes != chunk) {
            // they will be written over
            keepPending(bytes);
        } else if (lineFrom >= 0 && lineBytes == null) {
            lineBytes = chunk;
        }
        rest.keep(bytes, line, end);
    }

    /** Where the next CR or LF is, or the end of the bytes. Looks at eight bytes at once. */
    private static int lineEnd(byte[] bytes, int from, int end) {
        int i = from;
        for (; i <= end - Long.BYTES; i += Long.BYTES) {
            long eight = (long) EIGHT.get(bytes, i);
            long cr = eight ^ CR;
            long lf = eight ^ LF;
            // the lowest set bit belongs to the first byte that is zero; what is above it may be wrong
            long found = ((cr - ONES) & ~cr | (lf - ONES) & ~lf) & HIGH_BITS;
            if (found != 0) {
                return i + (Long.numberOfTrailingZeros(found) >> 3);
            }
        }
        while (i < end && bytes[i] != '\r' && bytes[i] != '\n') {
            i++;
        }
        return i;
    }

    @Override
    public void end() {
        if (rest.length() > 0) {
            line(rest.bytes(), 0, rest.length());
        }
        dispatch(rest.bytes());
    }

    private static boolean startsLikeMark(byte[] b, int length) {
        return (length < 1 || b[0] == (byte) 0xEF) && (length < 2 || b[1] == (byte) 0xBB)
                && (length < 3 || b[2] == (byte) 0xBF);
    }

    /** The same limit for a line at hand and one still to come, so that it does not matter where the bytes are cut. */
    private void checkLine(int length) {
        if (length > maxEvent + FIELD) {
            throw new EventTooLong(maxEvent);
        }
    }

    /**
     * Where the data of an event of one line is, which is not copied as long as its bytes are at hand; and the bytes, where
     * they are those of a call before this one: a field that is set for each token is looked at in each pause.
     */
    private int lineFrom = -1;
    private int lineTo;
    private byte[] lineBytes;

    private void line(byte[] bytes, int from, int to) {
        if (from == to) {
            dispatch(bytes);
            return;
        }
        checkLine(to - from);
        int colon = from;
        while (colon < to && bytes[colon] != ':') {
            colon++;
        }
        int value = Math.min(colon + 1, to);
        if (value < to && bytes[value] == ' ') {
            value++;
        }
        int name = colon - from;
        if (name == 4 && bytes[from] == 'd' && bytes[from + 1] == 'a' && bytes[from + 2] == 't' && bytes[from + 3] == 'a') {
            data(bytes, value, to);
        } else if (name == 5 && bytes[from] == 'e' && bytes[from + 1] == 'v' && bytes[from + 2] == 'e'
                && bytes[from + 3] == 'n' && bytes[from + 4] == 't') {
            type = new String(bytes, value, to - value, StandardCharsets.UTF_8);
        }
    }

    private void data(byte[] bytes, int from, int to) {
        if (lineFrom < 0 && joinedLength < 0) {
            lineFrom = from;
            lineTo = to;
            return;
        }
        keepPending(bytes);
        append(new byte[] {'\n'}, 0, 1);
        append(bytes, from, to);
    }

    private void keepPending(byte[] atHand) {
        if (lineFrom >= 0) {
            joinedLength = 0;
            append(lineBytes == null ? atHand : lineBytes, lineFrom, lineTo);
            lineBytes = null;
            lineFrom = -1;
        }
    }

    private void append(byte[] bytes, int from, int to) {
        int length = joinedLength + to - from;
        if (length > maxEvent) {
            throw new EventTooLong(maxEvent);
        }
        if (joined == null || joined.length < length) {
            joined = joined == null ? new byte[length] : Arrays.copyOf(joined, Math.max(length, joined.length * 2));
        }
        System.arraycopy(bytes, from, joined, joinedLength, to - from);
        joinedLength = length;
    }

    private void dispatch(byte[] atHand) {
        String name = type;
        type = null;
        if (lineFrom >= 0) {
            byte[] bytes = lineBytes == null ? atHand : lineBytes;
            int from = lineFrom;
            lineBytes = null;
            lineFrom = -1;
            if (lineTo - from > maxEvent) {
                throw new EventTooLong(maxEvent);
            }
            sink.event(name, bytes, from, lineTo);
        } else if (joinedLength >= 0) {
            int length = joinedLength;
            joinedLength = -1;
            sink.event(name, joined, 0, length);
            joined = null;
        } else if (names && name != null) {
            sink.event(name, Bytes.NONE, 0, 0);
        }
    }
}
