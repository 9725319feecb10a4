package io.llmchat.bench;

import io.llmchat.json.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a run of the bench has measured, as it is kept in a file.
 *
 * @param machine what has to be the same where two runs are compared
 * @param scenarios for each, what of whom: the values of all rounds
 */
record Results(String date, Map<String, String> machine, Map<String, Map<String, Map<Metric, List<Double>>>> scenarios) {

    static final String DIRECT = "direct";
    static final String GATEWAY = "gateway";

    /** What stands for a setting that is none, in the file too. */
    static final String NOT_SET = "not set";

    /** A change of the median up to this is none, whatever the rounds say. */
    private static final double MARGIN = 0.05;

    Results(String date, Map<String, String> machine) {
        this(date, machine, new LinkedHashMap<>());
    }

    void add(String scenario, String of, Map<Metric, Double> round) {
        Map<Metric, List<Double>> all = scenarios.computeIfAbsent(scenario, s -> new LinkedHashMap<>()).computeIfAbsent(of, t -> new TreeMap<>());
        round.forEach((metric, value) -> all.computeIfAbsent(metric, m -> new ArrayList<>()).add(value));
    }

    /** Null where it was not measured. */
    Spread get(String scenario, String of, Metric metric) {
        List<Double> values = scenarios.getOrDefault(scenario, Map.of()).getOrDefault(of, Map.of()).get(metric);
        return values == null ? null : Spread.of(values);
    }

    /** Whether it says something of the gateway there: a run may have ended before that. */
    boolean has(String scenario) {
        return scenarios.getOrDefault(scenario, Map.of()).containsKey(GATEWAY);
    }

    static Results read(Path file) throws IOException {
        Results read = Json.MAPPER.readValue(Files.readAllBytes(file), Results.class);
        if (read == null || read.date == null || read.machine == null || read.scenarios == null) {
            throw new IOException("it lacks date, machine or scenarios");
        }
        return read;
    }

    void write(Path file) throws IOException {
        Files.write(file, Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(this));
    }

    /** A scenario as a table in Markdown: a line for each that was measured, and one with what the gateway adds. */
    String table(String scenario, List<Metric> metrics) {
        List<List<String>> rows = new ArrayList<>();
        List<String> head = new ArrayList<>(List.of(""));
        metrics.forEach(m -> head.add(m.title));
        rows.add(head);
        for (String of : scenarios.get(scenario).keySet()) {
            List<String> row = new ArrayList<>(List.of(of));
            for (Metric metric : metrics) {
                Spread spread = get(scenario, of, metric);
                row.add(spread == null ? "" : spread.toString());
            }
            rows.add(row);
        }
        List<String> added = new ArrayList<>(List.of("added"));
        for (Metric metric : metrics) {
            Spread without = get(scenario, DIRECT, metric);
            Spread with = get(scenario, GATEWAY, metric);
            added.add(!metric.isTime() || without == null || with == null ? "" : Spread.number(with.median() - without.median()));
        }
        if (added.stream().anyMatch(cell -> !cell.isEmpty() && !cell.equals("added"))) {
            rows.add(added);
        }
        return markdown(rows);
    }

    private static String markdown(List<List<String>> rows) {
        StringBuilder out = new StringBuilder();
        for (int r = 0; r < rows.size(); r++) {
            for (int c = 0; c < rows.getFirst().size(); c++) {
                int column = c;
                int width = rows.stream().mapToInt(row -> row.get(column).length()).max().orElse(0);
                out.append("| ").append(rows.get(r).get(c)).append(" ".repeat(width - rows.get(r).get(c).length() + 1));
            }
            out.append("|\n");
            if (r == 0) {
                out.append("|---".repeat(rows.getFirst().size())).append("|\n");
            }
        }
        return out.toString();
    }

    /** What has changed since an earlier run, and is more than the rounds of either differ among themselves. */
    record Change(String scenario, String of, Metric metric, Spread before, Spread now) {

        boolean worse() {
            return metric.of(now) > metric.of(before) == metric.less;
        }

        @Override
        public String toString() {
            double percent = 100 * (metric.of(now) / metric.of(before) - 1);
            return scenario + ", " + metric.title + ": " + now + ", was " + before
                    + (Double.isFinite(percent) ? String.format(java.util.Locale.ROOT, " (%+.0f %%)", percent) : "");
        }
    }

    /** The changes of what both runs have measured of {@code of}. */
    List<Change> changesSince(Results earlier, String of) {
        List<Change> changes = new ArrayList<>();
        for (String scenario : scenarios.keySet()) {
            for (Metric metric : Metric.values()) {
                Spread before = earlier.get(scenario, of, metric);
                Spread now = get(scenario, of, metric);
                if (before == null || now == null) {
                    continue;
                }
                boolean apart = now.low() > before.high() || now.high() < before.low();
                // an answer that is not whole is no matter of degree, nor of rounds
                if (metric == Metric.COMPLETE ? now.low() != before.low() : apart && Math.abs(now.median() - before.median()) > MARGIN * before.median()) {
                    changes.add(new Change(scenario, of, metric, before, now));
                }
            }
        }
        return changes;
    }

    /** What is to be told of a comparison, in plain sentences. */
    List<String> compare(Results earlier) {
        List<String> lines = new ArrayList<>();
        machine.forEach((what, value) -> {
            String before = earlier.machine.getOrDefault(what, NOT_SET);
            if (!value.equals(before)) {
                lines.add("Not the same: " + what + " is " + value + ", and was " + before + ".");
            }
        });
        List<String> missing = new ArrayList<>(scenarios.keySet());
        missing.removeIf(earlier::has);
        if (!missing.isEmpty()) {
            lines.add("Not measured on " + earlier.date + ": " + String.join(", ", missing) + ".");
        }
        if (!changesSince(earlier, DIRECT).isEmpty()) {
            lines.add("Without the gateway the figures differ too, so the machine was not the same or not as free:");
            changesSince(earlier, DIRECT).forEach(change -> lines.add("  " + change));
        }
        List<Change> changes = changesSince(earlier, GATEWAY);
        section("Worse than on " + earlier.date + ":", changes.stream().filter(Change::worse).toList(), lines);
        section("Better than on " + earlier.date + ":", changes.stream().filter(c -> !c.worse()).toList(), lines);
        if (changes.isEmpty()) {
            lines.add("Nothing differs from " + earlier.date + " by more than the rounds do among themselves.");
        }
        return lines;
    }

    private static void section(String title, List<Change> changes, List<String> lines) {
        if (!changes.isEmpty()) {
            lines.add(title);
            changes.forEach(change -> lines.add("  " + change));
        }
    }
}
