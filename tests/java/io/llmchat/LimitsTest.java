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
import org.junit.jupiter.api.Test;

/** How many requests get in: in a window of time, and at once. */
class LimitsTest {

    private static final String PATH = "/v1/chat/completions";

    @Test
    void requestsOverTheRateAreTurnedAwayInTheCallersDialect() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "3", "llmchat.admit.window", "7000")) {
            for (int i = 0; i < 3; i++) {
                assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
            }
            HttpResponse<String> fourth = gateway.post(PATH, chat("demo", false));
            assertEquals(429, fourth.statusCode());
            assertEquals("7", fourth.headers().firstValue("retry-after").orElseThrow());
            assertEquals("\"global-requests\";r=0;t=7", fourth.headers().firstValue("ratelimit").orElseThrow());
            assertEquals("\"global-requests\";q=3;w=7", fourth.headers().firstValue("ratelimit-policy").orElseThrow());
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
    void thePlacesComeBackWithTheWindow() throws Exception {
        try (TestGateway gateway = TestGateway.with("llmchat.admit.max-requests", "1", "llmchat.admit.window", "300")) {
            assertEquals(200, gateway.post(PATH, chat("demo", false)).statusCode());
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
