package io.llmchat.fuzz;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.dialect.AnthropicDialect;
import io.llmchat.dialect.Dialect;
import io.llmchat.dialect.NativeDialect;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.dialect.ResponsesDialect;
import io.llmchat.wire.Framing;
import io.llmchat.wire.Wire;
import io.llmchat.wire.Wires;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Bytes of any kind, from callers and from providers: nothing comes of them but what the interfaces name, and nothing is
 * held that is longer than it may be. The seeds are the fixtures; {@code JAZZER_FUZZ=1 mvn test -Dtest=WireFuzzTest#…}
 * looks for more, and each normal run tries the seeds and some thousand changes of them.
 */
class WireFuzzTest {

    private static final int MAX = 4096;
    private static final List<Wire> WIRES = List.of(Wires.of("openai", Map.of()), Wires.of("anthropic", Map.of()), Wires.of("dify", Map.of()),
            Wires.of("fastgpt", Map.of()), mapped("sse"), mapped("lines"));
    private static final List<Dialect> DIALECTS = List.of(OpenAiDialect.CHAT, OpenAiDialect.EMBEDDINGS, AnthropicDialect.CHAT,
            AnthropicDialect.COUNT_TOKENS, NativeDialect.INSTANCE, ResponsesDialect.INSTANCE);
    private static final Agent AGENT = new Agent("a", "p", "m", "Be brief.", 0.5, 7, List.of(), true, null);
    private static final List<byte[]> SEEDS = files();

    private static Wire mapped(String framing) {
        return Wires.of("mapped", Map.of("framing", framing, "requestTemplate",
                "{\"m\":\"${messages}\",\"t\":\"-${transcript}-${tools}-${max_tokens}\",\"q\":\"${query}\",\"s\":\"${stop}\"}",
                "textPointer", "/message/content", "finishReasonPointer", "/done_reason", "promptTokensPointer", "/prompt_eval_count",
                "completionTokensPointer", "/eval_count", "errorPointer", "/error", "endEvent", "bye"));
    }

    private static List<byte[]> files() {
        try (Stream<Path> files = Files.walk(Path.of("tests/resources/wires"))) {
            List<byte[]> all = new java.util.ArrayList<>();
            for (Path file : files.filter(Files::isRegularFile).filter(f -> f.getFileName().toString().matches("(stream|ask|answer).*")).sorted().toList()) {
                all.add(Files.readAllBytes(file));
            }
            return all;
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    static Stream<byte[]> seeds() {
        return SEEDS.stream();
    }

    // --- what is tried

    private static void framings(byte[] bytes, int piece) {
        for (Wire wire : WIRES) {
            Framing framing = wire.framing(64, (type, b, from, to) ->
                    assertTrue(0 <= from && from <= to && to <= b.length && to - from <= 64, "an event that is too long"));
            try {
                for (int at = 0; at < bytes.length; at += piece) {
                    framing.feed(Arrays.copyOfRange(bytes, at, Math.min(bytes.length, at + piece)));
                }
                framing.end();
            } catch (Framing.EventTooLong e) {
                // as it says
            }
        }
    }

    /** As a stream, as its single events, and as a whole answer; whatever is understood can be said in every dialect. */
    private static void answers(byte[] bytes) {
        for (Wire wire : WIRES) {
            for (boolean raw : new boolean[] {true, false}) {
                stream(wire, raw, bytes);
                for (String type : new String[] {null, "answer", "error", "flowNodeStatus", "flowResponses", "bye", "message_start"}) {
                    Wire.AnswerReader reader = wire.reader(raw);
                    quietly(() -> reader.event(type, bytes, 0, bytes.length, e -> { }));
                }
                quietly(() -> {
                    WholeAnswer answer = wire.reader(raw).answer(bytes);
                    for (Dialect dialect : List.of(OpenAiDialect.CHAT, AnthropicDialect.CHAT, NativeDialect.INSTANCE)) {
                        AnswerWriter writer = writer(dialect, false);
                        if (!raw || wire.name().equals(writer.wire())) {
                            writer.whole(answer, "m");
                        }
                    }
                });
            }
            for (int status : new int[] {400, 401, 429, 500}) {
                wire.failure("p", status, "x", bytes);
            }
        }
    }

    private static void stream(Wire wire, boolean raw, byte[] bytes) {
        List<AnswerWriter> writers = Stream.of(OpenAiDialect.CHAT, AnthropicDialect.CHAT, NativeDialect.INSTANCE).map(d -> writer(d, true))
                .filter(w -> !raw || wire.name().equals(w.wire())).toList();
        Wire.AnswerReader reader = wire.reader(raw);
        Framing framing = wire.framing(MAX, (type, b, from, to) -> quietly(() -> reader.event(type, b, from, to, e ->
                writers.forEach(w -> w.event(e, Buffer.buffer())))));
        try {
            framing.feed(bytes);
            framing.end();
        } catch (Framing.EventTooLong e) {
            // as it says
        }
    }

    private static AnswerWriter writer(Dialect dialect, boolean stream) {
        ChatRequest request = dialect.read(("{\"model\":\"m\",\"max_tokens\":1,\"stream\":" + stream
                + ",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}").getBytes(StandardCharsets.UTF_8), header -> null);
        AnswerWriter writer = dialect.writer(request, new Dialect.Names("r", "a", "c"));
        writer.start("m", "m", Buffer.buffer());
        return writer;
    }

    private static void requests(byte[] bytes) {
        for (Dialect dialect : DIALECTS) {
            quietly(() -> {
                ChatRequest request = dialect.read(bytes, header -> "2023-06-01");
                for (Wire wire : WIRES) {
                    quietly(() -> wire.call(new Wire.Asked(request, null, "m", "a1", null, null)));
                    quietly(() -> wire.call(new Wire.Asked(request, AGENT, "m", "a1", "conv", null)));
                }
            });
        }
    }

    private static void quietly(Runnable step) {
        try {
            step.run();
        } catch (ChatException | Wire.MalformedAnswer e) {
            // what the interfaces name
        }
    }

    // --- with jazzer

    @MethodSource("seeds")
    @FuzzTest
    void anyBytesAsAStream(byte[] bytes) {
        framings(bytes, 1 + bytes.length % 13);
    }

    @MethodSource("seeds")
    @FuzzTest
    void anyBytesAsAnAnswer(byte[] bytes) {
        answers(bytes);
    }

    @MethodSource("seeds")
    @FuzzTest
    void anyBytesAsARequest(byte[] bytes) {
        requests(bytes);
    }

    // --- with changes of the seeds

    private static final String[] JUNK = {"null", "[]", "{}", "\"x\"", "1", "-1", "1e999999999", "99999999999999999999", "true", "[null]",
        "[[1]]", "{\"a\":null}", "\"\\ud800\"", ",", "}", "]", "\"", "\n", "\n\n", "data: ", "event: error\n", "\uFEFF", "\u0000", ""};

    /** A fixture with some of its JSON values, or some of its bytes, replaced. */
    @Provide
    Arbitrary<byte[]> changed() {
        Arbitrary<String> seed = Arbitraries.of(SEEDS).map(b -> new String(b, StandardCharsets.UTF_8));
        Arbitrary<List<Integer>> where = Arbitraries.integers().between(0, 1 << 20).list().ofMinSize(1).ofMaxSize(3);
        Arbitrary<byte[]> values = Combinators.combine(seed, where, Arbitraries.of(JUNK).list().ofSize(3)).as((text, at, with) -> {
            String changed = text;
            for (int i = 0; i < at.size(); i++) {
                changed = value(changed, at.get(i), with.get(i));
            }
            return changed.getBytes(StandardCharsets.UTF_8);
        });
        Arbitrary<byte[]> bytes = Combinators.combine(seed, where, Arbitraries.bytes()).as((text, at, with) -> {
            byte[] b = text.getBytes(StandardCharsets.UTF_8);
            at.forEach(i -> b[i % b.length] = with);
            return b;
        });
        return Arbitraries.oneOf(values, values, bytes, Arbitraries.bytes().array(byte[].class).ofMaxSize(40));
    }

    private static final java.util.regex.Pattern VALUE = java.util.regex.Pattern.compile(
            "(?<=[:\\[,] ?)(\"(?:[^\"\\\\]|\\\\.)*\"|-?[0-9.]+|true|false|null|\\{\\}|\\[\\]|[\\[{])");

    private static String value(String text, int which, String with) {
        List<java.util.regex.MatchResult> values = VALUE.matcher(text).results().toList();
        if (values.isEmpty()) {
            return text + with;
        }
        java.util.regex.MatchResult one = values.get(which % values.size());
        int end = one.end();
        if (one.group().equals("{") || one.group().equals("[")) {
            // the whole of it
            int depth = 1;
            boolean quoted = false;
            for (; end < text.length() && depth > 0; end++) {
                char c = text.charAt(end);
                if (c == '"' && text.charAt(end - 1) != '\\') {
                    quoted = !quoted;
                } else if (!quoted) {
                    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
                }
            }
        }
        return text.substring(0, one.start()) + with + text.substring(end);
    }

    @Property(tries = 3000)
    void changedBytesAsAStream(@ForAll("changed") byte[] bytes) {
        framings(bytes, 1 + bytes.length % 13);
    }

    @Property(tries = 3000)
    void changedBytesAsAnAnswer(@ForAll("changed") byte[] bytes) {
        answers(bytes);
    }

    @Property(tries = 4000)
    void changedBytesAsARequest(@ForAll("changed") byte[] bytes) {
        requests(bytes);
    }
}
