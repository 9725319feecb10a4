package io.llmchat;

import io.llmchat.host.Gateway;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/**
 * A run from which the JVM learns what it keeps in its AOT cache: which classes are used, and how they hang together.
 * Starts the gateway with stores of its own that are thrown away, on a free port of the loopback, and for a while asks it
 * what callers ask.
 */
public final class TrainingRun {

    private static final int CALLERS = 16;
    private static final Duration LONGEST = Duration.ofSeconds(30);

    private final URI chats;
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private TrainingRun(int port) {
        chats = URI.create("http://127.0.0.1:" + port + "/v1/chat/completions");
    }

    /** Takes how many seconds it asks; exits with 1 if it got something else than answers. */
    public static void main(String[] args) throws Exception {
        Path data = Files.createTempDirectory("llmchat-training");
        int port = freePort();
        Gateway gateway = new Gateway(Map.ofEntries(
                Map.entry("llmchat.http.host", "127.0.0.1"), Map.entry("llmchat.http.port", Integer.toString(port)),
                Map.entry("llmchat.store.data-dir", data.toString()),
                Map.entry("llmchat.postgres.host", ""), Map.entry("llmchat.redis.host", ""),
                // its provider is the gateway itself
                Map.entry("llmchat.openai.base-url", "http://127.0.0.1:" + port + "/v1"), Map.entry("llmchat.openai.api-key", "training"),
                Map.entry("llmchat.admit.max-requests", "0"), Map.entry("llmchat.limit.points", "0")));
        // also when somebody does not want to wait for it
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            gateway.stop();
            delete(data);
        }));
        try {
            gateway.start();
            new TrainingRun(port).ask(Duration.ofSeconds(Integer.parseInt(args[0])));
            System.exit(0);
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    private void ask(Duration time) throws Exception {
        long end = System.nanoTime() + time.toNanos();
        try (ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<Void>> asked = new ArrayList<>();
            for (int i = 0; i < CALLERS; i++) {
                // a stream takes its time: one in eight asks for answers in one piece
                boolean stream = i % 8 > 0;
                asked.add(callers.submit(() -> {
                    while (System.nanoTime() < end) {
                        once(stream);
                    }
                    return null;
                }));
            }
            for (Future<Void> each : asked) {
                each.get();
            }
        }
    }

    private void once(boolean stream) throws IOException, InterruptedException {
        String body = "{\"model\":\"openai/demo\",\"stream\":" + stream + ",\"temperature\":0.2,\"max_tokens\":256,\"messages\":["
                + "{\"role\":\"system\",\"content\":\"You are helpful.\"},{\"role\":\"user\",\"content\":\"Hello!\"}]}";
        HttpResponse<String> answer = client.send(HttpRequest.newBuilder(chats).timeout(LONGEST).header("Content-Type", "application/json")
                .header("Authorization", "Bearer any").POST(HttpRequest.BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200 || stream && !answer.body().contains("[DONE]")) {
            throw new IOException(answer.statusCode() + " " + answer.body());
        }
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    private static void delete(Path folder) {
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        } catch (IOException e) {
            System.err.println("Left behind: " + folder + " (" + e.getMessage() + ")");
        }
    }
}
