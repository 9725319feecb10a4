package io.llmchat.llm;

import org.apache.camel.NamedNode;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.component.resilience4j.ResilienceProcessor;
import org.apache.camel.processor.DefaultProcessorFactory;

/** Makes the EIPs of a context: Camel's, but for {@code circuitBreaker}, which is a {@link BreakerProcessor}. */
public final class BreakerFactory extends DefaultProcessorFactory {

    private final Breakers breakers;

    public BreakerFactory(Breakers breakers) {
        this.breakers = breakers;
    }

    @Override
    public Processor createProcessor(Route route, NamedNode definition) throws Exception {
        Processor made = super.createProcessor(route, definition);
        return made instanceof ResilienceProcessor camels ? new BreakerProcessor(camels, breakers) : made;
    }
}
