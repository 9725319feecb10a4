package io.llmchat.support;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/** A caller with a connection of its own, who reads a stream as it comes, by lines or by events, and can leave at any time. */
public final class Sse implements AutoCloseable {

    private final Socket socket;
    private final InputStream in;
    private int status;
    private boolean headRead;
    private boolean chunked;
    private int left;
    private String lastId;

    /** Posts a body, and waits for nothing. */
    public Sse(int port, String path, String body) throws IOException {
        this(port, request("POST", path, body));
    }

    /** Posts a body with more header lines, each after a line break. */
    public Sse(int port, String path, String body, String headers) throws IOException {
        this(port, request("POST", path, body, headers.strip()));
    }

    /** Gets a stream; {@code header} is a header line. */
    public static Sse get(int port, String path, String header) throws IOException {
        return send(port, "GET", path, "", header);
    }

    /** Sends any request, and waits for nothing; {@code headers} are lines. */
    public static Sse send(int port, String method, String path, String body, String... headers) throws IOException {
        return new Sse(port, request(method, path, body, headers));
    }

    private Sse(int port, byte[] request) throws IOException {
        socket = new Socket(InetAddress.getLoopbackAddress(), port);
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(10_000);
        in = new BufferedInputStream(socket.getInputStream(), 2_048);
        socket.getOutputStream().write(request);
    }

    private static byte[] request(String method, String path, String body, String... headers) {
        StringBuilder request = new StringBuilder(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                + body.getBytes(StandardCharsets.UTF_8).length + "\r\n");
        for (String line : headers) {
            request.append(line).append("\r\n");
        }
        return request.append("\r\n").append(body).toString().getBytes(StandardCharsets.UTF_8);
    }

    /** The status of the response; waits for its head. */
    public int status() throws IOException {
        while (!headRead) {
            line();
        }
        return status;
    }

    /** The next event; null when the response has ended. An end of the connection before that is an exception. */
    public Answer.Event next() throws IOException {
        String name = null;
        String data = null;
        for (String line = line(); line != null; line = line()) {
            if (line.startsWith("event: ")) {
                name = line.substring(7);
            } else if (line.startsWith("data: ")) {
                data = line.substring(6);
            } else if (line.startsWith("id: ")) {
                lastId = line.substring(4);
            } else if (line.isEmpty() && data != null) {
                return new Answer.Event(name, data);
            }
        }
        return null;
    }

    /** The id of the last event that had one, or null. */
    public String lastId() {
        return lastId;
    }

    /** The next line, of the head too, that has this in it. */
    public String lineWith(String text) throws IOException {
        for (String line = line(); line != null; line = line()) {
            if (line.contains(text)) {
                return line;
            }
        }
        throw new AssertionError("the stream ended before a line with " + text);
    }

    /** What is left of the response. */
    public String rest() throws IOException {
        StringBuilder rest = new StringBuilder();
        for (String line = line(); line != null; line = line()) {
            rest.append(line).append('\n');
        }
        return rest.toString();
    }

    /** Waits so many seconds for each line from now on. */
    public Sse patience(int seconds) throws IOException {
        socket.setSoTimeout(seconds * 1_000);
        return this;
    }

    /** Whether nothing comes for so many milliseconds. */
    public boolean silentFor(int millis) throws IOException {
        int patience = socket.getSoTimeout();
        socket.setSoTimeout(millis);
        try {
            in.mark(1);
            in.read();
            in.reset();
            return false;
        } catch (SocketTimeoutException e) {
            return true;
        } finally {
            socket.setSoTimeout(patience);
        }
    }

    /** The next line of the head, and after it of the body; null at its end, and a line that the end cuts off is a line. */
    private String line() throws IOException {
        if (!headRead) {
            return headLine();
        }
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int b = body(); b != '\n'; b = body()) {
            if (b < 0) {
                return line.size() == 0 ? null : line.toString(StandardCharsets.UTF_8);
            }
            line.write(b);
        }
        return line.toString(StandardCharsets.UTF_8);
    }

    private String headLine() throws IOException {
        String line = framing();
        String lower = line.toLowerCase(Locale.ROOT);
        status = status == 0 ? Integer.parseInt(line.split(" ")[1]) : status;
        chunked |= lower.equals("transfer-encoding: chunked");
        left = lower.startsWith("content-length: ") ? Integer.parseInt(lower.substring(16)) : left;
        headRead = line.isEmpty();
        return line;
    }

    /** The next byte of the body, or -1 at its end. */
    private int body() throws IOException {
        if (left == 0 && chunked) {
            left = Integer.parseInt(framing().split(";")[0], 16);
            if (left == 0) {
                framing();
                chunked = false;
            }
        }
        if (left == 0) {
            return -1;
        }
        int b = need();
        left--;
        if (left == 0 && chunked) {
            framing();
        }
        return b;
    }

    /** A line of the head, or of what frames the chunks of a body. */
    private String framing() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int b = need(); b != '\n'; b = need()) {
            line.write(b);
        }
        return line.toString(StandardCharsets.UTF_8).stripTrailing();
    }

    private int need() throws IOException {
        int b = in.read();
        if (b < 0) {
            throw new EOFException("the connection ended within a response");
        }
        return b;
    }

    /** Leaves. */
    @Override
    public void close() throws IOException {
        socket.close();
    }
}
