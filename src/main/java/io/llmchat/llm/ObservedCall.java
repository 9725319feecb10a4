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

/** One call of a provider, as metrics and traces tell it. Used by the request's own thread. */
final class ObservedCall {

    private final Chat chat;
    private final LlmEndpoint endpoint;
    private final Operation operation;
    private final ChatMeters meters;
    private final Tracing tracing;
    private final Span span;
    private final long started = System.nanoTime();

    /** The call begins. */
    ObservedCall(Chat chat, LlmEndpoint endpoint) {
        this.chat = chat;
        this.endpoint = endpoint;
        this.operation = chat.request().operation();
        this.meters = endpoint.chatMeters();
        this.tracing = endpoint.tracing();
        this.span = tracing.isOn() ? tracing.call(operation, chat.target(), chat.request().stream()) : null;
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

    /** It has brought an answer. */
    void answered(Relay relay) {
        endpoint.attempted("200");
        meters.answered(operation, chat.target(), chat.usage(), end(), relay.firstTokenNanos());
        if (span != null) {
            tracing.answered(span, chat.usage(), chat.finishReason());
        }
    }

    /** It has brought none. */
    void failed(String why) {
        endpoint.attempted(why);
        meters.failed(operation, chat.target(), why, end());
        if (span != null) {
            tracing.failed(span, why);
        }
    }

    private long end() {
        if (chat.request().stream()) {
            meters.closed();
        }
        long nanos = System.nanoTime() - started;
        chat.called(nanos);
        return nanos;
    }

    static String outcome(ChatException e) {
        return e.getOutcome() == null ? e.code() : e.getOutcome();
    }
}
