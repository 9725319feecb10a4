package io.llmchat.step;

import io.llmchat.http.Memory;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.camel.AggregationStrategy;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.SynchronizationAdapter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Gathers JSON values, each the {@link #row} of an exchange, in a JSON array, in an exchange of its own: the exchange of the
 * first one would bring along what became of its request, and a request that failed would end the batch.
 */
public final class Batch implements AggregationStrategy {

    /** The exchange property with the value, where the body is the answer of a route. */
    static final String ROW = "usageRow";

    private static final Logger LOG = LoggerFactory.getLogger(Batch.class);
    private static final String WAITS = "waits";

    /** What a batch that waits takes beside its rows. */
    private static final int WAITING = 8_192;

    /** Of more memory than this none is kept: batches of 1000 rows need 1 MB. */
    private static final int KEPT = 4 << 20;

    /**
     * The last batch's memory: large arrays that grow anew for each batch outlive a young generation that is as small as
     * the gateway's, and fill the old one.
     */
    private final AtomicReference<StringBuilder> spare = new AtomicReference<>();

    @Override
    public Exchange aggregate(Exchange batch, Exchange next) {
        CharSequence value = (CharSequence) row(next);
        if (batch == null) {
            Exchange gathered = new DefaultExchange(next.getContext());
            StringBuilder array = spare.getAndSet(null);
            gathered.getIn().setBody((array == null ? new StringBuilder() : array).append('[').append(value));
            return gathered;
        }
        ((StringBuilder) batch.getIn().getBody()).append(',').append(value);
        return batch;
    }

    /** What is gathered of it: the property, or else the body. */
    public static Object row(Exchange next) {
        Object row = next.getProperty(ROW);
        return row == null ? next.getMessage().getBody() : row;
    }

    @Override
    public void onCompletion(Exchange batch) {
        if (batch.getIn().getBody() instanceof StringBuilder array) {
            batch.getIn().setBody(array.append(']').toString());
            if (array.capacity() <= KEPT) {
                array.setLength(0);
                spare.set(array);
            }
        }
    }

    /** Whether there is room for a batch that no store has taken, which keeps it until it is written. */
    public static boolean mayWait(Exchange batch) {
        if (batch.getProperty(WAITS) != null) {
            return true;
        }
        int bytes = WAITING + batch.getMessage().getBody(String.class).length();
        if (!Memory.USAGE.take(bytes, 0)) {
            LOG.error("Usage is lost: PostgreSQL and Redis do not take it, and more is waiting for them than is kept in memory");
            return false;
        }
        batch.setProperty(WAITS, true);
        batch.getExchangeExtension().addOnCompletion(new SynchronizationAdapter() {
            @Override
            public void onDone(Exchange written) {
                Memory.USAGE.give(bytes);
            }
        });
        return true;
    }
}
