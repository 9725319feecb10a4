package io.llmchat.eip;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.MustWait;
import io.vertx.core.Context;
import io.vertx.core.Vertx;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.Exchange;
import org.apache.camel.MessageHistory;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.model.RouteDefinition;
import org.apache.camel.processor.SendDynamicProcessor;
import org.apache.camel.processor.TryProcessor;
import org.apache.camel.spi.SynchronizationRouteAware;
import org.apache.camel.support.AsyncProcessorSupport;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.ExchangeHelper;
import org.apache.camel.support.SynchronizationAdapter;
import org.apache.camel.support.service.ServiceHelper;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What is ours around routes and their steps does what Camel's does: the same routes are run by both. */
@Timeout(60)
class EngineTest {

    private final List<DefaultCamelContext> contexts = new ArrayList<>();

    @AfterEach
    void stop() {
        contexts.forEach(DefaultCamelContext::stop);
    }

    private DefaultCamelContext context(boolean ours) {
        DefaultCamelContext context = ours ? EipsTest.context() : new DefaultCamelContext();
        // as in the gateway: it would be woven around each step
        context.setStreamCaching(false);
        contexts.add(context);
        return context;
    }

    private DefaultCamelContext started(boolean ours, RouteBuilder routes) throws Exception {
        DefaultCamelContext context = context(ours);
        context.addRoutes(routes);
        context.start();
        return context;
    }

    private static Exchange send(DefaultCamelContext context, String route) {
        Exchange exchange = new DefaultExchange(context);
        exchange.getIn().setBody("x");
        return context.createProducerTemplate().send(route, exchange);
    }

    /** Notes that it was there, in which route, and how deep. */
    private static Processor say(String what) {
        return e -> said(e).add(what + "@" + ExchangeHelper.getAtRouteId(e) + "/" + e.getUnitOfWork().routeStackLevel()
                + "/" + e.getUnitOfWork().routeStackLevel(false, false) + (e.isRouteStop() ? " stopped" : ""));
    }

    @SuppressWarnings("unchecked")
    private static List<String> said(Exchange exchange) {
        List<String> said = exchange.getProperty("said", List.class);
        if (said == null) {
            said = Collections.synchronizedList(new ArrayList<>());
            exchange.setProperty("said", said);
        }
        return said;
    }

    private static Processor fail(String why) {
        return e -> {
            said(e).add("fails: " + why);
            throw new IllegalStateException(why);
        };
    }

    /** Goes on on another thread. */
    private static Processor elsewhere() {
        return new AsyncProcessorSupport() {
            @Override
            public boolean process(Exchange exchange, AsyncCallback callback) {
                Thread.startVirtualThread(() -> callback.done(false));
                return false;
            }
        };
    }

    private static final RouteBuilder ROUTES = new RouteBuilder() {
        @Override
        public void configure() {
            route("plain", "none").process(say("a")).process(elsewhere()).process(say("b")).setBody(constant("y"));
            route("fails", "none").process(say("a")).process(fail("one")).process(say("never"));
            // an exception that is none of the runtime's
            route("checked", "handled").doTry().process(e -> {
                throw new java.io.IOException("checked");
            }).doCatch(java.io.IOException.class).process(say("caught")).end().process(e -> {
                throw new java.io.IOException("once more");
            }).process(say("never"));
            route("handled", "handled").process(say("a")).process(fail("two")).process(say("never"));
            route("continued", "continued").process(say("a")).process(fail("three")).process(say("b"));
            route("again", "again").process(say("a")).process(fail("four")).process(say("never"));
            // deep inside
            route("outer", "handled").process(say("a")).to("direct:middle").process(say("never"));
            route("middle", "none").process(say("m")).to("direct:fails").process(say("never"));
            // what an inner error handler has given up the outer one leaves alone
            from("direct:own").routeId("own").process(fail("five"));
            route("outer-own", "handled").to("direct:own").process(say("never"));
            // but where nobody stands between, an inner route makes it new
            route("middle-own", "none").to("direct:own").process(say("never"));
            route("outer-middle-own", "handled").to("direct:middle-own").process(say("never"));
            route("inner-handled", "none").to("direct:handled").process(say("after"));
            route("stops", "none").process(say("a")).to("direct:stopping").process(say("never"));
            route("stopping", "none").process(say("s")).stop();
            route("stops-in-try", "none").doTry().process(say("a")).stop().doCatch(Exception.class).process(say("never")).end().process(say("never"));
            route("rolls-back", "handled").process(say("a")).markRollbackOnly().process(say("never"));
            route("try", "none").doTry().process(say("a")).to("direct:fails").process(say("never"))
                    .doCatch(IllegalArgumentException.class).process(say("never"))
                    .doCatch(IllegalStateException.class).onWhen(e -> e.getProperty(Exchange.EXCEPTION_CAUGHT, Exception.class) != null || e.getException() != null)
                    .process(say("caught")).doCatch(Exception.class).process(say("not twice")).end().process(say("z"));
            route("try-well", "none").doTry().process(say("a")).process(elsewhere()).doCatch(Exception.class).process(say("never")).end().process(say("z"));
            route("try-in-try", "none").doTry().doTry().process(fail("six")).doCatch(IllegalArgumentException.class).process(say("never")).endDoTry()
                    .process(say("never")).doCatch(IllegalStateException.class).process(say("outer")).end().process(say("z"));
            route("try-in-catch", "none").doTry().process(fail("seven")).doCatch(IllegalStateException.class)
                    .doTry().process(fail("eight")).doCatch(IllegalStateException.class).process(say("inner")).endDoCatch()
                    .process(say("outer")).end().process(say("z"));
            route("catch-fails", "handled").doTry().process(fail("nine")).doCatch(IllegalStateException.class).process(fail("ten")).end().process(say("never"));
            route("catch-once", "none").doTry().process(fail("twelve")).doCatch(IllegalStateException.class)
                    .doTry().process(say("a")).doCatch(Exception.class).process(say("never")).endDoCatch().process(fail("thirteen")).endDoTry()
                    .doCatch(Exception.class).process(say("never")).end().process(say("never"));
            route("finally", "none").doTry().process(fail("eleven")).doFinally().process(say("last")).end().process(say("never"));
            route("dynamic", "none").setProperty("name", constant("plain")).toD("direct:${exchangeProperty.name}").toD("direct:${exchangeProperty.name}").process(say("z"));
            route("dynamic-nobody", "handled").toD("direct:${body}?block=false&failIfNoConsumers=true").process(say("never"));
            route("many", "none").loop(2_000).to("direct:one").end().process(say("z"));
            route("one", "none").process(e -> e.setProperty("n", 1 + e.getProperty("n", 0, Integer.class)));
            route("deep", "none").process(e -> e.setProperty("n", 1 + e.getProperty("n", 0, Integer.class)))
                    .filter(e -> e.getProperty("n", Integer.class) < 5_000).to("direct:deep").end();
            route("deep-handled", "handled").process(e -> e.setProperty("n", 1 + e.getProperty("n", 0, Integer.class)))
                    .filter(e -> e.getProperty("n", Integer.class) < 5_000).to("direct:deep-handled").end()
                    .filter(e -> e.getProperty("n", Integer.class) == 5_000).process(fail("deep")).end();
            route("parts", "none").split(body().tokenize("")).to("direct:plain").end().process(say("z"));
            route("copies", "none").multicast().to("direct:plain", "direct:fails", "direct:plain").end().process(say("z"));
            route("chooses", "none").choice().when(body().isEqualTo("x")).process(say("x")).to("direct:plain").otherwise().process(say("never")).end()
                    .filter(body().isEqualTo("y")).process(say("y")).end().process(say("z"));
            route("left-out", "none").process(say("never")).disabled().process(say("b"));
            route("left-out-throttle", "none").throttle(0).mode("TotalRequests").rejectExecution(true).disabled().process(say("b"));
            route("left-out-kamelet", "none").to("kamelet:says").disabled().process(say("b"));
            route("left-out-breaker", "none").circuitBreaker().process(say("never")).end().disabled().process(say("b"));
            routeTemplate("says").from("kamelet:source").process(say("never"));
            route("completes", "none").process(e -> e.getExchangeExtension().addOnCompletion(new RouteNotes())).to("direct:plain").process(say("z"));
            route("receives", "none").toV("direct:plain", null, "got").setBody(simple("${variable.got}")).process(say("z"));
        }

        private RouteDefinition route(String name, String errors) {
            RouteDefinition route = from("direct:" + name).routeId(name);
            switch (errors) {
                case "none" -> route.errorHandler(noErrorHandler());
                case "handled" -> route.onException(IllegalStateException.class).handled(true)
                        .process(e -> said(e).add("handles " + e.getProperty(Exchange.EXCEPTION_CAUGHT, Exception.class).getMessage()))
                        .setBody(constant("handled")).end();
                case "continued" -> route.onException(IllegalStateException.class).continued(true).process(say("goes on")).end();
                default -> route.onException(IllegalStateException.class).maximumRedeliveries(2).redeliveryDelay(1).handled(true)
                        .process(say("given up")).end();
            }
            return route;
        }
    };

    /** Wants to know of each route. */
    private static final class RouteNotes extends SynchronizationAdapter implements SynchronizationRouteAware {
        @Override
        public SynchronizationRouteAware getRouteSynchronization() {
            return this;
        }

        @Override
        public void onBeforeRoute(Route route, Exchange exchange) {
            said(exchange).add("into " + route.getRouteId());
        }

        @Override
        public void onAfterRoute(Route route, Exchange exchange) {
            said(exchange).add("out of " + route.getRouteId());
        }

        @Override
        public void onDone(Exchange exchange) {
            said(exchange).add("done");
        }
    }

    static Stream<String> routes() {
        return Stream.of("plain", "fails", "checked", "handled", "continued", "again", "outer", "outer-own", "outer-middle-own", "inner-handled", "stops",
                "stops-in-try", "rolls-back", "try", "try-well", "try-in-try", "try-in-catch", "catch-fails", "catch-once", "finally", "dynamic", "dynamic-nobody",
                "many", "deep", "deep-handled", "parts", "copies", "chooses", "left-out", "left-out-throttle", "left-out-kamelet",
                "left-out-breaker", "completes", "receives");
    }

    /** All that a caller can see of what became of it. */
    private static String result(Exchange exchange) {
        Exception failure = exchange.getException();
        return exchange.getMessage().getBody() + " " + said(exchange) + " n=" + exchange.getProperty("n")
                + " failure=" + (failure == null ? null : failure.getClass().getSimpleName() + ": " + failure.getMessage().replaceAll("Exchange\\[.*?]", ""))
                + " caught=" + exchange.getProperty(Exchange.EXCEPTION_CAUGHT) + " handled=" + exchange.getProperty(Exchange.EXCEPTION_HANDLED)
                + " exhausted=" + exchange.getExchangeExtension().isRedeliveryExhausted() + " stop=" + exchange.isRouteStop()
                + " rollback=" + exchange.isRollbackOnly() + " from=" + exchange.getFromRouteId()
                + " failed in=" + exchange.getProperty(Exchange.FAILURE_ROUTE_ID) + " at=" + exchange.getProperty(Exchange.FAILURE_ENDPOINT)
                + " to=" + exchange.getProperty(Exchange.TO_ENDPOINT) + " in try=" + exchange.getProperty(Exchange.TRY_ROUTE_BLOCK);
    }

    @ParameterizedTest
    @MethodSource("routes")
    void aRouteEndsAsItDoesWithCamels(String route) throws Exception {
        String camels = result(send(started(false, ROUTES), "direct:" + route));
        DefaultCamelContext ours = started(true, ROUTES);
        assertEquals(camels, result(send(ours, "direct:" + route)));
        // and once more: nothing is left of the first one
        assertEquals(camels, result(send(ours, "direct:" + route)));
        assertEquals(0, ours.getInflightRepository().size());
        assertTrue(ours.getRoutes().stream().allMatch(r -> ours.getInflightRepository().size(r.getRouteId()) == 0));
    }

    @Test
    void whatComesWithAFailureIsForTheErrorHandlerAlone() throws Exception {
        List<String> results = new ArrayList<>();
        for (boolean ours : new boolean[] {false, true}) {
            DefaultCamelContext context = started(ours, ROUTES);
            Exchange exchange = new DefaultExchange(context);
            exchange.setException(new IllegalStateException("before"));
            results.add(result(context.createProducerTemplate().send("direct:handled", exchange)));
        }
        assertTrue(results.get(0).startsWith("handled [handles before]"), results.get(0));
        assertEquals(results.get(0), results.get(1));
    }

    @Test
    void theRoutesOfThisTestAreMadeOfOurs() throws Exception {
        DefaultCamelContext ours = started(true, ROUTES);
        assertInstanceOf(RouteProcessor.class, ours.getRoute("plain").getProcessor());
        assertTrue(ours.getRoute("try").filter("*").stream().anyMatch(TryFirst.class::isInstance));
        assertTrue(ours.getRoute("finally").filter("*").stream().anyMatch(p -> p.getClass() == TryProcessor.class));
        assertTrue(ours.getRoute("dynamic").filter("*").stream().anyMatch(DirectCall.class::isInstance));
        assertTrue(ours.getRoute("dynamic").filter("*").stream().noneMatch(p -> p.getClass() == SendDynamicProcessor.class));
    }

    @Test
    void theStackIsAsDeepAsRoutesAreNestedHoweverManyStepsTheyHave() throws Exception {
        List<Integer> depths = new ArrayList<>();
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                var route = from("direct:long").process(e -> depths.add(Thread.currentThread().getStackTrace().length));
                for (int i = 0; i < 100; i++) {
                    route.to("direct:short").process(e -> { });
                }
                route.process(e -> depths.add(Thread.currentThread().getStackTrace().length));
                from("direct:short").process(e -> { }).setBody(constant("y"));
            }
        });
        assertEquals("y", send(ours, "direct:long").getMessage().getBody());
        assertEquals(depths.get(0), depths.get(1));
    }

    @Test
    void whoEndsAStepGoesOnThoughTheCallHasNotReturned() throws Exception {
        List<Thread> threads = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch over = new CountDownLatch(1);
        CompletableFuture<Thread> other = new CompletableFuture<>();
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:handed").process(new AsyncProcessorSupport() {
                    @Override
                    public boolean process(Exchange exchange, AsyncCallback callback) {
                        other.complete(Thread.startVirtualThread(() -> {
                            callback.done(false);
                            over.countDown();
                        }));
                        try {
                            assertTrue(over.await(10, TimeUnit.SECONDS));
                        } catch (InterruptedException e) {
                            throw new AssertionError(e);
                        }
                        return false;
                    }
                }).process(e -> threads.add(Thread.currentThread())).process(e -> threads.add(Thread.currentThread()));
            }
        });
        assertNull(send(ours, "direct:handed").getException());
        assertEquals(List.of(other.get(), other.get()), threads);
    }

    @Test
    void aStepThatThrowsWhereItShouldFailIsAFailure() throws Exception {
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:throws").process(new AsyncProcessorSupport() {
                    @Override
                    public boolean process(Exchange exchange, AsyncCallback callback) {
                        throw new IllegalStateException("thrown");
                    }
                }).process(say("never"));
            }
        });
        Exchange exchange = send(ours, "direct:throws");
        assertEquals("thrown", exchange.getException().getMessage());
        assertEquals(List.of(), said(exchange));
    }

    @Test
    void whatHasFailedNamesTheStep() throws Exception {
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:named").process(e -> { }).id("first").process(fail("here")).id("second").process(e -> { }).id("third");
            }
        });
        assertEquals("second", send(ours, "direct:named").getExchangeExtension().getHistoryNodeId());
    }

    @Test
    void aRouteCountsWhatComesInAndNotWhatIsHandedOn() throws Exception {
        List<Integer> counts = new ArrayList<>();
        DefaultCamelContext ours = context(true);
        ours.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:first").routeId("first").to("direct:second");
                from("direct:second").routeId("second").process(e -> {
                    counts.add(ours.getInflightRepository().size("first"));
                    counts.add(ours.getInflightRepository().size("second"));
                });
            }
        });
        ours.start();
        send(ours, "direct:first");
        send(ours, "direct:second");
        assertEquals(List.of(1, 0, 0, 1), counts);
    }

    @Test
    void aHistoryThatIsAskedForIsKept() throws Exception {
        DefaultCamelContext ours = context(true);
        ours.setMessageHistory(true);
        ours.addRoutes(ROUTES);
        ours.start();
        Exchange exchange = send(ours, "direct:chooses");
        List<?> history = exchange.getProperty(Exchange.MESSAGE_HISTORY, List.class);
        assertNotNull(history);
        assertTrue(history.stream().anyMatch(h -> ((MessageHistory) h).getNode().getShortName().equals("choice")));
    }

    @Test
    void whoInterceptsSeesEachStep() throws Exception {
        List<String> seen = new ArrayList<>();
        DefaultCamelContext ours = context(true);
        ours.getCamelContextExtension().addInterceptStrategy((context, definition, target, next) -> e -> {
            seen.add(definition.getId());
            target.process(e);
        });
        ours.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:seen").process(say("a")).id("a").process(say("b")).id("b");
            }
        });
        ours.start();
        assertNull(send(ours, "direct:seen").getException());
        assertEquals(List.of("a", "b"), seen);
    }

    /** The threads on which the exchange was, those of a route that an event loop has begun, or what it has failed with. */
    private static List<Object> onLoop(DefaultCamelContext context, Vertx vertx, String route) throws Exception {
        AsyncProcessor producer = context.getEndpoint(route).createAsyncProducer();
        ServiceHelper.startService(producer);
        Exchange exchange = new DefaultExchange(context);
        CompletableFuture<Exchange> end = new CompletableFuture<>();
        vertx.runOnContext(v -> producer.process(exchange, sync -> end.complete(exchange)));
        assertNull(end.get(10, TimeUnit.SECONDS).getException());
        return List.copyOf(exchange.getProperty("threads", List.class));
    }

    @SuppressWarnings("unchecked")
    private static void noteThread(Exchange exchange) {
        if (exchange.getProperty("threads") == null) {
            exchange.setProperty("threads", Collections.synchronizedList(new ArrayList<>()));
        }
        exchange.getProperty("threads", List.class).add(Thread.currentThread().isVirtual() ? "virtual" : "loop");
    }

    @Test
    void aStepThatMustWaitIsRunOnceMoreOnAThreadOfItsOwnAndTheRouteGoesOnThere() throws Exception {
        Processor note = EngineTest::noteThread;
        Processor waits = e -> {
            MustWait.here();
            noteThread(e);
        };
        Processor wrapped = e -> {
            try {
                waits.process(e);
            } catch (MustWait raised) {
                throw new IllegalStateException("in something else", raised);
            }
        };
        Processor thrown = new AsyncProcessorSupport() {
            @Override
            public boolean process(Exchange exchange, AsyncCallback callback) {
                MustWait.here();
                noteThread(exchange);
                callback.done(true);
                return true;
            }
        };
        CompletableFuture<Boolean> after = new CompletableFuture<>();
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:inner").errorHandler(noErrorHandler()).process(note).process(wrapped).process(note);
                from("direct:entry").onException(Exception.class).handled(true).process(fail("never")).end()
                        .process(note).process(thrown).process(note);
                from("direct:nested").errorHandler(noErrorHandler()).process(note)
                        .doTry().filter(constant(true)).process(note).process(waits).end().process(thrown).endDoTry().doCatch(Exception.class).process(fail("never")).end()
                        .to("direct:inner");
                from("direct:throttled").errorHandler(noErrorHandler()).process(note).throttle(1).process(note);
                from("direct:delayed").errorHandler(noErrorHandler()).process(note).delay(1).syncDelayed().process(note);
                from("direct:polled").errorHandler(noErrorHandler()).process(note).poll("direct:nobody", 1).process(note);
                from("direct:enriched").errorHandler(noErrorHandler()).process(note).pollEnrich("direct:nobody-else", 1).process(note);
                from("direct:again").onException(Exception.class).maximumRedeliveries(1).redeliveryDelay(0).end().process(note).process(waits);
                from("direct:after").errorHandler(noErrorHandler()).onCompletion().process(e -> after.complete(Context.isOnEventLoopThread())).end().process(note);
            }
        });
        Vertx vertx = Vertx.vertx();
        try {
            assertEquals(List.of("loop", "virtual", "virtual"), onLoop(ours, vertx, "direct:inner"));
            assertEquals(List.of("loop", "virtual", "virtual"), onLoop(ours, vertx, "direct:entry"));
            assertEquals(List.of("loop", "loop", "virtual", "virtual", "virtual", "virtual", "virtual"), onLoop(ours, vertx, "direct:nested"));
            assertEquals(List.of("loop", "virtual"), onLoop(ours, vertx, "direct:throttled"));
            assertEquals(List.of("loop", "virtual"), onLoop(ours, vertx, "direct:delayed"));
            assertEquals(List.of("loop", "virtual"), onLoop(ours, vertx, "direct:polled"));
            assertEquals(List.of("loop", "virtual"), onLoop(ours, vertx, "direct:enriched"));
            assertEquals(List.of("virtual", "virtual"), onLoop(ours, vertx, "direct:again"));
            assertEquals(List.of("loop"), onLoop(ours, vertx, "direct:after"));
            assertFalse(after.get(10, TimeUnit.SECONDS), "what follows a request may wait");
        } finally {
            vertx.close();
        }
    }

    @Test
    void anEventLoopIsNotKeptUntilWhatHasFailedOnItIsTriedAgain() throws Exception {
        CountDownLatch failed = new CountDownLatch(1);
        CountDownLatch others = new CountDownLatch(1);
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:again").onException(IllegalStateException.class).maximumRedeliveries(1).redeliveryDelay(1).end()
                        .process(new AsyncProcessorSupport() {
                            @Override
                            public boolean process(Exchange exchange, AsyncCallback callback) {
                                noteThread(exchange);
                                if (failed.getCount() == 0) {
                                    // what else there is to do on that loop
                                    assertTrue(await(others));
                                    callback.done(true);
                                    return true;
                                }
                                exchange.getProperty("loop", Context.class).runOnContext(v -> {
                                    failed.countDown();
                                    exchange.setException(new IllegalStateException("once"));
                                    callback.done(false);
                                });
                                return false;
                            }
                        });
            }
        });
        Vertx vertx = Vertx.vertx();
        try {
            Context loop = vertx.getOrCreateContext();
            Exchange exchange = new DefaultExchange(ours);
            exchange.setProperty("loop", loop);
            AsyncProcessor producer = ours.getEndpoint("direct:again").createAsyncProducer();
            ServiceHelper.startService(producer);
            CompletableFuture<Exchange> end = new CompletableFuture<>();
            loop.runOnContext(v -> producer.process(exchange, sync -> end.complete(exchange)));
            assertTrue(await(failed));
            loop.runOnContext(v -> others.countDown());
            assertNull(end.get(20, TimeUnit.SECONDS).getException());
            assertEquals(List.of("virtual", "virtual"), exchange.getProperty("threads", List.class));
        } finally {
            vertx.close();
        }
    }

    private static boolean await(CountDownLatch latch) {
        try {
            return latch.await(10, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    /** As of a text that is too long for a regular expression: its request would never end. */
    @Test
    void anErrorIsAFailure() throws Exception {
        DefaultCamelContext ours = started(true, new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("direct:step").process(EngineTest::overflow).process(say("never"));
                from("direct:predicate").filter(EngineTest::overflow).process(say("never")).end().process(say("never"));
                // where there are more, they are Camel's pipeline
                from("direct:within").choice().when(constant(true)).process(say("a")).filter(EngineTest::overflow).process(say("never")).end().process(say("never"))
                        .end().process(say("never"));
                from("direct:handled").errorHandler(defaultErrorHandler()).onException(Throwable.class).handled(true).process(say("handled")).end()
                        .choice().when(constant(true)).process(say("a")).process(EngineTest::overflow).process(say("never"));
                from("direct:handled-predicate").errorHandler(defaultErrorHandler()).onException(Throwable.class).handled(true).process(say("handled")).end()
                        .process(say("a")).filter(EngineTest::overflow).process(say("never"));
            }
        });
        for (String route : List.of("direct:step", "direct:predicate", "direct:within")) {
            assertInstanceOf(StackOverflowError.class, send(ours, route).getException().getCause(), route);
        }
        for (String route : List.of("direct:handled", "direct:handled-predicate")) {
            Exchange handled = send(ours, route);
            assertNull(handled.getException(), route);
            assertEquals(2, said(handled).size(), said(handled).toString());
        }
    }

    private static boolean overflow(Exchange exchange) {
        throw new StackOverflowError();
    }

    @Test
    void aDynamicCallReachesTheRouteThatIsThereNow() throws Exception {
        DefaultCamelContext ours = started(true, ROUTES);
        ours.getRouteController().stopRoute("plain");
        ours.removeRoute("plain");
        ours.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:plain").routeId("plain").setBody(constant("new"));
            }
        });
        assertEquals("new", send(ours, "direct:dynamic").getMessage().getBody());
        assertSame(ours.getRoute("plain").getEndpoint(), ours.getEndpoint("direct:plain"));
    }
}
