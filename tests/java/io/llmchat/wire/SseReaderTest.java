package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Events out of bytes, by the examples and rules of WHATWG HTML, section 9.2.6. */
class SseReaderTest {

    private static final int MAX = 64;

    private final List<String> events = new ArrayList<>();
    private final SseReader reader = new SseReader(MAX, (type, bytes, from, to) ->
            events.add((type == null ? "" : type + "=") + new String(bytes, from, to - from, StandardCharsets.UTF_8)));

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** The events of a stream that comes in the given parts and then ends. */
    private static List<String> read(byte[]... parts) {
        SseReaderTest test = new SseReaderTest();
        for (byte[] part : parts) {
            test.reader.feed(part);
        }
        test.reader.end();
        return test.events;
    }

    /** Asserts the events of a stream, whole, in two parts cut anywhere, and byte by byte. */
    private static void assertEvents(String stream, String... expected) {
        byte[] bytes = utf8(stream);
        for (int cut = 0; cut <= bytes.length; cut++) {
            assertEquals(List.of(expected), read(Arrays.copyOf(bytes, cut), Arrays.copyOfRange(bytes, cut, bytes.length)),
                    "cut at " + cut);
        }
        byte[][] single = new byte[bytes.length][];
        for (int i = 0; i < bytes.length; i++) {
            single[i] = new byte[] {bytes[i]};
        }
        assertEquals(List.of(expected), read(single), "byte by byte");
    }

    @Test
    void aLongLineInSmallPiecesIsNotCopiedForEachOfThem() {
        List<Integer> lengths = new ArrayList<>();
        int length = 1_000_000;
        for (Framing framing : List.of(new SseReader(2 * length, (type, bytes, from, to) -> lengths.add(to - from)),
                new LineReader(2 * length, (type, bytes, from, to) -> lengths.add(to - from)))) {
            framing.feed(utf8("data: "));
            byte[] piece = {'x'};
            assertTimeoutPreemptively(Duration.ofSeconds(10), () -> {
                for (int i = 0; i < length; i++) {
                    framing.feed(piece);
                }
            });
            framing.feed(utf8("\n\n"));
        }
        assertEquals(List.of(length, length + 6), lengths);
    }

    @Test
    void linesEndWithLfCrOrBoth() {
        for (String eol : new String[] {"\n", "\r", "\r\n"}) {
            assertEvents("data: a" + eol + eol + "data: b" + eol + "data: c" + eol + eol, "a", "b\nc");
        }
    }

    @Test
    void lineEndsCanBeMixed() {
        assertEvents("data: a\r\n\rdata: b\n\r\ndata: c\r\rdata: d\r\ndata: e\n\n", "a", "b", "c", "d\ne");
    }

    @Test
    void anEventIsHandedOnAsSoonAsItIsComplete() {
        reader.feed(utf8("data: a\n"));
        assertEquals(List.of(), events);
        reader.feed(utf8("\ndata: b\r\r"));
        assertEquals(List.of("a", "b"), events);
    }

    @Test
    void commentsAndUnknownFieldsAreNoData() {
        assertEvents(": hello\n\n:\ndata: a\n: data: x\nid: 1\nretry: 5\ndatax: y\n data: z\n\n:\n\n", "a");
    }

    @Test
    void severalDataLinesAreOneEventWithNewLinesBetween() {
        assertEvents("data: a\ndata:\ndata: b\n\n", "a\n\nb");
    }

    @Test
    void onlyOneSpaceAfterTheColonIsLeftOut() {
        assertEvents("data:a\n\ndata:  b\n\ndata: c: d \n\n", "a", " b", "c: d ");
    }

    @Test
    void emptyDataIsAnEventButNoDataIsNone() {
        assertEvents("data\n\ndata:\n\ndata: \n\nevent: ping\n\ndata: a\n\n", "", "", "", "a");
    }

    @Test
    void anEventHasTheLastNameItWasGivenAndTheNextOneHasNone() {
        assertEvents("event: one\nevent:two\ndata: a\n\ndata: b\n\ndata: c\nevent: three\n\n", "two=a", "b", "three=c");
    }

    @Test
    void aByteOrderMarkAtTheStartIsLeftOut() {
        assertEvents("\uFEFFdata: a\n\ndata: b\n\n", "a", "b");
        assertEvents("data: a\n\n\uFEFFdata: b\n\ndata: \uFEFFc\n\n", "a", "\uFEFFc");
        assertEvents("\uFEFF\ndata: a\n\n", "a");
    }

    @Test
    void charactersOfSeveralBytesCanBeCutAnywhere() {
        assertEvents("event: é\ndata: \u00fc€\uD83D\uDE00\ndata: 漢\r\n\r\n", "é=ü€\uD83D\uDE00\n漢");
    }

    @Test
    void anUnfinishedLastEventIsHandedOnAtTheEnd() {
        assertEvents("data: a\n\ndata: b", "a", "b");
        assertEvents("data: a\ndata: b\n", "a\nb");
        assertEvents("data: a\r", "a");
        assertEvents("event: x");
        assertEvents("");
    }

    @Test
    void anEventMayBeAsLongAsTheLimit() {
        String full = "x".repeat(MAX);
        assertEvents("data: " + full + "\n\n", full);
        assertEvents("data: " + full, full);
        assertEvents("data: xx\ndata: " + "y".repeat(MAX - 3) + "\n: and a comment\n\n", "xx\n" + "y".repeat(MAX - 3));
        assertEvents("data: " + full + "\n\ndata: " + full + "\n\n", full, full);
    }

    @Test
    void aLongerEventIsRefusedInOneLineOrInSeveralHoweverItIsCut() {
        String half = "x".repeat(MAX / 2);
        for (String stream : new String[] {"data: " + half + half + "x\n\n", "data: " + half + half + "x",
                "data: " + half + "\ndata: " + half + "\n\n", "data: x\n\nevent: y\ndata: " + half + "\ndata:" + half + "\n",
                "data\n".repeat(MAX + 2) + "\n", ": a line of " + half + half}) {
            byte[] bytes = utf8(stream);
            for (int cut = 0; cut <= bytes.length; cut++) {
                byte[] head = Arrays.copyOf(bytes, cut);
                byte[] tail = Arrays.copyOfRange(bytes, cut, bytes.length);
                assertThrows(Framing.EventTooLong.class, () -> read(head, tail), stream + " cut at " + cut);
            }
        }
    }

    @Test
    void anEndlessLineIsRefusedBeforeItEnds() {
        reader.feed(utf8("data: " + "x".repeat(MAX)));
        assertThrows(Framing.EventTooLong.class, () -> reader.feed(utf8("x")));
    }
}
