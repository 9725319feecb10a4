package io.llmchat.host;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RouteWatchTest {

    @TempDir
    Path folder;
    private RouteFiles files;
    private Path file;
    private final List<List<Path>> told = new CopyOnWriteArrayList<>();

    @BeforeEach
    void makeFolder() throws IOException {
        files = new RouteFiles(folder.toString());
        file = Files.writeString(folder.resolve("a.camel.yaml"), "1");
    }

    @Test
    void whatIsSavedWhileTheFilesAreReadIsTold() throws Exception {
        Map<Path, String> before = files.versions();
        Files.writeString(file, "while they are read");
        RouteWatch watch = new RouteWatch(files, before, told::add);
        try {
            TestGateway.until("it is told", () -> !told.isEmpty());
            assertEquals(List.of(List.of(file)), told);
        } finally {
            watch.stop();
        }
    }

    @Test
    void aFileThatCannotBeReadIsAnotherVersionThanOneThatCan() throws Exception {
        Map<Path, String> before = files.versions();
        Files.setPosixFilePermissions(file, Set.of());
        assumeFalse(Files.isReadable(file), "who may do everything reads everything");
        assertNotEquals(before, files.versions());
        Files.setPosixFilePermissions(file, Set.of(PosixFilePermission.OWNER_READ));
        assertEquals(before, files.versions());
    }

    @Test
    void whatIsNoFileIsRefusedAndNotReadForEver() throws Exception {
        for (String name : List.of("x.camel.yaml", "providers/x.camel.yaml", "kamelets/x.kamelet.yaml", "beans.camel.yaml")) {
            Path pipe = folder.resolve(name);
            Files.createDirectories(pipe.getParent());
            assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
            String why = name + " is a folder, a pipe or the like, and no file.";
            assertEquals(why, assertThrows(IOException.class, files::routes).getMessage());
            assertEquals(List.of(file), files.readable());
            // nor is what a link leads to
            Files.move(pipe, folder.resolve("elsewhere"));
            Files.createSymbolicLink(pipe, folder.resolve("elsewhere"));
            assertEquals(why, assertThrows(IOException.class, name.equals(RouteFiles.BEANS) ? files::beans : files::routes).getMessage());
            Files.delete(pipe);
            Files.delete(folder.resolve("elsewhere"));
            files.routes();
        }
    }

    @Test
    void whatFailsIsToldOnceAndTheNextChangeAllTheSame() throws Exception {
        RouteWatch watch = new RouteWatch(files, files.versions(), changed -> {
            told.add(changed);
            throw new NoClassDefFoundError("in a bean");
        });
        try {
            Files.writeString(file, "another one");
            TestGateway.until("it is told", () -> !told.isEmpty());
            Path next = Files.writeString(folder.resolve("b.camel.yaml"), "1");
            TestGateway.until("the next is told", () -> told.contains(List.of(next)));
            assertEquals(2, told.size());
        } finally {
            watch.stop();
        }
    }
}
