package io.llmchat.host;

import io.llmchat.http.Connections;
import io.llmchat.http.Gate;
import io.vertx.core.Vertx;
import io.vertx.core.http.HttpServer;
import io.vertx.core.http.HttpServerOptions;
import java.net.BindException;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.camel.CamelContext;
import org.apache.camel.main.Main;
import org.apache.camel.spi.Registry;

/**
 * The whole gateway in this process: the beans of {@code beans.camel.yaml}, the HTTP server, and the routes, which
 * can be exchanged for another version while the server serves. Start and stop are called once each.
 */
public final class Gateway {

    private final Map<String, String> overrides;
    private final Main host = new Main();
    private final AtomicReference<Generation> current = new AtomicReference<>();
    private HttpServer server;

    /** @param overrides property values that come before those of application.properties */
    public Gateway(Map<String, String> overrides) {
        this.overrides = overrides;
    }

    /**
     * Starts everything; on return the gateway serves.
     *
     * @throws Exception why it cannot; nothing is left running then
     */
    public void start() throws Exception {
        try {
            host.configure().withRoutesIncludePattern("classpath:routes/beans.camel.yaml");
            Properties values = new Properties();
            values.putAll(overrides);
            host.setOverrideProperties(values);
            host.start();
            Vertx vertx = bean(Vertx.class);
            Gate gate = bean(Gate.class);
            long maxBody = Long.parseLong(property("llmchat.http.max-body"));
            current.set(new Generation(registry(), overrides, vertx, gate, maxBody));
            Connections connections = bean(Connections.class);
            connections.start(vertx, current.get().errors());
            server = vertx.createHttpServer(options())
                    .connectionHandler(connections::accept)
                    .requestHandler(gate.before(() -> current.get().router(), current.get().errors()))
                    .invalidRequestHandler(gate.invalid(current.get().errors()));
            server.listen().toCompletionStage().toCompletableFuture().get();
        } catch (ExecutionException e) {
            stop();
            throw e.getCause() instanceof BindException b ? b : e;
        } catch (Exception e) {
            stop();
            throw e;
        }
    }

    private HttpServerOptions options() {
        return new HttpServerOptions()
                .setHost(property("llmchat.http.host"))
                .setPort(Integer.parseInt(property("llmchat.http.port")))
                // larger than what the gate accepts, so that it can answer and the connection stays usable
                .setMaxHeaderSize(65_536)
                .setMaxInitialLineLength(8_192)
                .setTcpNoDelay(true)
                // curl asks before it sends a large body
                .setHandle100ContinueAutomatically(true)
                .setAcceptBacklog(4_096)
                .setCompressionSupported(false)
                // one protocol, which is looked at closely: no upgrade to HTTP/2 past those who stand before us
                .setHttp2ClearTextEnabled(false)
                // nobody speaks WebSocket here: their handlers would see every byte
                .setPerFrameWebSocketCompressionSupported(false)
                .setPerMessageWebSocketCompressionSupported(false);
    }

    /** The value of a property, as the routes see it. */
    public String property(String name) {
        return host.getCamelContext().resolvePropertyPlaceholders("{{" + name + "}}");
    }

    /** A bean of {@code beans.camel.yaml}. */
    public <T> T bean(Class<T> type) {
        return registry().findSingleByType(type);
    }

    private Registry registry() {
        CamelContext context = host.getCamelContext();
        return context.getRegistry();
    }

    /** The port it listens on. */
    public int port() {
        return server.actualPort();
    }

    /** Stops serving, ends the routes, and stops everything that was started. */
    public void stop() {
        if (server != null) {
            try {
                server.close().toCompletionStage().toCompletableFuture().get(5, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } catch (Exception e) {
                org.slf4j.LoggerFactory.getLogger(Gateway.class).warn("The HTTP server did not close in time");
            }
        }
        Generation routes = current.getAndSet(null);
        if (routes != null) {
            routes.stop();
        }
        host.stop();
    }
}
