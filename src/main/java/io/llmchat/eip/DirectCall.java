package io.llmchat.eip;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProducer;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.processor.SendDynamicProcessor;
import org.apache.camel.support.service.ServiceHelper;

/**
 * {@code toD} to a {@code direct:} route, which remembers what it has called: Camel's normalises the address, looks up the
 * endpoint and borrows a producer each time.
 */
final class DirectCall extends SendDynamicProcessor {

    /** Names may come from callers. */
    private static final int REMEMBERED = 100;

    private final Map<String, AsyncProducer> producers = new ConcurrentHashMap<>();

    DirectCall(SendDynamicProcessor camels) {
        super(camels.getUri(), camels.getExpression());
        setCamelContext(camels.getCamelContext());
        setDisabled(camels.isDisabled());
        setCacheSize(camels.getCacheSize());
        setAllowOptimisedComponents(camels.isAllowOptimisedComponents());
        setAutoStartupComponents(camels.isAutoStartupComponents());
    }

    /** Whether this is all that is asked for. */
    static boolean does(SendDynamicProcessor camels) {
        return camels.getUri().startsWith("direct:") && camels.getPattern() == null && camels.getVariableSend() == null
                && camels.getVariableReceive() == null && !camels.isIgnoreInvalidEndpoint();
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        AsyncProducer producer = null;
        if (!camelContext.getCamelContextExtension().isEventNotificationApplicable()) {
            try {
                producer = producer(expression.evaluate(exchange, String.class));
            } catch (Exception e) {
                exchange.setException(e);
                callback.done(true);
                return true;
            }
        }
        if (producer == null) {
            return super.process(exchange, callback);
        }
        exchange.setProperty(ExchangePropertyKey.TO_ENDPOINT, producer.getEndpoint().getEndpointUri());
        return producer.process(exchange, callback);
    }

    private AsyncProducer producer(String uri) throws Exception {
        AsyncProducer producer = uri == null ? null : producers.get(uri);
        if (producer == null && uri != null && uri.startsWith("direct:") && producers.size() < REMEMBERED) {
            producer = camelContext.getEndpoint(uri).createAsyncProducer();
            ServiceHelper.startService(producer);
            producers.put(uri, producer);
        }
        return producer;
    }

    @Override
    protected void doStop() throws Exception {
        super.doStop();
        ServiceHelper.stopService(producers.values());
        producers.clear();
    }
}
