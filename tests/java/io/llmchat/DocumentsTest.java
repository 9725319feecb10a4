package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the documents list is all there is, and what they name is there. */
class DocumentsTest {

    private static String text(String file) throws IOException {
        return Files.readString(Path.of(file));
    }

    private static List<String> matches(String pattern, String text) {
        return Pattern.compile(pattern).matcher(text).results().map(m -> m.group(1)).toList();
    }

    @Test
    void theReadmeSaysWhatEveryPackageIsFor() throws IOException {
        String row = text("README.md").lines().filter(l -> l.startsWith("| `src/main/java/io/llmchat/`")).findFirst().orElseThrow();
        try (Stream<Path> files = Files.list(Path.of("src/main/java/io/llmchat"))) {
            for (Path each : files.filter(Files::isDirectory).toList()) {
                assertTrue(row.contains("`" + each.getFileName() + "` "), each + " is not in README.md");
            }
        }
    }

    @Test
    void theGatewaysOwnVersionAndCamelsAreThoseOfThePom() throws IOException {
        String version = matches("<artifactId>llmchat</artifactId>\\s*<version>([^<]+)", text("pom.xml")).get(0);
        for (String file : List.of("docs/routes.md", "deploy/camel-k/README.md")) {
            List<String> named = matches("mvn:io\\.llmchat:llmchat:([\\w.-]+)", text(file));
            assertEquals(List.of(version), named, file);
        }
        assertEquals(matches("<camel\\.version>([^<]+)", text("pom.xml")), matches("--camel-version=(\\S+)", text("docs/routes.md")));
    }

    @Test
    void theSettingsAreThoseOfTheDocumentsAndSoAreTheirDefaults() throws IOException {
        String properties = text("application.properties");
        Map<String, String> defaults = new HashMap<>();
        for (String file : List.of("application.properties", "src/main/resources/log4j2.properties")) {
            Pattern.compile("\\{env:([A-Z_]+):-?([^}]*)}").matcher(text(file)).results().forEach(m -> defaults.put(m.group(1), m.group(2)));
        }
        Map<String, String> left = new HashMap<>(defaults);
        for (String row : text("docs/settings.md").lines().filter(l -> l.startsWith("| `")).toList()) {
            String[] cells = row.split("\\|", 4);
            List<String> names = names(cells[1], defaults);
            List<String> values = new ArrayList<>(List.of(cells[2].strip().split(", ?", -1)));
            if (names.size() == 1) {
                values = List.of(cells[2].strip());
            } else if (names.contains("OPENAI_API_KEY")) {
                // none of the keys has one
                for (int i = 0; i < names.size(); i++) {
                    if (names.get(i).endsWith("_KEY")) {
                        values.add(i, "");
                    }
                }
            }
            assertEquals(names.size(), values.size(), row);
            for (int i = 0; i < names.size(); i++) {
                String is = left.remove(names.get(i));
                String said = values.get(i).strip();
                if (is == null) {
                    assertTrue(text("llmchat").contains("${" + names.get(i) + ":"), names.get(i) + " is no setting");
                } else {
                    // what is not set is told in words, and what is set as it is set, in quotes or without
                    boolean words = !said.startsWith("`") && (said.contains(" ") || said.equals("embedded"));
                    assertEquals(is, words ? "" : said.replaceAll("^`([^`]*)`.*", "$1"), names.get(i));
                }
            }
        }
        assertEquals(Map.of(), left);

        for (String[] told : new String[][] {{"docs/api.md", "comments, after (\\d+) s of silence", "camel.component.llm.heartbeat"},
            {"SECURITY.md", "Head (\\d+) s and", "llmchat.http.head-timeout"}, {"SECURITY.md", "body (\\d+) s between two pieces", "llmchat.http.body-timeout"},
            {"SECURITY.md", " (\\d+) s between two requests", "llmchat.http.idle-timeout"}}) {
            assertEquals(matches("(?m)^" + told[2] + "=(\\d+)000$", properties), matches(told[1], text(told[0])), told[2]);
        }
    }

    /** The names in a cell of the table: whole ones, and what takes the place of the end or the beginning of the first. */
    private static List<String> names(String cell, Map<String, String> known) {
        List<String> names = new ArrayList<>();
        for (String name : matches("`([A-Z_]+)`", cell)) {
            if (name.endsWith("_")) {
                names.addAll(List.of(name + "API_KEY", name + "BASE_URL"));
            } else if (name.startsWith("_")) {
                String first = names.getFirst();
                names.add(known.keySet().stream().filter(n -> n.endsWith(name) && first.startsWith(n.substring(0, n.length() - name.length() + 1)))
                        .findFirst().orElse(name));
            } else {
                names.add(name);
            }
        }
        return names;
    }

    @Test
    void theApisErrorsAreThoseOfTheTable() throws IOException {
        List<String> codes = matches("(?m)^          ([A-Z_]+: \\d{3} \\w+ \\S+)$", text("src/main/resources/routes/errors.camel.yaml"));
        assertTrue(codes.size() > 20, codes.toString());
        List<String> rows = codes.stream().map(code -> code.split("[: ]+"))
                .map(c -> "| `" + c[0] + "` | " + c[1] + " | `" + c[2] + "` | " + (c[3].equals("-") ? "| " : "`" + c[3] + "` | ")).toList();
        List<String> said = text("docs/api.md").lines().filter(l -> l.matches("\\| `[A-Z_]+` \\| \\d.*"))
                .map(l -> rows.stream().filter(l::startsWith).findFirst().orElse(l)).toList();
        assertEquals(rows, said);
    }

    @Test
    void everyLinkOfTheDocumentsLeadsToAFileAndAHeadingOfIt() throws IOException {
        List<Path> documents = new ArrayList<>();
        for (String folder : List.of(".", "docs", "deploy/camel-k", "deploy/kubernetes")) {
            try (Stream<Path> files = Files.list(Path.of(folder))) {
                files.filter(f -> f.toString().endsWith(".md")).forEach(documents::add);
            }
        }
        for (Path from : documents) {
            for (String link : matches("]\\(([^)]+)\\)", text(from.toString()))) {
                if (!link.startsWith("https:")) {
                    String[] parts = link.split("#", 2);
                    Path to = parts[0].isEmpty() ? from : from.resolveSibling(parts[0]).normalize();
                    assertTrue(Files.exists(to), from + ": " + link);
                    // as GitHub makes them
                    List<String> headings = parts.length == 1 ? List.of() : matches("(?m)^#+ (.*)$", text(to.toString())).stream()
                            .map(h -> h.toLowerCase(Locale.ROOT).replaceAll("[^\\w -]", "").replace(' ', '-')).toList();
                    assertTrue(parts.length == 1 || headings.contains(parts[1]), from + ": " + link);
                }
            }
        }
    }

    @Test
    void securityMdNamesEveryFilterOfAList() throws IOException {
        List<String> filters = matches("io\\.llmchat\\.step\\.Page, constructors: \\{0: \"?([^}\"]+)", text("src/main/resources/routes/beans.camel.yaml"));
        assertEquals(3, filters.size());
        String row = text("SECURITY.md").lines().filter(l -> l.contains("**Headers and query parameters**")).findFirst().orElseThrow();
        for (String filter : String.join(",", filters).split(",")) {
            assertTrue(row.contains("`" + filter.trim() + "`"), filter + " is not in SECURITY.md");
        }
    }
}
