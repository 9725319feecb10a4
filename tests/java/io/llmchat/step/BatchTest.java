package io.llmchat.step;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Memory;
import org.apache.camel.Exchange;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.UnitOfWorkHelper;
import org.junit.jupiter.api.Test;

class BatchTest {

    private final Batch batches = new Batch();

    @Test
    void eachBatchHasItsOwnRowsAlsoWhereAnotherIsGatheredBeforeItIsComplete() {
        Exchange first = add(add(null, "{\"a\":1}"), "{\"a\":2}");
        Exchange second = add(null, "{\"a\":3}");
        assertEquals("[{\"a\":1},{\"a\":2}]", complete(first));
        assertEquals("[{\"a\":3}]", complete(second));
        assertEquals("[{\"a\":4}]", complete(add(null, "{\"a\":4}")), "in the memory of one before");
        assertEquals("[{\"a\":1},{\"a\":2}]", first.getIn().getBody(), "which stays what it was");
    }

    @Test
    void aBatchThatNoStoreTakesWaitsIfThereIsRoomAndTakesItUntilItIsWritten() {
        Exchange batch = add(null, "{}");
        complete(batch);
        assertTrue(Memory.USAGE.take(Integer.MAX_VALUE, 0), "who is alone has what it needs");
        assertFalse(Batch.mayWait(batch));
        Memory.USAGE.give(Integer.MAX_VALUE);
        assertTrue(Batch.mayWait(batch));
        assertTrue(Batch.mayWait(batch), "and stays in its room");
        assertFalse(Memory.USAGE.take(Integer.MAX_VALUE, 0));
        UnitOfWorkHelper.doneSynchronizations(batch, batch.getExchangeExtension().handoverCompletions());
        assertTrue(Memory.USAGE.take(Integer.MAX_VALUE, 0));
        Memory.USAGE.give(Integer.MAX_VALUE);
    }

    private Exchange add(Exchange batch, String row) {
        Exchange next = new DefaultExchange(new DefaultCamelContext());
        next.getMessage().setBody(new StringBuilder(row));
        return batches.aggregate(batch, next);
    }

    private Object complete(Exchange batch) {
        batches.onCompletion(batch);
        return batch.getIn().getBody();
    }
}
