package io.llmchat.eip;

import org.apache.camel.CamelContext;
import org.apache.camel.Channel;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.impl.engine.CamelInternalProcessor.UnitOfWorkProcessorAdvice;
import org.apache.camel.processor.DefaultInternalProcessorFactory;
import org.apache.camel.processor.RoutePipeline;
import org.apache.camel.spi.InternalProcessor;

/** What Camel's routing engine puts around routes, and around and between their steps: as much as is asked for. */
final class Engine extends DefaultInternalProcessorFactory {

    @Override
    public Channel createChannel(CamelContext context) {
        return new StepChannel(context);
    }

    @Override
    public InternalProcessor addUnitOfWorkProcessorAdvice(CamelContext context, Processor processor, Route route) {
        if (route == null || !(processor instanceof RoutePipeline pipeline)) {
            return super.addUnitOfWorkProcessorAdvice(context, processor, route);
        }
        RouteProcessor whole = new RouteProcessor(context, new Steps(context, pipeline), route);
        whole.addAdvice(new UnitOfWorkProcessorAdvice(route, context));
        return whole;
    }
}
