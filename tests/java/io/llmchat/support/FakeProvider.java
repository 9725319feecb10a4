package io.llmchat.support;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.json.Json;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A provider on loopback that plays scripts over raw sockets: it can answer well, slowly, brokenly or not at all, and
 * keeps a log of the calls. The script is chosen by the model that a request names; without one it says "Hello there",
 * on the wire that it was asked on.
 */
public final class FakeProvider implements AutoCloseable {

    /** What is done with one call. */
    public interface Script {
        void play(Call call) throws Exception;
    }

    private final ServerSocket server;
    private final Map<String, Script> scripts = new ConcurrentHashMap<>();
    private final List<Call> calls = new CopyOnWriteArrayList<>();
    private final AtomicInteger connections = new AtomicInteger();

    public FakeProvider() throws IOException {
        server = new ServerSocket(0, 1024, InetAddress.getLoopbackAddress());
        Thread.ofVirtual().start(this::accept);
    }

    public int port() {
        return server.getLocalPort();
    }

    public String url() {
        return "http://127.0.0.1:" + port();
    }

    /** How many connections to it are open. */
    public int connections() {
        return connections.get();
    }

    /** Plays this script for requests that name this model. */
    public FakeProvider on(String model, Script script) {
        scripts.put(model, script);
        return this;
    }

    /** All calls so far, the first first. */
    public List<Call> calls() {
        return List.copyOf(calls);
    }

    /** Forgets the calls so far. */
    public void forget() {
        calls.clear();
    }

    /** All calls for this model, the first first. */
    public List<Call> calls(String model) {
        return calls.stream().filter(c -> model.equals(c.model())).toList();
    }

    /** The only call for this model. */
    public Call call(String model) {
        List<Call> all = calls(model);
        if (all.size() != 1) {
            throw new AssertionError(all.size() + " calls for model " + model + ", expected one");
        }
        return all.get(0);
    }

    private void accept() {
        while (!server.isClosed()) {
            try {
                Socket socket = server.accept();
                Thread.ofVirtual().start(() -> serve(socket));
            } catch (IOException e) {
                return;
            }
        }
    }

    private void serve(Socket socket) {
        connections.incrementAndGet();
        try (socket) {
            socket.setTcpNoDelay(true);
            InputStream in = new BufferedInputStream(socket.getInputStream());
            while (!socket.isClosed()) {
                Call call = Call.read(socket, in);
                if (call == null) {
                    return;
                }
                calls.add(call);
                scripts.getOrDefault(call.model() == null ? "" : call.model(), FakeProvider::hello).play(call);
            }
        } catch (IOException e) {
            // the gateway left, or the script cut the connection
        } catch (Exception e) {
            throw new IllegalStateException(e);
        } finally {
            connections.decrementAndGet();
        }
    }

    private static void hello(Call call) throws IOException {
        if (AnthropicScript.spoken(call)) {
            AnthropicScript.hello(call);
        } else if (call.body().path("stream").asBoolean()) {
            call.sse();
            call.text("Hello");
            call.text(" there");
            call.finish("stop");
            if (call.body().path("stream_options").path("include_usage").asBoolean()) {
                call.usage(3, 2);
            }
            call.done();
        } else {
            call.json(200, completion("Hello there"));
        }
    }

    /** A whole answer with this text, on OpenAI's wire. */
    public static String completion(String text) {
        return "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"fake-1\","
                + "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"" + text
                + "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                + "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5},\"system_fingerprint\":\"fp_1\"}";
    }

    // --- scripts: they answer on the wire, and in the form, in which they are asked

    /** A whole answer of these tokens. */
    public static Script says(List<String> tokens) {
        return call -> {
            if (call.streamed()) {
                call.begin();
                call.tokens(tokens);
                call.close("stop");
            } else {
                call.json(200, call.whole(String.join("", tokens)));
            }
        };
    }

    /** A stream of so many tokens of 8,000 bytes each, and how many of them were written. */
    public static Script writes(int tokens, AtomicInteger written) {
        String text = "x".repeat(8_000);
        return call -> {
            call.sse();
            for (int i = 0; i < tokens; i++) {
                call.text(text);
                written.incrementAndGet();
            }
            call.finish("stop");
            call.done();
        };
    }

    /** Goes on where an assistant's message at the end of the request stops, as providers do that take a prefill. */
    public static Script goesOn(List<String> tokens) {
        return call -> says(List.of(String.join("", tokens).substring(call.prefill().length()))).play(call);
    }

    /** Refuses an assistant's message at the end of the request, and answers without one. */
    public static Script refusesPrefill(List<String> tokens) {
        return call -> {
            if (call.prefill().isEmpty()) {
                says(tokens).play(call);
            } else {
                call.error(400, "prefill_not_supported");
            }
        };
    }

    /** A stream that refuses in these words. */
    public static Script refuses(String... words) {
        return call -> {
            call.sse();
            for (String word : words) {
                call.event(Call.chunk("{\"refusal\":\"" + word + "\"}", "null"));
            }
            call.finish("stop");
            call.done();
        };
    }

    /** A stream of two texts, the second of which comes when it is told to. */
    public static Script waits(String first, CountDownLatch go, String then) {
        return call -> {
            call.sse();
            call.text(first);
            go.await(2, TimeUnit.MINUTES);
            call.text(then);
            call.finish("stop");
            call.done();
        };
    }

    /** Half an answer, then something else: {@code tokens} of a stream, or some bytes of a whole answer. */
    public static Script breaks(List<String> tokens, Script then) {
        return call -> {
            if (call.streamed()) {
                call.begin();
                call.tokens(tokens);
            } else {
                call.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n{\"choices\":");
            }
            then.play(call);
        };
    }

    public static Script fails(int status, String code, String... headers) {
        return call -> call.error(status, code, headers);
    }

    /** One script for so many calls of a model, another one after that. */
    public static Script first(int times, Script bad, Script good) {
        Map<String, AtomicInteger> n = new ConcurrentHashMap<>();
        return call -> (n.computeIfAbsent(call.model(), m -> new AtomicInteger()).incrementAndGet() <= times ? bad : good).play(call);
    }

    @Override
    public void close() throws IOException {
        server.close();
    }

    /** One call of the provider: what was asked, and the means to answer. */
    public static final class Call {
        /** What a connection begins with whose caller wants to speak TLS. */
        private static final int TLS = 22;

        private final Socket socket;
        private final InputStream in;
        private final OutputStream out;
        private final String head;
        private final byte[] rawBody;
        private final Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        private final long at = System.nanoTime();
        private final CountDownLatch left = new CountDownLatch(1);
        private volatile boolean hangs;

        private Call(Socket socket, InputStream in, String head, byte[] rawBody) throws IOException {
            this.socket = socket;
            this.in = in;
            this.out = socket.getOutputStream();
            this.head = head;
            this.rawBody = rawBody;
            for (String line : head.split("\r\n")) {
                int colon = line.indexOf(':');
                if (colon > 0) {
                    headers.put(line.substring(0, colon), line.substring(colon + 1).trim());
                }
            }
        }

        private static Call read(Socket socket, InputStream in) throws IOException {
            StringBuilder head = new StringBuilder();
            in.mark(1);
            if (in.read() == TLS) {
                return null;
            }
            in.reset();
            while (head.length() < 4 || !head.substring(head.length() - 4).equals("\r\n\r\n")) {
                int b = in.read();
                if (b < 0) {
                    return null;
                }
                head.append((char) b);
            }
            String lower = head.toString().toLowerCase(Locale.ROOT);
            int at = lower.indexOf("content-length:");
            int length = at < 0 ? 0 : Integer.parseInt(lower.substring(at + 15, lower.indexOf("\r\n", at)).trim());
            byte[] body = in.readNBytes(length);
            if (body.length < length) {
                throw new EOFException();
            }
            return new Call(socket, in, head.toString(), body);
        }

        /** The first line of the request: method and path. */
        public String line() {
            return head.substring(0, head.indexOf(" HTTP/"));
        }

        /** All of the request before its body, as it came. */
        public String head() {
            return head;
        }

        public String header(String name) {
            return headers.get(name);
        }

        /** The names of all headers, in lower case. */
        public Set<String> headerNames() {
            Set<String> names = new TreeSet<>();
            headers.keySet().forEach(n -> names.add(n.toLowerCase(Locale.ROOT)));
            return names;
        }

        /** The request body as it came. */
        public String text() {
            return new String(rawBody, StandardCharsets.UTF_8);
        }

        public JsonNode body() {
            try {
                return Json.read(rawBody);
            } catch (IOException e) {
                throw new AssertionError("the gateway sent what is not JSON: " + text(), e);
            }
        }

        public String model() {
            return rawBody.length == 0 ? null : body().path("model").asText(null);
        }

        /** When it came, by {@link System#nanoTime()}. */
        public long at() {
            return at;
        }

        /** A whole response; {@code more} are header lines. */
        public void json(int status, String body, String... more) throws IOException {
            byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
            StringBuilder text = new StringBuilder("HTTP/1.1 " + status + " X\r\nContent-Type: application/json\r\nContent-Length: "
                    + bytes.length + "\r\n");
            for (String line : more) {
                text.append(line).append("\r\n");
            }
            out.write((text + "\r\n").getBytes(StandardCharsets.UTF_8));
            out.write(bytes);
            out.flush();
        }

        /** An error as OpenAI says it. */
        public void error(int status, String code, String... more) throws IOException {
            json(status, "{\"error\":{\"message\":\"the provider says " + status + "\",\"type\":\"provider_error\",\"param\":null,\"code\":\""
                    + code + "\"}}", more);
        }

        /** The head of a stream. */
        public void sse() throws IOException {
            raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        }

        /** Bytes of the stream, as one HTTP chunk. */
        public void bytes(byte[] bytes) throws IOException {
            ByteArrayOutputStream chunk = new ByteArrayOutputStream(bytes.length + 16);
            chunk.writeBytes((Integer.toHexString(bytes.length) + "\r\n").getBytes(StandardCharsets.US_ASCII));
            chunk.writeBytes(bytes);
            chunk.writeBytes("\r\n".getBytes(StandardCharsets.US_ASCII));
            // in one packet, as providers do
            out.write(chunk.toByteArray());
            out.flush();
        }

        public void event(String data) throws IOException {
            bytes(("data: " + data + "\n\n").getBytes(StandardCharsets.UTF_8));
        }

        public void role() throws IOException {
            event(chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null"));
        }

        public void text(String text) throws IOException {
            event(chunk("{\"content\":" + AnthropicScript.quoted(text) + "}", "null"));
        }

        public void finish(String reason) throws IOException {
            event(chunk("{}", "\"" + reason + "\""));
        }

        public void usage(int prompt, int completion) throws IOException {
            event("{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"fake-1\",\"choices\":[],"
                    + "\"usage\":{\"prompt_tokens\":" + prompt + ",\"completion_tokens\":" + completion + ",\"total_tokens\":"
                    + (prompt + completion) + "}}");
        }

        public static String chunk(String delta, String finishReason) {
            return "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"fake-1\","
                    + "\"choices\":[{\"index\":0,\"delta\":" + delta + ",\"finish_reason\":" + finishReason + "}]}";
        }

        /** Whether a stream is asked for. */
        public boolean streamed() {
            return body().path("stream").asBoolean();
        }

        /** The text of an assistant's message at the end of the request, or nothing. */
        public String prefill() {
            JsonNode messages = body().path("messages");
            JsonNode last = messages.path(messages.size() - 1);
            if (!last.path("role").asText().equals("assistant")) {
                return "";
            }
            return last.path("content").isTextual() ? last.path("content").asText() : last.path("content").path(0).path("text").asText();
        }

        /** The head of a stream, and what comes before its first token. */
        public void begin() throws IOException {
            sse();
            if (AnthropicScript.spoken(this)) {
                named("message_start", "\"message\":{\"id\":\"msg_fake\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"fake-1\","
                        + "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}");
                AnthropicScript.begin(this, 0, AnthropicScript.text(""));
            } else {
                role();
            }
        }

        public void tokens(List<String> tokens) throws IOException {
            for (String token : tokens) {
                if (AnthropicScript.spoken(this)) {
                    AnthropicScript.delta(this, 0, "text_delta", "text", token);
                } else {
                    text(token);
                }
            }
        }

        /** Why the answer ends, and the end of the stream. */
        public void close(String reason) throws IOException {
            if (AnthropicScript.spoken(this)) {
                named("content_block_stop", "\"index\":0");
                named("message_delta", "\"delta\":{\"stop_reason\":\"" + (reason.equals("stop") ? "end_turn" : reason)
                        + "\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}");
                named("message_stop", null);
                end();
            } else {
                finish(reason);
                done();
            }
        }

        /** An event of Anthropic's wire; {@code members} beside its type, or null. */
        public void named(String event, String members) throws IOException {
            bytes(AnthropicScript.event(event, members).getBytes(StandardCharsets.UTF_8));
        }

        private String whole(String text) {
            return AnthropicScript.spoken(this) ? "{\"id\":\"msg_fake\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"fake-1\",\"content\":[{\"type\":"
                    + "\"text\",\"text\":\"" + text + "\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":9,\"output_tokens\":4}}"
                    : completion(text);
        }

        /** The closing event, and the end of the response. */
        public void done() throws IOException {
            event("[DONE]");
            end();
        }

        /** The end of the response; the connection stays. */
        public void end() throws IOException {
            raw("0\r\n\r\n");
        }

        public void raw(String bytes) throws IOException {
            out.write(bytes.getBytes(StandardCharsets.UTF_8));
            out.flush();
        }

        /** Closes the connection. */
        public void cut() throws IOException {
            socket.close();
        }

        /** Closes the connection with a TCP reset. */
        public void reset() throws IOException {
            socket.setSoLinger(true, 0);
            socket.close();
        }

        /** Says nothing more until the gateway closes the connection. */
        public void hang() throws IOException {
            hangs = true;
            try {
                while (in.read() >= 0) {
                    // nothing is expected
                }
            } finally {
                left.countDown();
            }
        }

        /** Whether the gateway closed the connection within this time; to be asked while the script hangs or waits. */
        public boolean leftWithin(long millis) throws IOException, InterruptedException {
            if (hangs) {
                return left.await(millis, TimeUnit.MILLISECONDS);
            }
            socket.setSoTimeout((int) millis);
            try {
                return in.read() < 0;
            } catch (SocketTimeoutException e) {
                return false;
            } catch (SocketException e) {
                // reset: it left, too
                return true;
            } finally {
                socket.setSoTimeout(0);
            }
        }
    }
}
