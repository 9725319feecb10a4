package io.llmchat.support;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;

/** A client that reads a stream line by line as it comes, and can leave at any time. */
public final class Sse implements AutoCloseable {

    private final Socket socket;
    private final BufferedReader in;

    /** Posts a body and reads the response head. */
    public Sse(int port, String path, String body) throws IOException {
        this(port, path, body, "");
    }

    /** Posts a body with more header lines, each after a line break, and reads the response head. */
    public Sse(int port, String path, String body, String headers) throws IOException {
        this(port, "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json" + headers + "\r\nContent-Length: "
                + body.getBytes(StandardCharsets.UTF_8).length + "\r\n\r\n" + body);
    }

    /** Gets a stream; {@code header} is a header line. */
    public static Sse get(int port, String path, String header) throws IOException {
        return new Sse(port, "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n");
    }

    private Sse(int port, String request) throws IOException {
        socket = new Socket("127.0.0.1", port);
        socket.setSoTimeout(10_000);
        in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        OutputStream out = socket.getOutputStream();
        out.write(request.getBytes(StandardCharsets.UTF_8));
        out.flush();
    }

    /** The next line that has this in it. */
    public String lineWith(String text) throws IOException {
        for (String line; (line = in.readLine()) != null;) {
            if (line.contains(text)) {
                return line;
            }
        }
        throw new AssertionError("the stream ended before a line with " + text);
    }

    /** Waits so many seconds for each line from now on. */
    public void patience(int seconds) throws IOException {
        socket.setSoTimeout(seconds * 1_000);
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

    /** Leaves. */
    @Override
    public void close() throws IOException {
        socket.close();
    }
}
