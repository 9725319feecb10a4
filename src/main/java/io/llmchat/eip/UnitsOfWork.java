package io.llmchat.eip;

import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.Route;
import org.apache.camel.impl.engine.DefaultUnitOfWork;
import org.apache.camel.impl.engine.DefaultUnitOfWorkFactory;
import org.apache.camel.spi.Synchronization;
import org.apache.camel.spi.UnitOfWork;

/**
 * Makes units of work that know with less in which routes they are, and that tell their synchronizations of each route
 * only where one of them wants to know. With MDC they are Camel's.
 */
final class UnitsOfWork extends DefaultUnitOfWorkFactory {

    /** In so many routes within each other an exchange goes Camel's way, whose stack does not grow with them. */
    private static final int DEEP = 64;

    private CamelContext context;
    private boolean camels;

    @Override
    public void afterPropertiesConfigured(CamelContext of) {
        super.afterPropertiesConfigured(of);
        context = of;
        camels = Boolean.TRUE.equals(of.isUseMDCLogging());
    }

    @Override
    public UnitOfWork createUnitOfWork(Exchange exchange) {
        return camels ? super.createUnitOfWork(exchange) : new Work(exchange, context);
    }

    /** Whether an exchange asks for Camel's way around routes and steps. */
    static boolean askForCamels(Exchange exchange) {
        UnitOfWork work = exchange.getUnitOfWork();
        return exchange.isTransacted()
                || (work instanceof Work ? work.routeStackLevel() > DEEP : work != null && work.isBeforeAfterProcess());
    }

    /** As the routing engine uses it: by one thread after the other. */
    private static final class Work extends DefaultUnitOfWork {
        private Within within;
        private boolean routesMatter;

        /** The routes it is in, the innermost first. */
        private record Within(Route route, Within outer, int depth) { }

        Work(Exchange exchange, CamelContext context) {
            super(exchange, context.getInflightRepository(), Boolean.TRUE.equals(context.isAllowUseOriginalMessage()),
                    Boolean.TRUE.equals(context.isUseBreadcrumb()));
        }

        @Override
        public void addSynchronization(Synchronization synchronization) {
            routesMatter |= synchronization.getRouteSynchronization() != null;
            super.addSynchronization(synchronization);
        }

        @Override
        public void beforeRoute(Exchange exchange, Route route) {
            if (routesMatter) {
                super.beforeRoute(exchange, route);
            }
        }

        @Override
        public void afterRoute(Exchange exchange, Route route) {
            if (routesMatter) {
                super.afterRoute(exchange, route);
            }
        }

        @Override
        public Route getRoute() {
            return within == null ? null : within.route;
        }

        @Override
        public void pushRoute(Route route) {
            within = new Within(route, within, routeStackLevel() + 1);
        }

        @Override
        public Route popRoute() {
            Route route = getRoute();
            within = within == null ? null : within.outer;
            return route;
        }

        @Override
        public int routeStackLevel() {
            return within == null ? 0 : within.depth;
        }

        @Override
        public int routeStackLevel(boolean templates, boolean kamelets) {
            int level = 0;
            for (Within in = within; in != null; in = in.outer) {
                boolean kamelet = in.route.isCreatedByKamelet();
                level += kamelet ? kamelets ? 1 : 0 : templates || !in.route.isCreatedByRouteTemplate() ? 1 : 0;
            }
            return level;
        }

        @Override
        public void reset() {
            super.reset();
            within = null;
            routesMatter = false;
        }
    }
}
