package io.llmchat.host;

import io.llmchat.ops.Cause;
import org.apache.camel.CamelContext;
import org.apache.camel.dsl.yaml.YamlRoutesBuilderLoader;
import org.apache.camel.dsl.yaml.common.YamlDeserializationContext;
import org.apache.camel.dsl.yaml.common.exception.InvalidNodeTypeException;
import org.apache.camel.dsl.yaml.common.exception.YamlDeserializationException;
import org.apache.camel.spi.Resource;
import org.snakeyaml.engine.v2.api.ConstructNode;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeType;

/** Reads route files as Camel does, and says where in a file that stands of which Camel does not say so. */
final class RouteReader extends YamlRoutesBuilderLoader {

    RouteReader(CamelContext context) {
        setCamelContext(context);
    }

    @Override
    protected YamlDeserializationContext newYamlDeserializationContext(LoadSettings settings, Resource resource) {
        YamlDeserializationContext camels = super.newYamlDeserializationContext(settings, resource);
        YamlDeserializationContext marking = new YamlDeserializationContext(settings) {
            @Override
            public ConstructNode resolve(Node node, String id) {
                ConstructNode made = camels.resolve(node, id);
                return part -> {
                    try {
                        return made.construct(part);
                    } catch (UnsupportedOperationException e) {
                        // nothing, or a text, where there have to be parts: a file that is being written
                        throw new InvalidNodeTypeException(part, NodeType.MAPPING);
                    } catch (IllegalArgumentException e) {
                        throw new YamlDeserializationException(part, Cause.of(e));
                    }
                };
            }
        };
        marking.setResource(resource);
        marking.setCamelContext(getCamelContext());
        return marking;
    }
}
