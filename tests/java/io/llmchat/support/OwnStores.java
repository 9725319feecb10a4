package io.llmchat.support;

import java.io.IOException;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The PostgreSQL and Redis of one gateway, under its data folder: they can be paused, killed, and started again. */
public final class OwnStores {

    private final Path data;
    private final List<Process> started = new ArrayList<>();

    public OwnStores(Path data) {
        this.data = data;
    }

    private ProcessHandle redis() throws IOException {
        return process(data.resolve("redis/redis.pid"));
    }

    private ProcessHandle postgres() throws IOException {
        return process(data.resolve("postgres/data/postmaster.pid"));
    }

    private static ProcessHandle process(Path pidFile) throws IOException {
        return ProcessHandle.of(Long.parseLong(Files.readAllLines(pidFile).getFirst().trim())).orElseThrow();
    }

    private static void signal(String signal, Stream<ProcessHandle> processes) throws Exception {
        List<String> command = new ArrayList<>(List.of("kill", "-" + signal));
        processes.forEach(p -> command.add(Long.toString(p.pid())));
        new ProcessBuilder(command).inheritIO().start().waitFor();
    }

    public void pauseRedis() throws Exception {
        signal("STOP", Stream.of(redis()));
    }

    public void resumeRedis() throws Exception {
        signal("CONT", Stream.of(redis()));
    }

    public void pausePostgres() throws Exception {
        // first the one that starts the others: what it starts meanwhile would go on
        signal("STOP", Stream.of(postgres()));
        signal("STOP", postgres().descendants());
    }

    /** Lets one of a paused PostgreSQL's processes go on. */
    public void resumePostgres(long pid) throws Exception {
        signal("CONT", postgres().descendants().filter(process -> process.pid() == pid));
    }

    public void resumePostgres() throws Exception {
        signal("CONT", Stream.concat(Stream.of(postgres()), postgres().descendants()));
    }

    /** Kills Redis; the result starts it again where it was. */
    public Restart killRedis() throws Exception {
        ProcessHandle redis = redis();
        String server = redis.info().command().orElseThrow();
        Matcher port = Pattern.compile(":(\\d+)").matcher(String.join(" ", Files.readString(Path.of("/proc", redis.pid() + "", "cmdline")).split("\0")));
        if (!port.find()) {
            throw new AssertionError("a Redis without a port");
        }
        // the library removes its copy of the program as soon as it runs
        Path copy = data.resolve("redis-again");
        Files.copy(Path.of("/proc", redis.pid() + "", "exe"), copy);
        copy.toFile().setExecutable(true);
        signal("KILL", Stream.of(redis));
        return () -> start(Integer.parseInt(port.group(1)), copy.toString(), "--port", port.group(1), "--dir", data.resolve("redis").toString(),
                "--appendonly", "yes", "--save", "", "--pidfile", data.resolve("redis/redis.pid").toString());
    }

    /** Kills PostgreSQL, also a paused one, as a crash does; the result starts it again where it was. */
    public Restart killPostgres() throws Exception {
        ProcessHandle postgres = postgres();
        List<String> command = new ArrayList<>();
        if (System.getProperty("user.name").equals("root")) {
            // it does not run as root
            command.addAll(List.of("unshare", "-U"));
        }
        String options = Files.readString(data.resolve("postgres/data/postmaster.opts"));
        command.add(options.substring(0, options.indexOf(' ')));
        Matcher option = Pattern.compile("\"([^\"]*)\"").matcher(options);
        while (option.find()) {
            command.add(option.group(1));
        }
        List<ProcessHandle> all = Stream.concat(Stream.of(postgres), postgres.descendants()).toList();
        signal("KILL", all.stream());
        for (ProcessHandle process : all) {
            process.onExit().get(10, TimeUnit.SECONDS);
        }
        int port = Integer.parseInt(command.get(command.indexOf("-p") + 1));
        return () -> start(port, command.toArray(String[]::new));
    }

    private void start(int port, String... command) throws Exception {
        Path log = data.resolve("again-" + started.size() + ".log");
        started.add(new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start());
        TestGateway.until("it listens on " + port, () -> {
            try (Socket s = new Socket("127.0.0.1", port)) {
                return s.isConnected();
            } catch (IOException e) {
                return false;
            }
        });
    }

    /** Ends what was started again. */
    public void stop() throws Exception {
        for (Process process : started) {
            process.destroy();
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        }
    }

    /** Starts a store again, and returns when it listens. */
    public interface Restart {
        void again() throws Exception;
    }
}
