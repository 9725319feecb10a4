package io.llmchat.host;

import io.llmchat.http.BodyReader;
import io.llmchat.http.ErrorTable;
import io.llmchat.http.Gate;
import io.llmchat.http.HttpEngine;
import io.llmchat.ops.Tracing;
import io.vertx.core.Handler;
import io.vertx.core.Vertx;
import io.vertx.ext.web.Router;
import io.vertx.ext.web.RoutingContext;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.camel.CamelContext;
import org.apache.camel.component.platform.http.PlatformHttpConstants;
import org.apache.camel.component.platform.http.spi.PlatformHttpEngine;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpRouter;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.main.Main;
import org.apache.camel.spi.InflightRepository;
import org.apache.camel.spi.Registry;
import org.apache.camel.support.DefaultRegistry;

/**
 * One version of the route files at work: a Camel context of its own, whose HTTP routes hang on a router of its own.
 * What all versions share (pools, Redis, metrics, circuit breakers) it finds in the host's registry.
 */
final class Generation {

    /** The name under which Camel looks for the router of a server whose port it does not know. */
    private static final String ROUTER = VertxPlatformHttpRouter.PLATFORM_HTTP_ROUTER_NAME_ZERO;

    private final Main main;
    private final Router router;
    private final ErrorTable errors;

    /**
     * Starts the routes.
     *
     * @param host where beans are looked up that the routes do not have themselves
     * @param overrides property values that come before those of application.properties
     * @throws Exception why the routes do not start; nothing of them is left then
     */
    Generation(Registry host, Map<String, String> overrides, Vertx vertx, Gate gate, long maxBody) throws Exception {
        router = Router.router(vertx);
        DefaultRegistry beans = new DefaultRegistry(host);
        beans.bind(ROUTER, new VertxPlatformHttpRouter(null, vertx, router, ROUTER) {
            @Override
            public Handler<RoutingContext> bodyHandler() {
                return new BodyReader(maxBody);
            }
        });
        beans.bind(PlatformHttpConstants.PLATFORM_HTTP_ENGINE_NAME, PlatformHttpEngine.class, new HttpEngine(ROUTER, host.findSingleByType(Tracing.class)));
        main = new Main() {
            @Override
            protected CamelContext createCamelContext() {
                DefaultCamelContext context = new DefaultCamelContext(false);
                context.getCamelContextExtension().setRegistry(beans);
                return context;
            }
        };
        main.configure().withRoutesIncludePattern("classpath:routes/*.camel.yaml,classpath:routes/providers/*.camel.yaml")
                .withRoutesExcludePattern("**/beans.camel.yaml");
        Properties values = new Properties();
        values.putAll(overrides);
        main.setOverrideProperties(values);
        try {
            main.start();
            errors = main.getCamelContext().getRegistry().findSingleByType(ErrorTable.class);
            gate.catchErrors(router, errors, maxBody);
        } catch (Exception e) {
            main.stop();
            throw e;
        }
    }

    Router router() {
        return router;
    }

    ErrorTable errors() {
        return errors;
    }

    /** Ends the routes, after the requests in progress; ten seconds are waited for them. */
    void stop() {
        // Camel would write out the last batch first, and a request that ends after that would find no batch to join
        InflightRepository requests = main.getCamelContext().getInflightRepository();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        try {
            while (requests.size() > 0 && System.nanoTime() < end) {
                Thread.sleep(10);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        main.stop();
    }
}
