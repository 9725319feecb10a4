package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Tool;
import io.llmchat.chat.ToolChoice;
import io.llmchat.chat.ToolChoice.Mode;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** What a wire can say of a request in neutral form is read again as it was. */
class RequestsPropertyTest {

    private static JsonNode json(String text) {
        try {
            return Json.read(Json.utf8(text));
        } catch (IOException e) {
            throw new IllegalArgumentException(text, e);
        }
    }

    private static ObjectNode again(ObjectNode written) {
        return (ObjectNode) json(new String(Json.write(written), java.nio.charset.StandardCharsets.UTF_8));
    }

    // --- what both can say

    private static Arbitrary<String> text() {
        return Arbitraries.strings().withChars("ab \"\\\n{}\u00fc漢\u0000").ofMinLength(1).ofMaxLength(8);
    }

    private static Arbitrary<String> word() {
        return Arbitraries.strings().withCharRange('a', 'z').ofMinLength(1).ofMaxLength(5);
    }

    private static Arbitrary<JsonNode> object() {
        return Arbitraries.of("{}", "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":0.50}}}", "{\"a\":[1,null]}")
                .map(RequestsPropertyTest::json);
    }

    private static Arbitrary<Part> textPart() {
        return text().map(Part.Text::new);
    }

    private static Arbitrary<Part> pictures(Arbitrary<String> detail) {
        return Arbitraries.oneOf(
                Combinators.combine(word(), detail).as((w, d) -> new Part.Image("https://x.test/" + w, null, null, d)),
                Combinators.combine(word(), detail).as((w, d) -> new Part.Image(null, "image/" + (w.equals("jpg") ? "jpeg" : w), "QUJD", d)));
    }

    private static Arbitrary<List<Part>> parts(Arbitrary<? extends Part> part, int min) {
        return part.map(p -> (Part) p).list().ofMinSize(min).ofMaxSize(3);
    }

    private static Arbitrary<Boolean> perhaps() {
        return Arbitraries.of(Boolean.TRUE, Boolean.FALSE).injectNull(0.4);
    }

    private static Arbitrary<ToolChoice> choice() {
        return Arbitraries.oneOf(Arbitraries.of(Mode.AUTO, Mode.REQUIRED, Mode.NONE).map(m -> new ToolChoice(m, null)),
                word().map(name -> new ToolChoice(Mode.TOOL, name))).injectNull(0.3);
    }

    private static Arbitrary<Map<String, JsonNode>> options(Map<String, String> values) {
        return Arbitraries.subsetOf(values.keySet()).map(names -> {
            Map<String, JsonNode> options = new LinkedHashMap<>();
            names.stream().sorted().forEach(name -> options.put(name, json(values.get(name))));
            return options;
        });
    }

    // --- OpenAI

    @Provide
    Arbitrary<Prompt> openAiPrompts() {
        Arbitrary<Part> asked = Arbitraries.oneOf(textPart(), pictures(Arbitraries.of("low", "high").injectNull(0.5)),
                word().map(w -> new Part.Document(w + ".pdf", null, "application/pdf", "QUJD")),
                Arbitraries.of("{\"type\":\"file\",\"file\":{\"file_id\":\"f1\"}}", "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\"}}")
                        .map(RequestsPropertyTest::json).map(j -> new Part.Other(j.path("type").asText(), j)));
        Arbitrary<Message> said = Combinators.combine(Arbitraries.of(Role.SYSTEM, Role.USER), parts(asked, 0), word().injectNull(0.7))
                .as(Message::new);
        Arbitrary<Part> proven = Arbitraries.oneOf(Combinators.combine(text(), word()).as(Part.Reasoning::new), word().map(Part.SealedReasoning::new));
        Arbitrary<List<Part>> thoughts = Arbitraries.oneOf(parts(proven, 0), text().map(t -> List.of(new Part.Reasoning(t, null))));
        Arbitrary<Part> call = Combinators.combine(word(), word(), Arbitraries.of("{}", "{\"a\": 1}", "not JSON", "")).as(Part.ToolCall::new);
        Arbitrary<Message> answered = Combinators.combine(thoughts, parts(textPart(), 0), text().map(Part.Refusal::new).injectNull(0.8),
                parts(call, 0), word().injectNull(0.9)).as((t, content, refusal, calls, name) -> {
                    List<Part> all = new ArrayList<>(t);
                    all.addAll(content);
                    if (refusal != null) {
                        all.add(refusal);
                    }
                    all.addAll(calls);
                    if (all.isEmpty()) {
                        // where nothing is said there is no message
                        all.add(new Part.Text("x"));
                    }
                    return new Message(Role.ASSISTANT, all, name);
                });
        Arbitrary<Message> thoughtOnTheWay = Combinators.combine(parts(proven, 0), parts(textPart(), 1), parts(proven, 1), textPart().injectNull(0.3))
                .as((first, texts, thought, rest) -> {
                    List<Part> all = new ArrayList<>(first);
                    all.addAll(texts);
                    all.addAll(thought);
                    if (rest != null) {
                        all.add(rest);
                    }
                    return new Message(Role.ASSISTANT, all, null);
                });
        Arbitrary<Message> result = Combinators.combine(word(), parts(textPart(), 1))
                .as((id, content) -> new Message(Role.TOOL, new Part.ToolResult(id, content, false)));
        Arbitrary<Tool> tool = Combinators.combine(word(), text().injectNull(0.3), object().injectNull(0.3), perhaps()).as(Tool::new);
        return Combinators.combine(Arbitraries.oneOf(said, answered, thoughtOnTheWay, result).list().ofMaxSize(5), tool.list().ofMaxSize(2), choice(),
                options(Map.of("max_tokens", "7", "temperature", "0.30", "stop", "[\"a\"]", "n", "2", "seed", "-1", "user", "\"u\"",
                        "response_format", "{\"type\":\"json_object\"}", "logit_bias", "{\"5\":1}", "x_new", "[{\"a\":1e3}]",
                        "parallel_tool_calls", "false"))).as(Prompt::new);
    }

    /** The same with one text for several that follow each other, where nothing but texts is shown: they are told in one. */
    private static List<Part> joined(List<Part> parts) {
        boolean shown = parts.stream().anyMatch(p -> p instanceof Part.Image || p instanceof Part.Document || p instanceof Part.Other);
        List<Part> all = new ArrayList<>();
        for (Part part : parts) {
            if (!shown && part instanceof Part.Text t && !all.isEmpty() && all.getLast() instanceof Part.Text before) {
                all.set(all.size() - 1, new Part.Text(before.text() + "\n" + t.text()));
            } else {
                all.add(part instanceof Part.ToolResult r ? new Part.ToolResult(r.id(), joined(r.content()), r.error()) : part);
            }
        }
        return all;
    }

    @Property
    void whatOpenAiCanSayIsReadAgainAsItWas(@ForAll("openAiPrompts") Prompt prompt) {
        List<Message> messages = prompt.messages().stream().map(m -> new Message(m.role(), joined(m.parts()), m.name())).toList();
        assertEquals(new Prompt(messages, prompt.tools(), prompt.toolChoice(), prompt.options()),
                OpenAiRequests.read(again(OpenAiRequests.write(prompt, "m", OpenAiWire.MAX_TOKENS, "reasoning_details"))));
    }

    // --- Anthropic

    /** Anthropic takes no text of blanks alone. */
    private static Arbitrary<Part> saidPart() {
        return text().filter(text -> !text.isBlank()).map(Part.Text::new);
    }

    private static Arbitrary<Message> anthropicAnswer() {
        return parts(Arbitraries.oneOf(saidPart(), Combinators.combine(text(), word()).as(Part.Reasoning::new),
                word().map(Part.SealedReasoning::new), Combinators.combine(word(), word(), Arbitraries.of("{}", "{\"a\":[1,null]}"))
                        .as(Part.ToolCall::new)), 1).map(all -> new Message(Role.ASSISTANT, all, null));
    }

    /** What stands between two answers: results of tools, then what the user says; not nothing. */
    private static Arbitrary<List<Message>> anthropicTurn() {
        Arbitrary<Part> content = Arbitraries.oneOf(saidPart(), pictures(Arbitraries.just((String) null)));
        Arbitrary<Message> result = Combinators.combine(word(), parts(content, 0), Arbitraries.of(true, false))
                .as((id, c, error) -> new Message(Role.TOOL, new Part.ToolResult(id, c, error)));
        Arbitrary<Part> document = Combinators.combine(word().injectNull(0.4), Arbitraries.of(true, false)).as((name, url) -> url
                ? new Part.Document(name, "https://x.test/d", null, null) : new Part.Document(name, null, "application/pdf", "QUJD"));
        Arbitrary<Message> said = parts(Arbitraries.oneOf(content, document), 1).map(all -> new Message(Role.USER, all, null));
        return Combinators.combine(result.list().ofMaxSize(2), said.injectNull(0.3), said).as((results, user, otherwise) -> {
            List<Message> turn = new ArrayList<>(results);
            Message last = user != null ? user : results.isEmpty() ? otherwise : null;
            if (last != null) {
                turn.add(last);
            }
            return turn;
        });
    }

    @Provide
    Arbitrary<Prompt> anthropicPrompts() {
        Arbitrary<Message> system = parts(saidPart(), 1).map(all -> new Message(Role.SYSTEM, all, null)).injectNull(0.4);
        Arbitrary<List<Message>> rounds = Combinators.combine(anthropicTurn(), anthropicAnswer()).as((turn, answer) -> {
            List<Message> round = new ArrayList<>(turn);
            round.add(answer);
            return round;
        }).list().ofMaxSize(2).map(all -> all.stream().flatMap(List::stream).toList());
        // of a strict one some of the schema is put otherwise
        Arbitrary<Tool> tool = Combinators.combine(word(), text().injectNull(0.3), object().filter(o -> o.has("type")),
                Arbitraries.of(false).injectNull(0.4)).as(Tool::new);
        Arbitrary<Map<String, JsonNode>> options = options(Map.of("temperature", "0.30", "top_p", "0.9", "top_k", "5", "stop", "[\"a\"]",
                "user", "\"u\"", "thinking", "{\"type\":\"enabled\",\"budget_tokens\":1024}")).map(o -> {
                    o.put("max_tokens", json("77"));
                    if (o.containsKey("thinking")) {
                        o.keySet().removeAll(List.of("temperature", "top_p", "top_k"));
                    }
                    return o;
                });
        return Combinators.combine(system, rounds, anthropicTurn(), tool.list().ofMaxSize(2), choice(), options, Arbitraries.of(true, false))
                .as((s, earlier, turn, tools, choice, o, single) -> {
                    List<Message> messages = new ArrayList<>();
                    messages.add(s);
                    messages.removeIf(Objects::isNull);
                    messages.addAll(earlier);
                    messages.addAll(turn);
                    if (single && !tools.isEmpty() && choice != null && choice.mode() != Mode.NONE) {
                        o.put("parallel_tool_calls", json("false"));
                    }
                    // of calls that were made before there are tools too
                    boolean undeclared = tools.isEmpty() && messages.stream().flatMap(m -> m.parts().stream()).anyMatch(Part.ToolCall.class::isInstance);
                    return new Prompt(messages, undeclared ? List.of(new Tool("t", null, json("{\"type\":\"object\"}"), null)) : tools, choice, o);
                });
    }

    @Property
    void whatAnthropicCanSayIsReadAgainAsItWas(@ForAll("anthropicPrompts") Prompt prompt) {
        List<String> warnings = new ArrayList<>();
        assertEquals(prompt, AnthropicRequests.read(again(AnthropicRequests.write(prompt, "m", 4096, warnings))));
        assertEquals(List.of(), warnings);
    }
}
