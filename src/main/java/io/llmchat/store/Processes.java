package io.llmchat.store;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Ends server processes of our own. */
final class Processes {

    private static final Logger LOG = LoggerFactory.getLogger(Processes.class);

    private Processes() {
    }

    /**
     * Ends a server that a killed gateway left behind: asks it to, and makes it end if it has not after ten seconds.
     *
     * @param pidFile begins with the server's process id; there may be none
     * @param program how the file of its program begins: the id may be somebody else's by now
     */
    static void endOrphan(Path pidFile, String program, String name) throws IOException {
        if (!Files.exists(pidFile)) {
            return;
        }
        long pid = Long.parseLong(Files.readAllLines(pidFile).get(0).trim());
        ProcessHandle server = ProcessHandle.of(pid).orElse(null);
        if (server != null && Path.of(server.info().command().orElse("")).getFileName().toString().startsWith(program)) {
            LOG.info("Ending {} {}, left behind by a gateway that was killed", name, pid);
            server.destroy();
            server.onExit().completeOnTimeout(server, 10, TimeUnit.SECONDS).join();
            server.destroyForcibly();
        }
    }
}
