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
     * @param pidFile begins with the server's process id, and is in the folder that it works in; there may be none, or
     *     an empty one, as a full disk leaves it
     * @param program how the file of its program begins: the id may be somebody else's by now
     */
    static void endOrphan(Path pidFile, String program, String name) throws IOException {
        String id = Files.exists(pidFile) ? Files.readString(pidFile).lines().findFirst().orElse("").trim() : "";
        if (id.isEmpty()) {
            return;
        }
        long pid = Long.parseLong(id);
        ProcessHandle server = ProcessHandle.of(pid).orElse(null);
        if (server != null && Path.of(server.info().command().orElse("")).getFileName().toString().startsWith(program)
                && worksIn(pidFile.getParent(), pid)) {
            LOG.info("Ending {} {}, left behind by a gateway that was killed", name, pid);
            server.destroy();
            server.onExit().completeOnTimeout(server, 10, TimeUnit.SECONDS).join();
            server.destroyForcibly();
        }
    }

    /** The same program in another folder is that of another gateway, which got the id later. */
    private static boolean worksIn(Path folder, long pid) {
        try {
            return Files.isSameFile(Path.of("/proc", Long.toString(pid), "cwd"), folder);
        } catch (IOException e) {
            // another user's, or it has ended
            return false;
        }
    }
}
