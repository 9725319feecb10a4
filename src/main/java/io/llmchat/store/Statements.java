package io.llmchat.store;

import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.Expression;
import org.apache.camel.component.sql.DefaultSqlPrepareStatementStrategy;
import org.apache.camel.component.sql.SqlEndpoint;
import org.apache.camel.spi.EndpointStrategy;
import org.apache.camel.spi.Language;

/**
 * The statements of {@code sql:} endpoints whose parameters are all Simple expressions ({@code :#${body}}), taken apart
 * once. Camel's takes a statement apart each time, and for each of its parameters tries to make a map of the body, which
 * together was a third of what a request with a session and a key costs. Others are Camel's. Safe for all threads.
 */
public final class Statements extends DefaultSqlPrepareStatementStrategy {

    /** Statements may be made by expressions. */
    private static final int KEPT = 1_000;
    private static final Statement CAMELS = new Statement(null, List.of());

    private final CamelContext context;
    private final Map<String, Statement> statements = new ConcurrentHashMap<>();

    private record Statement(String text, List<Expression> parameters) { }

    private Statements(CamelContext context) {
        this.context = context;
    }

    /** Has the endpoints of a context use this, but those that have a strategy, or a separator, of their own. */
    public static EndpointStrategy in(CamelContext context) {
        Statements all = new Statements(context);
        return (uri, endpoint) -> {
            if (endpoint instanceof SqlEndpoint sql && sql.getPrepareStatementStrategy() == null && sql.getSeparator() == ',') {
                sql.setPrepareStatementStrategy(all);
            }
            return endpoint;
        };
    }

    @Override
    public String prepareQuery(String query, boolean named, Exchange exchange) throws SQLException {
        Statement statement = named ? of(query) : CAMELS;
        return statement == CAMELS ? super.prepareQuery(query, named, exchange) : statement.text;
    }

    @Override
    public Iterator<?> createPopulateIterator(String query, String prepared, int expected, Exchange exchange, Object value)
            throws SQLException {
        Statement statement = of(query);
        // a batch has a body for each of its rows
        if (statement == CAMELS || value != exchange.getMessage().getBody()) {
            return super.createPopulateIterator(query, prepared, expected, exchange, value);
        }
        List<Object> values = new ArrayList<>(statement.parameters.size());
        for (Expression parameter : statement.parameters) {
            values.add(parameter.evaluate(exchange, Object.class));
        }
        return values.iterator();
    }

    private Statement of(String query) {
        Statement statement = statements.get(query);
        if (statement == null) {
            statement = read(query);
            if (statements.size() < KEPT) {
                statements.put(query, statement);
            }
        }
        return statement;
    }

    private Statement read(String query) {
        StringBuilder text = new StringBuilder(query.length());
        List<Expression> parameters = new ArrayList<>();
        Language simple = context.resolveLanguage("simple");
        int from = 0;
        for (int at = query.indexOf(":?"); at >= 0; at = query.indexOf(":?", from)) {
            int end = query.startsWith("${", at + 2) ? end(query, at + 3) : -1;
            if (end < 0) {
                return CAMELS;
            }
            parameters.add(simple.createExpression(query.substring(at + 2, end)));
            text.append(query, from, at).append('?');
            from = end;
        }
        return parameters.isEmpty() ? CAMELS : new Statement(text.append(query, from, query.length()).toString(), List.copyOf(parameters));
    }

    /** Behind the bracket that closes the one here; -1: there is none. */
    private static int end(String query, int from) {
        int open = 0;
        for (int i = from; i < query.length(); i++) {
            char c = query.charAt(i);
            open += c == '{' ? 1 : c == '}' ? -1 : 0;
            if (open == 0) {
                return i + 1;
            }
        }
        return -1;
    }
}
