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
     * Ends a server that a killed gateway left behind: asks it to, and makes it end if it has not after ten seconds. Where
     * the id is somebody else's by now, as after a restart of the machine or of a container, the file goes instead:
     * PostgreSQL would take whoever has the id, a thread too, for its server, and not start.
     *
     * @param pidFile begins with the server's process id, and stands in the folder that the server works in; there may be none
     * @param program how the file of its program begins
     */
    static void endOrphan(Path pidFile, String program, String name) throws IOException {
        if (!Files.exists(pidFile)) {
            return;
        }
        String id = Files.readString(pidFile).lines().findFirst().orElse("").trim();
        // a machine that loses its power leaves an empty file
        ProcessHandle server = id.isEmpty() ? null : ProcessHandle.of(Long.parseLong(id)).orElse(null);
        if (server != null && isProgram(server, program) && worksIn(server, pidFile.getParent())) {
            LOG.info("Ending {} {}, left behind by a gateway that was killed", name, id);
            server.destroy();
            server.onExit().completeOnTimeout(server, 10, TimeUnit.SECONDS).join();
            server.destroyForcibly();
        } else if (server != null || id.isEmpty()) {
            Files.delete(pidFile);
        }
    }

    private static boolean isProgram(ProcessHandle process, String program) {
        return Path.of(process.info().command().orElse("")).getFileName().toString().startsWith(program);
    }

    /** Another gateway's server is the same program in another folder. */
    private static boolean worksIn(ProcessHandle process, Path folder) {
        try {
            return Files.isSameFile(Path.of("/proc", Long.toString(process.pid()), "cwd"), folder);
        } catch (IOException e) {
            // it has ended, or is another user's
            return false;
        }
    }
}
