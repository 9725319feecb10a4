package io.llmchat.eip;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.github.resilience4j.bulkhead.BulkheadFullException;
import io.github.resilience4j.circuitbreaker.CallNotPermittedException;
import java.util.ArrayDeque;
import java.util.Deque;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
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

    private final DefaultCamelContext context = EipsTest.context();
    private final Calls calls = new Calls();

    @BeforeEach
    void start() throws Exception {
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from("direct:guarded").errorHandler(noErrorHandler())
                        .circuitBreaker().resilience4jConfiguration().slidingWindowSize(2).minimumNumberOfCalls(2).failureRateThreshold(100)
                        .ignoreException(IllegalArgumentException.class).bulkheadEnabled(true).bulkheadMaxConcurrentCalls(3).bulkheadMaxWaitDuration(0)
                        .end().process(calls).end();
                from("direct:fallback").errorHandler(noErrorHandler())
                        .circuitBreaker().process(e -> {
                            throw new IllegalStateException("no");
                        }).onFallback().setBody(constant("instead")).end();
            }
        });
        context.start();
    }

    @AfterEach
    void stop() {
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
