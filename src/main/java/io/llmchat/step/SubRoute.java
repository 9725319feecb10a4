package io.llmchat.step;

import org.apache.camel.Exchange;
import org.apache.camel.ProducerTemplate;

/** Asks a route for something that a step needs only now and then; on the calling thread. */
final class SubRoute {

    private SubRoute() {
    }

    /**
     * @param route such as {@code direct:enrich-agent}; gets {@code body}
     * @return the text that the route ends with, or null
     * @throws Exception what the route ends with instead
     */
    static String ask(Exchange asking, String route, Object body) throws Exception {
        try (ProducerTemplate template = asking.getContext().createProducerTemplate()) {
            Exchange asked = template.request(route, e -> e.getMessage().setBody(body));
            if (asked.getException() != null) {
                throw asked.getException();
            }
            return asked.getMessage().getBody(String.class);
        }
    }
}
