package io.llmchat.eip;

import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.Exchange;
import org.apache.camel.Route;
import org.apache.camel.ServiceStatus;
import org.apache.camel.component.kamelet.KameletEndpoint;
import org.apache.camel.processor.SendProcessor;
import org.apache.camel.support.DefaultConsumer;

/**
 * A call of a kamelet that hands its route the exchange itself, as {@code direct:} does. Camel's makes a copy of it before
 * and copies the copy back after. While the kamelet's route is not there, Camel's is in charge, which waits for it.
 */
final class KameletProcessor extends SendProcessor {

    private volatile DefaultConsumer inside;

    /** @param camels as Camel has made it of the route's definition */
    KameletProcessor(SendProcessor camels, KameletEndpoint kamelet) {
        super(kamelet);
        setDisabled(camels.isDisabled());
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        AsyncProcessor route = route();
        return route == null ? super.process(exchange, callback) : route.process(exchange, callback);
    }

    private AsyncProcessor route() {
        DefaultConsumer consumer = inside;
        if (consumer == null || consumer.getStatus() != ServiceStatus.Started) {
            Route route = camelContext.getRoute(((KameletEndpoint) destination).getRouteId());
            consumer = route != null && route.getConsumer() instanceof DefaultConsumer there
                    && there.getStatus() == ServiceStatus.Started ? there : null;
            inside = consumer;
        }
        return consumer == null ? null : consumer.getAsyncProcessor();
    }
}
