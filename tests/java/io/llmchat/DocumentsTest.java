package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
    void theGatewaysOwnVersionIsThatOfThePom() throws IOException {
        String version = matches("<artifactId>llmchat</artifactId>\\s*<version>([^<]+)", text("pom.xml")).get(0);
        for (String file : List.of("README.md", "deploy/camel-k/README.md")) {
            List<String> named = matches("mvn:io\\.llmchat:llmchat:([\\w.-]+)", text(file));
            assertEquals(List.of(version), named, file);
        }
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
    void securityMdNamesEveryFilterOfAList() throws IOException {
        List<String> filters = matches("io\\.llmchat\\.step\\.Page, constructors: \\{0: \"?([^}\"]+)", text("src/main/resources/routes/beans.camel.yaml"));
        assertEquals(3, filters.size());
        String row = text("SECURITY.md").lines().filter(l -> l.contains("**Headers and query parameters**")).findFirst().orElseThrow();
        for (String filter : String.join(",", filters).split(",")) {
            assertTrue(row.contains("`" + filter.trim() + "`"), filter + " is not in SECURITY.md");
        }
    }
}
