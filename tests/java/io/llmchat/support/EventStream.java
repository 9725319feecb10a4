package io.llmchat.support;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A caller with a connection of its own, who reads the events of a stream as they come, and can leave at any time. */
public final class EventStream implements AutoCloseable {

    private final Socket socket;
    private final InputStream in;
    private int status;
    private boolean chunked;
    private int left;
    private String lastId;

    /** Sends a request and does not wait for anything; {@code headers} are lines. */
    public EventStream(int port, String method, String path, String body, String... headers) throws IOException {
        socket = new Socket(InetAddress.getLoopbackAddress(), port);
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(60_000);
        in = new BufferedInputStream(socket.getInputStream(), 2_048);
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        StringBuilder head = new StringBuilder(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                + bytes.length + "\r\n");
        for (String line : headers) {
            head.append(line).append("\r\n");
        }
        ByteArrayOutputStream request = new ByteArrayOutputStream();
        request.writeBytes(head.append("\r\n").toString().getBytes(StandardCharsets.UTF_8));
        request.writeBytes(bytes);
        socket.getOutputStream().write(request.toByteArray());
    }

    /** The status of the response; waits for its head. To be asked before anything else. */
    public int status() throws IOException {
        if (status == 0) {
            status = Integer.parseInt(headLine().split(" ")[1]);
            for (String line = headLine(); !line.isEmpty(); line = headLine()) {
                String lower = line.toLowerCase(java.util.Locale.ROOT);
                chunked |= lower.equals("transfer-encoding: chunked");
                left = lower.startsWith("content-length: ") ? Integer.parseInt(lower.substring(16)) : left;
            }
        }
        return status;
    }

    /** The next event; null when the response has ended. An end of the connection before that is an exception. */
    public Answer.Event next() throws IOException {
        String name = null;
        String data = null;
        for (String line = bodyLine(); line != null; line = bodyLine()) {
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

    /** What is left of the response. */
    public String rest() throws IOException {
        StringBuilder rest = new StringBuilder();
        for (String line = bodyLine(); line != null; line = bodyLine()) {
            rest.append(line).append('\n');
        }
        return rest.toString();
    }

    private String headLine() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int b = need(); b != '\n'; b = need()) {
            line.write(b);
        }
        return line.toString(StandardCharsets.UTF_8).stripTrailing();
    }

    /** Null at the end of the body; a line that the end cuts off is a line. */
    private String bodyLine() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int b = body(); b != '\n'; b = body()) {
            if (b < 0) {
                return line.size() == 0 ? null : line.toString(StandardCharsets.UTF_8);
            }
            line.write(b);
        }
        return line.toString(StandardCharsets.UTF_8);
    }

    /** The next byte of the body, or -1 at its end. */
    private int body() throws IOException {
        if (left == 0 && chunked) {
            left = Integer.parseInt(headLine().split(";")[0], 16);
            if (left == 0) {
                headLine();
                chunked = false;
            }
        }
        if (left == 0) {
            return -1;
        }
        int b = need();
        left--;
        if (left == 0 && chunked) {
            headLine();
        }
        return b;
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
