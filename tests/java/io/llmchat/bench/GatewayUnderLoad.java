package io.llmchat.bench;

import io.llmchat.support.GatewayProcess;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The gateway as {@code ./llmchat start} runs it, and what it takes of the machine. Its own stores, if any, are not counted. */
final class GatewayUnderLoad implements AutoCloseable {

    private static final Duration START = Duration.ofSeconds(90);

    private final Process process;
    private final Path data;
    private final int port;
    private final Thread atExit = new Thread(this::end);
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /**
     * @param home where the launcher is
     * @param data a folder for it, removed in the end
     * @param settings besides those that raise its limits so far that they are asked but never refuse
     */
    GatewayUnderLoad(Path home, Path data, Cores cores, Map<String, String> settings) throws IOException, InterruptedException {
        this.data = data;
        this.port = GatewayProcess.freePort();
        delete();
        Files.createDirectories(data);
        ProcessBuilder launcher = new ProcessBuilder(Cores.on(cores.gateway(), home.resolve("llmchat").toString(), "start"))
                .redirectErrorStream(true).redirectOutput(log().toFile());
        Map<String, String> environment = launcher.environment();
        environment.putAll(Map.of("JAVA_HOME", System.getProperty("java.home"), "HOST", "127.0.0.1", "PORT", Integer.toString(port),
                "DATA_DIR", data.toString(), "AUTH_MODE", "open", "DRAIN_DELAY", "0", "DRAIN_GRACE", "1000", "LOG_LEVEL", "info"));
        environment.putAll(Map.of("RATE_LIMIT_MAX_REQUESTS", "1000000", "RATE_LIMIT_WINDOW_MS", "1000", "RATE_LIMIT_POINTS", "1000000",
                "RATE_LIMIT_DURATION", "1", "RATE_LIMIT_BLOCK_DURATION", "0", "MAX_CONCURRENT_REQUESTS", "20000", "MAX_CONNECTIONS", "30000"));
        environment.putAll(settings);
        process = launcher.start();
        Runtime.getRuntime().addShutdownHook(atExit);
        awaitReady();
    }

    private Path log() {
        return data.resolveSibling("gateway.log");
    }

    private void awaitReady() throws IOException, InterruptedException {
        long end = System.nanoTime() + START.toNanos();
        while (true) {
            try {
                if (get("/health/ready").statusCode() == 200) {
                    return;
                }
            } catch (IOException e) {
                // not yet
            }
            if (!process.isAlive() || System.nanoTime() > end) {
                close();
                throw new IOException("The gateway does not start: " + Files.readAllLines(log()).stream().reduce("", (a, b) -> b) + " All of its output is in "
                        + log() + ".");
            }
            Thread.sleep(100);
        }
    }

    HttpResponse<String> get(String path) throws IOException, InterruptedException {
        return client.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).timeout(Duration.ofSeconds(10)).build(),
                HttpResponse.BodyHandlers.ofString());
    }

    InetSocketAddress address() {
        return new InetSocketAddress("127.0.0.1", port);
    }

    Path data() {
        return data;
    }

    /** What it has used of the processor since its start; the kernel counts in hundredths of a second. */
    Duration cpu() {
        return process.info().totalCpuDuration().orElseThrow(this::ended);
    }

    private IllegalStateException ended() {
        return new IllegalStateException("The gateway has ended; all of its output is in " + log() + ".");
    }

    /** From now on {@link #peakMiB} tells of what comes. */
    void forgetPeak() throws IOException {
        if (!process.isAlive()) {
            throw ended();
        }
        Files.writeString(Path.of("/proc", Long.toString(process.pid()), "clear_refs"), "5");
    }

    double peakMiB() throws IOException {
        try (var lines = Files.lines(Path.of("/proc", Long.toString(process.pid()), "status"))) {
            return lines.filter(l -> l.startsWith("VmHWM:")).mapToLong(l -> Long.parseLong(l.replaceAll("\\D", ""))).findFirst().orElseThrow() / 1024.0;
        }
    }

    @Override
    public void close() {
        end();
        Runtime.getRuntime().removeShutdownHook(atExit);
    }

    private void end() {
        process.destroy();
        try {
            if (!process.waitFor(30, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
            delete();
        } catch (IOException e) {
            System.err.println("Left behind: " + data + " (" + e.getMessage() + ")");
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }

    private void delete() throws IOException {
        if (Files.exists(data)) {
            try (var files = Files.walk(data)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                    // its stores remove some of them themselves as they end
                    Files.deleteIfExists(file);
                }
            }
        }
    }
}
