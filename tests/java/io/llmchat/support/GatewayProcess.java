package io.llmchat.support;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.net.BindException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/** The gateway as a process of its own. */
public final class GatewayProcess {

    private GatewayProcess() {
    }

    /** Starts one with these environment variables; who is told to end it does not wait for load balancers. */
    public static Process start(Path data, Map<String, String> settings) throws IOException {
        // who runs the tests in the background has them ignore SIGINT, and children inherit that
        ProcessBuilder java = started("-Xmx256m", "io.llmchat.Main");
        java.command().addAll(0, List.of("env", "--default-signal=INT"));
        java.environment().put("DATA_DIR", data.toString());
        java.environment().put("DRAIN_DELAY", "0");
        // other tests may share its Redis, and come from the same address
        java.environment().put("RATE_LIMIT_POINTS", "0");
        java.environment().putAll(settings);
        return java.redirectErrorStream(true).start();
    }

    /** The settings of one that uses the stores of {@link TestGateway#shared}, and need not make any. */
    public static Map<String, String> sharedStores() throws Exception {
        return Map.of("DB_HOST", "127.0.0.1", "DB_PORT", Integer.toString(TestGateway.shared().postgresPort()), "DB_USER", "postgres",
                "DB_NAME", "postgres", "REDIS_HOST", "127.0.0.1", "REDIS_PORT", Integer.toString(TestGateway.shared().redisPort()));
    }

    /** As {@link #java}, for what does little more than start: it is not compiled as what is to run for long, which takes most of a start. */
    public static ProcessBuilder started(String... arguments) {
        ProcessBuilder java = java(arguments);
        java.command().addAll(1, List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
        return java;
    }

    /** This JVM's Java with this one's classes; options, the class, and what it is told follow. */
    public static ProcessBuilder java(String... arguments) {
        // surefire's ends with an empty entry, which is the folder we are in: routes that were exported there would be found too
        String classes = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator)).filter(entry -> !entry.isEmpty())
                .collect(Collectors.joining(File.pathSeparator));
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp", classes));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command);
    }

    /**
     * A port that nothing listens on, and that no connection is given for its own end before something does: systems take
     * those from 32768 on.
     */
    public static int freePort() throws IOException {
        while (true) {
            int port = ThreadLocalRandom.current().nextInt(10_000, 32_768);
            try (ServerSocket socket = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
                return socket.getLocalPort();
            } catch (BindException e) {
                // another one
            }
        }
    }

    /** Reads what the process says until a line has this in it; all lines so far. One that has not said it in two minutes is ended. */
    public static List<String> readTo(Process process, String text) throws IOException {
        BufferedReader out = process.inputReader();
        List<String> lines = new ArrayList<>();
        // nothing but its end interrupts the reading of what it says
        CompletableFuture<Process> end = process.onExit().orTimeout(2, TimeUnit.MINUTES);
        end.whenComplete((ended, late) -> {
            if (late instanceof TimeoutException) {
                process.destroyForcibly();
            }
        });
        try {
            for (String line; (line = out.readLine()) != null;) {
                lines.add(line);
                if (line.contains(text)) {
                    return lines;
                }
            }
        } finally {
            end.cancel(false);
        }
        throw new AssertionError("it ended without saying '" + text + "': " + lines);
    }
}
