package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** However the bytes of a stream are cut, its events are the same, and those that the standards say. */
class FramingPropertyTest {

    private static final int MAX = 1 << 16;

    /** A stream, and into how long pieces it is cut, in turn. */
    record Cut(String text, List<Integer> pieces) {
    }

    private static List<String> events(Function<Framing.Sink, Framing> reader, Cut cut) {
        List<String> events = new ArrayList<>();
        Framing framing = reader.apply((type, bytes, from, to) ->
                events.add(type + "=" + new String(bytes, from, to - from, StandardCharsets.UTF_8)));
        byte[] bytes = cut.text().getBytes(StandardCharsets.UTF_8);
        for (int at = 0, i = 0; at < bytes.length; i++) {
            int end = Math.min(bytes.length, at + cut.pieces().get(i % cut.pieces().size()));
            framing.feed(Arrays.copyOfRange(bytes, at, end));
            at = end;
        }
        framing.end();
        return events;
    }

    @Provide
    Arbitrary<Cut> serverSentEvents() {
        Arbitrary<String> text = Arbitraries.strings().withChars("ab :\u00fc€漢\uFEFF").ofMaxLength(6);
        Arbitrary<String> line = Arbitraries.oneOf(text, Arbitraries.of("", "", "", "data", "event", "id: 1", ": note", ":", "retry: 5"),
                text.map(t -> "data: " + t + "\uD83D\uDE00"), text.map(t -> "data:" + t), text.map(t -> "event: " + t));
        Arbitrary<String> lines = Combinators.combine(line, Arbitraries.of("\n", "\r", "\r\n")).as((l, end) -> l + end).list()
                .ofMaxSize(14).map(all -> String.join("", all));
        return Combinators.combine(Arbitraries.of("", "", "\uFEFF"), lines, line).as((mark, all, last) -> mark + all + last)
                .flatMap(FramingPropertyTest::cut);
    }

    @Provide
    Arbitrary<Cut> jsonLines() {
        return Arbitraries.of("\n", "\r\n", " ", "{\"a\":1}", "ü", "漢", "\uD83D\uDE00", "\r", "x").list().ofMaxSize(30)
                .map(all -> String.join("", all)).flatMap(FramingPropertyTest::cut);
    }

    private static Arbitrary<Cut> cut(String text) {
        return Arbitraries.integers().between(1, 9).list().ofMinSize(1).ofMaxSize(5).map(pieces -> new Cut(text, pieces));
    }

    /** Section 9.2.6 of WHATWG HTML, word for word; an event whose end is missing counts, unlike there. */
    private static List<String> standard(String text) {
        List<String> events = new ArrayList<>();
        StringBuilder data = new StringBuilder();
        String type = null;
        boolean any = false;
        for (String line : ((text.startsWith("\uFEFF") ? text.substring(1) : text) + "\n\n").split("\r\n|\n|\r", -1)) {
            if (line.isEmpty()) {
                if (any) {
                    events.add(type + "=" + data.substring(0, data.length() - 1));
                }
                data.setLength(0);
                type = null;
                any = false;
                continue;
            }
            int colon = line.indexOf(':');
            String name = colon < 0 ? line : line.substring(0, colon);
            String value = colon < 0 ? "" : line.substring(colon + 1);
            value = value.startsWith(" ") ? value.substring(1) : value;
            if (name.equals("data")) {
                data.append(value).append('\n');
                any = true;
            } else if (name.equals("event")) {
                type = value;
            }
        }
        return events;
    }

    @Property(tries = 3000)
    void serverSentEventsAreThoseOfTheStandardHoweverTheyAreCut(@ForAll("serverSentEvents") Cut cut) {
        assertEquals(standard(cut.text()), events(sink -> new SseReader(MAX, sink), cut));
    }

    @Property
    void linesAreTheSameHoweverTheyAreCut(@ForAll("jsonLines") Cut cut) {
        List<String> lines = Arrays.stream(cut.text().split("\n")).map(l -> l.replaceAll("[\r ]+$", "")).filter(l -> !l.isEmpty())
                .map(l -> "null=" + l).toList();
        assertEquals(lines, events(sink -> new LineReader(MAX, sink), cut));
    }
}
