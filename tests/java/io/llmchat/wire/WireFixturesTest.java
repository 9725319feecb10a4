package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Agent;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.BrokenAnswer;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.UnsupportedParameter;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.dialect.AnthropicDialect;
import io.llmchat.dialect.Dialect;
import io.llmchat.dialect.NativeDialect;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.http.ErrorTable;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

/**
 * Requests and answers as they stand in files: a folder for each case, in {@code tests/resources/wires/<wire>}. Which
 * files a folder has says what is tested:
 *
 * <ul>
 * <li>{@code ask.<dialect>.json}: a caller's request; {@code sent.json} is what the provider must get, and
 *     {@code warnings.txt} what was left out of it; or {@code unsupported.txt} names the field that cannot be passed on.
 *     {@code agent.json}, {@code model.txt} and {@code conversation.txt} are what else is known.
 * <li>{@code stream.txt}: a provider's stream; {@code <dialect>.txt} is what a caller who wants a stream must get,
 *     {@code <dialect>.json} a caller who does not. {@code told.txt} is the provider's name for the conversation.
 * <li>{@code answer.json}: a provider's whole answer; {@code <dialect>.json} is what the caller must get.
 * <li>{@code error.json}: a provider's response that is not 200, with its {@code status}; {@code failure.json} is what
 *     is made of it.
 * </ul>
 *
 * The options of a wire are in {@code wire.json}, in the folder of the case or of the wire. A file of what must come out
 * that is empty is filled by {@code -Dwires.record=true}, to be read before it is believed.
 */
class WireFixturesTest {

    private static final Path ROOT = Path.of("tests/resources/wires");
    private static final Map<String, Dialect> DIALECTS = Map.of("openai", OpenAiDialect.CHAT, "anthropic", AnthropicDialect.CHAT,
            "native", NativeDialect.INSTANCE);
    private static final Pattern MADE_ID = Pattern.compile("call_[0-9a-f]{32}");
    private static final Dialect.Names NAMES = new Dialect.Names("r1", "a1", "c1");
    private static final ErrorTable ERRORS = new ErrorTable();

    static {
        ERRORS.getCodes().put("UPSTREAM_ERROR", "502 api_error -");
        ERRORS.check();
    }

    @TestFactory
    Stream<DynamicNode> everyCase() throws IOException {
        return folders(ROOT).map(wire -> {
            try {
                return dynamicContainer(wire.getFileName().toString(), folders(wire).map(folder -> dynamicContainer(
                        folder.getFileName().toString(), folder.toUri(), new Case(wire, folder).tests().stream())));
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private static Stream<Path> folders(Path in) throws IOException {
        try (Stream<Path> files = Files.list(in)) {
            return files.filter(Files::isDirectory).sorted().toList().stream();
        }
    }

    private static final class Case {
        private final Path wireFolder;
        private final Path folder;
        private final List<DynamicNode> tests = new ArrayList<>();

        Case(Path wireFolder, Path folder) {
            this.wireFolder = wireFolder;
            this.folder = folder;
        }

        List<DynamicNode> tests() {
            DIALECTS.keySet().stream().sorted().forEach(dialect -> {
                if (has("ask." + dialect + ".json")) {
                    test("asked in " + dialect, () -> ask(dialect));
                }
                if (has("stream.txt") && has(dialect + ".txt")) {
                    test("streamed in " + dialect, () -> stream(dialect));
                }
                if (has(dialect + ".json")) {
                    test("whole in " + dialect, () -> whole(dialect));
                }
            });
            if (has("told.txt")) {
                test("conversation", () -> check("told.txt", read(wire().reader(false)).conversation()));
            }
            if (has("error.json")) {
                test("failure", this::failure);
            }
            assertFalse(tests.isEmpty(), folder + " tests nothing");
            return tests;
        }

        private void test(String name, Executable test) {
            tests.add(dynamicTest(name, folder.toUri(), test));
        }

        // --- files

        private boolean has(String file) {
            return Files.exists(folder.resolve(file));
        }

        private byte[] bytes(String file) throws IOException {
            return Files.readAllBytes(folder.resolve(file));
        }

        private JsonNode json(String file) throws IOException {
            return Json.read(bytes(file));
        }

        private String text(String file) throws IOException {
            return has(file) ? Files.readString(folder.resolve(file)).strip() : null;
        }

        /** Compares with a file: JSON by its values, all else by its text. */
        private void check(String file, String found) throws IOException {
            boolean json = file.endsWith(".json");
            String pretty = json ? Json.MAPPER.readTree(found).toPrettyString() : found;
            if (Files.size(folder.resolve(file)) == 0 && Boolean.getBoolean("wires.record")) {
                Files.writeString(folder.resolve(file), pretty.strip() + "\n");
            }
            String expected = Files.readString(folder.resolve(file));
            if (json && !Json.MAPPER.readTree(expected).equals(Json.MAPPER.readTree(found))) {
                assertEquals(Json.MAPPER.readTree(expected).toPrettyString(), pretty, file);
            } else if (!json) {
                assertEquals(expected.strip(), found.strip(), file);
            }
        }

        private Wire wire() throws IOException {
            Path options = Files.exists(folder.resolve("wire.json")) ? folder.resolve("wire.json") : wireFolder.resolve("wire.json");
            Map<String, Object> given = new HashMap<>();
            if (Files.exists(options)) {
                Json.read(Files.readAllBytes(options)).properties().forEach(o ->
                        given.put(o.getKey(), o.getValue().isTextual() ? o.getValue().asText() : o.getValue().toString()));
            }
            return Wires.of(wireFolder.getFileName().toString(), given);
        }

        // --- requests

        private void ask(String dialect) throws IOException {
            ChatRequest request = DIALECTS.get(dialect).read(bytes("ask." + dialect + ".json"), header -> null);
            Agent agent = has("agent.json") ? Json.MAPPER.treeToValue(json("agent.json"), Agent.class) : null;
            String model = has("model.txt") ? text("model.txt") : "m";
            Wire.Asked asked = new Wire.Asked(request, agent, model, "a1", text("conversation.txt"), null);
            Wire wire = wire();
            if (has("unsupported.txt")) {
                UnsupportedParameter e = assertThrows(UnsupportedParameter.class, () -> wire.call(asked));
                check("unsupported.txt", e.details().get(0).field());
                return;
            }
            Wire.Call call = wire.call(asked);
            check("sent.json", new String(call.body(), StandardCharsets.UTF_8));
            if (has("warnings.txt")) {
                check("warnings.txt", String.join("\n", call.warnings()));
            } else {
                assertEquals(List.of(), call.warnings(), "warnings");
            }
        }

        private ChatRequest request(String dialect, boolean stream) throws IOException {
            String file = "ask." + dialect + ".json";
            if (has(file)) {
                return DIALECTS.get(dialect).read(bytes(file), header -> null);
            }
            ObjectNode json = Json.MAPPER.createObjectNode().put("stream", stream)
                    .put(dialect.equals("native") ? "agentId" : "model", "p/m").put("max_tokens", 100);
            json.putArray("messages").addObject().put("role", "user").put("content", "Hi");
            json.putObject("stream_options").put("include_usage", true);
            return DIALECTS.get(dialect).read(Json.write(json), header -> null);
        }

        // --- answers

        private Wire.AnswerReader read(Wire.AnswerReader reader) throws IOException {
            run(reader, event -> { }, bytes("stream.txt"), 7);
            return reader;
        }

        /** Feeds the stream in pieces, up to its end; says whether that was there. */
        private boolean run(Wire.AnswerReader reader, java.util.function.Consumer<ChatEvent> sink, byte[] stream, int piece)
                throws IOException {
            boolean[] over = {false};
            Framing framing = wire().framing(1 << 20, (type, bytes, from, to) ->
                    over[0] = over[0] || !reader.event(type, bytes, from, to, sink));
            for (int at = 0; at < stream.length; at += piece) {
                framing.feed(Arrays.copyOfRange(stream, at, Math.min(stream.length, at + piece)));
            }
            framing.end();
            return over[0];
        }

        private void stream(String dialect) throws IOException {
            byte[] stream = bytes("stream.txt");
            String whole = said(dialect, stream, stream.length);
            assertEquals(whole, said(dialect, stream, 7), "in pieces");
            check(dialect + ".txt", whole);
        }

        /** What the caller gets, as the relay has it written: nothing before the first token, then all. */
        private String said(String dialect, byte[] stream, int piece) throws IOException {
            Wire wire = wire();
            ChatRequest request = request(dialect, true);
            AnswerWriter writer = DIALECTS.get(dialect).writer(request, NAMES);
            Buffer out = Buffer.buffer();
            List<ChatEvent> held = new ArrayList<>();
            Usage[] usage = {null};
            boolean[] begun = {false};
            try {
                boolean over = run(wire.reader(wire.name().equals(writer.wire())), event -> {
                    usage[0] = event.usage() != null ? event.usage() : usage[0];
                    if (event.token() && !begun[0]) {
                        begun[0] = true;
                        writer.start("p/m", "p/m", out);
                        held.forEach(e -> writer.event(e, out));
                    }
                    if (begun[0]) {
                        writer.event(event, out);
                    } else {
                        held.add(event.bytes() == null ? event : event.kept());
                    }
                }, stream, piece);
                if (over) {
                    writer.end(usage[0] != null ? usage[0] : new Usage(1, 2, 3, 0, 0, 0, true), out);
                } else {
                    out.appendString("(cut)\n");
                }
            } catch (ChatException e) {
                if (begun[0]) {
                    writer.error(new BrokenAnswer(e.code(), e.getMessage()), ERRORS.of(e.code()), out);
                } else {
                    out.appendBuffer(DIALECTS.get(dialect).error(e, ERRORS.of(e.code()), "r1")).appendString("\n");
                }
            }
            return normal(out.toString());
        }

        private void whole(String dialect) throws IOException {
            Wire wire = wire();
            AnswerWriter writer = DIALECTS.get(dialect).writer(request(dialect, false), NAMES);
            WholeAnswer answer;
            if (has("answer.json")) {
                answer = wire.reader(wire.name().equals(writer.wire())).answer(bytes("answer.json"));
            } else {
                List<AnswerPart> parts = new ArrayList<>();
                Usage[] usage = {new Usage(1, 2, 3, 0, 0, 0, true)};
                run(wire.reader(false), event -> {
                    event.addTo(parts);
                    usage[0] = event.usage() != null ? event.usage() : usage[0];
                }, bytes("stream.txt"), 7);
                answer = new WholeAnswer(null, parts, 0, "stop", usage[0]);
            }
            check(dialect + ".json", normal(writer.whole(answer, "p/m").toString()));
        }

        /** What is another one each time: an id that was made for a tool call is its number among them. */
        private static String normal(String text) {
            List<String> made = new ArrayList<>();
            return MADE_ID.matcher(text).replaceAll(id -> {
                if (!made.contains(id.group())) {
                    made.add(id.group());
                }
                return "call_" + made.indexOf(id.group());
            }).replaceAll("(\"id\":\"chatcmpl-a1\",\"object\":\"[a-z.]+\",\"created\":)\\d+", "$10")
                    .replaceAll("\"timestamp\":\"[^\"]*\"", "\"timestamp\":\"T\"");
        }

        private void failure() throws IOException {
            JsonNode error = json("error.json");
            ChatException e = wire().failure("p", error.path("status").asInt(), error.path("retryAfter").asText(null),
                    Json.write(error.get("body")));
            ObjectNode found = Json.MAPPER.createObjectNode().put("kind", e.getClass().getSimpleName()).put("code", e.code())
                    .put("message", e.getMessage()).put("status", e.status()).put("type", e.type())
                    .put("openAiCode", e.openAiCode()).put("retryAfter", e.retryAfterSeconds());
            check("failure.json", found.toString());
        }
    }
}
