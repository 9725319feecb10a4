package io.llmchat.host;

import io.llmchat.http.BodyReader;
import io.llmchat.http.HttpEngine;
import io.vertx.core.Handler;
import io.vertx.core.Vertx;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.Router;
import io.vertx.ext.web.RoutingContext;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.apache.camel.component.platform.http.PlatformHttpConstants;
import org.apache.camel.component.platform.http.spi.PlatformHttpEngine;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpRouter;
import org.apache.camel.spi.Registry;

/** What the HTTP routes of one Camel context hang on, and how many requests they have taken and not finished. */
final class HttpRoutes {

    /** The name under which Camel looks for the router of a server whose port it does not know. */
    private static final String ROUTER = VertxPlatformHttpRouter.PLATFORM_HTTP_ROUTER_NAME_ZERO;

    private final Router router;
    private final AtomicInteger requests = new AtomicInteger();

    /**
     * @param registry of the context; its HTTP routes find their router and their engine there
     * @param strange whether nothing is known of who sends a request
     */
    HttpRoutes(Registry registry, Vertx vertx, long maxBody, Predicate<HttpServerRequest> strange) {
        router = Router.router(vertx);
        registry.bind(ROUTER, new VertxPlatformHttpRouter(null, vertx, router, ROUTER) {
            @Override
            public Handler<RoutingContext> bodyHandler() {
                return new BodyReader(maxBody, requests, strange);
            }
        });
        registry.bind(PlatformHttpConstants.PLATFORM_HTTP_ENGINE_NAME, PlatformHttpEngine.class, new HttpEngine(ROUTER, requests));
    }

    Router router() {
        return router;
    }

    int requests() {
        return requests.get();
    }
}
