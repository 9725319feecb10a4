package io.llmchat.ops;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.http.ClientStream;
import io.sentry.Breadcrumb;
import io.sentry.ITransaction;
import io.sentry.Sentry;
import io.sentry.SentryDate;
import io.sentry.SentryEvent;
import io.sentry.SentryLevel;
import io.sentry.SentryLongDate;
import io.sentry.SentryOptions;
import io.sentry.SpanStatus;
import io.sentry.TransactionContext;
import io.sentry.TransactionOptions;
import io.sentry.protocol.Message;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.NamedNode;
import org.apache.camel.Processor;
import org.apache.camel.Route;
import org.apache.camel.spi.RoutePolicy;
import org.apache.camel.spi.RoutePolicyFactory;
import org.apache.camel.support.RoutePolicySupport;

/**
 * Tells Sentry of failures that are nobody's input: which code, which kind of exception and where, which routes the
 * request went through, whom it asked. Neither what an exception says goes there, which may quote a text or a provider,
 * nor anything of the request but its id. What goes on failing is told once a minute. Off, and free, unless enabled. One
 * per process; safe for all threads.
 */
public final class ErrorReports implements RoutePolicyFactory, AutoCloseable {

    private static final String ROUTES = "routesSoFar";
    /** Nanoseconds from one report to the next of the same kind. */
    private static final long PAUSE = 60_000_000_000L;
    /** Characters: of more Sentry keeps the beginning, or nothing (Sentry's documentation, "Tags"). */
    private static final int MAX_TAG = 200;

    private final LongSupplier clock;
    /** When each kind was reported last. */
    private final Map<List<String>, Long> reported = new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<List<String>, Long> eldest) {
            return size() > 1_000;
        }
    };

    private boolean on;
    private String dsn;
    private double tracesRate;
    private double profilesRate;

    public ErrorReports() {
        this(System::nanoTime);
    }

    /** @param clock tells nanoseconds */
    public ErrorReports(LongSupplier clock) {
        this.clock = clock;
    }

    /** Connects, if it is enabled. */
    public void start() {
        if (!on) {
            return;
        }
        if (dsn == null || dsn.isBlank()) {
            throw new IllegalArgumentException("SENTRY_ENABLED is true, but there is no SENTRY_DSN.");
        }
        SentryOptions options = new SentryOptions();
        options.setDsn(dsn);
        options.setRelease("llmchat@" + Health.version());
        options.setTracesSampleRate(tracesRate);
        options.setProfilesSampleRate(profilesRate);
        options.setSendDefaultPii(false);
        options.setAttachServerName(false);
        options.setSendModules(false);
        options.setEnableUncaughtExceptionHandler(false);
        options.setEnableShutdownHook(false);
        options.setBeforeSend((event, hint) -> scrubbed(event));
        Sentry.init(options);
    }

    private static SentryEvent scrubbed(SentryEvent event) {
        event.setRequest(null);
        event.setUser(null);
        if (event.getExceptions() != null) {
            event.getExceptions().forEach(e -> e.setValue(null));
        }
        return event;
    }

    /** Notes which routes a request goes through; nothing where there is nobody to tell. */
    @Override
    public RoutePolicy createRoutePolicy(CamelContext context, String routeId, NamedNode route) {
        return !on ? null : new RoutePolicySupport() {
            @Override
            public void onExchangeBegin(Route begun, Exchange exchange) {
                routes(exchange).add(begun.getRouteId());
            }
        };
    }

    private static List<String> routes(Exchange exchange) {
        @SuppressWarnings("unchecked")
        List<String> routes = exchange.getProperty(ROUTES, List.class);
        if (routes == null) {
            routes = Collections.synchronizedList(new ArrayList<>());
            exchange.setProperty(ROUTES, routes);
        }
        return routes;
    }

    /** A step: a request has failed with the code that its exchange property {@code toldCode} names. */
    public Processor report() {
        return exchange -> {
            Chat chat = Chat.orNull(exchange);
            Throwable caught = exchange.getProperty(Exchange.EXCEPTION_CAUGHT, Throwable.class);
            // of one that has asked nobody it is the answer that it has followed: that was reported where it was made
            if (!on || caught instanceof ChatException && (chat == null || chat.target() == null)) {
                return;
            }
            String code = exchange.getProperty("toldCode", String.class);
            Throwable broken = code.equals("INTERNAL_ERROR") ? caught : null;
            String provider = broken != null || chat == null || chat.target() == null ? null : chat.target().provider();
            List<String> kind = broken == null ? List.of(code, String.valueOf(provider))
                    : List.of(broken.getClass().getName(), String.valueOf(exchange.getProperty(Exchange.FAILURE_ROUTE_ID)));
            if (!isDue(kind)) {
                return;
            }
            SentryEvent event = new SentryEvent();
            Message message = new Message();
            message.setMessage(code);
            event.setMessage(message);
            event.setLevel(SentryLevel.ERROR);
            ClientStream client = ClientStream.of(exchange);
            event.setTag("request_id", client == null ? "none" : client.requestId());
            event.setTag("code", code);
            event.setThrowable(broken);
            if (provider != null) {
                event.setTag("provider", provider);
                // the last ones, if not all: they are those of this provider
                event.setTag("attempts", chat.attempts().substring(Math.max(0, chat.attempts().length() - MAX_TAG)));
                // one issue for each provider and code
                event.setFingerprints(kind);
            }
            List.copyOf(routes(exchange)).forEach(route -> event.addBreadcrumb(crumb(route)));
            Sentry.captureEvent(event);
        };
    }

    /** Whether nothing of this kind was reported within the last minute; then this is. */
    private synchronized boolean isDue(List<String> kind) {
        long now = clock.getAsLong();
        Long last = reported.get(kind);
        if (last != null && now - last < PAUSE) {
            return false;
        }
        reported.put(kind, now);
        return true;
    }

    private static Breadcrumb crumb(String route) {
        Breadcrumb crumb = new Breadcrumb();
        crumb.setCategory("route");
        crumb.setMessage(route);
        return crumb;
    }

    /** A step at the end of a chat: makes a transaction of it, if its turn has come. */
    public Processor transaction() {
        return exchange -> {
            if (on) {
                Chat chat = Chat.of(exchange);
                long end = System.currentTimeMillis() * 1_000_000;
                SentryDate started = new SentryLongDate(end - chat.durationNanos());
                TransactionOptions options = new TransactionOptions();
                options.setStartTimestamp(started);
                ITransaction transaction = Sentry.startTransaction(new TransactionContext(exchange.getFromRouteId(), "http.server"), options);
                transaction.setTag("outcome", String.valueOf(chat.outcome()));
                transaction.finish(status(chat));
            }
        };
    }

    private static SpanStatus status(Chat chat) {
        ClientStream client = chat.client();
        if (chat.isAnswered()) {
            return SpanStatus.OK;
        }
        if (client.gone()) {
            return SpanStatus.CANCELLED;
        }
        // a stream that broke off has begun with 200
        return client.committed() ? SpanStatus.INTERNAL_ERROR : SpanStatus.fromHttpStatusCode(client.status(),
                client.status() < 500 ? SpanStatus.INVALID_ARGUMENT : SpanStatus.INTERNAL_ERROR);
    }

    /** Sends what was not sent yet. */
    @Override
    public void close() {
        if (on) {
            Sentry.close();
        }
    }

    public void setEnabled(boolean enabled) {
        this.on = enabled;
    }

    public void setDsn(String dsn) {
        this.dsn = dsn;
    }

    /** Which share of the chats becomes a transaction, from 0 to 1. */
    public void setTracesRate(double tracesRate) {
        this.tracesRate = tracesRate;
    }

    /** Which share of the transactions has a profile, from 0 to 1. */
    public void setProfilesRate(double profilesRate) {
        this.profilesRate = profilesRate;
    }
}
