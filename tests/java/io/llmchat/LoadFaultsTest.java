package io.llmchat;

import static io.llmchat.support.FakeProvider.fails;
import static io.llmchat.support.FakeProvider.says;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.Answer;
import io.llmchat.support.DeafServer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What many requests together meet: budgets, breakers, places, and providers that ask for rest. */
class LoadFaultsTest {

    private static final String PATH = "/v1/chat/completions";

    private static FakeProvider spare;

    private final String model = "m-" + UUID.randomUUID();
    private final String agent = "a-" + UUID.randomUUID().toString().substring(0, 8);

    @BeforeAll
    static void start() throws Exception {
        spare = new FakeProvider();
    }

    @AfterAll
    static void stop() throws Exception {
        spare.close();
    }

    private static TestGateway gateway(String... more) throws Exception {
        List<String> settings = new ArrayList<>(List.of("llmchat.anthropic.base-url", spare.url(), "llmchat.anthropic.api-key", "key",
                "camel.component.llm.first-token-timeout", "1000", "llmchat.complete.deadline", "4000"));
        settings.addAll(List.of(more));
        return TestGateway.with(settings.toArray(String[]::new));
    }

    private void agent(TestGateway of, boolean fallback) throws Exception {
        assertEquals(201, of.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"fallbacks\":[" + (fallback ? "\"anthropic/" + model + "\"" : "") + "]}").statusCode());
        spare.on(model, says(FaultsTest.TOKENS));
    }

    /** Sends so many requests at once. */
    private static List<CompletableFuture<Answer>> start(int n, TestGateway of, String body) {
        List<CompletableFuture<Answer>> answers = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            answers.add(TestGateway.begun(() -> new Answer(of.post(PATH, body))));
        }
        return answers;
    }

    private static List<Answer> all(List<CompletableFuture<Answer>> answers) throws Exception {
        List<Answer> all = new ArrayList<>();
        for (CompletableFuture<Answer> answer : answers) {
            all.add(answer.get(30, TimeUnit.SECONDS));
        }
        return all;
    }

    private static String breaker(TestGateway of, String name) throws Exception {
        return json(of.get("/health/detailed").body()).path("breakers").path(name).asText();
    }

    @Test
    void whenAllIsDownRetriesStayWithinTheirBudget() throws Exception {
        try (TestGateway gateway = gateway("llmchat.retry.budget-floor", "10", "camel.resilience4j.minimum-number-of-calls", "1000",
                "camel.resilience4j.sliding-window-size", "1000", "llmchat.retry.max-delay", "200", "llmchat.retry.base-delay", "100",
                // so that a busy machine comes to all of them
                "llmchat.complete.deadline", "20000")) {
            agent(gateway, true);
            gateway.provider().on(model, fails(503, "down"));
            spare.on(model, fails(529, "overloaded"));
            long started = System.nanoTime();
            List<Answer> answers = all(start(100, gateway, chat(agent, false)));
            long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - started) + 1;
            // on a busy machine some may be too late, too
            assertTrue(answers.stream().allMatch(a -> a.status() == 502 || a.status() == 504));
            for (List<Call> calls : List.of(gateway.provider().calls(model), spare.calls(model))) {
                assertTrue(calls.size() >= 100, "each was asked at least once: " + calls.size());
                assertTrue(calls.size() <= 120 + 10 + seconds, calls.size() + " calls in " + seconds + " s");
            }
            assertEquals(200, gateway.post(PATH, chat("openai/well", false)).statusCode());
        }
    }

    @Test
    void aProviderThatIsAwayForAWhileIsServedAroundAndFoundAgain() throws Exception {
        try (TestGateway gateway = gateway("llmchat.retry.max", "0", "llmchat.breaker.reset-timeout", "3000")) {
            agent(gateway, true);
            AtomicBoolean down = new AtomicBoolean(true);
            gateway.provider().on(model, call -> (down.get() ? fails(500, "down") : says(FaultsTest.TOKENS)).play(call));
            String breaker = "openai/" + model;
            for (int i = 0; i < 5; i++) {
                assertEquals("openai=500,anthropic=200", new Answer(gateway.post(PATH, chat(agent, false))).header("x-llmchat-attempts"));
            }
            assertEquals("open", breaker(gateway, breaker));
            for (int i = 0; i < 10; i++) {
                Answer answer = new Answer(gateway.post(PATH, chat(agent, i % 2 == 0)));
                assertEquals(FaultsTest.TEXT, answer.text());
                assertEquals("openai=open,anthropic=200", answer.header("x-llmchat-attempts"));
            }
            assertEquals(5, gateway.provider().calls(model).size(), "an open breaker lets nothing through");
            // the probes (how many at a time, the next test asks) find it still down: open again, and nobody has noticed
            until("it is probed", () -> {
                assertEquals(200, gateway.post(PATH, chat(agent, false)).statusCode());
                return gateway.provider().calls(model).size() == 8;
            });
            assertEquals("open", breaker(gateway, breaker));
            down.set(false);
            long back = System.nanoTime();
            until("it answers again", () -> {
                assertEquals(200, gateway.post(PATH, chat(agent, false)).statusCode());
                return "closed".equals(breaker(gateway, breaker));
            });
            assertTrue(System.nanoTime() - back < TimeUnit.SECONDS.toNanos(7), "soon after its reset-timeout");
            assertEquals("openai=200", new Answer(gateway.post(PATH, chat(agent, true))).header("x-llmchat-attempts"));
            assertEquals(0.0, gateway.metric("circuit_breaker_open{breaker=\"" + breaker + "\"}"));
            assertEquals("closed", breaker(gateway, "anthropic/" + model));
        }
    }

    @Test
    void anOpenBreakerAnswersAtOnceAndHalfOpenLetsExactlyItsProbesThrough() throws Exception {
        try (TestGateway gateway = gateway("llmchat.retry.max", "0", "llmchat.breaker.reset-timeout", "3000")) {
            String body = chat("openai/" + model, false);
            gateway.provider().on(model, Call::reset);
            for (int i = 0; i < 5; i++) {
                gateway.post(PATH, body);
            }
            long best = Long.MAX_VALUE;
            for (int i = 0; i < 5; i++) {
                long started = System.nanoTime();
                Answer answer = new Answer(gateway.post(PATH, body));
                best = Math.min(best, System.nanoTime() - started);
                assertEquals(503, answer.status());
                assertTrue(answer.header("retry-after").matches("[123]"), answer.header("retry-after"));
            }
            assertTrue(best < TimeUnit.MILLISECONDS.toNanos(50), "took " + best + " ns");
            assertEquals(5, gateway.provider().calls(model).size());

            CountDownLatch go = new CountDownLatch(1);
            gateway.provider().on(model, call -> {
                go.await(10, TimeUnit.SECONDS);
                says(FaultsTest.TOKENS).play(call);
            });
            List<CompletableFuture<Answer>> sent = new ArrayList<>();
            until("its first probe is let through", () -> {
                CompletableFuture<Answer> one = start(1, gateway, body).get(0);
                sent.add(one);
                until("it is let through or not", () -> one.isDone() || gateway.provider().calls(model).size() == 6);
                return gateway.provider().calls(model).size() == 6;
            });
            List<CompletableFuture<Answer>> more = start(20, gateway, body);
            until("all but two were turned away", () -> more.stream().filter(CompletableFuture::isDone).count() == 18);
            assertEquals(1.0, gateway.metric("circuit_breaker_half_open{breaker=\"openai/" + model + "\"}"));
            assertEquals(8, gateway.provider().calls(model).size(), "three probes");
            go.countDown();
            assertEquals(200, sent.get(sent.size() - 1).get(10, TimeUnit.SECONDS).status());
            List<Answer> answers = all(more);
            assertEquals(2, answers.stream().filter(a -> a.status() == 200).count());
            assertEquals(18, answers.stream().filter(a -> a.status() == 503).count());
            until("it is closed", () -> "closed".equals(breaker(gateway, "openai/" + model)));
        }
    }

    @Test
    void aModelThatHasAskedForRestIsLeftAloneByAll() throws Exception {
        // who has less time than the rest takes does not wait for its end
        try (TestGateway gateway = gateway("camel.resilience4j.minimum-number-of-calls", "2", "camel.resilience4j.sliding-window-size", "2",
                "llmchat.complete.deadline", "1500")) {
            agent(gateway, true);
            gateway.provider().on(model, FakeProvider.first(1, fails(429, "slow", "Retry-After: 8"), says(FaultsTest.TOKENS)));
            assertEquals("openai=429,anthropic=200", new Answer(gateway.post(PATH, chat(agent, false))).header("x-llmchat-attempts"));
            for (Answer answer : all(start(10, gateway, chat(agent, false)))) {
                assertEquals("anthropic=200", answer.header("x-llmchat-attempts"));
            }
            Answer alone = new Answer(gateway.post(PATH, chat("openai/" + model, false)));
            assertEquals(429, alone.status());
            assertTrue(Integer.parseInt(alone.header("retry-after")) <= 8, alone.header("retry-after"));
            assertEquals(1, gateway.provider().calls(model).size());
            assertEquals("closed", breaker(gateway, "openai/" + model));
            assertEquals(200, gateway.post(PATH, chat("openai/other-" + model, false)).statusCode(), "another model of it is another matter");
            until("it is asked again when the time is over",
                    () -> gateway.post(PATH, chat("openai/" + model, false)).statusCode() == 200);
            long waited = gateway.provider().calls(model).get(1).at() - gateway.provider().calls(model).get(0).at();
            assertTrue(waited >= TimeUnit.MILLISECONDS.toNanos(7_900), "after " + waited + " ns");
        }
    }

    @Test
    void callersFaultsAndLimitsDoNotOpenABreaker() throws Exception {
        try (TestGateway gateway = gateway("llmchat.retry.max", "0")) {
            for (int status : new int[] {400, 401, 403, 404, 408, 409, 413, 422, 429}) {
                gateway.provider().on(status + model, fails(status, "no"));
                for (int i = 0; i < 7; i++) {
                    gateway.post(PATH, chat("openai/" + status + model, false));
                }
                assertEquals(7, gateway.provider().calls(status + model).size(), "with " + status);
            }
        }
    }

    @Test
    void stallsAndSilenceOpenABreaker() throws Exception {
        try (TestGateway gateway = gateway("llmchat.retry.max", "0", "camel.component.llm.first-token-timeout", "1000",
                "camel.component.llm.idle-timeout", "1000", "camel.resilience4j.minimum-number-of-calls", "2",
                "camel.resilience4j.sliding-window-size", "2").warm()) {
            gateway.provider().on("s" + model, Call::hang).on("t" + model, FakeProvider.breaks(List.of("Half"), Call::hang));
            for (String of : new String[] {"s" + model, "t" + model}) {
                for (int i = 0; i < 2; i++) {
                    gateway.post(PATH, chat("openai/" + of, true));
                }
                assertEquals("open", breaker(gateway, "openai/" + of));
            }
            assertEquals(2.0, gateway.metric("llmchat_provider_timeouts_total{kind=\"first_token\",provider=\"openai\"}"));
            assertEquals(2.0, gateway.metric("llmchat_provider_timeouts_total{kind=\"idle\",provider=\"openai\"}"));
            assertEquals(2.0, gateway.metric("llmchat_provider_attempts_total{outcome=\"timeout\",provider=\"openai\"}"));
            assertEquals(2.0, gateway.metric("llmchat_provider_attempts_total{outcome=\"stall\",provider=\"openai\"}"));
        }
    }

    @Test
    void aStuckProviderCannotTakeAllPlaces() throws Exception {
        try (TestGateway gateway = gateway("llmchat.admit.max-concurrent", "10", "camel.component.llm.first-token-timeout", "10000",
                "llmchat.complete.deadline", "20000")) {
            agent(gateway, true);
            gateway.provider().on(model, Call::hang);
            List<Sse> stuck = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                stuck.add(new Sse(gateway.port(), PATH, chat("openai/" + model, true)));
            }
            until("its places are taken", () -> gateway.provider().calls(model).size() == 8);
            Answer full = new Answer(gateway.post(PATH, chat("openai/" + model, false)));
            assertEquals(503, full.status());
            assertEquals("1", full.header("retry-after"));
            assertEquals(FaultsTest.TEXT, new Answer(gateway.post(PATH, chat(agent, true))).text(), "the fallback has places of its own");
            assertEquals(8, gateway.provider().calls(model).size());
            for (Sse one : stuck) {
                one.close();
            }
            until("the places are free", () -> gateway.post(PATH, chat("openai/well", false)).statusCode() == 200);
        }
    }

    @Test
    void aConnectionThatIsNotTakenIsGivenUp() throws Exception {
        try (DeafServer deaf = new DeafServer();
             TestGateway gateway = gateway("llmchat.openai.base-url", deaf.url() + "/v1",
                     "camel.component.llm.connect-timeout", "200", "llmchat.retry.max", "1")) {
            agent(gateway, true);
            Answer answer = new Answer(gateway.post(PATH, chat(agent, false)));
            assertEquals("openai=connect,openai=connect,anthropic=200", answer.header("x-llmchat-attempts"));
            assertEquals(2.0, gateway.metric("llmchat_provider_timeouts_total{kind=\"connect\",provider=\"openai\"}"));
        }
    }
}
