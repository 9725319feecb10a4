package io.llmchat.step;

import io.llmchat.chat.ChatException;
import java.util.concurrent.Semaphore;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.SynchronizationAdapter;

/**
 * A step that takes one of so many places until the request is over, and turns it away where none is free. Camel's
 * {@code throttle} counts for itself in each version of the routes; this one counts all that are in progress, those of
 * earlier versions too.
 */
public final class Places implements Processor {

    private final Semaphore free;
    private final SynchronizationAdapter giveBack = new SynchronizationAdapter() {
        @Override
        public void onDone(Exchange exchange) {
            free.release();
        }
    };

    /** @param places how many requests may be in progress at once */
    public Places(int places) {
        free = new Semaphore(places);
    }

    @Override
    public void process(Exchange exchange) {
        if (!free.tryAcquire()) {
            throw ChatException.overloaded("This gateway has as many chats in progress as it takes.");
        }
        exchange.getExchangeExtension().addOnCompletion(giveBack);
    }
}
