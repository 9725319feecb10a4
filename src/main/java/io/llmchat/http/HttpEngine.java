package io.llmchat.http;

import io.vertx.core.Future;
import io.vertx.core.Handler;
import io.vertx.ext.web.RoutingContext;
import java.util.List;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.component.platform.http.PlatformHttpEndpoint;
import org.apache.camel.component.platform.http.spi.PlatformHttpConsumer;
import org.apache.camel.component.platform.http.vertx.HttpMessage;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpConsumer;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpEngine;

/**
 * Camel's HTTP consumer with less in its message: the body and the path's parameters. Everything else of the request
 * is read from {@link ClientStream#request()} by whoever needs it, so that nothing from outside can pass for a message
 * header, and no URL is put together that nobody reads.
 */
public final class HttpEngine extends VertxPlatformHttpEngine {

    private final String router;

    /** @param router the name under which the router of these consumers is bound */
    public HttpEngine(String router) {
        this.router = router;
    }

    @Override
    public PlatformHttpConsumer createConsumer(PlatformHttpEndpoint endpoint, Processor processor) {
        return new Consumer(endpoint, processor, router);
    }

    private static final class Consumer extends VertxPlatformHttpConsumer {
        Consumer(PlatformHttpEndpoint endpoint, Processor processor, String router) {
            super(endpoint, processor, List.<Handler<RoutingContext>>of(), router);
        }

        @Override
        protected Future<Void> processHttpRequest(Exchange exchange, RoutingContext ctx) {
            HttpMessage message = new HttpMessage(exchange, ctx.request(), ctx.response());
            exchange.setMessage(message);
            ctx.pathParams().forEach(message::setHeader);
            message.setBody(ctx.body().buffer());
            return Future.succeededFuture();
        }
    }
}
