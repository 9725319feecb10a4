package io.llmchat.eip;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.llm.Breakers;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.processor.ThrottlerRejectedExecutionException;
import org.apache.camel.processor.TotalRequestsThrottler;
import org.apache.camel.processor.errorhandler.DefaultErrorHandler;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.PluginHelper;
import org.apache.camel.support.ResourceHelper;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The EIPs that are made by us, in routes. */
@Timeout(60)
class EipsTest {

    private static final int MAX = 5;
    private static final long WINDOW_MILLIS = 500;

    private final DefaultCamelContext context = context();
    private final List<Long> times = Collections.synchronizedList(new ArrayList<>());
    private final BlockingQueue<Exchange> batches = new LinkedBlockingQueue<>();
    private final AtomicReference<Exchange> seen = new AtomicReference<>();

    /** One whose EIPs are ours. */
    static DefaultCamelContext context() {
        return context(new Breakers(60_000, new SimpleMeterRegistry()));
    }

    static DefaultCamelContext context(Breakers breakers) {
        DefaultCamelContext context = new DefaultCamelContext();
        new Eips(breakers).in(context);
        return context;
    }

    @BeforeEach
    void start() throws Exception {
        // it tells of each message that is rejected, and they are many
        Configurator.setLevel(DefaultErrorHandler.class, Level.OFF);
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:waiting").throttle(MAX).mode("TotalRequests").timePeriodMillis(WINDOW_MILLIS)
                        .process(e -> times.add(System.nanoTime()));
                routeTemplate("greet").templateParameter("word").from("kamelet:source")
                        .process(seen::set).setBody(simple("{{word}} ${body}")).setProperty("greeted", constant(true));
                from("direct:greet").to("kamelet:greet?word=Hello").setProperty("after", constant(true));
            }
        });
        context.getRegistry().bind("note", (Processor) e -> times.add(System.nanoTime()));
        context.getRegistry().bind("batches", (Processor) batches::add);
        PluginHelper.getRoutesLoader(context).loadRoutes(ResourceHelper.fromString("rows.camel.yaml", """
                - route:
                    from:
                      uri: direct:rows
                      steps:
                        - aggregate:
                            aggregationStrategy: "#class:io.llmchat.step.Batch"
                            completionSize: "2"
                            forceCompletionOnStop: true
                            correlationExpression:
                              constant: {expression: all}
                            steps:
                              - process: {ref: batches}
                """));
        load("rejecting", MAX);
        load("nobody", 0);
        context.start();
    }

    /** A route as users write it: a throttle that rejects. */
    private void load(String name, int max) throws Exception {
        PluginHelper.getRoutesLoader(context).loadRoutes(ResourceHelper.fromString(name + ".camel.yaml", """
                - route:
                    from:
                      uri: direct:%s
                      steps:
                        - throttle:
                            mode: TotalRequests
                            timePeriodMillis: %d
                            rejectExecution: true
                            expression:
                              constant: {expression: "%d"}
                        - process: {ref: note}
                """.formatted(name, WINDOW_MILLIS, max)));
    }

    @AfterEach
    void stop() {
        context.stop();
        Configurator.setLevel(DefaultErrorHandler.class, null);
    }

    private Processor throttle(String endpoint) {
        return context.getRoutes().stream().filter(r -> r.getEndpoint().getEndpointUri().endsWith(endpoint.substring(7)))
                .flatMap(r -> r.filter("*").stream()).filter(p -> p instanceof ThrottleProcessor || p instanceof TotalRequestsThrottler)
                .findFirst().orElseThrow();
    }

    private Exchange send(String route) {
        Exchange exchange = new DefaultExchange(context);
        exchange.getIn().setBody("you");
        return context.createProducerTemplate().send(route, exchange);
    }

    @Test
    void aThrottleLetsSoManyInAndRejectsTheNextUntilTheWindowHasMovedOn() throws Exception {
        assertInstanceOf(ThrottleProcessor.class, throttle("direct:rejecting"));
        for (int i = 0; i < MAX; i++) {
            assertNull(send("direct:rejecting").getException());
        }
        assertInstanceOf(ThrottlerRejectedExecutionException.class, send("direct:rejecting").getException());
        assertEquals(MAX, times.size());
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        while (send("direct:rejecting").getException() != null && System.nanoTime() < until) {
            Thread.onSpinWait();
        }
        assertTrue(times.get(MAX) - times.get(0) > TimeUnit.MILLISECONDS.toNanos(WINDOW_MILLIS) * 9 / 10);
    }

    @Test
    void noWindowHasMoreHoweverManyAskAtOnce() throws Exception {
        try (ExecutorService many = Executors.newFixedThreadPool(4)) {
            long until = System.nanoTime() + 5 * TimeUnit.MILLISECONDS.toNanos(WINDOW_MILLIS);
            for (int i = 0; i < 4; i++) {
                many.submit(() -> {
                    while (System.nanoTime() < until) {
                        send("direct:rejecting");
                    }
                });
            }
        }
        List<Long> in = times.stream().sorted().toList();
        assertTrue(in.size() >= 3 * MAX, in.size() + " were let in");
        for (int i = MAX; i < in.size(); i++) {
            // what lies between the throttle and the note of the time is not much
            assertTrue(in.get(i) - in.get(i - MAX) > TimeUnit.MILLISECONDS.toNanos(WINDOW_MILLIS) / 2, "at " + i);
        }
    }

    @Test
    void aThrottleOfNoneLetsNobodyIn() {
        assertInstanceOf(ThrottlerRejectedExecutionException.class, send("direct:nobody").getException());
    }

    @Test
    void aThrottleThatKeepsWaitingIsCamels() {
        assertInstanceOf(TotalRequestsThrottler.class, throttle("direct:waiting"));
        for (int i = 0; i < MAX + 1; i++) {
            assertNull(send("direct:waiting").getException());
        }
        assertEquals(MAX + 1, times.size());
    }

    @Test
    void rowsAreGatheredAndWhatIsBesideThemStaysWithTheirExchanges() throws Exception {
        Exchange first = context.createProducerTemplate().send("direct:rows", e -> {
            e.setProperty("chat", "its own");
            e.getMessage().setBody("{1}");
        });
        assertEquals("{1}", first.getMessage().getBody());
        assertEquals("its own", first.getProperty("chat"));
        context.createProducerTemplate().sendBody("direct:rows", "{2}");
        Exchange batch = batches.take();
        assertEquals("[{1},{2}]", batch.getMessage().getBody());
        assertEquals(2, batch.getProperty(Exchange.AGGREGATED_SIZE));
        Exchange unread = context.createProducerTemplate().send("direct:rows", e -> e.getMessage().setBody(4));
        assertInstanceOf(ClassCastException.class, unread.getException().getCause(), "a failure is that of the exchange which was sent");
        context.createProducerTemplate().sendBody("direct:rows", "{3}");
        assertEquals(1, context.getRoutes().stream().flatMap(r -> r.filter("*").stream()).filter(BatchProcessor.class::isInstance).count());
        context.stop();
        assertEquals("[{3}]", batches.take().getMessage().getBody(), "the last one comes at the end");
    }

    @Test
    void groupsThatAreToBeCompletedAreCamelsMatter() throws Exception {
        context.createProducerTemplate().sendBody("direct:rows", "{1}");
        context.createProducerTemplate().sendBodyAndHeader("direct:rows", "{2}", Exchange.AGGREGATION_COMPLETE_ALL_GROUPS, true);
        assertEquals("[{1}]", batches.take().getMessage().getBody());
    }

    @Test
    void aKameletWorksOnTheExchangeItself() {
        Exchange exchange = send("direct:greet");
        assertEquals("Hello you", exchange.getMessage().getBody());
        assertSame(exchange, seen.get());
        assertEquals(true, exchange.getProperty("greeted"));
        assertEquals(true, exchange.getProperty("after"));
    }

    @Test
    void aKameletWhoseRouteIsStoppedIsWaitedForAsCamelDoes() throws Exception {
        assertSame(send("direct:greet"), seen.get());
        String id = context.getRoutes().stream().map(Route::getRouteId).filter(route -> route.startsWith("greet-")).findFirst().orElseThrow();
        context.getRouteController().stopRoute(id);
        CompletableFuture<Exchange> waiting = CompletableFuture.supplyAsync(() -> send("direct:greet"));
        assertThrows(TimeoutException.class, () -> waiting.get(200, TimeUnit.MILLISECONDS));
        context.getRouteController().startRoute(id);
        assertEquals("Hello you", waiting.get(10, TimeUnit.SECONDS).getMessage().getBody());
        assertSame(send("direct:greet"), seen.get());
    }
}
