package io.llmchat.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.Namespace;
import io.fabric8.kubernetes.api.model.ObjectMeta;
import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.api.model.apps.Deployment;
import io.fabric8.kubernetes.api.model.autoscaling.v2.HorizontalPodAutoscaler;
import io.fabric8.kubernetes.api.model.networking.v1.NetworkPolicy;
import io.fabric8.kubernetes.api.model.policy.v1.PodDisruptionBudget;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What Kubernetes and Camel K say that their resources look like: Kubernetes' types as fabric8 makes them from its API,
 * and the definitions that Camel K installs. Stricter than a cluster: a field that is not known is a fault.
 */
final class Schemas {

    private static final Map<String, Class<?>> KUBERNETES = Map.of(
            "v1/ConfigMap", ConfigMap.class,
            "v1/Namespace", Namespace.class,
            "v1/Service", Service.class,
            "apps/v1/Deployment", Deployment.class,
            "autoscaling/v2/HorizontalPodAutoscaler", HorizontalPodAutoscaler.class,
            "networking.k8s.io/v1/NetworkPolicy", NetworkPolicy.class,
            "policy/v1/PodDisruptionBudget", PodDisruptionBudget.class);

    private static final Map<String, String> CAMEL_K = Map.of(
            "camel.apache.org/v1/Integration", "integrations",
            "camel.apache.org/v1/Kamelet", "kamelets");

    /** The types keep fields that they do not know; here those are to be refused, and text is no number. */
    private static final ObjectMapper STRICT = JsonMapper.builder()
            .annotationIntrospector(new JacksonAnnotationIntrospector() {
                @Override
                public Boolean hasAnySetter(Annotated a) {
                    return false;
                }
            })
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
            .build();

    private static final Map<String, JsonSchema> DEFINITIONS = new HashMap<>();

    private Schemas() {
    }

    /** What is wrong with a resource; nothing if it is as it should be. */
    static List<String> faults(JsonNode resource) throws IOException {
        String kind = resource.path("apiVersion").asText() + "/" + resource.path("kind").asText();
        if (KUBERNETES.containsKey(kind)) {
            return faults(resource, KUBERNETES.get(kind));
        }
        if (CAMEL_K.containsKey(kind)) {
            List<String> faults = new java.util.ArrayList<>(faults(resource.path("metadata"), ObjectMeta.class));
            definition(CAMEL_K.get(kind)).validate(resource).forEach(m -> faults.add(m.getMessage()));
            return faults;
        }
        return List.of(kind + " is no kind that is known here");
    }

    private static List<String> faults(JsonNode value, Class<?> type) {
        try {
            STRICT.treeToValue(value, type);
            return List.of();
        } catch (JsonProcessingException e) {
            return List.of(e.getOriginalMessage());
        }
    }

    private static synchronized JsonSchema definition(String plural) throws IOException {
        JsonSchema known = DEFINITIONS.get(plural);
        if (known == null) {
            try (InputStream in = Schemas.class.getResourceAsStream("/camel.apache.org_" + plural + ".yaml")) {
                for (JsonNode version : new YAMLMapper().readTree(in).path("spec").path("versions")) {
                    if (version.path("name").asText().equals("v1")) {
                        JsonNode schema = version.path("schema").path("openAPIV3Schema");
                        close(schema);
                        known = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V7).getSchema(schema);
                    }
                }
            }
            DEFINITIONS.put(plural, known);
        }
        return known;
    }

    /** A cluster drops fields that a definition does not name, silently; here they are refused. */
    private static void close(JsonNode schema) {
        if (schema instanceof ObjectNode object && object.path("properties").isObject() && !object.has("additionalProperties")
                && !object.path("x-kubernetes-preserve-unknown-fields").asBoolean()) {
            object.put("additionalProperties", false);
        }
        schema.forEach(Schemas::close);
    }
}
