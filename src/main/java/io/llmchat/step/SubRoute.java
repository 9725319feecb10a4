package io.llmchat.step;

import org.apache.camel.Exchange;
import org.apache.camel.ProducerTemplate;

/** Routes that a step asks for something that it needs only now and then: no file names them, and no version is without them. */
public enum SubRoute {

    AGENT("direct:enrich-agent"), KEY("direct:enrich-key"), CONVERSATION("direct:enrich-conversation");

    private final String uri;

    SubRoute(String uri) {
        this.uri = uri;
    }

    public String uri() {
        return uri;
    }

    /**
     * Asks it, on the calling thread.
     *
     * @return the text that the route ends with, or null
     * @throws Exception what the route ends with instead
     */
    String ask(Exchange asking, Object body) throws Exception {
        try (ProducerTemplate template = asking.getContext().createProducerTemplate()) {
            Exchange asked = template.request(uri, e -> e.getMessage().setBody(body));
            if (asked.getException() != null) {
                throw asked.getException();
            }
            return asked.getMessage().getBody(String.class);
        }
    }
}
