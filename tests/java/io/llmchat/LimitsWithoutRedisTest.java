package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What becomes of limits while Redis does not answer: each instance enforces its share of them. */
class LimitsWithoutRedisTest {

    @TempDir
    Path data;

    /** A gateway with a Redis of its own, which can be taken away. */
    private TestGateway gateway(String... settings) throws Exception {
        String[] all = new String[settings.length + 8];
        String[] own = {"llmchat.redis.host", "", "llmchat.store.data-dir", data.toString(), "llmchat.limit.duration", "60",
            "llmchat.limit.block-duration", "0"};
        System.arraycopy(own, 0, all, 0, own.length);
        System.arraycopy(settings, 0, all, own.length, settings.length);
        return TestGateway.with(all);
    }

    private void signal(String name) throws IOException, InterruptedException {
        String pid = Files.readString(data.resolve("redis/redis.pid")).trim();
        assertEquals(0, new ProcessBuilder("kill", "-" + name, pid).inheritIO().start().waitFor());
    }

    private static HttpResponse<String> ask(TestGateway gateway) throws Exception {
        return gateway.post("/v1/chat/completions", chat("openai/some", false));
    }

    @Test
    void aPausedRedisIsNotWaitedForAndUsedAgainWhenItIsBack() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "30", "llmchat.limit.instances", "3")) {
            for (int i = 0; i < 5; i++) {
                assertEquals(200, ask(gateway).statusCode());
            }
            signal("STOP");
            try {
                long[] millis = new long[10];
                for (int i = 0; i < 10; i++) {
                    long begun = System.nanoTime();
                    HttpResponse<String> answer = ask(gateway);
                    millis[i] = (System.nanoTime() - begun) / 1_000_000;
                    assertEquals(200, answer.statusCode());
                    assertEquals("\"default\";q=10;w=60", answer.headers().firstValue("ratelimit-policy").orElseThrow());
                }
                Arrays.sort(millis);
                assertTrue(millis[4] < 80, () -> "not each has waited for it: " + Arrays.toString(millis));
                assertEquals(429, ask(gateway).statusCode());
                assertEquals(11, gateway.metric("llmchat_limiter_local_total"));
            } finally {
                signal("CONT");
            }
            until("it is asked again", () -> "\"default\";q=30;w=60".equals(ask(gateway).headers().firstValue("ratelimit-policy").orElseThrow()));
            assertEquals(200, ask(gateway).statusCode());
        }
    }

    @Test
    void whoAskTogetherWhileRedisStandsStillAreAllAnswered() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "1000"); ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
            assertEquals(200, ask(gateway).statusCode());
            signal("STOP");
            try {
                List<Future<HttpResponse<String>>> answers = callers.invokeAll(Collections.nCopies(40, () -> ask(gateway)));
                for (Future<HttpResponse<String>> answer : answers) {
                    assertEquals(200, answer.get().statusCode(), () -> answer.resultNow().body());
                }
            } finally {
                signal("CONT");
            }
        }
    }

    @Test
    void whatIsSpentStaysSpent() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.quotas", "model openai/gpt-4o budgetPerDay=0.001; model openai/few points=1 duration=600")) {
            String body = chat("openai/gpt-4o", false);
            gateway.provider().on("gpt-4o", call -> call.json(200, FakeProvider.completion("Hello")
                    .replace("\"completion_tokens\":2", "\"completion_tokens\":200")));
            assertEquals(200, gateway.post("/v1/chat/completions", body).statusCode());
            assertEquals(429, gateway.post("/v1/chat/completions", body).statusCode());
            String few = chat("openai/few", false);
            assertEquals(200, gateway.post("/v1/chat/completions", few).statusCode());
            assertEquals(429, gateway.post("/v1/chat/completions", few).statusCode());
            signal("KILL");
            HttpResponse<String> alone = gateway.post("/v1/chat/completions", body);
            assertEquals(429, alone.statusCode());
            assertTrue(alone.body().contains("$0.001 per day"), alone.body());
            assertEquals(429, gateway.post("/v1/chat/completions", few).statusCode());
            assertTrue(gateway.metric("llmchat_limiter_local_total") > 0, "it is this instance that has refused");
        }
    }

    @Test
    void aRedisThatIsGoneLeavesTheShareOfTheInstance() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "8", "llmchat.limit.instances", "2")) {
            assertEquals(200, ask(gateway).statusCode());
            signal("KILL");
            int passed = 0;
            for (int i = 0; i < 20; i++) {
                int status = ask(gateway).statusCode();
                passed += status == 200 ? 1 : 0;
                assertTrue(status == 200 || status == 429, "status " + status);
            }
            assertEquals(4, passed);
        }
    }
}
