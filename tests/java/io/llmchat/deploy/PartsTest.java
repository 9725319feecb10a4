package io.llmchat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.Settings;
import io.netty.handler.ipfilter.IpFilterRuleType;
import io.netty.handler.ipfilter.IpSubnetFilterRule;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The parts of {@code deploy/} fit together, and to the gateway: names, ports, paths, times, settings, connections. */
class PartsTest {

    private static final Path BASE = Path.of("deploy/kubernetes/base");
    private static final Path PRODUCTION = Path.of("deploy/kubernetes/overlays/production");
    private static final Path OWN_ROUTES = Path.of("deploy/kubernetes/overlays/routes");
    private static final Path CAMEL_K = Path.of("deploy/camel-k");
    private static final Path COMPOSE = Path.of("deploy/compose.yaml");
    private static final Path COMPOSE_ENV = Path.of("deploy/compose.env.example");
    private static final Path NGINX = Path.of("deploy/nginx/nginx.conf");
    private static final Path POSTGRES = Path.of("deploy/postgres/postgresql.conf");
    private static final Path DOCKERFILE = Path.of("deploy/Dockerfile");

    /** Read by the launcher, or by the host before there are properties. */
    private static final Set<String> OF_THE_LAUNCHER = Set.of("LLMCHAT_HEAP", "JAVA_OPTS");

    /** MiB that a process takes besides its heap, as docs/operate.md says. */
    private static final int BESIDE_THE_HEAP = 200;

    /** What does not fit, found so far. */
    private final List<String> faults = new ArrayList<>();

    @Test
    void thePartsFit() throws IOException {
        assertEquals(List.of(), faults(Deployed.asTheyAre()));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "deploy/kubernetes/base/service.yaml           | targetPort: http                   | targetPort: web",
        "deploy/kubernetes/base/service.yaml           | selector:\\n    app.kubernetes.io/name: llmchat | selector:\\n    app: llmchat",
        "deploy/kubernetes/base/disruption-budget.yaml | matchLabels:\\n      app.kubernetes.io/name: llmchat | matchLabels:\\n      app: llmchat",
        "deploy/kubernetes/base/network-policy.yaml    | port: http                         | port: web",
        "deploy/kubernetes/base/network-policy.yaml    | port: 5432                         | port: 5433",
        "deploy/kubernetes/base/autoscaler.yaml        | name: llmchat\\n  minReplicas       | name: gateway\\n  minReplicas",
        "deploy/kubernetes/base/autoscaler.yaml        | maxReplicas: 4                     | maxReplicas: 40",
        "deploy/kubernetes/base/deployment.yaml        | containerPort: 3001                | containerPort: 8080",
        "deploy/kubernetes/base/deployment.yaml        | path: /health/ready                | path: /ready",
        "deploy/kubernetes/base/deployment.yaml        | terminationGracePeriodSeconds: 330 | terminationGracePeriodSeconds: 30",
        "deploy/kubernetes/base/deployment.yaml        | readOnlyRootFilesystem: true       | readOnlyRootFilesystem: false",
        "deploy/kubernetes/base/deployment.yaml        | runAsNonRoot: true                 | runAsNonRoot: false",
        "deploy/kubernetes/base/deployment.yaml        | mountPath: /tmp                    | mountPath: /var/tmp",
        "deploy/kubernetes/base/deployment.yaml        | - name: tmp\\n          emptyDir    | - name: temp\\n          emptyDir",
        "deploy/kubernetes/base/deployment.yaml        | configMapRef:\\n                name: llmchat | configMapRef:\\n                name: settings",
        "deploy/kubernetes/base/deployment.yaml        | enableServiceLinks: false          | enableServiceLinks: true",
        "deploy/kubernetes/base/deployment.yaml        | runAsUser: 10001                   | runAsUser: 1000",
        "deploy/kubernetes/base/settings.env           | STREAM_TIMEOUT=300000              | STREAM_TIMEOUT=600000",
        "deploy/kubernetes/base/settings.env           | DRAIN_GRACE=300000                 | DRAIN_GRACE=600000",
        "deploy/kubernetes/base/settings.env           | LOG_FORMAT=json                    | LOG_FORM=json",
        "deploy/kubernetes/base/settings.env           | AUTH_MODE=keys                     | AUTH_MODE=key",
        "deploy/kubernetes/base/settings.env           | DB_MAX_CONNECTIONS=23              | DB_MAX_CONNECTIONS=24",
        "deploy/kubernetes/overlays/routes/settings.env | KEYS_FILE=/etc/llmchat/keys/       | KEYS_FILE=/etc/llmchat/",
        "deploy/kubernetes/overlays/routes/settings.env | ROUTES_DIR=                        | ROUTES=",
        "deploy/kubernetes/overlays/routes/mounts.yaml | mountPath: /etc/llmchat/routes/providers | mountPath: /etc/llmchat/providers",
        "deploy/kubernetes/overlays/routes/mounts.yaml | name: llmchat-routes-providers     | name: llmchat-providers",
        "deploy/kubernetes/overlays/routes/mounts.yaml | - name: keys\\n          secret      | - name: secrets\\n          secret",
        "deploy/kubernetes/overlays/routes/mounts.yaml | - name: llmchat                    | - name: gateway",
        "deploy/compose.env.example                    | KEYS_FILE=/etc/llmchat             | KEYS_FILE=/etc/gateway",
        "deploy/compose.env.example                    | ROUTES_DIR=                        | ROUTES=",
        "deploy/compose.yaml                           | ./own:/etc/llmchat                 | ./own:/etc/gateway",
        "deploy/camel-k/settings.env                   | DATA_DIR=/data                     | DATA_DIR=/var/lib/llmchat",
        "deploy/camel-k/settings.env                   | PORT=3001                          | PORT=8080",
        "deploy/camel-k/README.md                      | --replicas 4                       | --replicas 5",
        "deploy/camel-k/integration.yaml               | configmap:llmchat-kamelets@        | configmap:kamelets@",
        "deploy/camel-k/integration.yaml               | path: /health/live                 | path: /q/health/live",
        "deploy/camel-k/integration.yaml               | terminationGracePeriodSeconds: 330 | terminationGracePeriodSeconds: 300",
        "deploy/camel-k/integration.yaml               | - name: integration                | - name: gateway",
        "deploy/compose.yaml                           | STREAM_TIMEOUT: \"300000\"         | STREAM_LIMIT: \"300000\"",
        "deploy/compose.yaml                           | stop_grace_period: 330s\\n  restart | stop_grace_period: 10s\\n  restart",
        "deploy/compose.yaml                           | stop_grace_period: 330s\\n    restart | stop_grace_period: 10s\\n    restart",
        "deploy/compose.yaml                           | env_file: .env                     | env_file: compose.env",
        "deploy/compose.yaml                           | ./redis/redis.conf                 | ./redis.conf",
        "deploy/compose.yaml                           | postgres:17-bookworm               | postgres:latest",
        "deploy/compose.yaml                           | dockerfile: deploy/Dockerfile      | dockerfile: Dockerfile",
        "deploy/compose.yaml                           | gateway-2:\\n    <<: *gateway       | gateway-2:\\n    <<: *gateway\\n    build: ..",
        "deploy/compose.yaml                           | pull_policy: never                 | pull_policy: missing",
        "deploy/compose.yaml                           | pg_isready -h 127.0.0.1            | pg_isready",
        "deploy/Dockerfile                             | COPY kamelets ./kamelets           | COPY kamelet ./kamelets",
        "deploy/Dockerfile                             | USER 10001:10001                   | USER root",
        "deploy/Dockerfile                             | FROM eclipse-temurin:25-jdk-noble  | FROM eclipse-temurin",
        "deploy/Dockerfile                             | FROM eclipse-temurin:25-jdk-noble  | FROM eclipse-temurin:25-jre-noble",
        "deploy/kubernetes/base/deployment.yaml        | sizeLimit: 512Mi                   | sizeLimit: 128Mi",
        "deploy/kubernetes/base/deployment.yaml        | memory: 768Mi                      | memory: 256Mi",
        "deploy/kubernetes/base/settings.env           | PORT=3001                          | PORT=3001\\nLLMCHAT_HEAP=700m",
        "deploy/Dockerfile                             | COPY src/main ./src/main           | COPY src ./src",
        ".dockerignore                                 | !kamelets                          | !docs",
        "deploy/nginx/nginx.conf                       | proxy_read_timeout 300s            | proxy_read_timeout 60s",
        "deploy/kubernetes/base/settings.env           | RATE_LIMIT_MAX_REQUESTS=0          | RATE_LIMIT_MAX_REQUESTS=1000",
        "deploy/camel-k/settings.env                   | RATE_LIMIT_MAX_REQUESTS=0          | RATE_LIMIT_MAX_REQUESTS=1000",
        "deploy/compose.yaml                           | TRUSTED_PROXIES: 10.89.173.2       | TRUSTED_PROXIES: 10.89.173.0/24",
        "deploy/compose.yaml                           | ipv4_address: 10.89.173.2          | ipv4_address: 10.89.173.3",
        "deploy/compose.yaml                           | subnet: 10.89.173.0/24             | subnet: 10.89.174.0/24",
        "deploy/compose.yaml                           | ip_range: 10.89.173.128/25         | ip_range: 10.89.173.0/25",
        "deploy/compose.yaml                           | RATE_LIMIT_MAX_REQUESTS: \"0\"       | RATE_LIMIT_MAX_REQUESTS: \"1000\"",
        "deploy/nginx/nginx.conf                       | Host $http_host                    | Host $host",
        "deploy/nginx/upstream.compose.conf            | gateway-2:3001 resolve             | gateway-2:3001",
        "deploy/nginx/upstream.compose.conf            | resolver 127.0.0.11                | resolver 9.9.9.9",
        "deploy/nginx/nginx.conf                       | embeddings                         | embedding",
        "deploy/postgres/postgresql.conf               | max_connections = 200              | max_connections = 100"})
    void whatDoesNotFitIsFound(String file, String text, String other) throws IOException {
        Deployed changed = Deployed.with(file, text.replace("\\n", "\n"), other.replace("\\n", "\n"));
        assertFalse(faults(changed).isEmpty());
    }

    private List<String> faults(Deployed deployed) throws IOException {
        kubernetes(deployed);
        camelK(deployed);
        compose(deployed);
        chats(deployed);
        image(deployed);
        return faults;
    }

    private void must(boolean holds, String what) {
        if (!holds) {
            faults.add(what);
        }
    }

    private void kubernetes(Deployed deployed) throws IOException {
        JsonNode deployment = deployed.yaml(BASE.resolve("deployment.yaml"));
        JsonNode pod = deployment.at("/spec/template/spec");
        JsonNode labels = deployment.at("/spec/template/metadata/labels");
        JsonNode container = pod.at("/containers/0");
        JsonNode service = deployed.yaml(BASE.resolve("service.yaml"));
        JsonNode policy = deployed.yaml(BASE.resolve("network-policy.yaml"));
        JsonNode scaler = deployed.yaml(BASE.resolve("autoscaler.yaml"));
        String name = deployment.at("/metadata/name").asText();
        selects("the Deployment", deployment.at("/spec/selector/matchLabels"), labels);
        selects("the Service", service.at("/spec/selector"), labels);
        selects("the budget", deployed.yaml(BASE.resolve("disruption-budget.yaml")).at("/spec/selector/matchLabels"), labels);
        selects("the policy", policy.at("/spec/podSelector/matchLabels"), labels);
        must(scaler.at("/spec/scaleTargetRef/name").asText().equals(name), "the autoscaler scales something else");

        Map<String, String> settings = deployed.env(BASE.resolve("settings.env"));
        settings.putAll(deployed.env(PRODUCTION.resolve("settings.env")));
        settings("Kubernetes", settings);
        oneOfSeveral("Kubernetes", settings);
        must(container.at("/ports/0/containerPort").asText().equals(settings.get("PORT")), "the container's port is not PORT");
        must(deployment.at("/spec/template/metadata/annotations").path("prometheus.io/port").asText().equals(settings.get("PORT")),
                "Prometheus is sent to another port");
        String port = container.at("/ports/0/name").asText();
        must(service.at("/spec/ports/0/targetPort").asText().equals(port), "the Service's port is not the container's");
        must(policy.at("/spec/ingress/0/ports/0/port").asText().equals(port), "the policy lets nobody to the container's port");
        for (JsonNode each : List.of(policy, deployed.yaml(PRODUCTION.resolve("stores.yaml")))) {
            List<String> out = each.at("/spec/egress").findValuesAsText("port");
            must(out.containsAll(List.of(settings.get("DB_PORT"), settings.get("REDIS_PORT"), "53", "443")), "the policy lets too little out");
        }

        probes("Kubernetes", container, port);
        int preStop = container.at("/lifecycle/preStop/sleep/seconds").asInt();
        grace("Kubernetes", pod.path("terminationGracePeriodSeconds").asInt(), preStop, settings);

        must(!pod.path("enableServiceLinks").asBoolean(true), "names of Services become settings");
        JsonNode security = container.path("securityContext");
        must(pod.at("/securityContext/runAsNonRoot").asBoolean(), "it may run as root");
        must(pod.at("/securityContext/seccompProfile/type").asText().equals("RuntimeDefault"), "no seccomp profile");
        must(deployed.text(DOCKERFILE).contains("\nUSER " + pod.at("/securityContext/runAsUser").asText() + ":"), "the image has another user");
        must(security.path("readOnlyRootFilesystem").asBoolean(), "the root file system can be written");
        must(!security.path("allowPrivilegeEscalation").asBoolean(true), "it may get more privileges");
        must(security.at("/capabilities/drop/0").asText().equals("ALL"), "it has capabilities");
        Map<String, String> mounts = new TreeMap<>();
        container.path("volumeMounts").forEach(m -> mounts.put(m.path("mountPath").asText(), m.path("name").asText()));
        must(mounts.keySet().equals(Set.of("/tmp", settings.get("DATA_DIR"))), "what is written to is not mounted");
        must(pod.path("volumes").findValuesAsText("name").containsAll(mounts.values()), "a mounted volume is not there");
        for (JsonNode volume : pod.path("volumes")) {
            must(!volume.path("name").asText().equals(mounts.get(settings.get("DATA_DIR")))
                    || mebibytes(volume.at("/emptyDir/sizeLimit").asText()) > heap(settings), "a heap dump is larger than its volume");
        }
        must(mebibytes(container.at("/resources/limits/memory").asText()) >= heap(settings) + BESIDE_THE_HEAP, "the heap is too large for its limit");

        List<String> generated = deployed.yaml(BASE.resolve("kustomization.yaml")).path("configMapGenerator").findValuesAsText("name");
        must(generated.contains(container.at("/envFrom/0/configMapRef/name").asText()), "the ConfigMap is not there");

        ownRoutes(deployed, container.path("name").asText());

        connections(deployed, scaler.at("/spec/maxReplicas").asInt(), settings);
    }

    /**
     * While old pods are exchanged for new ones all of both may be there, each with one connection outside of its pool;
     * PostgreSQL keeps three for administrators.
     */
    private void connections(Deployed deployed, int pods, Map<String, String> settings) throws IOException {
        int connections = pods * 2 * (Integer.parseInt(settings.get("DB_MAX_CONNECTIONS")) + 1);
        must(connections <= postgresConnections(deployed) - 3, connections + " connections to PostgreSQL");
    }

    /** The overlay with routes and keys of one's own mounts what its settings name. */
    private void ownRoutes(Deployed deployed, String name) throws IOException {
        Map<String, String> settings = deployed.env(OWN_ROUTES.resolve("settings.env"));
        settings("the overlay with routes", settings);
        JsonNode pod = deployed.yaml(OWN_ROUTES.resolve("mounts.yaml")).at("/spec/template/spec");
        must(pod.at("/containers/0/name").asText().equals(name), "routes are mounted in a container that is not there");
        Map<String, String> volumes = new TreeMap<>();
        pod.path("volumes").forEach(v -> volumes.put(v.path("name").asText(), v.at("/configMap/name").asText(v.at("/secret/secretName").asText())));
        Map<String, String> mounted = new TreeMap<>();
        pod.at("/containers/0/volumeMounts").forEach(m -> mounted.put(m.path("mountPath").asText(), volumes.get(m.path("name").asText())));
        String routes = settings.getOrDefault("ROUTES_DIR", "");
        must(mounted.equals(Map.of(routes, "llmchat-routes", routes + "/providers", "llmchat-routes-providers",
                Path.of(settings.get("KEYS_FILE")).getParent().toString(), "llmchat-keys")), "ROUTES_DIR and KEYS_FILE are not what is mounted: " + mounted);
        List<String> generated = deployed.yaml(Path.of("src/main/resources/routes/kustomization.yaml")).path("configMapGenerator").findValuesAsText("name");
        must(generated.containsAll(List.of("llmchat-routes", "llmchat-routes-providers")), "the ConfigMaps with the routes are not made");
    }

    private void camelK(Deployed deployed) throws IOException {
        JsonNode spec = deployed.yaml(CAMEL_K.resolve("integration.yaml")).path("spec");
        JsonNode traits = spec.path("traits");
        JsonNode container = spec.at("/template/spec/containers/0");
        Map<String, String> settings = deployed.env(CAMEL_K.resolve("settings.env"));
        settings("Camel K", settings);
        oneOfSeveral("Camel K", settings);
        String port = settings.get("PORT");
        must(traits.at("/container/port").asText().equals(port), "the Integration's port is not PORT");
        must(traits.at("/container/name").asText().equals(container.path("name").asText()), "settings of a container that is not there");
        must(traits.at("/container/image").asText().matches(".+:\\d+\\.\\d+\\.\\d+"), "the Integration's image is not pinned");
        probes("Camel K", container, port);
        grace("Camel K", spec.at("/template/spec/terminationGracePeriodSeconds").asInt(), 5, settings);

        connections(deployed, Integer.parseInt(Matches.of(deployed.text(CAMEL_K.resolve("README.md")), "--replicas (\\d+)").get(0).get(0)), settings);

        Set<String> generated = new TreeSet<>();
        for (String folder : List.of(CAMEL_K.toString(), "kamelets", "src/main/resources/routes")) {
            generated.addAll(deployed.yaml(Path.of(folder, "kustomization.yaml")).path("configMapGenerator").findValuesAsText("name"));
        }
        must(generated.contains(container.at("/envFrom/0/configMapRef/name").asText()), "the Integration's settings are not there");
        Set<String> at = new TreeSet<>();
        for (JsonNode resource : traits.at("/mount/resources")) {
            String[] parts = resource.asText().split("[:@]");
            must(generated.contains(parts[1]), parts[1] + " is not there");
            at.add(parts[2]);
        }
        String routes = settings.get("ROUTES_DIR");
        must(at.equals(Set.of(routes, routes + "/providers", routes + "/kamelets")), "routes are not mounted in ROUTES_DIR");
        Set<String> written = new TreeSet<>();
        traits.at("/mount/emptyDirs").forEach(d -> written.add(d.asText().split(":")[1]));
        must(written.equals(Set.of("/tmp", settings.get("DATA_DIR"))), "what an Integration writes to is not mounted");
    }

    private void compose(Deployed deployed) throws IOException {
        JsonNode compose = deployed.yaml(COMPOSE);
        JsonNode gateway = compose.path("x-gateway");
        Map<String, String> settings = new TreeMap<>();
        gateway.path("environment").properties().forEach(e -> settings.put(e.getKey(), e.getValue().asText()));
        Set<String> asked = new TreeSet<>();
        Pattern.compile("\\$\\{([A-Z_]+)").matcher(deployed.text(COMPOSE)).results().forEach(m -> asked.add(m.group(1)));
        must(asked.equals(deployed.env(COMPOSE_ENV).keySet()), "the example names other variables");
        must(gateway.path("env_file").asText().equals(".env"), "what stands in deploy/.env is not for the gateways");
        settings.values().removeIf(v -> v.startsWith("$"));
        settings("compose.yaml", settings);
        oneOfSeveral("compose.yaml", settings);
        Map<String, String> suggested = new TreeMap<>();
        Matches.of(deployed.text(COMPOSE_ENV), "(?m)^#([A-Z_]+)=(.+)$").forEach(m -> suggested.put(m.get(0), m.get(1)));
        settings("compose.env.example", suggested);
        String own = gateway.at("/volumes/0").asText();
        must(own.startsWith("./own:/") && own.endsWith(":ro") && suggested.size() == 2 && suggested.values().stream()
                .allMatch(path -> path.startsWith(own.split(":")[1] + "/")), "what compose.env.example names is not mounted");
        must(Files.isDirectory(Path.of("deploy", own.split(":")[0])), "Docker makes the folder for files of one's own, as root");
        String nginx = compose.at("/services/nginx/networks/default/ipv4_address").asText();
        must(nginx.equals(settings.get("TRUSTED_PROXIES")), "others than nginx say where callers come from, or nginx may not");
        JsonNode network = compose.at("/networks/default/ipam/config/0");
        must(contains(network.path("subnet").asText(), nginx), "nginx's address is not in the network");
        must(!contains(network.path("ip_range").asText(), nginx), "another container may get nginx's address");
        for (JsonNode each : List.of(gateway, compose.at("/services/nginx"))) {
            grace("compose.yaml", Integer.parseInt(each.path("stop_grace_period").asText("10s").replace("s", "")), 0, settings);
        }
        for (JsonNode service : compose.path("services")) {
            for (JsonNode volume : service.path("volumes")) {
                String source = volume.asText().split(":")[0];
                must(source.startsWith(".") ? Files.isRegularFile(Path.of("deploy", source)) : compose.path("volumes").has(source),
                        source + " is not there");
            }
        }
        for (JsonNode image : compose.findValues("image")) {
            pinned(image.asText());
        }
        must(Files.isRegularFile(Path.of(compose.at("/services/gateway-1/build/dockerfile").asText())), "compose.yaml builds from a file that is not there");
        must(compose.findValues("build").size() == 1, "the same image is built several times at once, of which all but one fail");
        must(gateway.path("pull_policy").asText().equals("never"), "the image that is built is looked for in a registry");
        must(compose.at("/services/postgres/healthcheck/test/1").asText().contains(" -h 127.0.0.1 "), "the server that sets up a volume counts as ready");
        String upstream = deployed.text(Path.of("deploy/nginx/upstream.compose.conf"));
        must(upstream.contains("    resolver 127.0.0.11 "), "nginx asks somebody else than Docker for names");
        Matches.of(upstream, "server ([^:]+):(\\d+)( resolve)?").forEach(m -> {
            must(m.get(2) != null, "nginx does not notice when " + m.get(0) + " gets another address");
            must(compose.path("services").has(m.get(0)), "nginx asks " + m.get(0));
            must(m.get(1).equals(settings.get("PORT")), "nginx asks port " + m.get(1));
        });
        must(deployed.text(NGINX).contains("proxy_set_header Host $http_host;"), "the gateway takes nginx's own pages for those of another origin");
        long read = Matches.of(deployed.text(NGINX), "proxy_read_timeout (\\d+)s").stream().mapToLong(m -> Long.parseLong(m.get(0))).max().orElse(0);
        must(read * 1000 >= Long.parseLong(settings.getOrDefault("STREAM_TIMEOUT", "300000")), "nginx gives streams less time than the gateway");
    }

    private static boolean contains(String range, String address) {
        String[] parts = range.split("/");
        return new IpSubnetFilterRule(parts[0], Integer.parseInt(parts[1]), IpFilterRuleType.ACCEPT).matches(new InetSocketAddress(address, 0));
    }

    /** An instance does not refuse what another one, there or to be added, could take. */
    private void oneOfSeveral(String where, Map<String, String> settings) {
        must("0".equals(settings.get("RATE_LIMIT_MAX_REQUESTS")), where + ": an instance refuses before another one is added");
    }

    /** Every path on which a provider is asked is one where nginx waits for it, and keeps nothing back. */
    private void chats(Deployed deployed) throws IOException {
        Pattern location = Pattern.compile(Matches.of(deployed.text(NGINX), "location ~ (\\S+) \\{\\s+proxy_pass \\S+\\s+proxy_buffering off").get(0).get(0));
        for (JsonNode item : deployed.yaml(Path.of("src/main/resources/routes/http.camel.yaml"))) {
            for (JsonNode post : item.at("/rest/post")) {
                String path = item.at("/rest/path").asText() + post.path("path").asText().replaceAll("\\{\\w+}", "some-id");
                must(!Set.of("direct:chat", "direct:retry").contains(post.path("to").asText()) || location.matcher(path).find(),
                        "nginx takes " + path + " for something short");
            }
        }
    }

    private void image(Deployed deployed) throws IOException {
        String dockerfile = deployed.text(DOCKERFILE);
        Set<String> context = new TreeSet<>();
        deployed.text(Path.of(".dockerignore")).lines().filter(l -> l.startsWith("!")).forEach(l -> context.add(l.substring(1)));
        Set<String> stages = new TreeSet<>();
        for (List<String> from : Matches.of(dockerfile, "(?m)^FROM (\\S+)(?: AS (\\S+))?")) {
            if (!stages.contains(from.get(0))) {
                pinned(from.get(0));
            }
            stages.add(from.get(1) == null ? "" : from.get(1));
        }
        must(stages.size() == 5, "the image has " + stages.size() + " stages");
        for (List<String> copy : Matches.of(dockerfile, "(?m)^COPY (--from=(\\S+) (?:--chown=root:root )?)?(\\S+) \\S+$")) {
            if (copy.get(1) != null) {
                must(stages.contains(copy.get(1)), "there is no stage " + copy.get(1));
            } else {
                must(Files.exists(Path.of(copy.get(2))), copy.get(2) + " is not there");
                must(context.contains(copy.get(2)), copy.get(2) + " is left out by .dockerignore");
            }
        }
        List<List<String>> users = Matches.of(dockerfile.substring(dockerfile.lastIndexOf("\nFROM ")), "(?m)^USER (\\S+)");
        must(users.size() == 1 && users.get(0).get(0).matches("[1-9]\\d+:[1-9]\\d+"), "the image runs as root");
        must(dockerfile.contains("ENTRYPOINT [\"./llmchat\", \"start\"]"), "the launcher does not start it");
        must(!dockerfile.contains("-XX:"), "flags of the JVM outside of the launcher");
        must(dockerfile.matches("(?s).*\\nFROM \\S+-jdk\\S* AS runtime\\n.*"), "no jcmd, which docs/operate.md asks for");
    }

    private void pinned(String image) {
        must(image.matches("[^:]+:.*\\d.*") && !image.contains("latest"), image + " is not pinned");
    }

    private void selects(String who, JsonNode selector, JsonNode labels) {
        must(selector.size() > 0 && selector.properties().stream().allMatch(e -> e.getValue().equals(labels.path(e.getKey()))),
                who + " selects other pods");
    }

    private void probes(String where, JsonNode container, String port) throws IOException {
        Set<String> paths = Set.copyOf(new com.fasterxml.jackson.dataformat.yaml.YAMLMapper()
                .readTree(Path.of("src/main/resources/routes/http.camel.yaml").toFile()).findValuesAsText("path"));
        for (String probe : List.of("startupProbe", "livenessProbe", "readinessProbe")) {
            JsonNode get = container.path(probe).path("httpGet");
            must(paths.contains(get.path("path").asText()), where + ": there is no path " + get.path("path").asText());
            must(get.path("port").asText().equals(port), where + ": " + probe + " asks another port");
        }
        must(container.at("/readinessProbe/httpGet/path").asText().equals("/health/ready"), where + ": readiness is asked elsewhere");
    }

    /** The seconds before a drain, those in which it still accepts, those that streams take or are given, and twenty for what is written at the end. */
    private void grace(String where, int seconds, int before, Map<String, String> settings) {
        long streams = Math.max(Long.parseLong(settings.getOrDefault("STREAM_TIMEOUT", "300000")),
                Long.parseLong(settings.getOrDefault("DRAIN_GRACE", "300000"))) / 1000;
        long accepts = Long.parseLong(settings.getOrDefault("DRAIN_DELAY", "5000")) / 1000;
        must(seconds >= streams + before + accepts + 20, where + ": " + seconds + " s are not enough to end");
    }

    /** The gateway knows these variables, and takes their values. */
    private void settings(String where, Map<String, String> settings) throws IOException {
        Set<String> known = new TreeSet<>(OF_THE_LAUNCHER);
        for (String file : List.of("application.properties", "src/main/resources/log4j2.properties")) {
            Matches.of(Files.readString(Path.of(file)), "\\benv:([A-Z0-9_]+)").forEach(m -> known.add(m.get(0)));
        }
        for (String name : settings.keySet()) {
            must(known.contains(name), where + ": nobody reads " + name);
        }
        Settings.faults(settings).forEach(fault -> faults.add(where + ": " + fault));
    }

    /** MiB of LLMCHAT_HEAP, or of the launcher's own heap. */
    private static long heap(Map<String, String> settings) throws IOException {
        String usual = Matches.of(Files.readString(Path.of("llmchat")), "else flags\\+=\\(-Xms\\w+ -Xmx(\\w+)").get(0).get(0);
        return mebibytes(settings.getOrDefault("LLMCHAT_HEAP", usual));
    }

    /** As Kubernetes writes it (512Mi) or the JVM (200m). */
    private static long mebibytes(String amount) {
        return Long.parseLong(amount.replaceAll("\\D", "")) * (amount.matches("\\d+[gG]i?") ? 1024 : 1);
    }

    private static int postgresConnections(Deployed deployed) throws IOException {
        return Integer.parseInt(Matches.of(deployed.text(POSTGRES), "(?m)^max_connections = (\\d+)").get(0).get(0));
    }

    /** What the groups of a pattern match, for each place where it does. */
    private static final class Matches {
        private Matches() {
        }

        static List<List<String>> of(String text, String pattern) {
            return Pattern.compile(pattern).matcher(text).results().map(m -> {
                List<String> groups = new ArrayList<>();
                for (int i = 1; i <= m.groupCount(); i++) {
                    groups.add(m.group(i));
                }
                return groups;
            }).toList();
        }
    }
}
