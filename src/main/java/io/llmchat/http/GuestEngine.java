package io.llmchat.http;

import io.vertx.ext.web.Router;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.camel.CamelContext;
import org.apache.camel.Processor;
import org.apache.camel.component.platform.http.PlatformHttpEndpoint;
import org.apache.camel.component.platform.http.spi.PlatformHttpConsumer;
import org.apache.camel.component.platform.http.vertx.VertxPlatformHttpRouter;

/** The {@link HttpEngine} on a server that is not ours, such as the Camel CLI's: puts the {@link Gate} before its routes. */
public final class GuestEngine extends HttpEngine {

    private final String name;
    private final long maxBody;
    private Router guarded;

    /**
     * @param port where the server listens
     * @param maxBody bytes, for the error's text: the server itself limits request bodies
     */
    public GuestEngine(int port, long maxBody) {
        super(VertxPlatformHttpRouter.getRouterNameFromPort(port), new AtomicInteger());
        this.name = VertxPlatformHttpRouter.getRouterNameFromPort(port);
        this.maxBody = maxBody;
    }

    @Override
    public PlatformHttpConsumer createConsumer(PlatformHttpEndpoint endpoint, Processor processor) {
        guard(endpoint.getCamelContext());
        return super.createConsumer(endpoint, processor);
    }

    private synchronized void guard(CamelContext context) {
        Router router = VertxPlatformHttpRouter.lookup(context, name);
        if (router != null && router != guarded) {
            guarded = router;
            // looked up now: which file comes first is the CLI's affair
            Gate gate = context.getRegistry().findSingleByType(Gate.class);
            ErrorTable errors = context.getRegistry().findSingleByType(ErrorTable.class);
            router.route().order(Integer.MIN_VALUE).handler(ctx -> {
                if (gate.enter(ctx.request(), () -> errors)) {
                    ctx.next();
                }
            });
            gate.catchErrors(router, errors, maxBody);
        }
    }
}
