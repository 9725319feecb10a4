package io.llmchat.ops;

import io.llmchat.chat.Caller;
import io.llmchat.chat.Charge;
import io.llmchat.chat.Chat;
import io.llmchat.chat.Usage;
import io.llmchat.http.ClientStream;
import io.llmchat.ops.RequestLine.Field;
import io.vertx.core.http.HttpServerRequest;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

/**
 * The log of requests, {@code io.llmchat.requests}: one line each at level info, those of probes and scrapes at debug. A chat's line
 * is written by the step {@code requestLine} where its story ends, all others where their response does. No texts, no
 * headers, no keys: a key goes by its id. Safe for all threads.
 */
public final class RequestLog implements Processor {

    /** The status of a request whose caller left before its answer was complete; nginx's number for it. */
    public static final int CALLER_LEFT = 499;

    private static final Logger LOG = LogManager.getLogger("io.llmchat.requests");

    @Override
    public void process(Exchange exchange) {
        if (!LOG.isInfoEnabled()) {
            return;
        }
        ClientStream client = ClientStream.of(exchange);
        RequestLine line = line(client.request(), client.requestId(), client.hasLeft() ? CALLER_LEFT : client.status());
        Chat chat = Chat.orNull(exchange);
        if (chat != null) {
            Usage usage = Charge.sum(chat.charges());
            line.tell(Field.OUTCOME, chat.outcome()).tell(Field.AGENT, chat.agent() == null ? null : chat.agent().id())
                    .tell(Field.MODEL, chat.usedLast())
                    .tell(Field.ATTEMPTS, chat.attempts().isEmpty() ? null : chat.attempts())
                    .tell(Field.STREAM, chat.request() == null ? null : chat.request().stream())
                    .tell(Field.FIRST_TOKEN, chat.firstTokenMillis()).tell(Field.DURATION, chat.durationNanos());
            if (usage != null) {
                line.tell(Field.PROMPT_TOKENS, usage.promptTokens()).tell(Field.COMPLETION_TOKENS, usage.completionTokens());
            }
        } else {
            line.tell(Field.OUTCOME, exchange.getProperty("toldCode", String.class));
        }
        if (exchange.getProperty(Caller.PROPERTY) instanceof Caller caller) {
            line.tell(Field.USER, caller.userId()).tell(Field.KEY, caller.keyId());
        }
        LOG.info(line);
    }

    /**
     * A request has been answered that is no chat, or that no route has seen.
     *
     * @param nanos how long it took; null: not known
     */
    public void answered(HttpServerRequest request, int status, Long nanos) {
        String path = request.path();
        boolean probe = path != null && (path.startsWith("/health") || path.equals("/metrics"));
        if (probe ? LOG.isDebugEnabled() : LOG.isInfoEnabled()) {
            RequestLine line = line(request, request.response().headers().get(ClientStream.REQUEST_ID), status)
                    .tell(Field.DURATION, nanos);
            if (probe) {
                LOG.debug(line);
            } else {
                LOG.info(line);
            }
        }
    }

    private static RequestLine line(HttpServerRequest request, String id, int status) {
        return new RequestLine().tell(Field.ID, id).tell(Field.METHOD, request.method().name())
                .tell(Field.PATH, request.path()).tell(Field.STATUS, (long) status);
    }
}
