package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.llmchat.support.TestGateway;
import java.sql.Connection;
import java.sql.Statement;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import javax.sql.DataSource;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.sql.SqlEndpoint;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The statements of routes, with the parameters that they may have. */
class StatementsTest {

    private final DefaultCamelContext context = new DefaultCamelContext();

    @BeforeEach
    void start() throws Exception {
        context.getRegistry().bind("dataSource", TestGateway.shared().bean(DataSource.class));
        context.getCamelContextExtension().registerEndpointCallback(Statements.in(context));
        context.start();
    }

    @AfterEach
    void stop() {
        context.stop();
    }

    /** What the first column of the first row says. */
    private String ask(String query, Object body, Map<String, Object> properties, String... options) throws Exception {
        String uri = "sql:" + query + "?outputType=SelectOne" + String.join("", options);
        String name = "direct:" + UUID.randomUUID();
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                from(name).errorHandler(noErrorHandler()).to(uri);
            }
        });
        String answer = null;
        // the second time it is taken apart already
        for (int i = 0; i < 2; i++) {
            Exchange exchange = new DefaultExchange(context);
            exchange.getIn().setBody(body);
            properties.forEach(exchange::setProperty);
            context.createProducerTemplate().send(name, exchange);
            if (exchange.getException() != null) {
                throw exchange.getException();
            }
            answer = exchange.getMessage().getBody(String.class);
        }
        return answer;
    }

    @Test
    void parametersAreTheValuesOfTheirExpressions() throws Exception {
        assertEquals("a, 7, a", ask("SELECT concat(:#${exchangeProperty.one}::text, ', ', CAST(:#${exchangeProperty.two} AS int), ', ', :#${exchangeProperty.one}::text)",
                "x", Map.of("one", "a", "two", 7)));
        assertEquals("{\"n\": 1}", ask("SELECT (:#${body})::jsonb::text", "{\"n\":1}", Map.of()));
        assertNull(ask("SELECT CAST(:#${exchangeProperty.missing} AS text)", "x", Map.of()));
        assertEquals("y", ask("SELECT :#${exchangeProperty.all[${exchangeProperty.which}]}::text", "x", Map.of("all", Map.of("a", "y"), "which", "a")));
    }

    @Test
    void aBodyThatIsAListOrHasBracesIsOneValue() throws Exception {
        assertEquals("a,b", ask("SELECT :#${body}::text", "a,b", Map.of()));
        assertEquals("${body} :?x {", ask("SELECT :#${body}::text", "${body} :?x {", Map.of()));
    }

    @Test
    void namesInsAndListsAreCamels() throws Exception {
        assertEquals("a", ask("SELECT :#one::text", Map.of("one", "a"), Map.of()));
        assertEquals("2", ask("SELECT count(*) FROM unnest(ARRAY['a','b','c']) t(n) WHERE n IN (:#in:some)", Map.of("some", List.of("a", "c")), Map.of()));
        assertEquals("ab", ask("SELECT :#one::text || :#${body[two]}::text", Map.of("one", "a", "two", "b"), Map.of()));
        assertEquals("ab", ask("SELECT concat(#::text, #::text)", List.of("a", "b"), Map.of()));
        assertEquals("none", ask("SELECT 'none'", "x", Map.of()));
    }

    @Test
    void eachRowOfABatchHasItsOwnBody() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String table = "batch_" + UUID.randomUUID().toString().replace('-', '_');
        try (Connection c = gateway.bean(DataSource.class).getConnection(); Statement s = c.createStatement()) {
            s.execute("CREATE TABLE " + table + " (word text)");
            try {
                context.createProducerTemplate().requestBody("sql:INSERT INTO " + table + " VALUES (:#${body})?batch=true", List.of("a", "b"));
                assertEquals(2, gateway.count("SELECT count(*) FROM " + table + " WHERE word IN ('a', 'b')"));
            } finally {
                s.execute("DROP TABLE " + table);
            }
        }
    }

    @Test
    void endpointsUseItUnlessTheyHaveAWayOfTheirOwn() {
        assertInstanceOf(Statements.class, context.getEndpoint("sql:SELECT 1", SqlEndpoint.class).getPrepareStatementStrategy());
        assertNull(context.getEndpoint("sql:SELECT 2?separator=;", SqlEndpoint.class).getPrepareStatementStrategy());
    }
}
