package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which server a start takes for one that a killed gateway has left behind. */
class ProcessesTest {

    @TempDir
    Path own;
    @TempDir
    Path other;
    private Process server;

    @BeforeEach
    void start() throws IOException {
        server = new ProcessBuilder("sleep", "300").directory(own.toFile()).start();
    }

    @AfterEach
    void stop() throws InterruptedException {
        server.destroyForcibly().waitFor();
    }

    private void endOrphan(Path folder, String pid) throws IOException {
        Processes.endOrphan(Files.writeString(folder.resolve("server.pid"), pid), "sleep", "Sleep");
    }

    @Test
    void aServerThatIsInTheFolderOfItsPidFileIsEnded() throws IOException {
        endOrphan(own, server.pid() + "\nmore\n");
        assertFalse(server.isAlive());
    }

    @Test
    void thatOfAnotherFolderWhichGotTheIdLaterIsNot() throws IOException {
        endOrphan(other, server.pid() + "\n");
        assertTrue(server.isAlive());
    }

    @Test
    void aFullDiskLeavesAnEmptyPidFileWhichNamesNobody() throws IOException {
        endOrphan(own, "");
        assertTrue(server.isAlive());
    }
}
