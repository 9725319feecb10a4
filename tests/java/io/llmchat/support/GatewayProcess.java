package io.llmchat.support;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The gateway as a process of its own. */
public final class GatewayProcess {

    private GatewayProcess() {
    }

    /** Starts one with these environment variables; who is told to end it does not wait for load balancers. */
    public static Process start(Path data, Map<String, String> settings) throws IOException {
        // who runs the tests in the background has them ignore SIGINT, and children inherit that
        ProcessBuilder java = new ProcessBuilder("env", "--default-signal=INT", Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx256m",
                "-cp", System.getProperty("java.class.path"), "io.llmchat.Main");
        java.environment().put("DATA_DIR", data.toString());
        java.environment().put("DRAIN_DELAY", "0");
        // other tests may share its Redis, and come from the same address
        java.environment().put("RATE_LIMIT_POINTS", "0");
        java.environment().putAll(settings);
        return java.redirectErrorStream(true).start();
    }

    public static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /** Reads what the process says until a line has this in it; all lines so far. */
    public static List<String> readTo(Process process, String text) throws IOException {
        BufferedReader out = process.inputReader();
        List<String> lines = new ArrayList<>();
        for (String line; (line = out.readLine()) != null;) {
            lines.add(line);
            if (line.contains(text)) {
                return lines;
            }
        }
        throw new AssertionError("it ended without saying '" + text + "': " + lines);
    }
}
