package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import io.llmchat.ops.Tracing;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.Intake;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import io.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
import io.opentelemetry.proto.trace.v1.Span;
import io.opentelemetry.proto.trace.v1.Status;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a collector of traces gets, over OTLP. */
class TracingTest {

    private static final String TRACE = "0af7651916cd43dd8448eb211c80319c";
    private static final String PARENT = "b7ad6b7169203331";

    @TempDir
    Path temp;

    private final String model = "m-" + UUID.randomUUID();

    private static List<Span> spans(Intake collector) {
        return collector.posts().stream().filter(p -> p.path().equals("/v1/traces")).map(p -> {
            try {
                return ExportTraceServiceRequest.parseFrom(p.body());
            } catch (InvalidProtocolBufferException e) {
                throw new AssertionError(e);
            }
        }).flatMap(r -> r.getResourceSpansList().stream()).flatMap(r -> r.getScopeSpansList().stream())
                .flatMap(s -> s.getSpansList().stream()).toList();
    }

    private static Span only(List<Span> spans, Span.SpanKind kind) {
        List<Span> found = spans.stream().filter(s -> s.getKind() == kind).toList();
        assertEquals(1, found.size(), () -> kind + " in " + spans);
        return found.get(0);
    }

    private static String hex(ByteString bytes) {
        return HexFormat.of().formatHex(bytes.toByteArray());
    }

    private static String attribute(Span span, String name) {
        return span.getAttributesList().stream().filter(a -> a.getKey().equals(name)).findFirst()
                .map(a -> a.getValue().hasStringValue() ? a.getValue().getStringValue()
                        : a.getValue().hasArrayValue() ? a.getValue().getArrayValue().getValues(0).getStringValue()
                        : a.getValue().hasBoolValue() ? Boolean.toString(a.getValue().getBoolValue()) : Long.toString(a.getValue().getIntValue()))
                .orElse(null);
    }

    @Test
    void aChatIsASpanWithOneForItsProviderInTheTraceOfTheCaller() throws Exception {
        try (Intake collector = new Intake()) {
            String sent;
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address())) {
                gateway.post("/v1/chat/completions", chat("openai/" + model, true).replace("Hi", "a secret"),
                        "traceparent", "00-" + TRACE + "-" + PARENT + "-01");
                sent = gateway.provider().call(model).header("traceparent");
            }
            List<Span> spans = spans(collector);
            Span server = only(spans, Span.SpanKind.SPAN_KIND_SERVER);
            assertEquals("POST /v1/chat/completions", server.getName());
            assertEquals(TRACE, hex(server.getTraceId()));
            assertEquals(PARENT, hex(server.getParentSpanId()));
            assertEquals("200", attribute(server, "http.response.status_code"));
            assertEquals("/v1/chat/completions", attribute(server, "http.route"));

            Span call = only(spans, Span.SpanKind.SPAN_KIND_CLIENT);
            assertEquals("chat " + model, call.getName());
            assertEquals(server.getSpanId(), call.getParentSpanId());
            assertEquals("chat", attribute(call, "gen_ai.operation.name"));
            assertEquals("openai", attribute(call, "gen_ai.provider.name"));
            assertEquals(model, attribute(call, "gen_ai.request.model"));
            assertEquals("3", attribute(call, "gen_ai.usage.input_tokens"));
            assertEquals("2", attribute(call, "gen_ai.usage.output_tokens"));
            assertEquals("stop", attribute(call, "gen_ai.response.finish_reasons"));
            assertEquals("00-" + TRACE + "-" + hex(call.getSpanId()) + "-01", sent, "the provider's span is below it");
            String all = collector.posts().stream().map(p -> new String(p.body(), StandardCharsets.ISO_8859_1)).collect(Collectors.joining());
            assertFalse(all.contains("a secret") || all.contains("Hello") || all.contains("sk-of-the-gateway"));
        }
    }

    @ParameterizedTest
    @CsvSource({"otel.exporter.otlp.protocol, grpc", "otel.exporter.otlp.traces.protocol, grpc", "otel.metrics.exporter, prometheus", "otel.logs.exporter, console"})
    void whatIsNotHereKeepsNothingFromStartingIfTheEnvironmentNamesIt(String name, String part) {
        System.setProperty(name, part);
        try (Tracing tracing = new Tracing("http://127.0.0.1:1", false)) {
            assertTrue(tracing.isOn());
        } finally {
            System.clearProperty(name);
        }
    }

    @Test
    void aRequestThatFailsOutsideItsRouteIsAnErrorThereToo() throws Exception {
        try (Intake collector = new Intake()) {
            RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
            routes.edit("chat.camel.yaml", "        - to: direct:admit\n", """
                    - setHeader: {name: CamelHttpResponseCode, constant: none}
                    - stop: {}
            """.indent(0));
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address(), "llmchat.routes.dir", routes.folder().toString())) {
                assertEquals(500, gateway.post("/v1/chat/completions", chat("demo", false)).statusCode());
            }
            assertEquals("500", attribute(only(spans(collector), Span.SpanKind.SPAN_KIND_SERVER), "http.response.status_code"));
        }
    }

    @Test
    void aProviderThatAlwaysStreamsIsToldAsSuch() throws Exception {
        try (Intake collector = new Intake(); FakeProvider dify = new FakeProvider()) {
            // it is not told a model
            dify.on("", call -> {
                call.sse();
                call.event("{\"event\":\"message\",\"answer\":\"Hello\"}");
                call.event("{\"event\":\"message_end\",\"metadata\":{}}");
                call.end();
            });
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address(),
                    "llmchat.dify.base-url", dify.url() + "/v1", "llmchat.dify.api-key", "key")) {
                assertEquals(200, gateway.post("/v1/chat/completions", chat("dify/" + model, false)).statusCode());
            }
            assertEquals("true", attribute(only(spans(collector), Span.SpanKind.SPAN_KIND_CLIENT), "gen_ai.request.stream"));
        }
    }

    @Test
    void aStreamThatBrokeOffIsAnErrorThoughItBeganWell() throws Exception {
        try (Intake collector = new Intake()) {
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address())) {
                gateway.provider().on(model, FakeProvider.breaks(List.of("Half"), FakeProvider.Call::cut));
                gateway.post("/v1/chat/completions", chat("openai/" + model, true));
            }
            Span server = only(spans(collector), Span.SpanKind.SPAN_KIND_SERVER);
            assertEquals("200", attribute(server, "http.response.status_code"));
            assertEquals(Status.StatusCode.STATUS_CODE_ERROR, server.getStatus().getCode());
            assertEquals("UPSTREAM_ERROR", attribute(server, "error.type"));
        }
    }

    @Test
    void aRequestWhoseCallerLeftSaysSo() throws Exception {
        try (Intake collector = new Intake()) {
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address()); RawHttp http = new RawHttp(gateway.port())) {
                gateway.provider().on(model, FakeProvider.Call::hang);
                String body = chat("openai/" + model, true);
                http.send(RawHttp.post("/v1/chat/completions", body));
                until("it is asked", () -> !gateway.provider().calls(model).isEmpty());
                http.close();
                assertTrue(gateway.provider().call(model).leftWithin(10_000));
            }
            assertEquals("499", attribute(only(spans(collector), Span.SpanKind.SPAN_KIND_SERVER), "http.response.status_code"));
        }
    }

    @Test
    void soDoesOneWhoseAnswerIsMadeAllTheSame() throws Exception {
        try (Intake collector = new Intake()) {
            CountDownLatch go = new CountDownLatch(1);
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address())) {
                gateway.provider().on(model, FakeProvider.waits("one ", go, "two"));
                try (Sse stream = new Sse(gateway.port(), "/v1/chat/completions", chat("openai/" + model, true), "\r\nIdempotency-Key: " + model)) {
                    stream.lineWith("one ");
                }
                until("it is counted", () -> gateway.metric("http_requests_total{method=\"POST\",path=\"/v1/chat/completions\",status=\"499\"}") == 1);
                go.countDown();
                until("it is made", () -> gateway.count("SELECT count(*) FROM answers WHERE body IS NOT NULL AND key LIKE '%" + model + "'") == 1);
            }
            Span server = only(spans(collector).stream().filter(s -> s.getName().startsWith("POST ")).toList(), Span.SpanKind.SPAN_KIND_SERVER);
            assertEquals("499", attribute(server, "http.response.status_code"));
        }
    }

    @Test
    void linesOfOneNameAreOne() throws Exception {
        try (Intake collector = new Intake()) {
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address())) {
                String parent = "00-" + TRACE + "-" + PARENT + "-01";
                gateway.post("/v1/chat/completions", chat("openai/" + model, false), "traceparent", parent, "tracestate", "a=1", "tracestate", "b=2");
                assertEquals("a=1,b=2", gateway.provider().call(model).header("tracestate"));
                gateway.post("/v1/chat/completions", chat("openai/two-" + model, false), "traceparent", parent, "traceparent", parent);
                assertFalse(gateway.provider().call("two-" + model).header("traceparent").contains(TRACE), "two parents are none");
            }
        }
    }

    @Test
    void aCallThatFailsSaysWhyAndTheNextOneIsASpanOfItsOwn() throws Exception {
        try (Intake collector = new Intake()) {
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address(), "llmchat.retry.max", "1")) {
                gateway.provider().on(model, call -> call.json(503, "{}"));
                assertEquals(502, gateway.post("/v1/chat/completions", chat("openai/" + model, false)).statusCode());
            }
            List<Span> calls = spans(collector).stream().filter(s -> s.getKind() == Span.SpanKind.SPAN_KIND_CLIENT).toList();
            assertEquals(2, calls.size());
            calls.forEach(c -> assertEquals("503", attribute(c, "error.type")));
            Span server = only(spans(collector), Span.SpanKind.SPAN_KIND_SERVER);
            assertEquals("502", attribute(server, "error.type"));
        }
    }

    @Test
    void whereItIsSwitchedOffNothingIsSentToAnybody() throws Exception {
        try (Intake collector = new Intake()) {
            try (TestGateway gateway = TestGateway.with("llmchat.trace.endpoint", "http://" + collector.address(), "llmchat.trace.disabled", "true")) {
                gateway.post("/v1/chat/completions", chat("openai/" + model, false), "traceparent", "00-" + TRACE + "-" + PARENT + "-01");
                assertNull(gateway.provider().call(model).header("traceparent"));
            }
            assertTrue(collector.posts().isEmpty());
        }
    }
}
