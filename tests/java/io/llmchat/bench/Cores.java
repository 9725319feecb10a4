package io.llmchat.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Who runs where: the gateway on the first core that this process may use, all others on the rest, so that load and
 * provider take no time from it.
 *
 * @param gateway and {@code others}: lists as taskset takes them; null: nobody is bound to a core
 */
record Cores(String gateway, String others) {

    private static final Path STAT = Path.of("/proc/stat");
    /** The kernel counts in hundredths of a second. */
    private static final double TICKS = 100;
    private static final long LOOK_MILLIS = 1_000;

    static Cores find() {
        List<Integer> usable = new ArrayList<>();
        try (var lines = Files.lines(Path.of("/proc/self/status"))) {
            lines.filter(l -> l.startsWith("Cpus_allowed_list:")).forEach(l -> usable.addAll(list(l.substring(l.indexOf(':') + 1).trim())));
            new ProcessBuilder("taskset", "--version").redirectErrorStream(true).start().waitFor();
        } catch (IOException e) {
            return new Cores(null, null);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        return split(usable);
    }

    static Cores split(List<Integer> usable) {
        return usable.size() < 2 ? new Cores(null, null) : new Cores(usable.getFirst().toString(),
                usable.stream().skip(1).map(String::valueOf).collect(Collectors.joining(",")));
    }

    /** Reads a list such as {@code 0-2,5}. */
    static List<Integer> list(String text) {
        List<Integer> all = new ArrayList<>();
        for (String part : text.split(",")) {
            String[] ends = part.split("-");
            for (int i = Integer.parseInt(ends[0]); i <= Integer.parseInt(ends[ends.length - 1]); i++) {
                all.add(i);
            }
        }
        return all;
    }

    /** How many cores are at work now, whoever's work it is. */
    static double atWork() throws IOException, InterruptedException {
        long before = busyTicks(Files.readString(STAT));
        long begun = System.nanoTime();
        Thread.sleep(LOOK_MILLIS);
        return (busyTicks(Files.readString(STAT)) - before) / TICKS / ((System.nanoTime() - begun) / 1e9);
    }

    /** Of all cores together since the machine was started: user, nice, system, interrupts and what a host has taken away. */
    static long busyTicks(String stat) {
        String[] fields = stat.lines().findFirst().orElseThrow().trim().split("\\s+");
        return IntStream.of(1, 2, 3, 6, 7, 8).mapToLong(i -> Long.parseLong(fields[i])).sum();
    }

    /** Puts all threads of this process, and those that they start, on the cores of the load. */
    void bindThisProcess() throws IOException, InterruptedException {
        if (others != null) {
            new ProcessBuilder("taskset", "-a", "-p", "-c", others, Long.toString(ProcessHandle.current().pid()))
                    .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor();
        }
    }

    /** A command that runs another one on these cores. */
    static List<String> on(String cores, String... command) {
        List<String> all = new ArrayList<>(cores == null ? List.of() : List.of("taskset", "-c", cores));
        all.addAll(List.of(command));
        return all;
    }

    @Override
    public String toString() {
        return gateway == null ? "all on the same cores (taskset and two cores are needed to keep them apart)"
                : "gateway on core " + gateway + ", load and provider on " + others;
    }
}
