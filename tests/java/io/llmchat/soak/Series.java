package io.llmchat.soak;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** All measurements of a soak, and what they say. */
final class Series {

    private record Sample(double seconds, Map<Figure, Double> figures) {
    }

    private final List<Sample> samples = new ArrayList<>();
    private final double warmUp;

    /** @param warmUp seconds, of which the measurements are kept and not judged */
    Series(double warmUp) {
        this.warmUp = warmUp;
    }

    void add(double seconds, Map<Figure, Double> figures) {
        samples.add(new Sample(seconds, figures));
    }

    private List<Sample> judged() {
        return samples.stream().filter(s -> s.seconds >= warmUp).toList();
    }

    private Trend trend(Figure figure) {
        return Trend.of(judged().stream().map(Sample::seconds).toList(), judged().stream().map(s -> s.figures.get(figure)).toList());
    }

    /** A line for each figure that grew, with from what to what; nothing where none did. */
    String grown() {
        return lines(f -> trend(f).grew(f.tolerance()));
    }

    /** A line for each figure: from what to what the line goes after the warm-up, the difference, and its standard error. */
    @Override
    public String toString() {
        return lines(f -> true);
    }

    private String lines(Predicate<Figure> which) {
        if (judged().size() < 3) {
            return "There were fewer than three measurements after the warm-up.";
        }
        return Arrays.stream(Figure.values()).filter(which).map(this::line).collect(Collectors.joining("\n"));
    }

    private String line(Figure figure) {
        Trend trend = trend(figure);
        return "%-28s %10.1f -> %10.1f   %+9.2f +- %-8.2f (not worth a thought: %s)".formatted(figure.title(), trend.from(), trend.to(),
                trend.growth(), trend.error(), figure.tolerance());
    }

    /** Writes all measurements, one a line, with commas between. */
    void write(Path file) throws IOException {
        List<String> lines = new ArrayList<>();
        lines.add("seconds," + Arrays.stream(Figure.values()).map(f -> f.title().replace(",", " in")).collect(Collectors.joining(",")));
        for (Sample sample : samples) {
            lines.add("%.1f,".formatted(sample.seconds) + Arrays.stream(Figure.values())
                    .map(f -> "%.2f".formatted(sample.figures.get(f))).collect(Collectors.joining(",")));
        }
        Files.write(file, lines);
    }
}
