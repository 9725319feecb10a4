package io.llmchat.host;

import io.llmchat.eip.Eips;
import io.llmchat.http.ErrorTable;
import io.llmchat.http.Gate;
import io.llmchat.llm.LlmComponent;
import io.llmchat.llm.LlmEndpoint;
import io.llmchat.step.Authenticate;
import io.llmchat.store.Statements;
import io.vertx.core.Vertx;
import io.vertx.ext.web.Router;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.camel.CamelContext;
import org.apache.camel.Route;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.main.Main;
import org.apache.camel.main.SimpleMainShutdownStrategy;
import org.apache.camel.spi.Registry;
import org.apache.camel.support.DefaultRegistry;
import org.apache.camel.support.service.ServiceHelper;

/**
 * One version of the route files at work: a Camel context of its own, whose HTTP routes hang on a router of its own.
 * What all versions share (pools, Redis, metrics, circuit breakers) it finds in the host's registry.
 */
final class Generation {

    /** The routes that come to work only when they are called, by requests or by other routes. */
    private static final Set<String> CALLED = Set.of("rest:", "platform-http:", "direct:", "kamelet:", "seda:");

    private final Main main;
    private final HttpRoutes http;
    private final ErrorTable errors;

    /**
     * Starts the routes.
     *
     * @param host where beans are looked up that the routes do not have themselves
     * @param overrides property values that come before those of application.properties
     * @throws RoutesRefused why the routes cannot be used; nothing of them is left then
     */
    Generation(RouteFiles files, Registry host, Map<String, String> overrides, Vertx vertx, Gate gate, long maxBody) throws RoutesRefused {
        DefaultRegistry beans = new DefaultRegistry(host);
        http = new HttpRoutes(beans, vertx, maxBody, host.findSingleByType(Authenticate.class)::isStranger);
        main = new Main() {
            @Override
            protected CamelContext createCamelContext() {
                DefaultCamelContext context = new DefaultCamelContext(false) {
                    @Override
                    public boolean removeRoute(String id) throws Exception {
                        // Camel asks it of each kamelet's route before it adds it, and would look at all that are there first
                        return getRouteServices().containsKey(id) && super.removeRoute(id);
                    }
                };
                context.getCamelContextExtension().setRegistry(beans);
                beans.bind("routeReader", new RouteReader(context));
                host.findSingleByType(Eips.class).in(context);
                context.addComponent("timer", new Timers());
                context.getCamelContextExtension().registerEndpointCallback(Statements.in(context));
                return context;
            }

            @Override
            protected void modelineRoutes(CamelContext context) {
                // comments for the Camel CLI, for which all files would be read once more
            }
        };
        // a shutdown hook for each would keep all of them for ever
        main.setShutdownStrategy(new SimpleMainShutdownStrategy());
        Properties values = new Properties();
        values.put("camel.component.kamelet.location", files.kamelets());
        values.putAll(overrides);
        main.setOverrideProperties(values);
        try {
            main.configure().withRoutesIncludePattern(files.routes());
            if (!files.editable()) {
                main.configure().withRoutesExcludePattern("**/" + RouteFiles.BEANS);
            }
            main.start();
            Fault loose = new FaultFinder(files, main.getCamelContext()).looseEnd();
            errors = main.getCamelContext().getRegistry().findSingleByType(ErrorTable.class);
            if (loose == null && http.router().getRoutes().isEmpty()) {
                loose = new Fault(null, 0, "There is no HTTP route (http.camel.yaml).");
            }
            if (loose != null || errors == null) {
                throw new RoutesRefused(loose != null ? loose : new Fault(null, 0, "There is no table of errors (errors.camel.yaml)."), null);
            }
            gate.catchErrors(http.router(), () -> errors, maxBody);
        } catch (Throwable e) {
            // an error too: of a class that a bean needs, and of whatever else is of this version only
            RoutesRefused refused = refused(files, e);
            main.stop();
            throw refused;
        }
    }

    private RoutesRefused refused(RouteFiles files, Throwable e) {
        if (e instanceof RoutesRefused refused) {
            return refused;
        }
        try {
            return new RoutesRefused(new FaultFinder(files, main.getCamelContext()).of(e), e);
        } catch (Exception unreadable) {
            return new RoutesRefused(new Fault(null, 0, String.valueOf(e.getMessage())), e);
        }
    }

    Router router() {
        return http.router();
    }

    ErrorTable errors() {
        return errors;
    }

    /** How many requests it has taken and not finished. */
    int requests() {
        return http.requests();
    }

    /** The names of its providers. */
    Set<String> providers() {
        return LlmComponent.of(main.getCamelContext()).providers().stream().map(LlmEndpoint::getProvider)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** From how many files its routes are. */
    int files() {
        return (int) main.getCamelContext().getRoutes().stream().map(r -> r.getSourceResource()).filter(s -> s != null)
                .map(s -> s.getLocation()).distinct().count();
    }

    /** Begins no more jobs: those of the version after it do them now. What is called from within, or has begun, goes on. */
    void suspendJobs() {
        for (Route route : main.getCamelContext().getRoutes()) {
            if (CALLED.stream().noneMatch(route.getEndpoint().getEndpointUri()::startsWith)) {
                // one that is stopped stops its steps too, before one who is amid them
                ServiceHelper.suspendService(route.getConsumer());
            }
        }
    }

    /**
     * Ends the routes, and writes out the last batch of what was used. To be called when there are no requests: one that
     * ends after this would find no batch to join.
     *
     * @param seconds how long is waited for the batch to be written
     */
    void stop(int seconds) {
        main.getCamelContext().getShutdownStrategy().setTimeout(seconds);
        main.stop();
    }
}
