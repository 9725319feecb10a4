package io.llmchat.step;

import java.util.ArrayList;
import java.util.List;
import org.apache.camel.AggregationStrategy;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultExchange;

/**
 * Gathers message bodies in a list, in an exchange of its own: the exchange of the first one would bring along what
 * became of its request, and a request that failed would end the batch.
 */
public final class Batch implements AggregationStrategy {

    @Override
    public Exchange aggregate(Exchange batch, Exchange next) {
        Exchange gathered = batch;
        if (gathered == null) {
            gathered = new DefaultExchange(next.getContext());
            gathered.getIn().setBody(new ArrayList<>());
        }
        @SuppressWarnings("unchecked")
        List<Object> bodies = gathered.getIn().getBody(List.class);
        bodies.add(next.getMessage().getBody());
        return gathered;
    }
}
