package io.llmchat.soak;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Hundreds of streams, faults of all kinds and edited routes for {@code SOAK_MINUTES} (20): nothing grows, nothing else
 * happens than was asked for, and in the end everything is free again. {@code ./llmchat test soak}; what was measured is
 * left in {@code target/soak}.
 */
@Tag("soak")
// as long as SOAK_MINUTES says
@Timeout(value = 7, unit = TimeUnit.DAYS)
class SoakTest {

    private static final int STREAMS = 500;
    private static final int PLACES = 800;
    /** Of all places those that one provider may take: 80 percent. */
    private static final int PLACES_OF_A_PROVIDER = 640;
    /** So often everything is measured, and after that, so that it always finds as many old routes as before, an edit is made. */
    private static final double TURN_SECONDS = 10;
    private static final int TOO_MANY_FAILURES = 300;
    private static final Path OUT = Path.of("target", "soak");

    private final double length = 60 * minutes(System.getenv().getOrDefault("SOAK_MINUTES", "20"));
    /**
     * Seconds. What is kept by its age is kept for a minute (answers for SDKs; with the settings below, keys and
     * sessions too), and then is as much as it will ever be; what is compiled while it runs takes minutes.
     */
    private final double warmUp = Math.max(75, length / 4);

    @TempDir
    Path folder;

    private final Series series = new Series(warmUp);
    private final Outcomes outcomes = new Outcomes();

    /** Not a number where it is none: no length is less, or more. */
    private static double minutes(String given) {
        return given.matches("[0-9]{1,6}(\\.[0-9]{1,6})?") ? Double.parseDouble(given) : Double.NaN;
    }

    private static Map<String, String> settings(RouteFolder routes) {
        Map<String, String> settings = new HashMap<>(Map.of("ROUTES_DIR", routes.folder().toString(), "DB_MAX_CONNECTIONS", "20",
                "MAX_CONCURRENT_REQUESTS", Integer.toString(PLACES), "RATE_LIMIT_MAX_REQUESTS", "20000", "RATE_LIMIT_POINTS", "1000000",
                "JAVA_OPTS", "-Dllmchat.keys.ttl=60 -Dllmchat.enrich.session-ttl=60 -Dllmchat.enrich.agent-ttl=60"));
        settings.putAll(Map.of("CIRCUIT_BREAKER_TIMEOUT", "3000", "STREAM_IDLE_TIMEOUT", "5000", "RETRY_BASE_DELAY", "100",
                "RESUME_GRACE", Long.toString(Streams.GRACE_MILLIS),
                // faults of single requests shall not open the breaker of all
                "CIRCUIT_BREAKER_FAILURE_THRESHOLD", "50", "CIRCUIT_BREAKER_RESET_TIMEOUT", "5000"));
        return settings;
    }

    @Test
    void nothingGrowsAndEveryRequestGetsWhatItAsksFor() throws Exception {
        assertTrue(length >= 120, "SOAK_MINUTES must be a number, 2 or more");
        Files.createDirectories(OUT);
        RouteFolder routes = RouteFolder.in(folder.resolve("routes"));
        Orders orders = new Orders();
        try (FakeProvider provider = new FakeProvider().on(Client.MODEL, orders);
                SoakedGateway gateway = new SoakedGateway(folder, OUT.resolve("gateway.txt"), provider, settings(routes))) {
            Map<Figure, Double> before = gateway.measure();
            List<String> edits;
            Load load;
            try (Client client = new Client(gateway.port(), 20)) {
                load = new Load(STREAMS, new Streams(client, orders), new Requests(client, orders, provider), outcomes);
                edits = soak(gateway, provider, load, new RouteEdits(routes, gateway));
            }
            series.write(OUT.resolve("figures.csv"));
            Files.writeString(OUT.resolve("report.txt"), "After the warm-up of %.0f s:%n%s%n%n%s%n".formatted(warmUp, series, outcomes));
            assertTrue(gateway.isAlive(), () -> "the gateway has ended; see " + OUT.resolve("gateway.txt") + "\n" + outcomes);
            Map<Figure, Double> after = rest(gateway, provider);
            assertAll(
                    () -> assertEquals("", series.grown(), "what grew"),
                    () -> assertEquals(0, outcomes.failures(), outcomes::toString),
                    () -> assertEquals(List.of(), outcomes.never(load.kinds()), "what never was as it should be"),
                    () -> assertEquals(List.of(), edits, "edits"),
                    () -> assertEquals("", left(before, after), "what is left over"),
                    () -> everyPlaceIsFree(gateway, orders),
                    () -> assertEquals(Map.of(), gateway.complaints(), "in the log"));
        }
    }

    /** The load and the edits, for as long as it takes; what went wrong with the edits. */
    private List<String> soak(SoakedGateway gateway, FakeProvider provider, Load load, RouteEdits edits) throws Exception {
        List<String> wrong = new ArrayList<>();
        long started = System.nanoTime();
        load.start();
        for (double turn = TURN_SECONDS; turn <= length && gateway.isAlive() && outcomes.failures() < TOO_MANY_FAILURES; turn += TURN_SECONDS) {
            while (seconds(started) < turn) {
                Thread.sleep(100);
                provider.forget();
            }
            series.add(turn, gateway.measure());
            // to be compared where the heap grows
            Files.writeString(OUT.resolve(turn < warmUp + TURN_SECONDS ? "heap-before.txt" : "heap-after.txt"), gateway.histogram());
            try {
                edits.next();
            } catch (AssertionError e) {
                wrong.add(e.getMessage());
            }
        }
        load.stop();
        return wrong;
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }

    /** Waits until nothing is in progress, and the connections to providers, which are kept for a minute, are closed. */
    private static Map<Figure, Double> rest(SoakedGateway gateway, FakeProvider provider) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        while ((gateway.metric("llmchat_streams_open") > 0 || provider.connections() > 0) && System.nanoTime() < end) {
            Thread.sleep(200);
        }
        return gateway.measure();
    }

    /** What is more than before, though nothing is in progress any more. */
    private static String left(Map<Figure, Double> before, Map<Figure, Double> after) {
        return Stream.of(Figure.STREAMS, Figure.CALLERS, Figure.PROVIDERS, Figure.CONTEXTS).filter(f -> after.get(f) > before.get(f))
                .map(f -> f.title() + ": " + before.get(f) + " -> " + after.get(f)).collect(Collectors.joining("\n"));
    }

    /** As many streams as there are places get in at once, and not one more. */
    private static void everyPlaceIsFree(SoakedGateway gateway, Orders orders) throws Exception {
        List<Sse> open = new ArrayList<>();
        try (Client client = new Client(gateway.port(), 1)) {
            for (int i = 0; i < PLACES; i++) {
                String provider = i < PLACES_OF_A_PROVIDER ? "openai" : "anthropic";
                open.add(client.stream("openai", provider + "/" + Client.MODEL, orders.place(1_000, 0, 1_000)));
            }
            for (Sse stream : open) {
                assertEquals(200, stream.status());
            }
            try (Sse more = client.stream("openai", "ollama/" + Client.MODEL, orders.place(1, 0, 0))) {
                assertEquals(503, more.status(), "one more than there are places");
            }
        } finally {
            for (Sse stream : open) {
                stream.close();
            }
        }
    }
}
