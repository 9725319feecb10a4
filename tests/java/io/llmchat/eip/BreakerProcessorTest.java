package io.llmchat.eip;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.resilience4j.bulkhead.Bulkhead;
import io.github.resilience4j.bulkhead.BulkheadFullException;
import io.github.resilience4j.circuitbreaker.CallNotPermittedException;
import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.llmchat.chat.Candidate;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ClientGone;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Target;
import io.llmchat.llm.Breakers;
import io.llmchat.support.TestGateway;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.RuntimeCamelException;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.model.Resilience4jConfigurationDefinition;
import org.apache.camel.support.AsyncProcessorSupport;
import org.apache.camel.support.DefaultExchange;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The circuit breaker of a route judges what it guards when that has ended, whoever ends it and whenever. */
class BreakerProcessorTest {

    /** A call that ends when the test says so. */
    private static final class Calls extends AsyncProcessorSupport {
        private record Open(Exchange exchange, AsyncCallback callback) {
        }

        private final Deque<Open> open = new ArrayDeque<>();

        @Override
        public boolean process(Exchange exchange, AsyncCallback callback) {
            open.add(new Open(exchange, callback));
            return false;
        }

        void end(Exception failure) {
            Open call = open.poll();
            call.exchange.setException(failure);
            call.callback.done(false);
        }
    }

    private final Breakers breakers = new Breakers(50_000, new SimpleMeterRegistry());
    private final DefaultCamelContext context = EipsTest.context(breakers);
    private final Calls calls = new Calls();

    @BeforeEach
    void start() throws Exception {
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:guarded").errorHandler(noErrorHandler())
                        .circuitBreaker().resilience4jConfiguration().slidingWindowSize(2).minimumNumberOfCalls(2).failureRateThreshold(100)
                        .ignoreException(IllegalArgumentException.class).bulkheadEnabled(true).bulkheadMaxConcurrentCalls(3).bulkheadMaxWaitDuration(0)
                        .end().to("kamelet:fake-chat-action").end();
                routeTemplate("fake-chat-action").from("kamelet:source").errorHandler(noErrorHandler()).process(calls);
                model("direct:model", 2).ignoreException(IllegalArgumentException.class).end().to("kamelet:fake-chat-action").end();
                model("direct:patient", 4).waitDurationInOpenState(1).end().filter(constant(true)).to("kamelet:fake-chat-action?template={\n}").end().end();
                from("direct:else").errorHandler(noErrorHandler())
                        .circuitBreaker().resilience4jConfiguration().slidingWindowSize(2).minimumNumberOfCalls(2).failureRateThreshold(100)
                        .throwExceptionWhenHalfOpenOrOpenState(true).end()
                        .process(e -> {
                            if (e.getMessage().getBody() == null) {
                                throw new IllegalStateException("no");
                            }
                        }).end();
                from("direct:passing").errorHandler(noErrorHandler())
                        .circuitBreaker().resilience4jConfiguration().slidingWindowSize(2).minimumNumberOfCalls(2)
                        .throwExceptionWhenHalfOpenOrOpenState(false).end().process(e -> {
                            throw new IllegalStateException("no");
                        }).end().setBody(constant("goes on"));
                from("direct:fallback").errorHandler(noErrorHandler())
                        .circuitBreaker().process(e -> {
                            throw new IllegalStateException("no");
                        }).onFallback().setBody(constant("instead")).end();
            }

            /** As in the files of providers: so many failures in a row open it, and three probes close it. */
            private Resilience4jConfigurationDefinition model(String uri, int failures) {
                return from(uri).errorHandler(noErrorHandler()).circuitBreaker().resilience4jConfiguration()
                        .slidingWindowSize(failures).minimumNumberOfCalls(failures).failureRateThreshold(100).permittedNumberOfCallsInHalfOpenState(3)
                        .throwExceptionWhenHalfOpenOrOpenState(true);
            }
        });
        context.start();
    }

    @AfterEach
    void stop() {
        while (!calls.open.isEmpty()) {
            calls.end(null);
        }
        context.stop();
    }

    private Exchange begin(String uri, boolean[] ended) throws Exception {
        Exchange exchange = new DefaultExchange(context);
        AsyncProcessor producer = context.getEndpoint(uri).createAsyncProducer();
        ((org.apache.camel.Service) producer).start();
        producer.process(exchange, sync -> ended[0] = true);
        return exchange;
    }

    private Exchange call(Exception failure) throws Exception {
        boolean[] ended = new boolean[1];
        Exchange exchange = begin("direct:guarded", ended);
        assertFalse(ended[0], "nobody waits");
        calls.end(failure);
        assertEquals(true, ended[0]);
        return exchange;
    }

    @Test
    void aBreakerThatShallPassOverWhatItDoesNotLetThroughDoes() {
        for (int i = 0; i < 2; i++) {
            assertInstanceOf(IllegalStateException.class, context.createProducerTemplate().send("direct:passing", e -> { }).getException());
        }
        Exchange open = context.createProducerTemplate().send("direct:passing", e -> { });
        assertNull(open.getException());
        assertEquals("goes on", open.getMessage().getBody());
        assertEquals(true, open.getProperty(ExchangePropertyKey.CIRCUIT_BREAKER_RESPONSE_REJECTED));
    }

    @Test
    void aBreakerOfAModelTakesNoTimeLimitThatWouldNotEndItsCall() {
        for (String call : List.of("kamelet:fake-chat-action", "direct:provider-fake", "direct:complete")) {
            assertRefused("takes no timeoutEnabled", new RouteBuilder() {
                @Override
                public void configure() {
                    from("direct:hasty").circuitBreaker().resilience4jConfiguration().timeoutEnabled(true).end().to(call).end();
                }
            });
        }
    }

    @Test
    void whatHasATimeLimitWaitsForNobodyElse() throws Exception {
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:limited").circuitBreaker().resilience4jConfiguration().timeoutEnabled(true).end()
                        .process(e -> e.getMessage().setBody(Thread.currentThread().isVirtual())).end();
            }
        });
        assertEquals(true, context.createProducerTemplate().requestBody("direct:limited", null, Boolean.class), "it has a thread of its own");
    }

    @Test
    void aThrottleOfConcurrentRequestsIsRefusedWhereARetryWouldWaitForItself() {
        assertRefused("cannot stand in a breaker", new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:guarded-throttle").circuitBreaker().throttle(1).mode("ConcurrentRequests").to("kamelet:fake-chat-action").end().end();
            }
        });
        assertRefused("cannot stand in a breaker", new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:provider-throttled").throttle(1).mode("ConcurrentRequests").to("kamelet:fake-chat-action");
            }
        });
        assertRefused("cannot stand in a breaker", new RouteBuilder() {
            @Override
            public void configure() {
                routeTemplate("throttled").from("kamelet:source").throttle(1).mode("ConcurrentRequests").process(calls);
                from("direct:throttled").to("kamelet:throttled");
            }
        });
    }

    private void assertRefused(String why, RouteBuilder routes) {
        Throwable refused = assertThrows(Exception.class, () -> context.addRoutes(routes));
        while (refused.getCause() != null) {
            refused = refused.getCause();
        }
        assertTrue(refused.getMessage().contains(why), refused.toString());
    }

    @Test
    void whatItGuardsMayEndLaterAndWhatThatRaisesPasses() throws Exception {
        assertNull(call(null).getException());
        assertInstanceOf(IllegalStateException.class, call(new IllegalStateException("down")).getException());
    }

    @Test
    void failuresOpenItAndThoseThatItIgnoresDoNot() throws Exception {
        for (int i = 0; i < 5; i++) {
            assertInstanceOf(IllegalArgumentException.class, call(new IllegalArgumentException("not its fault")).getException());
        }
        call(new IllegalStateException("down"));
        call(new IllegalStateException("down"));
        boolean[] ended = new boolean[1];
        assertInstanceOf(CallNotPermittedException.class, begin("direct:guarded", ended).getException());
        assertEquals(true, ended[0]);
        assertEquals(0, calls.open.size(), "nobody was asked");
    }

    /** A chat that asks this model, through the route of its provider; false: it is not let through. */
    private boolean ask(String route, String model, Exception failure) throws Exception {
        Exchange exchange = beginChat(route, model);
        if (calls.open.isEmpty()) {
            assertInstanceOf(CallNotPermittedException.class, exchange.getException());
            return false;
        }
        calls.end(failure);
        assertEquals(failure, exchange.getException());
        return true;
    }

    private Exchange beginChat(String route, String model) throws Exception {
        Exchange exchange = new DefaultExchange(context);
        Chat chat = new Chat(null);
        if (model != null) {
            chat.candidates(List.of(new Candidate(Target.parse(model), 0, false)));
            chat.nextCandidate();
        }
        exchange.setProperty(Chat.PROPERTY, chat);
        AsyncProcessor producer = context.getEndpoint(route).createAsyncProducer();
        ((org.apache.camel.Service) producer).start();
        producer.process(exchange, sync -> { });
        return exchange;
    }

    private CircuitBreaker.State state(String model) {
        return breakers.state(Target.parse(model));
    }

    private void open(String route, String model) throws Exception {
        while (ask(route, model, new IllegalStateException("down"))) {
            assertTrue(calls.open.isEmpty());
        }
    }

    /** What the time that it stays open ends with. */
    private CircuitBreaker halfOpen(String model) {
        CircuitBreaker breaker = breakers.of(Target.parse(model), breakers.rules(rules(2, 2, 3), false));
        breaker.transitionToHalfOpenState();
        return breaker;
    }

    private static CircuitBreakerConfig rules(int window, int minimum, int probes) {
        return CircuitBreakerConfig.custom().slidingWindowSize(window).minimumNumberOfCalls(minimum).failureRateThreshold(100)
                .permittedNumberOfCallsInHalfOpenState(probes).build();
    }

    @Test
    void eachModelHasABreakerOfItsOwn() throws Exception {
        open("direct:model", "fake/a");
        assertEquals(CircuitBreaker.State.OPEN, state("fake/a"));
        assertTrue(ask("direct:model", "fake/b", null));
        assertEquals(CircuitBreaker.State.CLOSED, state("fake/b"));
    }

    @Test
    void aBreakerAroundSomethingElseIsCamelsAndNotTheModels() {
        for (int i = 0; i < 2; i++) {
            assertInstanceOf(IllegalStateException.class, context.createProducerTemplate().send("direct:else", e -> { }).getException());
        }
        Exchange open = context.createProducerTemplate().send("direct:else", e -> e.getMessage().setBody("well"));
        assertInstanceOf(CallNotPermittedException.class, open.getException());
        assertEquals(false, open.getProperty(ExchangePropertyKey.CIRCUIT_BREAKER_RESPONSE_SUCCESSFUL_EXECUTION));
        assertEquals(Map.of(), breakers.states());
    }

    @Test
    void whatABranchOfAnEipWithinRaisesReachesTheBreaker() throws Exception {
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:branches").onException(IllegalStateException.class).handled(true).end()
                        .circuitBreaker().resilience4jConfiguration().slidingWindowSize(2).minimumNumberOfCalls(2).failureRateThreshold(100).end()
                        .split(constant(List.of("one"))).shareUnitOfWork().stopOnException().to("kamelet:fake-chat-action").end().end()
                        .setBody(constant("never"));
            }
        });
        for (int i = 0; i < 2; i++) {
            Exchange chat = beginChat("direct:branches", "fake/k");
            calls.end(new IllegalStateException("down"));
            assertNotEquals("never", chat.getMessage().getBody());
        }
        assertEquals(CircuitBreaker.State.OPEN, state("fake/k"));
    }

    @Test
    void allProbesMustBeWellToCloseItAlsoWhereFewerFailuresOpenIt() throws Exception {
        open("direct:model", "fake/e");
        halfOpen("fake/e");
        for (int i = 0; i < 3; i++) {
            assertEquals(CircuitBreaker.State.HALF_OPEN, state("fake/e"));
            assertTrue(ask("direct:model", "fake/e", null));
        }
        assertEquals(CircuitBreaker.State.CLOSED, state("fake/e"));
    }

    @Test
    void oneFailureOfAProbeOpensItAgain() throws Exception {
        open("direct:model", "fake/f");
        halfOpen("fake/f");
        assertTrue(ask("direct:model", "fake/f", null));
        assertTrue(ask("direct:model", "fake/f", new IllegalArgumentException("not its fault")));
        assertEquals(CircuitBreaker.State.HALF_OPEN, state("fake/f"));
        assertTrue(ask("direct:model", "fake/f", new IllegalStateException("down still")));
        assertEquals(CircuitBreaker.State.OPEN, state("fake/f"));
    }

    @Test
    void whatIsNotTheProvidersFaultDoesNotCountThoughTheRouteDoesNotSaySo() throws Exception {
        List<Exception> others = List.of(new ProviderRefusal("UPSTREAM_RATE_LIMITED", "Later."), new RequestRejected("UPSTREAM_REJECTED", "No."),
                new ClientGone(), new RuntimeCamelException(new ClientGone()), BulkheadFullException.createBulkheadFullException(Bulkhead.ofDefaults("inner")));
        for (Exception each : others) {
            assertTrue(ask("direct:patient", "fake/k", each));
        }
        assertTrue(ask("direct:patient", "fake/k", null));
        assertEquals(CircuitBreaker.State.CLOSED, state("fake/k"));
    }

    @Test
    void whatFailsBeforeAnybodyIsAskedDoesNotCount() throws Exception {
        for (int i = 0; i < 3; i++) {
            beginChat("direct:model", "fake/l");
            calls.open.peek().exchange.setProperty(Breakers.NOT_ASKED, true);
            calls.end(new IllegalStateException("ours"));
        }
        assertEquals(CircuitBreaker.State.CLOSED, state("fake/l"));
        open("direct:model", "fake/l");
        assertEquals(CircuitBreaker.State.OPEN, state("fake/l"));
    }

    @Test
    void aCallFromBeforeItOpenedIsNoProbe() throws Exception {
        beginChat("direct:model", "fake/j");
        Calls.Open before = calls.open.poll();
        open("direct:model", "fake/j");
        halfOpen("fake/j");
        calls.open.add(before);
        calls.end(new IllegalStateException("down then"));
        assertEquals(CircuitBreaker.State.HALF_OPEN, state("fake/j"));
    }

    @Test
    void aNewVersionOfTheRouteChangesTheRulesAndNotTheState() throws Exception {
        open("direct:model", "fake/g");
        // as after an edit: the same breaker by other rules, one of them how long it stays open
        assertFalse(ask("direct:patient", "fake/g", null));
        assertEquals(CircuitBreaker.State.OPEN, state("fake/g"));
        TestGateway.until("its own time is over", () -> ask("direct:patient", "fake/g", null));
        assertTrue(ask("direct:patient", "fake/g", null));
        assertEquals(CircuitBreaker.State.HALF_OPEN, state("fake/g"));
        // what is left of the version before goes by the rules that are there, of which this was the last probe
        assertTrue(ask("direct:model", "fake/g", null));
        assertEquals(CircuitBreaker.State.CLOSED, state("fake/g"));
    }

    @Test
    void howLongItStaysOpenMayStandInAConfigurationThatSeveralName() throws Exception {
        Resilience4jConfigurationDefinition shared = new Resilience4jConfigurationDefinition();
        shared.setSlidingWindowSize("2");
        shared.setMinimumNumberOfCalls("2");
        shared.setWaitDurationInOpenState("1");
        context.getRegistry().bind("shared", shared);
        Resilience4jConfigurationDefinition minute = new Resilience4jConfigurationDefinition();
        minute.setSlidingWindowSize("2");
        minute.setMinimumNumberOfCalls("2");
        minute.setWaitDurationInOpenState("60");
        context.getRegistry().bind("minute", minute);
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:shared").errorHandler(noErrorHandler()).circuitBreaker().configuration("shared").to("kamelet:fake-chat-action").end();
                from("direct:minute").errorHandler(noErrorHandler()).circuitBreaker().configuration("minute").to("kamelet:fake-chat-action").end();
            }
        });
        open("direct:minute", "fake/m");
        assertEquals(60_000L, beginChat("direct:minute", "fake/m").getProperty(Breakers.OPEN_MILLIS), "also where it is resilience4j's own");
        open("direct:shared", "fake/l");
        TestGateway.until("that is over", () -> ask("direct:shared", "fake/l", null));
    }

    @Test
    void oneThatNobodyAsksIsNotOpenForEverAndMakesRoom() throws Exception {
        // long enough that none is over before it has begun: such a one stays open until it is asked
        Breakers many = new Breakers(50, new SimpleMeterRegistry());
        CircuitBreakerConfig rules = many.rules(rules(2, 2, 3), false);
        for (int i = 0; i < 1_000; i++) {
            many.of(Target.parse("fake/" + i), rules).transitionToOpenState();
        }
        TestGateway.until("the time of all is over", () -> many.states().values().stream().allMatch(s -> s == CircuitBreaker.State.HALF_OPEN));
        many.of(Target.parse("fake/one-more"), rules);
        assertEquals(1_000, many.states().size());
    }

    @Test
    void rulesThatSayTheSameLeaveWhatWasCounted() {
        Target model = Target.parse("fake/h");
        CircuitBreaker breaker = breakers.of(model, breakers.rules(rules(2, 2, 3), false));
        assertSame(breaker, breakers.of(model, breakers.rules(rules(2, 2, 3), false)));
        assertNotSame(breaker, breakers.of(model, breakers.rules(rules(4, 4, 3), false)));
    }

    @Test
    void longAnswersAreNoFailures() {
        CircuitBreaker breaker = breakers.of(Target.parse("fake/i"), breakers.rules(rules(2, 2, 3), false));
        for (int i = 0; i < 5; i++) {
            breaker.onSuccess(10, TimeUnit.HOURS);
        }
        assertEquals(CircuitBreaker.State.CLOSED, breaker.getState());
    }

    @Test
    void aFullBulkheadRefusesUntilACallHasEnded() throws Exception {
        boolean[] ended = new boolean[1];
        for (int i = 0; i < 3; i++) {
            assertNull(begin("direct:guarded", ended).getException());
        }
        assertInstanceOf(BulkheadFullException.class, begin("direct:guarded", ended).getException());
        calls.end(null);
        assertNull(begin("direct:guarded", ended).getException());
        assertEquals(3, calls.open.size());
    }

    @Test
    void aFallbackIsLeftToCamel() {
        assertEquals("instead", context.createProducerTemplate().requestBody("direct:fallback", "", String.class));
    }
}
