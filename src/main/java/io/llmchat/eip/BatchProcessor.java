package io.llmchat.eip;

import io.llmchat.step.Batch;
import org.apache.camel.AsyncCallback;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.model.AggregateDefinition;
import org.apache.camel.model.language.ConstantExpression;
import org.apache.camel.processor.aggregate.AggregateProcessor;
import org.apache.camel.spi.IdAware;
import org.apache.camel.spi.RouteIdAware;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.processor.DelegateAsyncProcessor;

/**
 * Camel's {@code aggregate} with {@link Batch}, which takes nothing but rows: it is handed an exchange that has nothing
 * else, because it makes a copy of all that there is.
 */
final class BatchProcessor extends DelegateAsyncProcessor implements IdAware, RouteIdAware {

    private final AggregateProcessor camels;

    BatchProcessor(AggregateProcessor camels) {
        super(camels);
        this.camels = camels;
        setDisabled(camels.isDisabled());
    }

    /** Whether this one asks for nothing else that an exchange has. */
    static boolean does(AggregateProcessor camels, AggregateDefinition definition) {
        return camels.getAggregationStrategy() instanceof Batch && !camels.isEagerCheckCompletion()
                && camels.getCompletionTimeoutExpression() == null
                && definition.getCorrelationExpression().getExpressionType() instanceof ConstantExpression;
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        if (completesGroups(exchange)) {
            return camels.process(exchange, callback);
        }
        Exchange bare = new DefaultExchange(exchange.getContext());
        bare.getMessage().setBody(Batch.row(exchange));
        return camels.process(bare, sync -> {
            if (bare.getException() != null) {
                exchange.setException(bare.getException());
            }
            callback.done(sync);
        });
    }

    private static boolean completesGroups(Exchange exchange) {
        return exchange.getProperty(ExchangePropertyKey.AGGREGATION_COMPLETE_ALL_GROUPS) != null
                || exchange.getMessage().getHeader(Exchange.AGGREGATION_COMPLETE_ALL_GROUPS) != null
                || exchange.getMessage().getHeader(Exchange.AGGREGATION_COMPLETE_ALL_GROUPS_INCLUSIVE) != null;
    }

    @Override
    public String getId() {
        return camels.getId();
    }

    @Override
    public void setId(String id) {
        camels.setId(id);
    }

    @Override
    public String getRouteId() {
        return camels.getRouteId();
    }

    @Override
    public void setRouteId(String routeId) {
        camels.setRouteId(routeId);
    }
}
