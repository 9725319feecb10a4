package io.llmchat.dialect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.chat.AnswerMessage;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import io.llmchat.wire.Framing;
import io.llmchat.wire.Wire;
import io.llmchat.wire.Wires;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** What a writer says of an answer is read on the wire of the same name as the same answer. */
class AnswersPropertyTest {

    private static final Wire OPENAI = Wires.of("openai", Map.of());
    private static final Wire ANTHROPIC = Wires.of("anthropic", Map.of());
    private static final Usage USAGE = new Usage(30, 12, 42, 20, 0, 5, false);
    /** What is written into a cache only Anthropic's words tell. */
    private static final Usage CACHED = new Usage(30, 12, 42, 20, 6, 5, false);

    /** Stretches of an answer that belong together; between them those of other choices may come. */
    private record Stretch(List<AnswerPart> parts) {
    }

    private static Arbitrary<String> text() {
        return Arbitraries.strings().withChars("ab \"\\\n{}\u00fc漢\u0000\u007f").ofMinLength(1).ofMaxLength(8);
    }

    private static Arbitrary<String> word() {
        return Arbitraries.strings().withCharRange('a', 'z').ofMinLength(1).ofMaxLength(5);
    }

    private static AnswerPart logprobs(int choice, String text) {
        try {
            return new AnswerPart.Logprobs(choice, Json.read(Json.utf8(text)));
        } catch (IOException e) {
            throw new IllegalArgumentException(e);
        }
    }

    private static Arbitrary<String> finish() {
        return Arbitraries.of("stop", "length", "tool_calls", "content_filter");
    }

    /** The calls of one choice, whose arguments come in fragments, in turn. */
    private static Arbitrary<List<AnswerPart>> calls(int choice, int min) {
        return Combinators.combine(word(), Arbitraries.of("{\"a\":[1,null]}", "{}", "{\"b\":\"ü\"}")).as((w, a) -> new String[] {w, a}).list()
                .ofMinSize(min).ofMaxSize(3).map(calls -> {
                    List<AnswerPart> parts = new ArrayList<>();
                    for (int i = 0; i < calls.size(); i++) {
                        parts.add(new AnswerPart.ToolStart(choice, i, "call_" + i, calls.get(i)[0]));
                    }
                    for (int at = 0; at < 20; at += 5) {
                        for (int i = 0; i < calls.size(); i++) {
                            String a = calls.get(i)[1];
                            if (at < a.length()) {
                                parts.add(new AnswerPart.ToolArguments(choice, i, a.substring(at, Math.min(a.length(), at + 5))));
                            }
                        }
                    }
                    return parts;
                });
    }

    private static Arbitrary<List<AnswerPart>> openAiChoice(int choice) {
        Arbitrary<AnswerPart> part = Arbitraries.oneOf(text().map(t -> new AnswerPart.Text(choice, t)),
                text().map(t -> new AnswerPart.Reasoning(choice, t)), text().map(t -> new AnswerPart.Refusal(choice, t)),
                word().map(s -> new AnswerPart.Signature(choice, s)), word().map(s -> new AnswerPart.SealedReasoning(choice, s)),
                Arbitraries.of("{\"content\":[{\"token\":\"a\",\"logprob\":-0.50}]}", "{\"content\":[]}").map(l -> logprobs(choice, l)));
        return Combinators.combine(part.list().ofMaxSize(5), calls(choice, 0), part.list().ofMaxSize(2), finish()).as((first, calls, last, f) -> {
            List<AnswerPart> all = new ArrayList<>(first);
            all.addAll(calls);
            all.addAll(last);
            all.add(new AnswerPart.Finish(choice, f));
            return all;
        });
    }

    @Provide
    Arbitrary<List<AnswerPart>> openAiAnswers() {
        return Combinators.combine(openAiChoice(0), openAiChoice(1), openAiChoice(2), Arbitraries.integers().between(0, 7)).as((a, b, c, order) -> {
            List<AnswerPart> all = new ArrayList<>();
            for (int i = 0; i < Math.max(a.size(), Math.max(b.size(), c.size())); i++) {
                for (List<AnswerPart> choice : order % 2 == 0 ? List.of(a) : order < 4 ? List.of(a, b) : List.of(c, a, b)) {
                    if (i < choice.size()) {
                        all.add(choice.get(i));
                    }
                }
            }
            return all;
        });
    }

    /** Blocks as Anthropic has them: thoughts end with their signature, calls come after the text that leads to them. */
    @Provide
    Arbitrary<List<AnswerPart>> anthropicAnswers() {
        Arbitrary<Stretch> texts = text().map(t -> (AnswerPart) new AnswerPart.Text(0, t)).list().ofMinSize(1).ofMaxSize(3).map(Stretch::new);
        Arbitrary<Stretch> thoughts = Combinators.combine(text().map(t -> (AnswerPart) new AnswerPart.Reasoning(0, t)).list().ofMinSize(1).ofMaxSize(2),
                word()).as((t, s) -> {
                    List<AnswerPart> all = new ArrayList<>(t);
                    all.add(new AnswerPart.Signature(0, s));
                    return new Stretch(all);
                });
        Arbitrary<Stretch> sealed = word().map(s -> new Stretch(List.of(new AnswerPart.SealedReasoning(0, s))));
        return Combinators.combine(Arbitraries.oneOf(texts, thoughts, sealed).list().ofMaxSize(4), calls(0, 0), finish()).as((blocks, calls, f) -> {
            List<AnswerPart> all = new ArrayList<>();
            blocks.forEach(b -> all.addAll(b.parts()));
            all.addAll(calls);
            // who has called a tool has not just stopped
            all.add(new AnswerPart.Finish(0, !calls.isEmpty() && f.equals("stop") ? "tool_calls" : f));
            return all;
        });
    }

    /** What an answer that is not streamed can say on OpenAI's wire: thoughts, text, a refusal, calls. */
    @Provide
    Arbitrary<List<AnswerPart>> wholeOpenAiAnswers() {
        Arbitrary<List<AnswerPart>> proven = Arbitraries.oneOf(Combinators.combine(text(), word()).as((t, s) ->
                List.<AnswerPart>of(new AnswerPart.Reasoning(0, t), new AnswerPart.Signature(0, s))),
                word().map(s -> List.<AnswerPart>of(new AnswerPart.SealedReasoning(0, s)))).list().ofMaxSize(3)
                .map(all -> all.stream().flatMap(List::stream).toList());
        Arbitrary<List<AnswerPart>> thoughts = Arbitraries.oneOf(proven, text().map(t -> List.<AnswerPart>of(new AnswerPart.Reasoning(0, t))));
        return Combinators.combine(thoughts, text().injectNull(0.3), text().injectNull(0.8), calls(0, 0), finish()).as((t, said, refused, calls, f) -> {
            List<AnswerPart> all = new ArrayList<>(t);
            if (said != null) {
                all.add(new AnswerPart.Text(0, said));
            }
            if (refused != null) {
                all.add(new AnswerPart.Refusal(0, refused));
            }
            all.addAll(calls);
            all.add(new AnswerPart.Finish(0, f));
            return all;
        });
    }

    private static ChatRequest request(Dialect dialect) {
        return dialect.read(Json.utf8("{\"model\":\"m\",\"max_tokens\":1,\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"), header -> null);
    }

    private static AnswerWriter writer(Dialect dialect) {
        return dialect.writer(request(dialect), new Dialect.Names("r", "a", "c"));
    }

    private static Usage usage(Wire wire) {
        return wire == ANTHROPIC ? CACHED : USAGE;
    }

    /** What is read of what is written; the parts come in events of {@code size} each. */
    private static List<AnswerMessage> streamed(Dialect dialect, Wire wire, List<AnswerPart> parts, int size) {
        AnswerWriter writer = writer(dialect);
        Buffer out = Buffer.buffer();
        writer.start("m", "m", out);
        for (int i = 0; i < parts.size(); i += size) {
            writer.event(ChatEvent.of(parts.subList(i, Math.min(parts.size(), i + size)), null), out);
        }
        writer.end(usage(wire), out);
        List<AnswerPart> read = new ArrayList<>();
        List<Usage> usage = new ArrayList<>();
        boolean[] over = {false};
        Wire.AnswerReader reader = wire.reader(false);
        Framing framing = wire.framing(1 << 16, (type, bytes, from, to) -> over[0] = !reader.event(type, bytes, from, to, e -> {
            read.addAll(e.parts());
            usage.add(e.usage());
        }));
        framing.feed(out.getBytes());
        framing.end();
        assertEquals(true, over[0], "the end");
        assertEquals(usage(wire), usage.stream().filter(u -> u != null).reduce((a, b) -> b).orElse(null));
        return AnswerMessage.of(read);
    }

    @Property
    void aStreamInOpenAisWordsIsReadAgainAsItWas(@ForAll("openAiAnswers") List<AnswerPart> parts) {
        assertEquals(AnswerMessage.of(parts), streamed(OpenAiDialect.CHAT, OPENAI, parts, 1));
        assertEquals(AnswerMessage.of(parts), streamed(OpenAiDialect.CHAT, OPENAI, parts, 3));
    }

    @Example
    void ofThoughtsThatNobodySignedNothingIsKeptBehindAText() {
        List<AnswerPart> parts = List.of(new AnswerPart.Text(0, "Well."), new AnswerPart.Reasoning(0, "Hm."), new AnswerPart.Text(0, "Yes."),
                new AnswerPart.Reasoning(0, "So."), new AnswerPart.Signature(0, "S1"), new AnswerPart.Finish(0, "stop"));
        Buffer out = Buffer.buffer();
        writer(OpenAiDialect.CHAT).event(ChatEvent.of(parts, null), out);
        assertTrue(out.toString().contains("\"text\":\"So.\",\"signature\":\"S1\""), out.toString());
        assertEquals(AnswerMessage.of(parts), streamed(OpenAiDialect.CHAT, OPENAI, parts, 1));
    }

    @Property
    void aStreamInAnthropicsWordsIsReadAgainAsItWas(@ForAll("anthropicAnswers") List<AnswerPart> parts) {
        assertEquals(AnswerMessage.of(parts), streamed(AnthropicDialect.CHAT, ANTHROPIC, parts, 1));
        assertEquals(AnswerMessage.of(parts), streamed(AnthropicDialect.CHAT, ANTHROPIC, parts, 3));
    }

    @Example
    void callsThatHadToWaitAreSaidOnceThoughATextFollows() {
        List<AnswerPart> parts = List.of(new AnswerPart.ToolStart(0, 0, "call_0", "a"), new AnswerPart.ToolStart(0, 1, "call_1", "b"),
                new AnswerPart.ToolArguments(0, 1, "{\"b\":2}"), new AnswerPart.ToolArguments(0, 0, "{\"a\":1}"), new AnswerPart.Text(0, "So."),
                new AnswerPart.Finish(0, "tool_calls"));
        assertEquals(AnswerMessage.of(parts), streamed(AnthropicDialect.CHAT, ANTHROPIC, parts, 1));
    }

    @Example
    void argumentsThatAreNoObjectAreSaidInOne() {
        List<AnswerPart> parts = List.of(new AnswerPart.ToolStart(0, 0, "call_0", "a"), new AnswerPart.ToolArguments(0, 0, "[1]"),
                new AnswerPart.Finish(0, "tool_calls"));
        String said = writer(AnthropicDialect.CHAT).whole(new WholeAnswer(null, parts, 0, "tool_calls", null), "m").toString();
        assertTrue(said.contains("\"input\":{\"_arguments\":\"[1]\"}"), said);
    }

    /** As a client puts an Anthropic stream together: by its blocks. */
    @Property
    void theBlocksOfAnAnthropicStreamAreThoseOfTheWholeAnswer(@ForAll("anthropicAnswers") List<AnswerPart> parts) throws IOException {
        AnswerWriter writer = writer(AnthropicDialect.CHAT);
        Buffer out = Buffer.buffer();
        writer.start("m", "m", out);
        writer.event(ChatEvent.of(parts, null), out);
        writer.end(USAGE, out);
        assertEquals(Json.read(writer(AnthropicDialect.CHAT).whole(new WholeAnswer(null, parts, 0, "stop", USAGE), "m").getBytes()).get("content"),
                AnthropicBlocks.of(out.toString()));
    }

    private static List<AnswerMessage> whole(Dialect dialect, Wire wire, List<AnswerPart> parts) {
        Buffer out = writer(dialect).whole(new WholeAnswer(null, parts, 0, "stop", usage(wire)), "m");
        WholeAnswer read = wire.reader(false).answer(out.getBytes());
        assertEquals(usage(wire), read.usage());
        return AnswerMessage.of(read.parts());
    }

    @Property
    void aWholeAnswerInOpenAisWordsIsReadAgainAsItWas(@ForAll("wholeOpenAiAnswers") List<AnswerPart> parts) {
        AnswerMessage said = AnswerMessage.of(parts).get(0);
        AnswerMessage read = whole(OpenAiDialect.CHAT, OPENAI, parts).get(0);
        assertEquals(said, read);
    }

    @Property
    void aWholeAnswerOfAClaudeIsReadInOpenAisWordsAsItWas(@ForAll("anthropicAnswers") List<AnswerPart> parts) {
        assertEquals(AnswerMessage.of(parts), whole(OpenAiDialect.CHAT, OPENAI, parts));
    }

    @Property
    void aWholeAnswerInAnthropicsWordsIsReadAgainAsItWas(@ForAll("anthropicAnswers") List<AnswerPart> parts) {
        assertEquals(AnswerMessage.of(parts), whole(AnthropicDialect.CHAT, ANTHROPIC, parts));
    }
}
