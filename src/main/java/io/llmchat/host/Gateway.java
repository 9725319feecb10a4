package io.llmchat.host;

import io.llmchat.chat.Target;
import io.llmchat.http.Connections;
import io.llmchat.http.Drain;
import io.llmchat.http.ErrorTable;
import io.llmchat.http.Gate;
import io.llmchat.ops.RouteVersions;
import io.llmchat.step.Idempotency;
import io.netty.channel.Channel;
import io.netty.channel.EventLoop;
import io.netty.channel.SingleThreadEventLoop;
import io.netty.util.concurrent.EventExecutor;
import io.vertx.core.Future;
import io.vertx.core.Promise;
import io.vertx.core.Vertx;
import io.vertx.core.http.HttpServer;
import io.vertx.core.http.HttpServerOptions;
import io.vertx.core.impl.VertxInternal;
import io.vertx.ext.web.Router;
import java.net.BindException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.apache.camel.CamelContext;
import org.apache.camel.main.Main;
import org.apache.camel.main.SimpleMainShutdownStrategy;
import org.apache.camel.spi.Registry;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The whole gateway in this process: the beans of {@code beans.camel.yaml}, the HTTP server, and the routes, which
 * can be exchanged for another version while the server serves. It is started once.
 */
public final class Gateway {

    private static final Logger LOG = LoggerFactory.getLogger(Gateway.class);

    /** How long the requests that are ended get to tell their callers so. */
    private static final long END_MILLIS = 10_000;
    private static final int BATCH_SECONDS = 10;
    /** While the gateway goes on, the batches of an old version have time until a store is back: a week. */
    private static final int OLD_BATCH_SECONDS = 604_800;
    /** Each is a Camel context, with threads of its own. */
    private static final int MOST_OLD = 8;

    private final Map<String, String> overrides;
    private final Main host = new Main() {
        @Override
        protected void autoconfigure(CamelContext context) throws Exception {
            super.autoconfigure(context);
            files = new RouteFiles(property("llmchat.routes.dir"));
            // what is saved while they are read is a change
            atFirst = files.versions();
            configure().withRoutesIncludePattern(files.beans());
        }

        @Override
        protected void modelineRoutes(CamelContext context) {
            // comments for the Camel CLI, for which the file would be read once more
        }
    };
    private final AtomicReference<Generation> current = new AtomicReference<>();
    private final Set<Generation> old = ConcurrentHashMap.newKeySet();
    private RouteFiles files;
    private Map<Path, String> atFirst;
    private RouteWatch watch;
    private final List<HttpServer> servers = new ArrayList<>();
    private volatile boolean hurried;
    private boolean stopped;

    /** @param overrides property values that come before those of application.properties */
    public Gateway(Map<String, String> overrides) {
        this.overrides = overrides;
    }

    /**
     * Starts everything; on return the gateway serves.
     *
     * @throws RoutesRefused if the route files cannot be used
     * @throws Exception why else it cannot; nothing is left running then
     */
    public synchronized void start() throws Exception {
        try {
            startRoutes();
            listen(() -> current.get().router(), () -> current.get().errors());
            if (files.editable()) {
                watch = new RouteWatch(files, atFirst, this::reload);
            }
        } catch (ExecutionException e) {
            stop();
            throw e.getCause() instanceof BindException b ? b : e;
        } catch (Throwable e) {
            stop();
            throw e;
        }
    }

    /**
     * Takes connections from now on, and hands their requests to these routes. What is connected is served by the loop
     * that its server listens on: each loop has one, and connections come to them in turn.
     */
    void listen(Supplier<Router> router, Supplier<ErrorTable> errors) throws ExecutionException, InterruptedException {
        Gate gate = bean(Gate.class);
        Connections connections = bean(Connections.class);
        VertxInternal vertx = (VertxInternal) bean(Vertx.class);
        connections.start(vertx, errors);
        for (EventExecutor loop : vertx.nettyEventLoopGroup()) {
            HttpServer server = vertx.createHttpServer(options())
                    .connectionHandler(connections::accept)
                    .requestHandler(gate.before(router, errors))
                    .invalidRequestHandler(gate.invalid(errors));
            servers.add(server);
            Promise<HttpServer> listening = Promise.promise();
            vertx.createEventLoopContext((EventLoop) loop, null, Thread.currentThread().getContextClassLoader()).runOnContext(v -> server.listen().onComplete(listening));
            listening.future().toCompletionStage().toCompletableFuture().get();
        }
    }

    /**
     * Starts everything but the HTTP server, and stops it again.
     *
     * @throws RoutesRefused if the route files cannot be used
     */
    public void check() throws Exception {
        try {
            startRoutes();
        } catch (RoutesRefused e) {
            throw e;
        } catch (Exception e) {
            throw new RoutesRefused(new FaultFinder(files, host.getCamelContext()).of(e), e);
        } finally {
            stop();
        }
    }

    private void startRoutes() throws Exception {
        startBeans();
        current.set(generation());
        bean(RouteVersions.class).loaded(current.get().files());
    }

    /** Starts what all versions of the routes share; they find it in {@link #registry}. */
    void startBeans() throws Exception {
        // who has made this gateway stops it
        host.setShutdownStrategy(new SimpleMainShutdownStrategy());
        Properties values = new Properties();
        values.putAll(overrides);
        host.setOverrideProperties(values);
        host.start();
    }

    private Generation generation() throws RoutesRefused {
        Generation made = new Generation(files, registry(), overrides, bean(Vertx.class), bean(Gate.class),
                Long.parseLong(property("llmchat.http.max-body")));
        Set<String> providers = made.providers();
        String takes = "<provider>/<model> of one of " + String.join(", ", providers) + ".";
        String model = property("llmchat.enrich.default-model");
        String fallbacks = property("llmchat.enrich.default-fallbacks");
        String fault = asksUnknown(providers, model) ? "DEFAULT_MODEL is '" + model + "'; it takes an agent's id, or " + takes
                : asksUnknown(providers, fallbacks.split(",")) ? "DEFAULT_FALLBACKS is '" + fallbacks + "'; it takes a comma-separated list of " + takes
                : null;
        if (fault != null) {
            made.stop(1);
            throw new RoutesRefused(new Fault(null, 0, fault), null);
        }
        return made;
    }

    /** Whether one of these names a provider that is not there. */
    private static boolean asksUnknown(Set<String> providers, String... models) {
        return Arrays.stream(models).map(m -> Target.parse(m.trim())).anyMatch(t -> t != null && !providers.contains(t.provider()));
    }

    /** Puts the route files as they are now to work, or, where they cannot be used, says why and goes on as before. */
    private void reload(List<Path> changed) {
        RouteVersions versions = bean(RouteVersions.class);
        if (old.size() >= MOST_OLD) {
            LOG.warn("{} old versions of the routes have requests still; what was changed serves when one of them has ended", old.size());
            await(Long.MAX_VALUE, () -> old.size() < MOST_OLD);
            if (old.size() >= MOST_OLD || bean(Drain.class).isClosing()) {
                // it ends
                return;
            }
        }
        long started = System.nanoTime();
        try {
            Generation next = generation();
            Generation before = current.get();
            // a drain counts the requests of both meanwhile, of none never
            old.add(before);
            current.set(next);
            versions.loaded(next.files());
            LOG.info("The changed routes serve, as generation {}, after {} ms", versions.generation(), (System.nanoTime() - started) / 1_000_000);
            Thread.ofVirtual().name("old-routes").start(() -> retire(before));
        } catch (RoutesRefused e) {
            // where Camel does not say which file it is about, it is the one that was saved
            Fault fault = e.fault().file() == null && changed.size() == 1
                    ? new Fault(files.name(changed.get(0).toString()), 0, e.fault().reason()) : e.fault();
            versions.refused(fault.file(), fault.line(), fault.reason());
            LOG.error("The changed routes are refused, generation {} goes on. {}", versions.generation(), fault);
        }
    }

    /** An old version begins nothing by itself any more, its requests run to their end, and then it ends. */
    private void retire(Generation before) {
        before.suspendJobs();
        // when each event loop has done what it is doing, none has the old version in its hands without having counted in
        bean(Vertx.class).nettyEventLoopGroup().forEach(loop -> loop.submit(() -> { }).syncUninterruptibly());
        // also where the end is hurried: what it has in progress is told so and noted first, by its routes
        awaitUnhurried(Long.MAX_VALUE, () -> before.requests() == 0);
        before.stop(OLD_BATCH_SECONDS);
        old.remove(before);
    }

    private HttpServerOptions options() {
        int port = Integer.parseInt(property("llmchat.http.port"));
        return new HttpServerOptions()
                .setHost(property("llmchat.http.host"))
                // one that is free would be another one for each server, -1 is the same
                .setPort(port == 0 ? -1 : port)
                // larger than what the gate accepts, so that it can answer and the connection stays usable
                .setMaxHeaderSize(32_768)
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

    Registry registry() {
        CamelContext context = host.getCamelContext();
        return context.getRegistry();
    }

    /** The port it listens on. */
    public int port() {
        return servers.get(0).actualPort();
    }

    /**
     * Lets what runs come to its end: it is not ready any more, but takes requests for a while, for who has not noticed;
     * then it takes no new connections and waits for the requests, and until their answers are taken; then it ends those
     * that are left, with an error in their dialect. To be followed by {@link #stop}.
     *
     * @param announce false: nobody has to notice
     */
    public void drain(boolean announce) {
        Drain drain = bean(Drain.class);
        drain.leave();
        if (announce) {
            await(millis("llmchat.drain.delay"), () -> false);
        }
        drain.close();
        stopListening();
        if (requests() > 0) {
            LOG.info("Waiting for {} requests to end", requests());
        }
        // a request has ended when nothing is left of it but what its caller has not taken
        Connections connections = bean(Connections.class);
        await(millis("llmchat.drain.grace"), () -> requests() == 0 && !connections.areSending());
        drain.end();
        hurried = false;
        await(END_MILLIS, () -> requests() == 0);
    }

    /** Ends the waiting of {@link #drain}, whatever it waits for. */
    public void hurry() {
        hurried = true;
    }

    private long millis(String property) {
        return Long.parseLong(property(property));
    }

    /** How many requests are in progress. */
    private int requests() {
        return current.get().requests() + old.stream().mapToInt(Generation::requests).sum();
    }

    private void await(long millis, BooleanSupplier done) {
        awaitUnhurried(millis, () -> hurried || done.getAsBoolean());
    }

    private static void awaitUnhurried(long millis, BooleanSupplier done) {
        long started = System.nanoTime();
        try {
            while (!done.getAsBoolean() && TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started) < millis) {
                Thread.sleep(20);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Closes the socket that takes connections, and leaves the connections: Vert.x closes both or nothing. */
    private void stopListening() {
        ((VertxInternal) bean(Vertx.class)).getAcceptorEventLoopGroup().forEach(loop -> loop.submit(() ->
                ((SingleThreadEventLoop) loop).registeredChannelsIterator().forEachRemaining(Channel::close)).syncUninterruptibly());
    }

    /**
     * Stops serving, ends the routes, and stops everything that was started; what still runs is cut. A start comes to its
     * end first: half a store cannot be stopped. A second call does nothing.
     */
    public synchronized void stop() {
        if (stopped) {
            return;
        }
        stopped = true;
        if (watch != null) {
            watch.stop();
        }
        servers.forEach(server -> closed(server.close(), "The HTTP server"));
        Generation routes = current.get();
        if (routes != null) {
            await(END_MILLIS, () -> requests() == 0);
            routes.stop(BATCH_SECONDS);
            await(END_MILLIS, old::isEmpty);
            bean(Idempotency.class).end();
        }
        CamelContext context = host.getCamelContext();
        Set<Vertx> loops = context == null ? Set.of() : context.getRegistry().findByType(Vertx.class);
        host.stop();
        // what did not come to its start counts as stopped; the beans that were made until then end with their context
        if (context != null) {
            context.stop();
        }
        // beans end in the order in which they were made, and the event loops were made before those that need them to end
        loops.forEach(vertx -> closed(vertx.close(), "Vert.x"));
    }

    private static void closed(Future<Void> closing, String what) {
        try {
            closing.toCompletionStage().toCompletableFuture().get(5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (Exception e) {
            LOG.warn("{} did not close in time", what);
        }
    }
}
