package io.llmchat.llm;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Operation;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.Tracing;
import io.llmchat.wire.Wire;
import io.opentelemetry.api.trace.Span;
import java.util.HashMap;
import java.util.Map;

/** One call of a provider, as metrics and traces tell it. */
final class ObservedCall {

    private final Chat chat;
    private final LlmEndpoint endpoint;
    private final Operation operation;
    private final ChatMeters meters;
    private final Tracing tracing;
    private final Span span;
    private final long started = System.nanoTime();

    /**
     * The call begins.
     *
     * @param streamed whether the provider answers with a stream, whatever its caller gets
     */
    ObservedCall(Chat chat, LlmEndpoint endpoint, boolean streamed) {
        this.chat = chat;
        this.endpoint = endpoint;
        this.operation = chat.request().operation();
        this.meters = endpoint.chatMeters();
        this.tracing = endpoint.tracing();
        this.span = tracing.isOn() ? tracing.call(chat.client().span(), operation, chat.target(), streamed) : null;
        if (chat.request().stream()) {
            meters.opened();
        }
    }

    /** What is sent, with the trace that it is part of. */
    Wire.Call traced(Wire.Call call) {
        if (span == null) {
            return call;
        }
        Map<String, String> headers = new HashMap<>(call.headers());
        tracing.propagate(span, headers);
        return new Wire.Call(call.path(), call.body(), headers, call.streamed(), call.warnings());
    }

    /** It has brought an answer, or none because of this failure. Where nobody was asked it was no call. */
    void ended(Relay relay, RuntimeException failure) {
        if (chat.request().stream()) {
            meters.closed();
        }
        if (relay == null || !relay.hasAsked()) {
            return;
        }
        String outcome = failure == null ? "200" : failure instanceof ChatException e ? outcome(e) : "INTERNAL_ERROR";
        long nanos = System.nanoTime() - started;
        chat.called(nanos);
        endpoint.attempted(outcome);
        if (failure == null) {
            meters.answered(operation, chat.target(), chat.callUsage(), nanos, relay.firstTokenNanos());
        } else {
            meters.failed(operation, chat.target(), outcome, nanos);
        }
        if (span != null && failure == null) {
            tracing.answered(span, operation, chat.callUsage(), chat.finishReason());
        } else if (span != null) {
            tracing.failed(span, outcome);
        }
    }

    private static String outcome(ChatException e) {
        return e.getOutcome() == null ? e.code() : e.getOutcome();
    }
}
