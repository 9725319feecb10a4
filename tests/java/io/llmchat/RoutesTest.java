package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The route files read as they should: named after what they do, described, and joined without loose ends. */
class RoutesTest {

    private static final Path ROUTES = Path.of("src/main/resources/routes");

    private record Route(Path file, JsonNode node) {
        String id() {
            return node.path("id").asText();
        }
    }

    private static List<Path> files() throws IOException {
        try (Stream<Path> all = Files.walk(ROUTES)) {
            return all.filter(f -> f.toString().endsWith(".camel.yaml")).sorted().toList();
        }
    }

    private static List<Route> routes() throws IOException {
        List<Route> routes = new ArrayList<>();
        for (Path file : files()) {
            for (JsonNode item : new YAMLMapper().readTree(file.toFile())) {
                if (item.has("route")) {
                    routes.add(new Route(file, item.path("route")));
                }
            }
        }
        return routes;
    }

    @Test
    void everyRouteIsNamedAfterItsEndpointAndDescribed() throws IOException {
        for (Route route : routes()) {
            String from = route.node.path("from").path("uri").asText();
            if (from.startsWith("direct:")) {
                assertEquals(from, "direct:" + route.id(), "in " + route.file);
            }
            assertTrue(route.node.path("description").asText().length() > 5, route.id() + " has no description");
        }
    }

    @Test
    void everyFileOpensWithACommentThatSaysWhatItIsFor() throws IOException {
        for (Path file : files()) {
            assertTrue(Files.readString(file).startsWith("# "), file.toString());
        }
    }

    @Test
    void everyEndpointThatIsCalledIsThere() throws IOException {
        Set<String> there = new HashSet<>();
        routes().forEach(r -> there.add(r.node.path("from").path("uri").asText()));
        Set<String> missing = new TreeSet<>();
        for (Path file : files()) {
            for (JsonNode item : new YAMLMapper().readTree(file.toFile())) {
                for (String field : List.of("uri", "to")) {
                    item.findValues(field).stream().filter(JsonNode::isTextual).map(JsonNode::asText)
                            .filter(uri -> uri.startsWith("direct:") && !uri.contains("${") && !there.contains(uri)).forEach(missing::add);
                }
            }
        }
        assertEquals(Set.of(), missing);
    }

    @Test
    void aProvidersRouteIsNamedAfterItsFile() throws IOException {
        for (Route route : routes()) {
            if (route.file.getParent().endsWith("providers")) {
                assertEquals("provider-" + route.file.getFileName().toString().replace(".camel.yaml", ""), route.id());
            }
        }
    }

    @Test
    void everyRouteThatHttpReachesAnswersErrorsInTheCallersDialect() throws IOException {
        Set<String> entries = new HashSet<>();
        for (JsonNode item : new YAMLMapper().readTree(ROUTES.resolve("http.camel.yaml").toFile())) {
            item.findValues("to").forEach(to -> entries.add(to.asText()));
        }
        assertTrue(entries.size() > 10);
        for (Route route : routes()) {
            boolean entry = entries.contains("direct:" + route.id()) || route.id().equals("untold");
            String from = route.node.path("from").path("uri").asText();
            if (from.startsWith("direct:") && !route.node.has("errorHandler")) {
                assertEquals(entry ? "entry" : "inner", route.node.path("routeConfigurationId").asText(), route.id());
            }
        }
    }

    @Test
    void everyPropertyOfAKameletIsDescribedAndItsSecretsAreMarked() throws IOException {
        List<Path> kamelets;
        try (Stream<Path> all = Files.list(Path.of("kamelets"))) {
            kamelets = all.filter(f -> f.toString().endsWith(".kamelet.yaml")).sorted().toList();
        }
        assertEquals(5, kamelets.size());
        for (Path file : kamelets) {
            JsonNode kamelet = new YAMLMapper().readTree(file.toFile());
            assertEquals(file.getFileName().toString(), kamelet.path("metadata").path("name").asText() + ".kamelet.yaml");
            JsonNode definition = kamelet.path("spec").path("definition");
            Set<String> required = new HashSet<>();
            definition.path("required").forEach(r -> required.add(r.asText()));
            definition.path("properties").properties().forEach(property -> {
                String at = file + " " + property.getKey();
                JsonNode p = property.getValue();
                assertTrue(p.path("title").isTextual() && p.path("type").isTextual(), at);
                assertTrue(p.path("description").asText().length() > 10, at);
                boolean secret = property.getKey().equals("apiKey");
                assertEquals(secret ? "password" : "", p.path("format").asText(""), at);
                assertTrue(secret || p.has("default") || p.has("example"), at + " has neither a default nor an example");
                assertTrue(!required.contains(property.getKey()) || !p.has("default"), at + " is required and has a default");
            });
        }
    }

    @Test
    void noStatementHasAComment() throws Exception {
        try (Stream<Path> files = Files.walk(Path.of("src/main/resources/routes"))) {
            for (Path file : files.filter(f -> f.toString().endsWith(".camel.yaml")).toList()) {
                for (JsonNode query : new YAMLMapper().readTree(file.toFile()).findValues("query")) {
                    // a folded text is one line: the comment would go on to its end
                    assertFalse(query.asText().contains("--"), query.asText());
                }
            }
        }
    }

    @Test
    void whereTheNumberOfParametersOfAQueryIsGivenItIsRight() throws Exception {
        int given = 0;
        try (Stream<Path> files = Files.walk(Path.of("src/main/resources/routes"))) {
            for (Path file : files.filter(f -> f.toString().endsWith(".camel.yaml")).toList()) {
                for (JsonNode step : new YAMLMapper().readTree(file.toFile()).findValues("to")) {
                    JsonNode parameters = step.path("parameters");
                    if (parameters.has("parametersCount")) {
                        given++;
                        assertEquals(parameters.path("query").asText().split(":#", -1).length - 1, parameters.path("parametersCount").asInt(),
                                step.path("id").asText());
                    }
                }
            }
        }
        assertTrue(given > 0);
    }
}
