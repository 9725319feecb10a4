package io.llmchat.ops;

import io.llmchat.chat.Operation;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.context.propagation.TextMapPropagator;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.vertx.core.http.HttpServerRequest;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Traces by OpenTelemetry: a span for each request that comes to a route, below it one for each call of a provider, by
 * the HTTP and GenAI conventions. The caller's trace goes on through the gateway to the provider (W3C Trace Context).
 * No texts, no keys. Off, and free, unless an OTLP endpoint is configured; {@code OTEL_*} variables say the rest.
 * Safe for all threads.
 */
public final class Tracing implements AutoCloseable {

    private static final TextMapGetter<HttpServerRequest> HEADERS = new TextMapGetter<>() {
        @Override
        public Iterable<String> keys(HttpServerRequest request) {
            return request.headers().names();
        }

        @Override
        public String get(HttpServerRequest request, String name) {
            // lines of one name are one list (RFC 9110, section 5.3): of tracestate all hold, of traceparent none
            return request == null || !request.headers().contains(name) ? null : String.join(",", request.headers().getAll(name));
        }
    };

    private final OpenTelemetrySdk sdk;
    private final Tracer tracer;
    private final TextMapPropagator propagator;

    /**
     * @param endpoint of an OTLP collector; empty: no traces
     * @param disabled no traces, whatever the endpoint
     */
    public Tracing(String endpoint, boolean disabled) {
        if (endpoint.isBlank() || disabled) {
            sdk = null;
            tracer = null;
            propagator = null;
            return;
        }
        sdk = AutoConfiguredOpenTelemetrySdk.builder().disableShutdownHook()
                // what the environment does not say
                .addPropertiesSupplier(() -> Map.of("otel.exporter.otlp.endpoint", endpoint, "otel.service.name", "llmchat"))
                // whatever it says: the SDK would look for a part that is not here, and nothing start. Metrics are for Prometheus,
                // and logs for whoever collects the output
                .addPropertiesCustomizer(said -> Map.of("otel.exporter.otlp.traces.protocol", "http/protobuf",
                        "otel.metrics.exporter", "none", "otel.logs.exporter", "none"))
                .build().getOpenTelemetrySdk();
        tracer = sdk.getTracer("io.llmchat");
        propagator = sdk.getPropagators().getTextMapPropagator();
    }

    public boolean isOn() {
        return sdk != null;
    }

    /** A request has come to this route. */
    public Span request(HttpServerRequest request, String route) {
        String method = request.method().name();
        return tracer.spanBuilder(method + " " + route).setSpanKind(SpanKind.SERVER)
                .setParent(propagator.extract(Context.root(), request, HEADERS))
                .setAttribute("http.request.method", method).setAttribute("http.route", route)
                .setAttribute("url.path", request.path()).setAttribute("url.scheme", "http").startSpan();
    }

    /**
     * Its response is complete, or its caller has left.
     *
     * @param failure the code of the error that was told; null: none was
     */
    public void responded(Span span, int status, String failure) {
        span.setAttribute("http.response.status_code", status);
        if (status >= 500) {
            span.setStatus(StatusCode.ERROR).setAttribute("error.type", Integer.toString(status));
        } else if (status < 400 && failure != null) {
            // a stream that broke off had begun well
            span.setStatus(StatusCode.ERROR).setAttribute("error.type", failure);
        }
        span.end();
    }

    /** A provider is called, to serve the request that has this span. */
    public Span call(Span request, Operation operation, Target target, boolean stream) {
        String name = operation.name().toLowerCase(Locale.ROOT);
        return tracer.spanBuilder(name + " " + target.model()).setSpanKind(SpanKind.CLIENT)
                .setParent(Context.root().with(request))
                .setAttribute("gen_ai.operation.name", name).setAttribute("gen_ai.provider.name", target.provider())
                .setAttribute("gen_ai.request.model", target.model()).setAttribute("gen_ai.request.stream", stream).startSpan();
    }

    /** Adds what tells the provider whose trace it is in. */
    public void propagate(Span span, Map<String, String> headers) {
        propagator.inject(Context.root().with(span), headers, Map::put);
    }

    /** The provider has answered. */
    public void answered(Span span, Operation operation, Usage usage, String finishReason) {
        if (usage != null && usage.isUsedFor(operation)) {
            span.setAttribute("gen_ai.usage.input_tokens", usage.promptTokens());
            span.setAttribute("gen_ai.usage.output_tokens", usage.completionTokens());
        }
        if (finishReason != null) {
            span.setAttribute(AttributeKey.stringArrayKey("gen_ai.response.finish_reasons"), List.of(finishReason));
        }
        span.end();
    }

    /** It has not: why, in the words of {@code X-LLMChat-Attempts}. */
    public void failed(Span span, String error) {
        span.setStatus(StatusCode.ERROR).setAttribute("error.type", error).end();
    }

    /** Sends what was not sent yet. */
    @Override
    public void close() {
        if (sdk != null) {
            sdk.close();
        }
    }
}
