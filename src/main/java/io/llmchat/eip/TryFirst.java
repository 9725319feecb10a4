package io.llmchat.eip;

import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.processor.TryProcessor;
import org.apache.camel.support.AsyncProcessorConverterHelper;
import org.apache.camel.support.ExchangeHelper;
import org.apache.camel.support.processor.DelegateSyncProcessor;

/**
 * {@code doTry} without {@code doFinally}, which asks its catches where something has failed: Camel's asks each of them
 * each time.
 */
final class TryFirst extends TryProcessor {

    private final AsyncProcessor block;
    /** With nothing left to try. */
    private final TryProcessor failed;

    TryFirst(CamelContext context, TryProcessor camels) {
        super(context, camels.next().get(0), camels.getCatchClauses(), camels.getFinallyProcessor());
        block = AsyncProcessorConverterHelper.convert(camels.next().get(0));
        failed = new TryProcessor(context, new DelegateSyncProcessor(exchange -> { }), camels.getCatchClauses(), camels.getFinallyProcessor());
        setDisabled(camels.isDisabled());
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        if (exchange.isRouteStop()) {
            callback.done(true);
            return true;
        }
        // of a doTry around this one
        Object handled = exchange.removeProperty(ExchangePropertyKey.EXCEPTION_HANDLED);
        exchange.setProperty(ExchangePropertyKey.TRY_ROUTE_BLOCK, true);
        ExchangeHelper.prepareOutToIn(exchange);
        return block.process(exchange, sync -> {
            if (exchange.getException() == null) {
                ended(exchange, handled, callback, sync);
            } else {
                failed.process(exchange, later -> ended(exchange, handled, callback, false));
            }
        });
    }

    private static void ended(Exchange exchange, Object handled, AsyncCallback callback, boolean sync) {
        ExchangeHelper.prepareOutToIn(exchange);
        exchange.removeProperty(ExchangePropertyKey.TRY_ROUTE_BLOCK);
        exchange.setProperty(ExchangePropertyKey.EXCEPTION_HANDLED, handled);
        callback.done(sync);
    }
}
