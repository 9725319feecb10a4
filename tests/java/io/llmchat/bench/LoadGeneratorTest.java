package io.llmchat.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.llmchat.json.Json;
import io.llmchat.support.TestGateway;
import io.netty.buffer.Unpooled;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the load generator counts, and from when. */
class LoadGeneratorTest {

    private LoadGenerator generator;
    private Provider provider;
    private HttpServer server;
    private ExecutorService oneAtATime;

    @BeforeEach
    void start() throws Exception {
        generator = new LoadGenerator();
        provider = new Provider(0);
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        oneAtATime = Executors.newSingleThreadExecutor();
        server.setExecutor(oneAtATime);
        server.start();
    }

    @AfterEach
    void stop() throws Exception {
        generator.close();
        provider.close();
        server.stop(0);
        oneAtATime.shutdownNow();
    }

    private static byte[] chat(String model, boolean stream) {
        return Bench.post("/v1/chat/completions", "", TestGateway.chat(model, stream));
    }

    private static Load closed(int port, byte[] request, int connections, int events) {
        return new Load(new InetSocketAddress("127.0.0.1", port), List.of(request), connections, 0, Duration.ofMillis(100), Duration.ofMillis(400),
                Duration.ofSeconds(5), events);
    }

    private static Load open(int port, byte[] request, int connections, double rate, Duration length, int events) {
        return new Load(new InetSocketAddress("127.0.0.1", port), List.of(request), connections, rate, Duration.ZERO, length, Duration.ofSeconds(5), events);
    }

    private Measured run(Load load) throws Exception {
        return generator.run(load, Bench.NOTHING);
    }

    private static void answer(HttpExchange exchange, int status, String type, String body) throws IOException {
        exchange.getRequestBody().readAllBytes();
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(status, body.length());
        exchange.getResponseBody().write(Json.utf8(body));
        exchange.close();
    }

    @Test
    void aServerThatStandsStillIsChargedForAllWhomItKeepsWaiting() throws Exception {
        AtomicInteger requests = new AtomicInteger();
        server.createContext("/", exchange -> {
            if (requests.incrementAndGet() == 50) {
                pause(500);
            }
            answer(exchange, 200, "application/json", "{}");
        });
        Measured measured = run(open(server.getAddress().getPort(), chat("any", false), 1, 100, Duration.ofMillis(1_500), 0));

        assertEquals(150, measured.complete());
        assertTrue(measured.latency().getMaxValue() > 490e6, "the one that stood still");
        // counted from when it was sent, a single request would have waited: the others were not sent before it
        long waited = measured.latency().getCountBetweenValues(100_000_000, measured.latency().getMaxValue());
        assertTrue(waited >= 30, waited + " waited for more than 100 ms");
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Test
    void anOpenLoopSendsAsManyAsAreDue() throws Exception {
        Measured measured = run(open(provider.port(), chat("bench-1-0-0", false), 100, 1_000, Duration.ofMillis(500), 0));
        assertEquals(500, measured.sent());
        assertEquals(500, measured.complete());
        assertEquals(Map.of(), measured.errors());
    }

    @Test
    void whoeverPacesMayBeLateOnABusyMachine() throws Exception {
        AtomicBoolean busy = new AtomicBoolean(true);
        List<Thread> others = IntStream.range(0, 2 * Runtime.getRuntime().availableProcessors()).mapToObj(i -> new Thread(() -> {
            while (busy.get()) {
                Thread.onSpinWait();
            }
        })).toList();
        others.forEach(Thread::start);
        try {
            for (int i = 0; i < 20; i++) {
                Measured measured = run(open(provider.port(), chat("bench-1-0-0", false), 10, 10_000, Duration.ofMillis(20), 0));
                assertEquals(200, measured.sent());
                assertEquals(200, measured.complete());
            }
        } finally {
            busy.set(false);
        }
    }

    @Test
    void aClosedLoopHasOneRequestUnderWayOnEachConnection() throws Exception {
        Measured measured = run(closed(provider.port(), chat("bench-1-50-0", false), 10, 0));
        assertEquals(10, measured.mostOpen());
        assertTrue(measured.complete() > 10 && measured.complete() <= 100, measured.complete() + " answers of 50 ms each, ten at a time, in 400 ms");
        assertEquals(measured.sent(), measured.complete());
        assertTrue(measured.latency().getValueAtPercentile(50) >= 49_000_000);
    }

    @Test
    void firstTokensAndGapsOfStreamsAreMeasured() throws Exception {
        Measured measured = run(open(provider.port(), chat("bench-5-60-30", true), 100, 40, Duration.ofMillis(500), 7));
        assertEquals(20, measured.complete());
        aboutAsLongAs(60, measured.first().getValueAtPercentile(50) / 1e6);
        assertEquals(20 * 6, measured.gaps().getTotalCount());
        // of six gaps four are between tokens; what comes after the last token comes with it
        aboutAsLongAs(30, measured.gaps().getValueAtPercentile(60) / 1e6);
    }

    /** Hardly shorter than it was told to be, and less than twice as long on a busy machine. */
    private static void aboutAsLongAs(int told, double millis) {
        assertTrue(millis > told - 15 && millis < 2 * told, millis + " ms in place of " + told);
    }

    @Test
    void aProviderThatIsLateStillSendsInOrder() throws Exception {
        // more events a second than it can send
        Measured measured = run(open(provider.port(), chat("bench-100-1-1", true), 1_000, 2_000, Duration.ofMillis(500), 102));
        assertEquals(Map.of(), measured.errors());
        assertEquals(1_000, measured.complete());
    }

    @Test
    void aStreamThatIsNotWholeIsNotComplete() throws Exception {
        server.createContext("/few", exchange -> answer(exchange, 200, "text/event-stream", "data: {}\n\ndata: [DONE]\n\n"));
        server.createContext("/endless", exchange -> answer(exchange, 200, "text/event-stream", "data: {}\n\ndata: {}\n\ndata: {}\n\n"));
        for (String path : List.of("/few", "/endless")) {
            Measured measured = run(open(server.getAddress().getPort(), Bench.post(path, "", "{}"), 5, 50, Duration.ofMillis(100), 3));
            assertEquals(5, measured.sent(), path);
            assertEquals(0, measured.complete(), path);
            assertEquals(Map.of("incomplete", 5L), measured.errors(), path);
        }
    }

    @Test
    void whatIsRefusedBreaksOffOrNeverComesIsAnError() throws Exception {
        server.createContext("/refused", exchange -> answer(exchange, 503, "application/json", "{}"));
        server.createContext("/broken", HttpExchange::close);
        int port = server.getAddress().getPort();
        assertEquals(Map.of("status 503", 5L), run(open(port, Bench.post("/refused", "", "{}"), 5, 50, Duration.ofMillis(100), 0)).errors());
        assertEquals(Map.of("closed", 5L), run(open(port, Bench.post("/broken", "", "{}"), 5, 50, Duration.ofMillis(100), 0)).errors());
        Measured never = run(new Load(new InetSocketAddress("127.0.0.1", provider.port()), List.of(chat("bench-1-60000-0", false)), 2, 50, Duration.ZERO,
                Duration.ofMillis(100), Duration.ofMillis(100), 0));
        assertEquals(Map.of("no answer", 5L), never.errors());
        assertEquals(5, never.sent());
        assertEquals(0, never.complete());
    }

    @Test
    void whoCannotWatchUntilTheEndIsToldSo() {
        IllegalStateException gone = new IllegalStateException("gone");
        LoadGenerator.Watch watch = new LoadGenerator.Watch() {
            @Override
            public void begin() {
                // it is there still
            }

            @Override
            public void end() {
                throw gone;
            }
        };
        Load load = open(provider.port(), chat("bench-1-0-0", false), 1, 50, Duration.ofMillis(100), 0);
        assertSame(gone, assertThrows(ExecutionException.class, () -> generator.run(load, watch)).getCause());
    }

    @Test
    void eventsAreCountedHoweverTheirBytesAreCut() {
        byte[] stream = Json.utf8(": hello\n\nevent: x\ndata: {\"a\":1}\n\ndata:two\r\n\r\ndata: [DONE]\n\n");
        for (int size = 1; size <= stream.length; size++) {
            LoadGenerator.Events events = new LoadGenerator.Events();
            int counted = 0;
            for (int at = 0; at < stream.length; at += size) {
                counted += events.read(Unpooled.wrappedBuffer(stream, at, Math.min(size, stream.length - at)));
            }
            assertEquals(3, counted, "in pieces of " + size);
            assertTrue(events.done(), "in pieces of " + size);
        }
    }

    @Test
    void throughTheGatewayAllAnswersAreWholeToo() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.openai.base-url", "http://127.0.0.1:" + provider.port() + "/v1")) {
            Measured whole = run(open(gateway.port(), chat("openai/bench-20-0-0", false), 8, 100, Duration.ofMillis(500), 0));
            Measured streams = run(open(gateway.port(), chat("openai/bench-20-0-1", true), 8, 100, Duration.ofMillis(500), 22));
            for (Measured measured : List.of(whole, streams)) {
                assertEquals(Map.of(), measured.errors());
                assertEquals(50, measured.complete());
            }
        }
    }
}
