package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.RouteVersions;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.Living;
import io.llmchat.support.RouteFolder;
import io.llmchat.support.TestGateway;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is measured of chats and of the stores. */
class MetricsTest {

    private final String model = "m-" + UUID.randomUUID();

    private String labels(String more) {
        return "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"" + model + "\"" + more;
    }

    @Test
    void aStreamIsMeasuredInTokensAndTime() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.post("/v1/chat/completions", chat("openai/" + model, true));
        assertEquals(1, gateway.metric("gen_ai_server_time_to_first_token_seconds_count{" + labels("") + "}"));
        assertEquals(1, gateway.metric("gen_ai_server_time_per_output_token_seconds_count{" + labels("") + "}"));
        assertEquals(3, gateway.metric("gen_ai_client_token_usage_sum{" + labels(",gen_ai_token_type=\"input\"") + "}"));
        assertEquals(2, gateway.metric("gen_ai_client_token_usage_sum{" + labels(",gen_ai_token_type=\"output\"") + "}"));
        assertEquals(1, gateway.metric("gen_ai_client_operation_duration_seconds_count{error_type=\"\"," + labels("") + "}"));
    }

    @Test
    void aWholeAnswerHasNoFirstTokenAndAFailureSaysWhy() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.post("/v1/chat/completions", chat("openai/" + model, false));
        assertEquals(0, gateway.metric("gen_ai_server_time_to_first_token_seconds_count{" + labels("") + "}"));
        assertEquals(1, gateway.metric("gen_ai_client_operation_duration_seconds_count{error_type=\"\"," + labels("") + "}"));
        gateway.provider().on(model, call -> call.json(401, "{}"));
        gateway.post("/v1/chat/completions", chat("openai/" + model, false));
        assertEquals(1, gateway.metric("gen_ai_client_operation_duration_seconds_count{error_type=\"401\"," + labels("") + "}"));
    }

    @Test
    void whatTheGatewayAddsIsTheTimeWithoutTheProviders() throws Exception {
        TestGateway gateway = TestGateway.shared();
        gateway.provider().on(model, call -> {
            Thread.sleep(1_500);
            call.json(200, FakeProvider.completion("Hi"));
        });
        double before = gateway.metric("llmchat_gateway_overhead_seconds_sum");
        double count = gateway.metric("llmchat_gateway_overhead_seconds_count");
        gateway.post("/v1/chat/completions", chat("openai/" + model, false));
        until("it is measured", () -> gateway.metric("llmchat_gateway_overhead_seconds_count") == count + 1);
        double added = gateway.metric("llmchat_gateway_overhead_seconds_sum") - before;
        assertTrue(added > 0 && added < 1.5, "added " + added);
    }

    @Test
    void aProviderThatCannotBeToldWhatIsAskedWasNotCalled() throws Exception {
        TestGateway gateway = TestGateway.shared();
        String calls = "llmchat_provider_attempts_total{outcome=\"UNSUPPORTED_PARAMETER\",provider=\"anthropic\"}";
        double before = gateway.metric(calls);
        double count = gateway.metric("llmchat_gateway_overhead_seconds_count");
        assertEquals(201, gateway.post("/api/agents", "{\"id\":\"" + model + "\",\"name\":\"A\",\"provider\":\"anthropic\",\"model\":\"" + model
                + "\",\"fallbacks\":[\"openai/" + model + "\"]}").statusCode());
        assertEquals("openai=200", gateway.post("/v1/chat/completions", chat(model, false).replace("{\"model\"", "{\"n\":2,\"model\""))
                .headers().firstValue("x-llmchat-attempts").orElseThrow());
        assertEquals(before, gateway.metric(calls));
        until("it is measured", () -> gateway.metric("llmchat_gateway_overhead_seconds_count") == count + 1);
    }

    @Test
    void openStreamsAreCountedWhileTheyAreOpen() throws Exception {
        CountDownLatch seen = new CountDownLatch(1);
        try (TestGateway gateway = TestGateway.with()) {
            gateway.provider().on(model, call -> {
                call.sse();
                call.text("Hello");
                seen.await();
                call.finish("stop");
                call.done();
            });
            CompletableFuture<?> stream = TestGateway.begun(() -> gateway.post("/v1/chat/completions", chat("openai/" + model, true)));
            until("it is open", () -> gateway.metric("llmchat_streams_open") == 1);
            seen.countDown();
            stream.join();
            until("it is over", () -> gateway.metric("llmchat_streams_open") == 0);
        }
    }

    @Test
    void modelsThatNeverAnsweredAndTooManyOfThemAreOthers() {
        PrometheusMeterRegistry registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
        ChatMeters meters = new ChatMeters(registry);
        meters.failed(Operation.CHAT, new Target("openai", "made-up"), "404", 1);
        assertFalse(registry.scrape().contains("made-up"));
        for (int i = 0; i < 1_000; i++) {
            meters.answered(Operation.CHAT, new Target("openai", "model-" + i), new Usage(1, 1), 1, 0);
        }
        assertEquals(201, registry.find("gen_ai.client.operation.duration").tag("error_type", "").timers().size());
        assertEquals(800, registry.get("gen_ai.client.operation.duration").tags("error_type", "", "gen_ai_request_model", "other").timer().count());
        meters.answered(Operation.CHAT, new Target("anthropic", "claude"), new Usage(1, 1), 1, 0);
        assertEquals(1, registry.get("gen_ai.client.operation.duration").tag("gen_ai_request_model", "claude").timer().count(), "whatever others answer to");
    }

    @Test
    void tokensAreThoseThatAProviderHasCountedAndUsed() {
        PrometheusMeterRegistry registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
        ChatMeters meters = new ChatMeters(registry);
        Target target = new Target("anthropic", model);
        meters.answered(Operation.COUNT_TOKENS, target, new Usage(1_000, 0), 1, 0);
        meters.answered(Operation.CHAT, target, Usage.estimate(4_000, 400), 5_000_000_000L, 1);
        assertTrue(registry.get("gen_ai.client.token.usage").summaries().stream().allMatch(s -> s.count() == 0));
        assertEquals(1, registry.get("gen_ai.server.time_per_output_token").tag("gen_ai_operation_name", "chat").timer().count());
        meters.answered(Operation.CHAT, target, new Usage(3, 2), 1, 0);
        assertEquals(5, registry.get("gen_ai.client.token.usage").summaries().stream().mapToDouble(s -> s.totalAmount()).sum());
    }

    @Test
    void thePoolIsSeenFromBothSides() throws Exception {
        TestGateway gateway = TestGateway.shared();
        until("the server has told", () -> gateway.metric("db_server_backends") > 0);
        assertTrue(gateway.metric("db_server_commits") > 0);
        assertTrue(gateway.metric("db_server_blocks_hit") > 0);
        assertTrue(gateway.metric("db_server_blocks_read") > 0);
        assertEquals(1, gateway.metric("llmchat_postgres_available"));
        assertEquals(1, gateway.metric("llmchat_redis_available"));
        until("Redis was asked", () -> gateway.metric("llmchat_redis_round_trip_seconds") > 0);
        JsonNode database = json(gateway.get("/health/detailed").body()).path("components").path("database");
        assertEquals(50, database.path("pool").path("max").asInt(), database.toString());
        assertTrue(database.path("server").path("db_server_backends").asInt() > 0, database.toString());
    }

    @Test
    void routesAreMeasuredWhereThatIsWanted() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.health.route-times", "true")) {
            gateway.post("/v1/chat/completions", chat("demo", false));
            assertTrue(gateway.get("/metrics").body().lines().anyMatch(l -> l.startsWith("camel_route_policy_seconds_count{")
                    && l.contains("routeId=\"complete\"")), () -> "no times of the route complete");
        }
        assertFalse(TestGateway.shared().get("/metrics").body().contains("routeId=\"complete\""));
    }

    @Test
    void theTimesOfRoutesGoOnWhenTheyAreEdited(@TempDir Path folder) throws Exception {
        RouteFolder routes = RouteFolder.in(folder.resolve("routes"));
        try (TestGateway gateway = TestGateway.with("llmchat.health.route-times", "true", "llmchat.routes.dir", routes.folder().toString())) {
            gateway.post("/v1/chat/completions", chat("demo", false));
            Class<?> generation = Class.forName("io.llmchat.host.Generation");
            int generations = Living.objects(generation);
            for (int edits = 1; edits <= 2; edits++) {
                int expected = 1 + edits;
                routes.edit("admit.camel.yaml", "description: ", "description: Now, ");
                until("it serves", () -> gateway.bean(RouteVersions.class).generation() == expected);
                gateway.post("/v1/chat/completions", chat("demo", false));
            }
            // Camel's sum over all routes keeps the first one
            until("the version before has ended", () -> Living.objects(generation) == generations + 1);
            String times = gateway.get("/metrics").body().lines()
                    .filter(l -> l.startsWith("camel_route_policy_seconds_count{") && l.contains("routeId=\"complete\"")).findFirst().orElse("none");
            assertTrue(times.endsWith("} 3"), times);
        }
    }
}
