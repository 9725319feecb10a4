package io.llmchat.bench;

import io.llmchat.json.Json;
import io.llmchat.wire.SseReader;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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

/** What it costs to find an event in the bytes of a stream, by how they come. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class SseBench {

    private static final int EVENTS = 1000;

    /** Bytes that come together; 0: an event each time. */
    @Param({"0", "1400", "16"})
    private int bytes;

    private List<byte[]> pieces;

    @Setup
    public void prepare() {
        pieces = new ArrayList<>();
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (int i = 0; i < EVENTS; i++) {
            byte[] event = Json.utf8("data: {\"id\":\"chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                    + "\"model\":\"gpt-test\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word" + i + "\"},\"finish_reason\":null}]}\n\n");
            all.writeBytes(event);
            if (bytes == 0) {
                pieces.add(event);
            }
        }
        byte[] stream = all.toByteArray();
        for (int at = 0; bytes > 0 && at < stream.length; at += bytes) {
            pieces.add(Arrays.copyOfRange(stream, at, Math.min(stream.length, at + bytes)));
        }
    }

    @Benchmark
    @OperationsPerInvocation(EVENTS)
    public long event() {
        long[] read = {0};
        SseReader reader = new SseReader(1 << 20, (type, data, from, to) -> read[0] += to - from);
        pieces.forEach(reader::feed);
        reader.end();
        return read[0];
    }
}
