package io.llmchat.step;

import org.apache.camel.AggregationStrategy;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultExchange;

/**
 * Gathers message bodies that are JSON values in a JSON array, in an exchange of its own: the exchange of the first one
 * would bring along what became of its request, and a request that failed would end the batch.
 */
public final class Batch implements AggregationStrategy {

    @Override
    public Exchange aggregate(Exchange batch, Exchange next) {
        CharSequence value = (CharSequence) next.getMessage().getBody();
        if (batch == null) {
            Exchange gathered = new DefaultExchange(next.getContext());
            gathered.getIn().setBody(new StringBuilder("[").append(value));
            return gathered;
        }
        ((StringBuilder) batch.getIn().getBody()).append(',').append(value);
        return batch;
    }

    @Override
    public void onCompletion(Exchange batch) {
        if (batch.getIn().getBody() instanceof StringBuilder array) {
            batch.getIn().setBody(array.append(']').toString());
        }
    }
}
