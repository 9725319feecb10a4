package io.llmchat.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** The files of {@code deploy/}, as they are or with a change to one of them, to see that the change is found. */
final class Deployed {

    private final Path changed;
    private final UnaryOperator<String> change;

    private Deployed(Path changed, UnaryOperator<String> change) {
        this.changed = changed;
        this.change = change;
    }

    static Deployed asTheyAre() {
        return new Deployed(null, null);
    }

    /** With this text in the file replaced, which has to be there. */
    static Deployed with(String file, String text, String other) {
        return new Deployed(Path.of(file), content -> {
            if (!content.contains(text)) {
                throw new AssertionError(file + " does not contain " + text);
            }
            return content.replace(text, other);
        });
    }

    String text(Path file) throws IOException {
        String text = Files.readString(file);
        return file.equals(changed) ? change.apply(text) : text;
    }

    JsonNode yaml(Path file) throws IOException {
        return new YAMLMapper().readTree(text(file));
    }

    /** The lines {@code NAME=value} of a file. */
    Map<String, String> env(Path file) throws IOException {
        Map<String, String> env = new TreeMap<>();
        text(file).lines().filter(l -> !l.startsWith("#") && l.contains("="))
                .forEach(l -> env.put(l.substring(0, l.indexOf('=')), l.substring(l.indexOf('=') + 1)));
        return env;
    }

    /** All files with this ending below a folder. */
    static List<Path> files(String folder, String ending) throws IOException {
        try (Stream<Path> all = Files.walk(Path.of(folder))) {
            return new ArrayList<>(all.filter(f -> f.toString().endsWith(ending)).sorted().toList());
        }
    }
}
