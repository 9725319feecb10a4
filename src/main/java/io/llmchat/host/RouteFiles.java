package io.llmchat.host;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Where the routes are read from: a folder that is edited while the gateway serves ({@code *.camel.yaml},
 * {@code providers/*.camel.yaml}, {@code kamelets/*.kamelet.yaml}), or, without one, what is packaged. A kamelet, and the
 * beans, that the folder does not have are the packaged ones.
 */
final class RouteFiles {

    static final String BEANS = "beans.camel.yaml";

    private static final String FILE = "file:";
    private static final Pattern SPECIAL = Pattern.compile("[%+,*?]");
    private static final String UNREADABLE = "unreadable";
    private static final String PACKAGED = "classpath:routes/*.camel.yaml,classpath:routes/providers/*.camel.yaml";
    private static final String PACKAGED_KAMELETS = "classpath:kamelets";

    private final Path folder;

    /** @param folder empty: the packaged files */
    RouteFiles(String folder) {
        this.folder = folder.isBlank() ? null : Path.of(folder).toAbsolutePath().normalize();
    }

    @Override
    public String toString() {
        return editable() ? folder.toString() : "the package";
    }

    /** Whether they can be edited. */
    boolean editable() {
        return folder != null;
    }

    /** Whether it has the beans that all versions share: one of this name in {@code providers} has routes. */
    boolean isBeans(Path file) {
        return file.equals(folder.resolve(BEANS));
    }

    /**
     * Where Camel finds the beans that all versions share.
     *
     * @throws IOException if they cannot be read
     */
    String beans() throws IOException {
        if (!editable() || !Files.exists(folder.resolve(BEANS))) {
            return "classpath:routes/" + BEANS;
        }
        mustBeReadable(folder.resolve(BEANS));
        return location(folder.resolve(BEANS));
    }

    /**
     * Where Camel finds the routes; one by one, so that what editors leave beside them is none.
     *
     * @throws IOException if there are none, or one that cannot be read: Camel would do without it
     */
    String routes() throws IOException {
        if (!editable()) {
            return PACKAGED;
        }
        List<Path> all = all();
        List<Path> routes = all.stream().filter(f -> f.toString().endsWith(".camel.yaml") && !isBeans(f)).toList();
        if (routes.stream().noneMatch(f -> f.getParent().equals(folder))) {
            throw new IOException("There are no route files (*.camel.yaml) in " + folder
                    + "; './llmchat routes export' writes the packaged ones.");
        }
        for (Path file : all) {
            mustBeReadable(file);
        }
        return routes.stream().map(RouteFiles::location).collect(Collectors.joining(","));
    }

    /** Who reads a pipe waits until somebody writes to it. A link, as a ConfigMap has them, is what it leads to. */
    private void mustBeReadable(Path file) throws IOException {
        if (!Files.isReadable(file)) {
            throw new IOException(folder.relativize(file) + " cannot be read.");
        }
        if (!Files.isRegularFile(file)) {
            throw new IOException(folder.relativize(file) + " is a folder, a pipe or the like, and no file.");
        }
    }

    /** Where Camel finds the kamelets. */
    String kamelets() {
        return editable() ? location(folder.resolve("kamelets")) + "," + PACKAGED_KAMELETS : PACKAGED_KAMELETS;
    }

    /** As Camel reads it: decoded, one of several with commas between them, and perhaps a pattern. */
    private static String location(Path file) {
        return FILE + SPECIAL.matcher(file.toString()).replaceAll(c -> String.format("%%%02X", (int) c.group().charAt(0)));
    }

    /** All files of the folder that are read, the beans included; none of the packaged ones. */
    List<Path> all() throws IOException {
        if (folder == null) {
            return List.of();
        }
        List<Path> files = new ArrayList<>(list(folder, ".camel.yaml"));
        files.addAll(list(folder.resolve("providers"), ".camel.yaml"));
        files.addAll(list(folder.resolve("kamelets"), ".kamelet.yaml"));
        return files;
    }

    /** Those of them that can be looked into; a pipe may have come since {@link #routes} has refused them. */
    List<Path> readable() throws IOException {
        return all().stream().filter(Files::isRegularFile).toList();
    }

    private static List<Path> list(Path folder, String ending) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(f -> f.getFileName().toString().endsWith(ending) && !f.getFileName().toString().startsWith("."))
                    .sorted().toList();
        }
    }

    /**
     * What tells one version of each file from the next: a file that was saved by renaming another one is a new one. What
     * cannot be looked at, a file or the folders, is a version too.
     */
    Map<Path, String> versions() {
        Map<Path, String> versions = new TreeMap<>();
        try {
            for (Path file : all()) {
                versions.put(file, version(file));
            }
        } catch (IOException | UncheckedIOException e) {
            versions.put(folder, UNREADABLE);
        }
        return versions;
    }

    private static String version(Path file) {
        try {
            BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
            return Files.isReadable(file) ? now.lastModifiedTime().toMillis() + " " + now.size() + " " + now.fileKey() : UNREADABLE;
        } catch (IOException e) {
            return UNREADABLE;
        }
    }

    /** A file of the folder by the location that Camel has for it; null if it is none. */
    Path file(String location) {
        Path named = location == null || folder == null ? null
                : Path.of(location.startsWith(FILE) ? URLDecoder.decode(location.substring(FILE.length()), StandardCharsets.UTF_8) : location);
        return named != null && named.startsWith(folder) && Files.exists(named) ? named : null;
    }

    /** The location of the file with this name, or the name itself. */
    String named(String name) throws IOException {
        return all().stream().filter(f -> f.endsWith(name)).findFirst().map(Path::toString).orElse(name);
    }

    /** A location as its editor knows it: from the folder on. */
    String name(String location) {
        Path file = file(location);
        return file != null ? folder.relativize(file).toString() : location;
    }
}
