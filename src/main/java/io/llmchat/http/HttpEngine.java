package io.llmchat.http;

import io.llmchat.chat.Chat;
import io.llmchat.ops.RequestLog;
import io.llmchat.ops.Tracing;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerResponse;
import io.vertx.ext.web.RoutingContext;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangeExtension;
import org.apache.camel.ExchangePattern;
import org.apache.camel.Message;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.component.direct.DirectConsumer;
import org.apache.camel.component.platform.http.PlatformHttpEndpoint;
import org.apache.camel.component.platform.http.spi.PlatformHttpConsumer;
import org.apache.camel.component.platform.http.vertx.HttpMessage;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpConsumer;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpEngine;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Camel's HTTP consumer with less on its way: a chat runs on the event loop that has read it until it has to wait for a
 * store, every other request, and one whose body takes long to read, on a virtual thread. The message has the body and
 * the path's parameters. Everything else of the request is read from
 * {@link ClientStream#request()} by whoever needs it, so that nothing from outside can pass for a message header, and
 * no URL is put together that nobody reads. Of the message that the route leaves, the status, the content type and the
 * body become the response, unless the route has answered itself.
 */
public final class HttpEngine extends VertxPlatformHttpEngine {

    /** Bytes: of a longer body the reading alone would keep others waiting for more than a millisecond. */
    private static final int MAX_BODY_ON_LOOP = 65_536;

    private final String router;
    private final AtomicInteger requests;

    /**
     * @param router the name under which the router of these consumers is bound
     * @param requests counts the requests in progress: each is in it already, and is taken out when its route has ended
     */
    public HttpEngine(String router, AtomicInteger requests) {
        this.router = router;
        this.requests = requests;
    }

    /** @throws IllegalArgumentException if its requests are not to come by way of {@link BodyReader}, which counts them */
    @Override
    public PlatformHttpConsumer createConsumer(PlatformHttpEndpoint endpoint, Processor processor) {
        if (endpoint.isUseStreaming() || !endpoint.isUseBodyHandler()) {
            throw new IllegalArgumentException("useStreaming=true and useBodyHandler=false of '" + endpoint.getPath()
                    + "' cannot be used: a body is read before its route begins.");
        }
        return new Consumer(endpoint, processor, router, requests,
                endpoint.getCamelContext().getRegistry().findSingleByType(Tracing.class));
    }

    private static final class Consumer extends VertxPlatformHttpConsumer {
        private static final Logger LOG = LoggerFactory.getLogger(HttpEngine.class);

        private final AtomicInteger requests;
        private final Tracing tracing;
        /** Whether its route is made to run on an event loop. */
        private final boolean chat;

        Consumer(PlatformHttpEndpoint endpoint, Processor processor, String router, AtomicInteger requests, Tracing tracing) {
            super(endpoint, processor, List.of(), router);
            this.requests = requests;
            this.tracing = tracing;
            this.chat = Gate.CHATS.contains(endpoint.getPath());
        }

        @Override
        protected void handleRequest(RoutingContext ctx) {
            if (isSuspended()) {
                done(ctx);
                ctx.response().setStatusCode(503).end();
                return;
            }
            Exchange exchange = createExchange(false);
            exchange.setPattern(ExchangePattern.InOut);
            HttpMessage message = new HttpMessage(exchange, ctx.request(), ctx.response());
            exchange.setMessage(message);
            ctx.pathParams().forEach(message::setHeader);
            message.setBody(ctx.body().buffer());
            // here, on the caller's own event loop, is where its stream is taken hold of
            ClientStream client = ClientStream.open(exchange);
            if (tracing.isOn()) {
                client.span(tracing.request(ctx.request(), getEndpoint().getPath()));
            }
            if (chat && ctx.body().length() < MAX_BODY_ON_LOOP) {
                run(exchange, ctx, client);
            } else {
                Thread.startVirtualThread(() -> run(exchange, ctx, client));
            }
        }

        private void run(Exchange exchange, RoutingContext ctx, ClientStream client) {
            try {
                createUoW(exchange);
                getAsyncProcessor().process(exchange, sync -> tell(exchange, ctx, client));
            } catch (Exception e) {
                exchange.setException(e);
                tell(exchange, ctx, client);
            }
        }

        /** What a route leaves untold is told by the error policy of all: Camel asks none for what fails in a doTry. */
        private void tell(Exchange exchange, RoutingContext ctx, ClientStream client) {
            String undone = exchange.getException() != null || exchange.getProperty("toldCode") != null ? null : undone(exchange, ctx, client);
            if (undone != null) {
                exchange.setException(new IllegalStateException(undone));
            }
            Route untold = exchange.getException() == null || exchange.getProperty("toldCode") != null ? null
                    : exchange.getContext().getRoute("untold");
            if (untold == null) {
                end(exchange, ctx, client);
                return;
            }
            ExchangeExtension extension = exchange.getExchangeExtension();
            extension.setRedeliveryExhausted(false);
            extension.setErrorHandlerHandled(null);
            // a stop was one of the route that has ended
            exchange.setRouteStop(false);
            ((DirectConsumer) untold.getConsumer()).getAsyncProcessor().process(exchange, sync -> end(exchange, ctx, client));
        }

        /** What a route that has not failed has left undone, or null. */
        private String undone(Exchange exchange, RoutingContext ctx, ClientStream client) {
            if (client.committed()) {
                // it would stay open for ever
                return client.isOpen() ? "The route has ended, and nothing has sent the end of the stream: direct:record does that." : null;
            }
            Object body = exchange.getMessage().getBody();
            // what a chat has sent, and nobody has read, is no answer to it
            boolean none = body == null ? chat || Chat.orNull(exchange) != null : chat && body == ctx.body().buffer();
            return none && !client.hasLeft() && !ctx.response().headWritten() ? "The route has ended, and nothing has answered the chat." : null;
        }

        private void end(Exchange exchange, RoutingContext ctx, ClientStream client) {
            boolean failed = false;
            try {
                // a stream whose caller has left is not ended
                if (!ctx.response().headWritten() && !ctx.response().ended()) {
                    reply(exchange, ctx.response());
                }
            } catch (Exception e) {
                failed = true;
                LOG.error("A request for {} failed outside its route", getEndpoint().getPath(), e);
                ctx.vertx().runOnContext(v -> ctx.fail(500));
            } finally {
                if (client.span() != null) {
                    tracing.responded(client.span(), client.hasLeft() ? RequestLog.CALLER_LEFT : failed ? 500 : client.status(),
                            exchange.getProperty("toldCode", String.class));
                }
                doneUoW(exchange);
                releaseExchange(exchange, false);
                client.whenRead(() -> done(ctx));
            }
        }

        private void done(RoutingContext ctx) {
            BodyReader.answered(ctx);
            requests.decrementAndGet();
        }

        private static void reply(Exchange exchange, HttpServerResponse response) throws Exception {
            if (exchange.getException() != null) {
                throw exchange.getException();
            }
            Message message = exchange.getMessage();
            response.setStatusCode(message.getHeader(Exchange.HTTP_RESPONSE_CODE, 200, Integer.class));
            String type = message.getHeader(Exchange.CONTENT_TYPE, String.class);
            if (type != null) {
                response.putHeader("Content-Type", type);
            }
            SecurityHeaders.addTo(response.headers());
            byte[] body = message.getBody(byte[].class);
            response.end(body == null ? Buffer.buffer() : Buffer.buffer(body));
        }
    }
}
