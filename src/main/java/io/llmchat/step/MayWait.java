package io.llmchat.step;

import io.llmchat.store.MustWait;
import org.apache.camel.AsyncCallback;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.AsyncProcessorSupport;

/**
 * A step that has to wait for a store now and then. On an event loop, which must not, it is begun once more on a thread
 * of its own, a virtual one, and the route goes on there.
 */
final class MayWait extends AsyncProcessorSupport {

    private final Processor step;

    /** @param step raises {@link MustWait} before it has changed anything that it would change again */
    MayWait(Processor step) {
        this.step = step;
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        try {
            step.process(exchange);
        } catch (MustWait e) {
            Thread.startVirtualThread(() -> {
                process(exchange);
                callback.done(false);
            });
            return false;
        } catch (Exception e) {
            exchange.setException(e);
        }
        callback.done(true);
        return true;
    }

    @Override
    public void process(Exchange exchange) {
        try {
            step.process(exchange);
        } catch (Exception e) {
            exchange.setException(e);
        }
    }
}
