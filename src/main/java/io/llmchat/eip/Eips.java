package io.llmchat.eip;

import io.llmchat.llm.Breakers;
import org.apache.camel.CamelContext;
import org.apache.camel.ExtendedCamelContext;
import org.apache.camel.NamedNode;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.component.kamelet.KameletEndpoint;
import org.apache.camel.component.resilience4j.ResilienceProcessor;
import org.apache.camel.model.AggregateDefinition;
import org.apache.camel.model.CircuitBreakerDefinition;
import org.apache.camel.model.ExpressionNode;
import org.apache.camel.model.OnCompletionDefinition;
import org.apache.camel.model.ProcessorDefinitionHelper;
import org.apache.camel.model.ThrottleDefinition;
import org.apache.camel.model.ToDefinition;
import org.apache.camel.model.ToDynamicDefinition;
import org.apache.camel.model.TryDefinition;
import org.apache.camel.model.language.ConstantExpression;
import org.apache.camel.processor.ConcurrentRequestsThrottler;
import org.apache.camel.processor.DefaultProcessorFactory;
import org.apache.camel.processor.SendDynamicProcessor;
import org.apache.camel.processor.SendProcessor;
import org.apache.camel.processor.TotalRequestsThrottler;
import org.apache.camel.processor.TryProcessor;
import org.apache.camel.processor.aggregate.AggregateProcessor;
import org.apache.camel.reifier.ProcessorReifier;
import org.apache.camel.spi.InternalProcessorFactory;
import org.apache.camel.spi.ProcessorFactory;
import org.apache.camel.spi.UnitOfWorkFactory;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.service.ServiceHelper;

/**
 * Makes the EIPs of a context: Camel's, but for those that every chat goes through and that can do the same with less.
 * What a definition asks for beyond that is left to Camel's.
 */
public final class Eips extends DefaultProcessorFactory {

    /** As RATE_LIMIT_MAX_REQUESTS takes: eight megabytes. */
    private static final int MOST_THROTTLED = 1_000_000;

    private static final String PROVIDER_ROUTE = "direct://provider-";

    private final Breakers breakers;

    public Eips(Breakers breakers) {
        this.breakers = breakers;
    }

    /** Has a context, which has no routes yet, use these and what goes with them around routes and steps. */
    public void in(CamelContext context) {
        ExtendedCamelContext extension = context.getCamelContextExtension();
        extension.addContextPlugin(ProcessorFactory.class, this);
        extension.addContextPlugin(InternalProcessorFactory.class, new Engine());
        extension.addContextPlugin(UnitOfWorkFactory.class, new UnitsOfWork());
    }

    @Override
    public Processor createProcessor(Route route, NamedNode definition) throws Exception {
        return switch (definition) {
            case ThrottleDefinition throttle -> throttle(route, throttle);
            case ToDefinition to -> call(route, to);
            case TryDefinition block when block.getFinallyClause() == null ->
                    new TryFirst(route.getCamelContext(), (TryProcessor) ProcessorReifier.reifier(route, block).createProcessor());
            // a wireTap is one too
            case ToDynamicDefinition to when to.getClass() == ToDynamicDefinition.class -> dynamicCall(route, to);
            // one before the consumer is part of the answer
            case OnCompletionDefinition after when !"BeforeConsumer".equals(after.getMode()) -> {
                // who ends a request may be an event loop
                after.setParallelProcessing("true");
                yield super.createProcessor(route, after);
            }
            case CircuitBreakerDefinition guard -> {
                Processor made = super.createProcessor(route, guard);
                yield made instanceof ResilienceProcessor camels ? new BreakerProcessor(camels, guard, breakers, provider(route)) : made;
            }
            case AggregateDefinition gather -> {
                Processor made = ProcessorReifier.reifier(route, gather).createProcessor();
                yield made instanceof AggregateProcessor camels && BatchProcessor.does(camels, gather) ? new BatchProcessor(camels) : made;
            }
            default -> super.createProcessor(route, definition);
        };
    }

    /** The provider that this is the route of, or null. */
    private static String provider(Route route) {
        String uri = route.getEndpoint().getEndpointUri();
        return uri.startsWith(PROVIDER_ROUTE) ? uri.substring(PROVIDER_ROUTE.length()).split("\\?")[0] : null;
    }

    private static Processor throttle(Route route, ThrottleDefinition definition) throws Exception {
        Processor made = ProcessorReifier.reifier(route, definition).createProcessor();
        if (made instanceof TotalRequestsThrottler camels && camels.isRejectExecution() && definition.getCorrelationExpression() == null
                && ((ExpressionNode) definition).getExpression() instanceof ConstantExpression) {
            int max = camels.getMaximumRequestsExpression().evaluate(new DefaultExchange(route.getCamelContext()), Integer.class);
            // its threads, which would let in later what waits
            ServiceHelper.stopAndShutdownService(camels);
            if (max > MOST_THROTTLED) {
                throw new IllegalArgumentException("a throttle takes " + MOST_THROTTLED + " requests in a window at most, each of which has its place in memory.");
            }
            ThrottleProcessor ours = new ThrottleProcessor(max, camels.getTimePeriodMillis());
            ours.setDisabled(camels.isDisabled());
            return ours;
        }
        if (made instanceof ConcurrentRequestsThrottler && (route.getEndpoint() instanceof KameletEndpoint
                || provider(route) != null
                || ProcessorDefinitionHelper.isParentOfType(CircuitBreakerDefinition.class, definition, true))) {
            // its place is free when the request is over: the next attempt would wait for itself
            throw new IllegalArgumentException("a throttle of concurrent requests cannot stand in a breaker, a kamelet or a provider's route:"
                    + " the bulkhead of the breaker (bulkheadMaxConcurrentCalls) limits a provider's calls.");
        }
        return made;
    }

    private static Processor call(Route route, ToDefinition definition) throws Exception {
        Processor made = ProcessorReifier.reifier(route, definition).createProcessor();
        // a kamelet's route ends with kamelet:sink, which goes back to its caller
        return made instanceof SendProcessor send && send.getDestination() instanceof KameletEndpoint kamelet
                && !kamelet.getEndpointKey().startsWith("kamelet://sink") && send.getVariableSend() == null && send.getVariableReceive() == null
                && send.getPattern() == null ? new KameletProcessor(send, kamelet) : made;
    }

    private static Processor dynamicCall(Route route, ToDynamicDefinition definition) throws Exception {
        Processor made = ProcessorReifier.reifier(route, definition).createProcessor();
        return made instanceof SendDynamicProcessor camels && DirectCall.does(camels) ? new DirectCall(camels) : made;
    }
}
