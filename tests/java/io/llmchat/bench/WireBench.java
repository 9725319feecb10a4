package io.llmchat.bench;

import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Usage;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.dialect.AnthropicDialect;
import io.llmchat.dialect.Dialect;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.json.Json;
import io.llmchat.wire.Framing;
import io.llmchat.wire.Wire;
import io.llmchat.wire.Wires;
import io.vertx.core.buffer.Buffer;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/**
 * What an event of a stream costs on its way through a wire and a dialect, from the bytes of the provider to the bytes
 * for the caller.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class WireBench {

    private static final int EVENTS = 1000;

    /** The provider's wire, and the caller's dialect. */
    @Param({"openai openai", "anthropic anthropic", "anthropic openai", "openai anthropic", "dify openai"})
    private String way;

    private Wire wire;
    private Dialect dialect;
    private ChatRequest request;
    private byte[][] pieces;

    @Setup
    public void prepare() {
        String[] names = way.split(" ");
        wire = Wires.of(names[0], Map.of());
        dialect = names[1].equals("openai") ? OpenAiDialect.CHAT : AnthropicDialect.CHAT;
        request = dialect.read(Json.utf8("{\"model\":\"p/m\",\"max_tokens\":100,\"stream\":true,"
                + "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"), header -> null);
        // as tokens come: one event in each piece
        pieces = new byte[EVENTS][];
        for (int i = 0; i < EVENTS; i++) {
            pieces[i] = Json.utf8(event(names[0], i % 8 == 0 ? " Grüße," : " word" + i));
        }
    }

    private static String event(String wire, String text) {
        return switch (wire) {
            case "openai" -> "data: {\"id\":\"chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                    + "\"model\":\"gpt-test-2026-01-01\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,"
                    + "\"delta\":{\"content\":\"" + text + "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
            case "anthropic" -> "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
                    + "\"text\":\"" + text + "\"}}\n\n";
            default -> "data: {\"event\": \"message\", \"conversation_id\": \"45701982-8118-4bc5-8e9b-64562b4555f2\", \"message_id\": "
                    + "\"9da23599-e713-473b-982c-4328d4f5c78a\", \"created_at\": 1700000000, \"task_id\": \"c3800678-a077-43df-a102-53f23ed20b88\", "
                    + "\"id\": \"9da23599-e713-473b-982c-4328d4f5c78a\", \"answer\": \"" + text + "\", \"from_variable_selector\": null}\n\n";
        };
    }

    @Benchmark
    @OperationsPerInvocation(EVENTS)
    public long event() {
        AnswerWriter writer = dialect.writer(request, new Dialect.Names("r1", "a1", "c1"));
        Wire.AnswerReader reader = wire.reader(wire.name().equals(writer.wire()));
        Buffer[] out = {Buffer.buffer(256)};
        writer.start("p/m", "m", out[0]);
        Framing framing = wire.framing(1 << 20, (type, bytes, from, to) -> reader.event(type, bytes, from, to, e -> writer.event(e, out[0])));
        long written = 0;
        for (byte[] piece : pieces) {
            framing.feed(piece);
            written += out[0].length();
            // each is written at once
            out[0] = Buffer.buffer(256);
        }
        writer.end(new Usage(10, EVENTS), out[0]);
        return written + out[0].length();
    }
}
