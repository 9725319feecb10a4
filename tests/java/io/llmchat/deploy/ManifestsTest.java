package io.llmchat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is applied to a cluster is what Kubernetes and Camel K take, and its parts fit together. */
class ManifestsTest {

    private static final Path PRODUCTION = Path.of("deploy/kubernetes/overlays/production");
    private static final List<String> KUSTOMIZATIONS = List.of("deploy/kubernetes/base", PRODUCTION.toString(), "deploy/kubernetes/overlays/routes",
            "deploy/camel-k", "kamelets", "src/main/resources/routes");
    private static final Set<String> OF_KUSTOMIZE = Set.of("apiVersion", "kind", "namespace", "resources", "labels", "images", "patches",
            "configMapGenerator", "generatorOptions");

    @Test
    void everyResourceIsAsItsKindSays() throws IOException {
        assertEquals(List.of(), schemaFaults(Deployed.asTheyAre()));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "deploy/kubernetes/base/deployment.yaml                 | readOnlyRootFilesystem: true | readOnlyRootFileSystem: true",
        "deploy/kubernetes/base/deployment.yaml                 | failureThreshold: 90         | failureThreshold: ninety",
        "deploy/kubernetes/base/deployment.yaml                 | apiVersion: apps/v1          | apiVersion: apps/v2",
        "deploy/kubernetes/base/service.yaml                    | targetPort: http             | target: http",
        "deploy/kubernetes/base/autoscaler.yaml                 | averageValue:                | average:",
        "deploy/kubernetes/base/disruption-budget.yaml          | maxUnavailable: 1            | maximum: 1",
        "deploy/kubernetes/base/network-policy.yaml             | namespaceSelector:           | namespace:",
        "deploy/kubernetes/overlays/production/stores.yaml      | cidr: 10.20.0.0/24           | cdir: 10.20.0.0/24",
        "deploy/kubernetes/overlays/routes/mounts.yaml          | secretName: llmchat-keys     | name: llmchat-keys",
        "deploy/camel-k/integration.yaml                        | limitMemory: 768Mi           | memory: 768Mi",
        "deploy/camel-k/integration.yaml                        | replicas: 3                  | replicas: three",
        "deploy/camel-k/integration.yaml                        | livenessProbe:               | liveness:",
        "deploy/camel-k/integration.yaml                        | app.kubernetes.io/name: llmchat | app.kubernetes.io/name: [llmchat]",
        "kamelets/openai-chat-action.kamelet.yaml               | dependencies:                | depends:"})
    void aMistakeInAResourceIsFound(String file, String text, String mistake) throws IOException {
        assertFalse(schemaFaults(Deployed.with(file, text, mistake)).isEmpty());
    }

    private static List<String> schemaFaults(Deployed deployed) throws IOException {
        List<String> faults = new ArrayList<>();
        for (Path file : resources()) {
            for (String fault : Schemas.faults(deployed.yaml(file))) {
                faults.add(file + ": " + fault);
            }
        }
        return faults;
    }

    /** All YAML files that are resources of a cluster. */
    private static List<Path> resources() throws IOException {
        List<Path> files = Deployed.files("deploy/kubernetes", ".yaml");
        files.addAll(Deployed.files("deploy/camel-k", ".yaml"));
        files.addAll(Deployed.files("kamelets", ".yaml"));
        files.removeIf(f -> f.endsWith("kustomization.yaml"));
        return files;
    }

    @Test
    void everyFileIsOfAKustomizationAndEveryFileOfAKustomizationIsThere() throws IOException {
        Set<Path> named = new TreeSet<>();
        for (String folder : KUSTOMIZATIONS) {
            JsonNode kustomization = Deployed.asTheyAre().yaml(Path.of(folder, "kustomization.yaml"));
            kustomization.fieldNames().forEachRemaining(name -> assertEquals(true, OF_KUSTOMIZE.contains(name), folder + " " + name));
            List<JsonNode> names = new ArrayList<>();
            kustomization.path("resources").forEach(names::add);
            kustomization.path("patches").forEach(p -> names.add(p.path("path")));
            kustomization.path("configMapGenerator").forEach(g -> {
                g.path("envs").forEach(names::add);
                g.path("files").forEach(names::add);
            });
            for (JsonNode name : names) {
                Path file = Path.of(folder, name.asText()).normalize();
                Path there = Files.isDirectory(file) ? file.resolve("kustomization.yaml") : file;
                assertEquals(true, Files.exists(there), folder + " names " + name.asText());
                named.add(file);
            }
        }
        List<Path> files = resources();
        files.addAll(Deployed.files("deploy/kubernetes", ".env"));
        files.addAll(Deployed.files("deploy/camel-k", ".env"));
        files.addAll(Deployed.files("src/main/resources/routes", ".camel.yaml"));
        files.removeAll(named);
        // the image has those that fit its classes
        assertEquals(List.of(Path.of("src/main/resources/routes/beans.camel.yaml")), files, "named by no kustomization");
    }

    /** With the program itself, where it is: what a cluster is sent is as its kind says, too. */
    @ParameterizedTest
    @ValueSource(strings = {"deploy/kubernetes/overlays/production", "deploy/kubernetes/overlays/routes", "deploy/camel-k"})
    void whatKustomizeMakesOfItIsAsItsKindSays(String folder) throws Exception {
        assumeTrue(Stream.of(System.getenv("PATH").split(":")).anyMatch(dir -> Files.isExecutable(Path.of(dir, "kubectl"))), "no kubectl");
        Path errors = Files.createDirectories(Path.of("target")).resolve("kustomize.txt");
        Process kubectl = new ProcessBuilder("kubectl", "kustomize", folder).redirectError(errors.toFile()).start();
        MappingIterator<JsonNode> resources = new YAMLMapper().readerFor(JsonNode.class).readValues(kubectl.getInputStream());
        List<String> kinds = new ArrayList<>();
        while (resources.hasNext()) {
            JsonNode resource = resources.next();
            assertEquals(List.of(), Schemas.faults(resource), resource.path("kind").asText());
            kinds.add(resource.path("kind").asText());
        }
        assertEquals(0, kubectl.waitFor(), () -> folder + ": see " + errors);
        assertEquals(true, kinds.size() > 6, kinds.toString());
    }
}
