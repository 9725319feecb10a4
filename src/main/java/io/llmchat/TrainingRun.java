package io.llmchat;

import io.llmchat.host.Gateway;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.PoolOptions;
import io.vertx.core.http.RequestOptions;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
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
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A run from which the JVM learns what it keeps in its AOT cache: which classes are used, and how they hang together.
 * Starts the gateway with stores of its own that are thrown away, on a free port of the loopback, and for a while asks it
 * what callers ask. It uses what the gateway uses and no more, for every class of the cache takes its memory and its part
 * of a start: the stores are made by another JVM, and its client is the gateway's.
 */
public final class TrainingRun {

    private static final int CALLERS = 16;
    private static final Duration LONGEST = Duration.ofSeconds(30);

    private final HttpClient client;
    private final RequestOptions chats;

    private TrainingRun(Vertx vertx, int port) {
        client = vertx.createHttpClient(new PoolOptions().setHttp1MaxSize(CALLERS));
        chats = new RequestOptions().setMethod(HttpMethod.POST).setHost("127.0.0.1").setPort(port).setURI("/v1/chat/completions")
                .putHeader("Content-Type", "application/json").putHeader("Authorization", "Bearer any");
    }

    /**
     * Takes how many seconds it asks, or {@code stores} and the folder in which it only makes them; exits with 1 if it got
     * something else than answers.
     */
    public static void main(String[] args) throws Exception {
        if (args[0].equals("stores")) {
            Gateway first = gateway(Path.of(args[1]), freePort());
            run(first::start, first::stop);
        }
        Path data = Files.createTempDirectory("llmchat-training");
        int port = freePort();
        Gateway gateway = gateway(data, port);
        Process stores = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(), "-cp", System.getProperty("java.class.path"),
                TrainingRun.class.getName(), "stores", data.toString()).inheritIO().start();
        run(() -> {
            if (stores.waitFor() != 0) {
                throw new IOException("The stores cannot be made");
            }
            // unpacked once more: of the sealed package that does it, all classes must be in the cache, or none
            delete(data.resolve("postgres/server"));
            gateway.start();
            new TrainingRun(gateway.bean(Vertx.class), port).ask(Duration.ofSeconds(Integer.parseInt(args[0])));
        }, () -> {
            stores.destroy();
            stores.onExit().join();
            gateway.stop();
            delete(data);
        });
    }

    private interface Task {
        void run() throws Exception;
    }

    /** Does this and exits, with 1 if it failed; in the end comes what is to be ended, also when somebody does not want to wait. */
    private static void run(Task task, Runnable end) {
        Runtime.getRuntime().addShutdownHook(new Thread(end));
        try {
            task.run();
            System.exit(0);
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    private static Gateway gateway(Path data, int port) {
        return new Gateway(Map.ofEntries(
                Map.entry("llmchat.http.host", "127.0.0.1"), Map.entry("llmchat.http.port", Integer.toString(port)),
                Map.entry("llmchat.store.data-dir", data.toString()),
                Map.entry("llmchat.postgres.host", ""), Map.entry("llmchat.redis.host", ""),
                // its provider is the gateway itself
                Map.entry("llmchat.openai.base-url", "http://127.0.0.1:" + port + "/v1"), Map.entry("llmchat.openai.api-key", "training"),
                Map.entry("llmchat.admit.max-requests", "0"), Map.entry("llmchat.limit.points", "0")));
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

    private void once(boolean stream) throws Exception {
        Buffer body = Buffer.buffer("{\"model\":\"openai/demo\",\"stream\":" + stream + ",\"temperature\":0.2,\"max_tokens\":256,\"messages\":["
                + "{\"role\":\"system\",\"content\":\"You are helpful.\"},{\"role\":\"user\",\"content\":\"Hello!\"}]}");
        client.request(chats).compose(request -> request.send(body)).compose(answer -> answer.body().map(text -> {
            if (answer.statusCode() != 200 || stream && !text.toString().contains("[DONE]")) {
                throw new IllegalStateException(answer.statusCode() + " " + text);
            }
            return text;
        })).toCompletionStage().toCompletableFuture().get(LONGEST.toSeconds(), TimeUnit.SECONDS);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    static void delete(Path folder) {
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        } catch (IOException e) {
            System.err.println("Left behind: " + folder + " (" + e.getMessage() + ")");
        }
    }
}
