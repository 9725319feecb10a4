package io.llmchat.support;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Stream;

/** A copy of the packaged routes and kamelets to be edited, as editors do it: a file is written beside and renamed. */
public record RouteFolder(Path folder) {

    public static RouteFolder in(Path folder) throws IOException {
        copy(Path.of("src/main/resources/routes"), folder);
        copy(Path.of("kamelets"), folder.resolve("kamelets"));
        return new RouteFolder(folder);
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> all = Files.walk(from)) {
            for (Path path : all.toList()) {
                Path target = to.resolve(from.relativize(path));
                if (Files.isDirectory(path)) {
                    Files.createDirectories(target);
                } else {
                    Files.copy(path, target);
                }
            }
        }
    }

    public String read(String file) throws IOException {
        return Files.readString(folder.resolve(file));
    }

    public void save(String file, String text) throws IOException {
        Path beside = folder.resolve(file + "~");
        Files.writeString(beside, text);
        Files.move(beside, folder.resolve(file), StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
    }

    /** Saves the file with this text in place of that. */
    public void edit(String file, String that, String withThis) throws IOException {
        String text = read(file);
        if (!text.contains(that)) {
            throw new AssertionError(file + " has no '" + that + "'");
        }
        save(file, text.replace(that, withThis));
    }

    public void delete(String file) throws IOException {
        Files.delete(folder.resolve(file));
    }
}
