package io.llmchat.host;

import io.llmchat.Settings;
import io.llmchat.eip.Eips;
import io.llmchat.http.ErrorTable;
import io.llmchat.http.Gate;
import io.llmchat.step.Authenticate;
import io.vertx.core.Vertx;
import java.util.List;
import java.util.Map;
import org.apache.camel.CamelConfiguration;
import org.apache.camel.CamelContext;
import org.apache.camel.Service;
import org.apache.camel.main.HttpManagementServerConfigurationProperties;
import org.apache.camel.main.HttpServerConfigurationProperties;
import org.apache.camel.main.MainHttpServerFactory;
import org.apache.camel.support.DefaultRegistry;
import org.apache.camel.support.LifecycleStrategySupport;
import org.apache.camel.support.service.ServiceSupport;

/**
 * For the Camel CLI, which runs the route files in a context of its own: starts the beans beside it, lets the routes find
 * them, and serves them on our HTTP server in place of the CLI's. The CLI is told of it by the property
 * {@code camel.main.configuration-classes}.
 */
public final class Guest implements CamelConfiguration, MainHttpServerFactory {

    private final Gateway gateway = new Gateway(Map.of());
    private HttpRoutes routes;

    @Override
    public void configure(CamelContext context) throws Exception {
        List<String> faults = Settings.faults(System.getenv());
        if (!faults.isEmpty()) {
            throw new IllegalArgumentException(String.join("\n", faults));
        }
        gateway.startBeans();
        DefaultRegistry registry = (DefaultRegistry) context.getRegistry();
        registry.addBeanRepository(gateway.registry());
        gateway.bean(Eips.class).in(context);
        long maxBody = Long.parseLong(gateway.property("llmchat.http.max-body"));
        routes = new HttpRoutes(registry, gateway.bean(Vertx.class), maxBody, gateway.bean(Authenticate.class)::isStranger);
        gateway.bean(Gate.class).catchErrors(routes.router(), () -> errors(context), maxBody);
        registry.bind("httpServer", MainHttpServerFactory.class, this);
        context.addLifecycleStrategy(new LifecycleStrategySupport() {
            @Override
            public void onContextStopped(CamelContext stopped) {
                gateway.stop();
            }
        });
    }

    @Override
    public Service newHttpServer(CamelContext context, HttpServerConfigurationProperties ignored) {
        return new ServiceSupport() {
            @Override
            protected void doStart() throws Exception {
                gateway.listen(routes::router, () -> errors(context));
                String adminKey = gateway.bean(Authenticate.class).generatedAdminKey();
                if (adminKey != null) {
                    System.out.println("The admin key, made for this run and not shown again: " + adminKey);
                }
            }
        };
    }

    /** Looked up when it is needed: errors.camel.yaml is read after this. */
    private static ErrorTable errors(CamelContext context) {
        return context.getRegistry().findSingleByType(ErrorTable.class);
    }

    /** None: what operators need is among the routes. */
    @Override
    public Service newHttpManagementServer(CamelContext context, HttpManagementServerConfigurationProperties ignored) {
        return new ServiceSupport() {
        };
    }
}
