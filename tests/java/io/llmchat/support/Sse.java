package io.llmchat.support;

import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

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
        in = new BufferedReader(new InputStreamReader(new Unframed(socket.getInputStream()), StandardCharsets.UTF_8));
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

    /** A response without what frames the chunks of its body, which may end within a line. */
    private static final class Unframed extends InputStream {
        private final InputStream in;
        private final StringBuilder head = new StringBuilder();
        private boolean body;
        private int left;

        Unframed(InputStream in) {
            this.in = new BufferedInputStream(in);
        }

        @Override
        public int read() throws IOException {
            if (body && left == 0) {
                StringBuilder size = new StringBuilder();
                for (int b = in.read(); b >= 0 && (b != '\n' || size.isEmpty()); b = in.read()) {
                    if (b > ' ') {
                        size.append((char) b);
                    }
                }
                left = size.isEmpty() ? 0 : Integer.parseInt(size.toString(), 16);
                if (left == 0) {
                    return -1;
                }
            }
            int b = in.read();
            if (body) {
                left--;
            } else if (b >= 0 && head.append((char) b).indexOf("\r\n\r\n", head.length() - 4) >= 0) {
                body = head.toString().toLowerCase(Locale.ROOT).contains("transfer-encoding: chunked");
                head.setLength(0);
            }
            return b;
        }

        /** No more than is there: a stream is read as it comes. */
        @Override
        public int read(byte[] to, int from, int most) throws IOException {
            int first = read();
            if (first < 0) {
                return -1;
            }
            to[from] = (byte) first;
            // at once: to ask for each byte whether it is there takes longer than all else
            int more = body ? in.read(to, from + 1, Math.min(Math.min(most - 1, left), in.available())) : 0;
            left -= more;
            return 1 + more;
        }
    }
}
