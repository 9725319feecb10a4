package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

/** How many requests get in: in a window of time, and at once. */
class LimitsTest {

    private static final String PATH = "/v1/chat/completions";

    @Test
    void requestsOverTheRateAreTurnedAwayInTheCallersDialect() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "3", "llmchat.admit.window", "60000")) {
            for (int i = 0; i < 3; i++) {
                assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
            }
            HttpResponse<String> fourth = gateway.post(PATH, chat("demo", false));
            assertEquals(429, fourth.statusCode());
            String seconds = fourth.headers().firstValue("retry-after").orElseThrow();
            assertTrue(Integer.parseInt(seconds) > 50 && Integer.parseInt(seconds) <= 60, seconds + " s");
            assertEquals("\"global-requests\";r=0;t=" + seconds, fourth.headers().firstValue("ratelimit").orElseThrow());
            assertEquals("\"global-requests\";q=3;w=60", fourth.headers().firstValue("ratelimit-policy").orElseThrow());
            assertEquals("0", fourth.headers().firstValue("x-ratelimit-remaining-requests").orElseThrow());
            assertEquals("application/json", fourth.headers().firstValue("content-type").orElseThrow());
            assertEquals("rate_limit_error", json(fourth.body()).path("error").path("type").asText());
            assertEquals("rate_limit_exceeded", json(fourth.body()).path("error").path("code").asText());
            assertEquals("RATE_LIMIT_EXCEEDED",
                    json(gateway.post("/api/chat/completions", nativeChat("demo", false)).body()).path("code").asText());
            assertEquals(200, gateway.get("/health").statusCode(), "only chats are limited");
        }
    }

    @Test
    void whoIsTurnedAwayIsToldWhenTheNextPlaceIsFree() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "1", "llmchat.admit.window", "60000")) {
            assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
            until("the window moves on", () -> {
                HttpResponse<String> refused = gateway.post(PATH, chat("demo", false));
                String seconds = refused.headers().firstValue("retry-after").orElse("");
                assertEquals("\"global-requests\";r=0;t=" + seconds, refused.headers().firstValue("ratelimit").orElseThrow());
                assertEquals("\"global-requests\";q=1;w=60", refused.headers().firstValue("ratelimit-policy").orElseThrow());
                return Integer.parseInt(seconds) < 60;
            });
        }
    }

    @Test
    void whoIsOverHisOwnLimitUsesNothingOfTheInstances() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "5", "llmchat.limit.points", "2",
                "llmchat.http.trusted-proxies", "127.0.0.1")) {
            String caller = "10.1." + ThreadLocalRandom.current().nextInt(256) + "." + ThreadLocalRandom.current().nextInt(256);
            for (int i = 0; i < 2; i++) {
                assertEquals(200, gateway.post(PATH, chat("demo", false), "X-Forwarded-For", caller).statusCode());
            }
            // the first refusal is Redis's
            for (int i = 0; i < 20; i++) {
                HttpResponse<String> over = gateway.post(PATH, chat("demo", false), "X-Forwarded-For", caller, "Idempotency-Key", "k" + i);
                assertEquals(429, over.statusCode());
                String seconds = over.headers().firstValue("retry-after").orElseThrow();
                assertEquals("\"default\";r=0;t=" + seconds, over.headers().firstValue("ratelimit").orElseThrow());
                assertEquals("0", over.headers().firstValue("x-ratelimit-remaining-requests").orElseThrow());
                assertEquals("This is over the limit of this caller, 2 requests in 60 s. Try again in " + seconds + " s.",
                        json(over.body()).path("error").path("message").asText());
            }
            assertEquals(20, gateway.metric("llmchat_limiter_decisions_total{decision=\"refused\",scope=\"caller\"}"));
            for (int i = 0; i < 2; i++) {
                assertEquals(200, gateway.post(PATH, chat("demo", false), "X-Forwarded-For", caller.replace("10.1.", "10.2.")).statusCode());
            }
        }
    }

    @Test
    void thePlacesComeBackWithTheWindow() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "1", "llmchat.admit.window", "1000")) {
            until("it is full", () -> gateway.post(PATH, chat("demo", false)).statusCode() == 429);
            until("the window is over", () -> gateway.post(PATH, chat("demo", false)).statusCode() == 200);
        }
    }

    @Test
    void zeroMeansNoLimit() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "0")) {
            for (int i = 0; i < 20; i++) {
                assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
            }
        }
    }

    @Test
    void chatsOverTheCapacityAreTurnedAwayAndAPlaceThatIsLeftIsTaken() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-concurrent", "2")) {
            gateway.provider().on("slow", Call::hang);
            Sse one = new Sse(gateway.port(), PATH, chat("openai/slow", true));
            Sse two = new Sse(gateway.port(), PATH, chat("openai/slow", true));
            until("both are in progress", () -> gateway.provider().calls("slow").size() == 2);
            HttpResponse<String> third = gateway.post(PATH, chat("demo", false));
            assertEquals(503, third.statusCode());
            assertTrue(third.headers().firstValue("retry-after").isPresent());
            assertEquals("OVERLOADED", json(gateway.post("/api/chat/completions", nativeChat("demo", false)).body()).path("code").asText());
            one.close();
            two.close();
            until("their places are free", () -> gateway.post(PATH, chat("demo", false)).statusCode() == 200);
        }
    }
}
