package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.RequestRejected;
import io.llmchat.wire.Wire;
import java.util.function.Consumer;
import org.apache.camel.AsyncCallback;
import org.apache.camel.Exchange;
import org.apache.camel.support.DefaultAsyncProducer;

/**
 * One call of a provider: the route goes on when the answer is complete, or with why there is none; on the event loop of
 * the client, or, where the chat waits for stores, on a virtual thread. Nobody waits meanwhile.
 */
final class LlmProducer extends DefaultAsyncProducer {

    private final LlmEndpoint endpoint;

    LlmProducer(LlmEndpoint endpoint) {
        super(endpoint);
        this.endpoint = endpoint;
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        Chat chat = Chat.orNull(exchange);
        String provider = endpoint.getProvider();
        if (chat == null) {
            return refuse(exchange, callback, "The provider '" + provider + "' is not asked: this is no chat, whose caller would get the answer.");
        }
        if (!chat.beginAsking(provider)) {
            return refuse(exchange, callback, "The provider '" + provider + "' is not asked: the chat has an answer,"
                    + " or gets one now, and its caller takes one only. A multicast or wireTap leads here.");
        }
        Consumer<RuntimeException> done = failure -> end(exchange, chat, failure, callback);
        String said = chat.client().committed() ? chat.said() : "";
        if (said.isBlank() || !endpoint.isPrefill() || !endpoint.wire().goesOn(chat.target().model())) {
            // behind nothing but blanks any answer will do
            ask(exchange, chat, null, new Continuation(said, !said.isBlank()), failure -> {
                if (failure instanceof RequestRejected rejected && exchange.getProperty(LlmComponent.CONVERSATION) != null
                        && endpoint.wire().forgot(rejected)) {
                    exchange.removeProperty(LlmComponent.CONVERSATION);
                    ask(exchange, chat, null, new Continuation(said, !said.isBlank()), done);
                } else {
                    done.accept(failure);
                }
            });
        } else {
            goOn(exchange, chat, said, done);
        }
        return false;
    }

    private static boolean refuse(Exchange exchange, AsyncCallback callback, String why) {
        exchange.setProperty(Breakers.NOT_ASKED, true);
        exchange.setException(new IllegalStateException(why));
        callback.done(true);
        return true;
    }

    private static void end(Exchange exchange, Chat chat, RuntimeException failure, AsyncCallback callback) {
        if (failure == null) {
            chat.answered();
        } else {
            if (failure instanceof ChatException e) {
                chat.setFailure(e);
            }
            exchange.setException(failure);
        }
        chat.endAsking();
        if (chat.waits()) {
            Thread.startVirtualThread(() -> callback.done(false));
        } else {
            callback.done(false);
        }
    }

    /** The answer broke off elsewhere: the model goes on from there, or, where it refuses that, repeats the beginning. */
    private void goOn(Exchange exchange, Chat chat, String said, Consumer<RuntimeException> done) {
        String begun = said.stripTrailing();
        // blanks at the end are not taken everywhere, and may come again
        ask(exchange, chat, begun, new Continuation(said.substring(begun.length()), false), failure -> {
            if (failure instanceof RequestRejected rejected && !Relay.givenUp(rejected)) {
                ask(exchange, chat, null, new Continuation(said, true), done);
            } else {
                done.accept(failure);
            }
        });
    }

    private void ask(Exchange exchange, Chat chat, String begun, Continuation continuation, Consumer<RuntimeException> done) {
        ask(exchange, chat, chat.request(), begun, continuation, done);
    }

    private void ask(Exchange exchange, Chat chat, ChatRequest request, String begun, Continuation continuation,
                     Consumer<RuntimeException> done) {
        Wire.Call call;
        // of the call before, which no breaker may have guarded
        exchange.removeProperty(Breakers.NOT_ASKED);
        try {
            call = endpoint.wire().call(new Wire.Asked(request, chat.agent(), chat.target().model(), chat.answerId(),
                    exchange.getProperty(LlmComponent.CONVERSATION, String.class), begun));
        } catch (RuntimeException e) {
            // what it cannot be told it is not asked; that we fail at it is no fault of who would have been
            exchange.setProperty(Breakers.NOT_ASKED, true);
            done.accept(e);
            return;
        }
        chat.setLeftOut(call.warnings());
        ObservedCall observed = new ObservedCall(chat, endpoint, call.streamed());
        Relay made;
        try {
            made = new Relay(chat, endpoint, observed.traced(call), continuation, (relay, failure) -> {
                observed.ended(relay, failure);
                if (failure == null && relay.conversation() != null) {
                    exchange.setProperty(LlmComponent.CONVERSATION, relay.conversation());
                }
                ChatRequest rest = failure instanceof RequestRejected rejected ? endpoint.wire().without(request, rejected) : null;
                if (rest == null) {
                    done.accept(failure);
                } else {
                    ask(exchange, chat, rest, begun, continuation, done);
                }
            });
        } catch (RuntimeException e) {
            observed.ended(null, e);
            done.accept(e);
            return;
        }
        // from here on it ends by itself, once
        made.start();
    }
}
