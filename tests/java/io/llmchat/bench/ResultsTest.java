package io.llmchat.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is made of the rounds, and what a comparison says. */
class ResultsTest {

    private static Results of(String scenario, String target, Metric metric, double... rounds) {
        Results results = new Results("2026-01-01 12:00", Map.of("processors", "2"));
        for (double round : rounds) {
            results.add(scenario, target, Map.of(metric, round));
        }
        return results;
    }

    private static List<String> compared(Metric metric, double[] before, double[] now) {
        return of("a", "gateway", metric, now).compare(of("a", "gateway", metric, before));
    }

    private static double[] rounds(double... rounds) {
        return rounds;
    }

    @Test
    void theMedianIsTheMiddleOneOrBetweenTheTwo() {
        assertEquals(new Spread(1, 3, 9), Spread.of(List.of(9.0, 1.0, 3.0)));
        assertEquals(new Spread(1, 2.5, 9), Spread.of(List.of(3.0, 9.0, 1.0, 2.0)));
        assertEquals("3.00 (1.00-12.3)", new Spread(1, 3, 12.34).toString());
        assertEquals("1,235", Spread.of(List.of(1234.6)).toString());
    }

    @Test
    void whatTakesLongerThanItEverDidIsWorse() {
        assertEquals(List.of("Worse than on 2026-01-01 12:00:", "  a, p99 ms: 14.0 (13.0-15.0), was 11.0 (10.0-12.0) (+27 %)"),
                compared(Metric.P99, rounds(10, 11, 12), rounds(13, 14, 15)));
    }

    @Test
    void fewerRequestsAreWorseAndMoreAreBetter() {
        assertTrue(compared(Metric.RATE, rounds(100, 110), rounds(80, 90)).getFirst().startsWith("Worse"));
        assertTrue(compared(Metric.RATE, rounds(80, 90), rounds(100, 110)).getFirst().startsWith("Better"));
    }

    @Test
    void whatIsWithinTheRoundsIsNoChange() {
        assertEquals(List.of("Nothing differs from 2026-01-01 12:00 by more than the rounds do among themselves."),
                compared(Metric.P99, rounds(10, 11, 14), rounds(13, 15, 16)));
    }

    @Test
    void lessThanAFewPercentIsNoChangeButAnyAnswerThatIsNotWholeIs() {
        assertTrue(compared(Metric.P99, rounds(100, 100, 100), rounds(103, 103, 103)).getFirst().startsWith("Nothing"));
        assertTrue(compared(Metric.COMPLETE, rounds(100, 100, 100), rounds(99.9, 99.9, 99.9)).getFirst().startsWith("Worse"));
    }

    @Test
    void aRoundInWhichAnswersWereLostIsNotMadeGoodByTheOthers() {
        assertEquals(List.of("Worse than on 2026-01-01 12:00:", "  a, complete %: 100 (60.0-100), was 100 (-40 %)"),
                compared(Metric.COMPLETE, rounds(100, 100, 100), rounds(100, 60, 100)));
        assertEquals("99.9", Spread.number(99.96));
        assertEquals("100", Spread.number(100));
    }

    @Test
    void whatTheEarlierRunHasNotMeasuredIsTold() {
        Results now = of("a", "gateway", Metric.P99, 1, 1, 1);
        now.add("b", "gateway", Map.of(Metric.P99, 1.0));
        Results earlier = of("a", "gateway", Metric.P99, 1, 1, 1);
        // the gateway ended before it was measured
        earlier.add("b", "direct", Map.of(Metric.P99, 1.0));
        assertEquals("Not measured on 2026-01-01 12:00: b.", now.compare(earlier).getFirst());
    }

    @Test
    void otherOptionsOfTheJvmAreNotTheSame() {
        Results now = new Results("2026-01-02 12:00", Map.of("processors", "2", "LLMCHAT_HEAP", "1g", "JAVA_OPTS", Results.NOT_SET));
        assertEquals("Not the same: LLMCHAT_HEAP is 1g, and was not set.", now.compare(of("a", "direct", Metric.P50, 1)).getFirst());
        assertEquals(Results.NOT_SET, Bench.set("DB_HOST", Map.of("DB_HOST", "")));
    }

    @Test
    void thereAreNoMoreStreamsThanOpenFilesAllow() {
        assertEquals(List.of(0, 0, 1_000, 9_000), List.of(1_024, 2_199, 4_096, 20_000).stream().map(Bench::mostStreams).toList());
        List<Bench.Scenario> named = Bench.named("json-1,streams-1000,streams-5000,streams-10000");
        assertEquals(List.of("json-1", "streams-1000", "streams-4800"), Bench.possible(named, 4_800).stream().map(Bench.Scenario::id).toList());
        assertEquals(List.of("json-1"), Bench.possible(named, 0).stream().map(Bench.Scenario::id).toList());
    }

    @Test
    void anotherMachineAndAnotherSpeedWithoutTheGatewayAreTold() {
        Results before = of("a", "direct", Metric.P50, 1, 1, 1);
        Results now = new Results("2026-01-02 12:00", Map.of("processors", "4"));
        now.add("a", "direct", Map.of(Metric.P50, 2.0));
        assertEquals(List.of("Not the same: processors is 4, and was 2.", "Not measured on 2026-01-01 12:00: a.",
                "Without the gateway the figures differ too, so the machine was not the same or not as free:",
                "  a, p50 ms: 2.00, was 1.00 (+100 %)",
                "Nothing differs from 2026-01-01 12:00 by more than the rounds do among themselves."), now.compare(before));
    }

    @Test
    void aTableTellsWhatTheGatewayAdds() {
        Results results = of("a", "direct", Metric.P50, 1, 2, 3);
        results.add("a", "gateway", Map.of(Metric.P50, 5.0, Metric.CPU, 50.0));
        assertEquals("""
                |         | p50 ms           | CPU µs/request |
                |---|---|---|
                | direct  | 2.00 (1.00-3.00) |                |
                | gateway | 5.00             | 50.0           |
                | added   | 3.00             |                |
                """, results.table("a", List.of(Metric.P50, Metric.CPU)));
    }

    @Test
    void aFileHoldsAllOfIt(@TempDir Path folder) throws Exception {
        Results results = of("a", "gateway", Metric.P50, 1.5, 2, 3.25);
        results.write(folder.resolve("run.json"));
        assertEquals(results, Results.read(folder.resolve("run.json")));
    }

    @Test
    void aFileOfSomethingElseIsRefused(@TempDir Path folder) throws Exception {
        for (String other : List.of("{}", "null", "{\"date\":\"2026-01-01\",\"machine\":{}}")) {
            Path file = Files.writeString(folder.resolve("run.json"), other);
            assertThrows(IOException.class, () -> Results.read(file), other);
        }
    }

    @Test
    void whatCoresDoIsAllButIdlingAndWaiting() {
        assertEquals(1 + 2 + 3 + 6 + 7 + 8, Cores.busyTicks("cpu  1 2 3 1000 500 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"));
    }

    @Test
    void stepsAreWrittenShort() {
        assertEquals(List.of("10", "1k", "9.7k", "100k", "1M", "1234"), List.of(10, 1_000, 9_700, 100_000, 1_000_000, 1_234).stream().map(Growth::label).toList());
    }

    @Test
    void coresAreReadAsTheKernelWritesThem() {
        assertEquals(List.of(0, 1, 2, 5), Cores.list("0-2,5"));
        assertEquals(new Cores("3", "4,6"), Cores.split(List.of(3, 4, 6)));
        assertEquals(new Cores(null, null), Cores.split(List.of(0)));
        assertEquals(List.of("taskset", "-c", "3", "x"), Cores.on("3", "x"));
        assertEquals(List.of("x"), Cores.on(null, "x"));
    }
}
