package io.llmchat.bench;

import java.util.Collection;
import java.util.Locale;
import java.util.stream.Collectors;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** What the innermost parts cost, each alone: {@code ./llmchat bench micro} runs all that JMH knows here. */
public final class Micro {

    private Micro() {
    }

    /** @param args names of benchmarks, or parts of them; none: all */
    public static void main(String[] args) throws RunnerException {
        OptionsBuilder options = new OptionsBuilder();
        for (String name : args) {
            options.include(name);
        }
        Collection<RunResult> results = new Runner(options.forks(1).jvmArgsAppend("-XX:+UseSerialGC").warmupIterations(2).warmupTime(TimeValue.seconds(2))
                .measurementIterations(4).measurementTime(TimeValue.seconds(2)).verbosity(VerboseMode.SILENT).build()).run();
        System.out.println("µs each:");
        for (RunResult r : results) {
            String of = r.getParams().getParamsKeys().stream().map(r.getParams()::getParam).collect(Collectors.joining(", "));
            String name = r.getParams().getBenchmark().replaceFirst("^.*\\.(\\w+)\\.", "$1.");
            System.out.printf(Locale.ROOT, "  %-48s %7.3f ± %.3f%n", name + (of.isEmpty() ? "" : " (" + of + ")"), r.getPrimaryResult().getScore(),
                    r.getPrimaryResult().getScoreError());
        }
    }
}
