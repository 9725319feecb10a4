package io.llmchat.step;

import io.github.resilience4j.bulkhead.BulkheadFullException;
import io.github.resilience4j.circuitbreaker.CallNotPermittedException;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ClientGone;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.UnsupportedParameter;
import io.llmchat.http.ClientStream;
import io.llmchat.http.ErrorTable;
import io.llmchat.llm.Breakers;
import io.llmchat.store.StoreUnavailable;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What is done with failures: kept until all candidates were asked, raised again, told to the caller. */
public final class Failures {

    private static final Logger LOG = LoggerFactory.getLogger(Failures.class);

    private final long resetMillis;

    /** @param resetMillis how long an open breaker stays open that does not say so itself */
    public Failures(long resetMillis) {
        this.resetMillis = resetMillis;
    }

    /**
     * A step that raises what the last candidate has failed with. Where there is neither an answer nor a failure, nobody
     * was asked, and nobody said why: a circuit breaker of Camel's passes over what it does not count, such as a full
     * bulkhead.
     */
    public Processor raise() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            if (chat.failure() != null) {
                throw chat.failure();
            }
            if (!chat.isAnswered()) {
                if (chat.target() == null) {
                    throw new IllegalStateException("It is not known whom to ask: in the route of the request 'to: direct:enrich' has to come before 'to: direct:complete'.");
                }
                throw ProviderRefusal.full(chat.target().provider());
            }
        };
    }

    /** A step for a candidate that brought no answer: remembers why, in case nobody else brings one. */
    public Processor keep() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            Exception caught = exchange.getProperty(Exchange.EXCEPTION_CAUGHT, Exception.class);
            if (chat.earlierFailure() != null && (caught instanceof UnsupportedParameter || chat.client().committed()
                    || caught instanceof RequestRejected)) {
                // what a fallback makes of it tells less than why it was needed
                chat.setFailure(chat.earlierFailure());
            } else if (caught instanceof ChatException failure) {
                chat.setFailure(failure);
            } else if (caught instanceof BulkheadFullException) {
                chat.setFailure(ProviderRefusal.full(chat.target().provider()));
            } else if (caught instanceof CallNotPermittedException) {
                chat.setFailure(new ChatException("CIRCUIT_BREAKER_OPEN", "The provider '" + chat.target().provider()
                        + "' has failed repeatedly and is given time to recover.")
                        .retryAfter((int) Math.ceilDiv(exchange.getProperty(Breakers.OPEN_MILLIS, resetMillis, Long.class), 1000L)));
            } else {
                throw caught;
            }
            if (caught instanceof CallNotPermittedException) {
                chat.attempted("open");
            }
        };
    }

    /** A step where a failure of PostgreSQL is made good: whoever runs this must know of it, unless it is away, which is said elsewhere. */
    public Processor logRefusal() {
        return exchange -> logRefusal(exchange, exchange.getProperty(Exchange.EXCEPTION_CAUGHT, Throwable.class));
    }

    private static void logRefusal(Exchange exchange, Throwable caught) {
        String refusal = StoreUnavailable.refusal(caught);
        if (refusal != null) {
            LOG.warn("PostgreSQL refuses what route {} asks for: {}",
                    exchange.getProperty(Exchange.FAILURE_ROUTE_ID, exchange.getFromRouteId(), String.class), refusal);
        }
    }

    /** The last step of a request that failed: tells the caller, in its dialect, by the table of codes. */
    public static final class Tell implements Processor {
        private final ErrorTable table;

        public Tell(ErrorTable table) {
            this.table = table;
        }

        @Override
        public void process(Exchange exchange) {
            Throwable caught = exchange.getProperty(Exchange.EXCEPTION_CAUGHT, Throwable.class);
            String code = exchange.getProperty("errorCode", String.class);
            ClientStream client = ClientStream.of(exchange);
            Chat chat = Chat.orNull(exchange);
            ChatException error = error(caught, code, exchange);
            exchange.setProperty("toldCode", error.code());
            logRefusal(exchange, caught);
            if (error.retryAfterSeconds() < 0 && table.of(error.code()).status() == 429) {
                error.retryAfter(1);
            }
            if (chat != null) {
                chat.setOutcome(error.code());
                if (!chat.attempts().isEmpty()) {
                    client.header(ClientStream.ATTEMPTS, chat.attempts());
                }
            }
            if (error instanceof ClientGone) {
                client.leave(error, table, chat == null ? null : chat.writer());
            } else {
                client.fail(error, table, chat == null ? null : chat.writer());
            }
        }

        private static ChatException error(Throwable caught, String code, Exchange exchange) {
            if (caught instanceof ChatException failure) {
                return failure;
            }
            if (code == null) {
                LOG.error("Request {} failed in route {}", ClientStream.of(exchange).requestId(),
                        exchange.getProperty(Exchange.FAILURE_ROUTE_ID), caught);
                return new ChatException("INTERNAL_ERROR", "The gateway failed to handle this request.");
            }
            ChatException failure = new ChatException(code, exchange.getProperty("errorMessage", String.class));
            Long retryAfter = exchange.getProperty("retryAfterMillis", Long.class);
            return retryAfter == null ? failure : failure.retryAfter((int) Math.ceilDiv(retryAfter, 1000L));
        }
    }
}
