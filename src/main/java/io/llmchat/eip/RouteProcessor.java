package io.llmchat.eip;

import org.apache.camel.AsyncCallback;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.impl.engine.CamelInternalProcessor;
import org.apache.camel.spi.CamelInternalProcessorAdvice;
import org.apache.camel.spi.InflightRepository;
import org.apache.camel.spi.ShutdownStrategy;
import org.apache.camel.spi.UnitOfWork;

/**
 * What a route is wrapped in. Camel's does the same for every route; this one, where a route is called by another one and
 * has nothing of its own woven around it (a policy, a contract, REST's binding), does only what is asked for then: the
 * unit of work knows in which route it is. How many exchanges a route has is known of those where they come in.
 */
final class RouteProcessor extends CamelInternalProcessor {

    private final Route route;
    private final InflightRepository inflight;
    private final ShutdownStrategy shutdown;
    private boolean woven;

    RouteProcessor(CamelContext context, Processor steps, Route route) {
        super(context, steps);
        this.route = route;
        inflight = context.getInflightRepository();
        shutdown = context.getShutdownStrategy();
        // whose unit of work is used again for another exchange
        woven = context.getCamelContextExtension().getExchangeFactory().isPooled();
    }

    @Override
    public void addAdvice(CamelInternalProcessorAdvice<?> advice) {
        woven |= !(advice instanceof UnitOfWorkProcessorAdvice || advice instanceof RouteInflightRepositoryAdvice
                || advice instanceof RouteLifecycleAdvice);
        super.addAdvice(advice);
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        UnitOfWork work = exchange.getUnitOfWork();
        if (woven || work == null || UnitsOfWork.askForCamels(exchange) || exchange.isRouteStop() || shutdown.isForceShutdown()) {
            return super.process(exchange, callback);
        }
        if (exchange.getFromRouteId() == null) {
            exchange.getExchangeExtension().setFromRouteId(route.getRouteId());
        }
        // in a route that was called by another one it counts there, for as long
        boolean counts = work.getRoute() == null;
        if (counts) {
            inflight.add(exchange, route.getRouteId());
        }
        work.pushRoute(route);
        work.beforeRoute(exchange, route);
        return processor.process(exchange, sync -> {
            UnitOfWork still = exchange.getUnitOfWork();
            if (still != null) {
                still.afterRoute(exchange, route);
            }
            if (counts) {
                inflight.remove(exchange, route.getRouteId());
            }
            if (still != null) {
                still.popRoute();
            }
            callback.done(sync);
        });
    }
}
