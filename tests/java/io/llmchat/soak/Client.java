package io.llmchat.soak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.soak.Orders.Order;
import io.llmchat.support.Answer;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

/** How the soak asks: in each dialect, by any of its keys, and what it holds an answer to. */
final class Client implements AutoCloseable {

    static final List<String> DIALECTS = List.of("openai", "anthropic", "native");
    static final List<String> PROVIDERS = List.of("openai", "anthropic", "ollama");
    static final String MODEL = "soak";

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final int port;
    private final List<String> keys = new ArrayList<>();

    /** Makes the keys with which it asks. */
    Client(int port, int callers) throws Exception {
        this.port = port;
        for (int i = 0; i < callers; i++) {
            keys.add(makeKey("caller-" + i).path("key").asText());
        }
    }

    /** A new key of this user: {@code id} and {@code key}. */
    JsonNode makeKey(String user) throws Exception {
        return TestGateway.json(expect(201, administer("POST", "/api/keys", "{\"name\":\"soak\",\"userId\":\"" + user + "\"}")).body()).path("data");
    }

    String anyKey() {
        return any(keys);
    }

    static int random(int bound) {
        return ThreadLocalRandom.current().nextInt(bound);
    }

    static <T> T any(List<T> of) {
        return of.get(random(of.size()));
    }

    /** The model of any provider. */
    static String anyTarget() {
        return any(PROVIDERS) + "/" + MODEL;
    }

    private static String path(String dialect) {
        return switch (dialect) {
            case "native" -> "/api/chat/completions";
            case "anthropic" -> "/v1/messages";
            default -> "/v1/chat/completions";
        };
    }

    static String body(String dialect, String target, Order order, boolean stream) {
        return "{\"" + (dialect.equals("native") ? "agentId" : "model") + "\":\"" + target + "\",\"stream\":" + stream
                + (dialect.equals("anthropic") ? ",\"max_tokens\":1000" : "")
                + ",\"messages\":[{\"role\":\"user\",\"content\":\"" + order.prompt() + "\"}]}";
    }

    HttpResponse<String> administer(String method, String path, String body) throws IOException, InterruptedException {
        return send(SoakedGateway.ADMIN, method, path, body);
    }

    HttpResponse<String> get(String key, String path) throws IOException, InterruptedException {
        return send(key, "GET", path, null);
    }

    HttpResponse<String> delete(String key, String path) throws IOException, InterruptedException {
        return send(key, "DELETE", path, null);
    }

    /** Asks and waits for the whole response; {@code headers} are names and values in turn. */
    HttpResponse<String> ask(String key, String dialect, String body, String... headers) throws IOException, InterruptedException {
        return send(key, "POST", path(dialect), body, headers);
    }

    /** Asks on a connection of its own, and waits for nothing; {@code headers} are lines. */
    Sse open(String key, String dialect, String body, String... headers) throws IOException {
        return connect(key, "POST", path(dialect), body, headers);
    }

    /** Asks for a stream. */
    Sse stream(String dialect, String target, Order order) throws IOException {
        return open(anyKey(), dialect, body(dialect, target, order, true));
    }

    /** Asks for the rest of a stream, after this event. */
    Sse resume(String key, String lastEvent) throws IOException {
        return connect(key, "GET", "/api/chat/completions/" + lastEvent.substring(0, lastEvent.lastIndexOf(':')), "", "Last-Event-ID: " + lastEvent);
    }

    private Sse connect(String key, String method, String path, String body, String... headers) throws IOException {
        String[] all = Arrays.copyOf(headers, headers.length + 1);
        all[headers.length] = "Authorization: Bearer " + key;
        return Sse.send(port, method, path, body, all).patience(60);
    }

    private HttpResponse<String> send(String key, String method, String path, String body, String... headers) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).timeout(Duration.ofSeconds(60))
                .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
                .header("Content-Type", "application/json").header("Authorization", "Bearer " + key);
        for (int i = 0; i < headers.length; i += 2) {
            request.header(headers[i], headers[i + 1]);
        }
        return http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    /** Closes the connections that are kept. */
    @Override
    public void close() {
        http.close();
    }

    // --- what must be so

    /** Reads until there have been so many tokens; they must be the first ones. */
    static String begin(Sse stream, Order order, int tokens) throws IOException {
        expect(200, stream);
        StringBuilder text = new StringBuilder();
        for (int n = 0; n < tokens;) {
            Answer.Event event = stream.next();
            assertTrue(event != null && !event.isError() && !event.isEnd(), () -> "instead of a token: " + event);
            n += event.text().isEmpty() ? 0 : 1;
            text.append(event.text());
        }
        assertTrue(order.text().startsWith(text.toString()), () -> "these are not the first tokens: " + text);
        return text.toString();
    }

    /** Reads the rest of a stream, which must end well. */
    static void whole(Sse stream, Order order, String already) throws IOException {
        expect(200, stream);
        StringBuilder text = new StringBuilder(already);
        boolean ended = false;
        for (Answer.Event event = stream.next(); event != null; event = stream.next()) {
            String told = event.toString();
            assertFalse(ended || event.isError(), () -> "after " + text.length() + " characters of " + order.text().length() + ": " + told);
            text.append(event.text());
            ended = event.isEnd();
        }
        assertTrue(ended, () -> "the stream has no last event, after " + text.length() + " characters of " + order.text().length());
        same(order.text(), text.toString());
    }

    /** Reads a stream that must break off after this text, and say so. */
    static void broken(Sse stream, String expected) throws IOException {
        expect(200, stream);
        StringBuilder text = new StringBuilder();
        boolean failed = false;
        for (Answer.Event event = stream.next(); event != null; event = stream.next()) {
            String told = event.toString();
            assertFalse(failed || event.isEnd(), () -> "in spite of a break, or after the error: " + told);
            failed = event.isError();
            text.append(failed ? "" : event.text());
        }
        assertTrue(failed, () -> "no error after " + text);
        same(expected, text.toString());
    }

    /** Its caller has left: the call of the provider must end within so many milliseconds. */
    static void ended(Order order, long millis) throws InterruptedException {
        assertTrue(order.isOverWithin(millis) || order.calls() == 0, "the provider's connection is open " + millis + " ms after the caller has left");
    }

    static void called(int times, Order order) {
        assertEquals(times, order.calls(), "calls of the provider");
    }

    static HttpResponse<String> expect(int status, HttpResponse<String> response) {
        assertEquals(status, response.statusCode(), response::body);
        return response;
    }

    private static void expect(int status, Sse stream) throws IOException {
        if (stream.status() != status) {
            throw new AssertionError(stream.status() + " instead of " + status + ": " + stream.rest());
        }
    }

    static void same(String expected, String text) {
        int at = Arrays.mismatch(expected.toCharArray(), text.toCharArray());
        if (at >= 0) {
            throw new AssertionError("of " + expected.length() + " characters " + text.length() + " came; from the one at " + at + " on '"
                    + text.substring(at, Math.min(text.length(), at + 60)) + "' instead of '"
                    + expected.substring(at, Math.min(expected.length(), at + 60)) + "'");
        }
    }
}
