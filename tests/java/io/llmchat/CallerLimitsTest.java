package io.llmchat;

import static io.llmchat.support.TestGateway.begun;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Ids;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.StringCodec;

/** How much each caller may have, whichever gateway it asks: requests, tokens, money. A caller is its address here. */
class CallerLimitsTest {

    private static final String PATH = "/v1/chat/completions";

    /** Models whose tokens are limited: names of this run, for what is used stays in Redis for a minute. */
    private static final String RUN = Ids.next();
    private static TestGateway limited;

    @BeforeAll
    static void start() throws Exception {
        limited = gateway("llmchat.limit.quotas", "model openai/settled-" + RUN + " tokensPerMinute=1500; model openai/failing-" + RUN
                + " tokensPerMinute=1500; model openai/breaking-" + RUN + " tokensPerMinute=100000; model openai/choices-" + RUN
                + " tokensPerMinute=100000; model openai/prompted-" + RUN + " tokensPerMinute=100000; model openai/zero-" + RUN
                + " tokensPerMinute=100000; model openai/negative-" + RUN + " tokensPerMinute=100000; model openai/endless-" + RUN
                + " tokensPerMinute=1500; model openai/embedding-" + RUN + " tokensPerMinute=1500; model openai/spent-" + RUN + " tokensPerMinute=1");
    }

    @AfterAll
    static void stop() throws Exception {
        limited.close();
    }

    /** Nobody else's address: the gateways of all tests share one Redis. */
    private final String caller = "10." + part() + "." + part() + "." + part();

    private static int part() {
        return ThreadLocalRandom.current().nextInt(1, 255);
    }

    private static TestGateway gateway(String... settings) throws Exception {
        List<String> all = new ArrayList<>(List.of("llmchat.http.trusted-proxies", "127.0.0.1", "llmchat.limit.block-duration", "0"));
        all.addAll(List.of(settings));
        return TestGateway.with(all.toArray(String[]::new));
    }

    private HttpResponse<String> ask(TestGateway gateway, String body) throws Exception {
        return gateway.post(PATH, body, "X-Forwarded-For", caller);
    }

    private HttpResponse<String> ask(TestGateway gateway) throws Exception {
        return ask(gateway, chat("openai/some", false));
    }

    private static String header(HttpResponse<?> response, String name) {
        return response.headers().firstValue(name).orElse("");
    }

    private static long tokensLeft(HttpResponse<?> response) {
        return Long.parseLong(header(response, "x-ratelimit-remaining-tokens"));
    }

    private static long count(List<Future<HttpResponse<String>>> answers, int status) throws Exception {
        long n = 0;
        for (Future<HttpResponse<String>> answer : answers) {
            n += answer.get().statusCode() == status ? 1 : 0;
        }
        return n;
    }

    private List<Future<HttpResponse<String>>> ask(int times, TestGateway... gateways) {
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Callable<HttpResponse<String>>> calls = new ArrayList<>();
            for (int i = 0; i < times; i++) {
                TestGateway gateway = gateways[i % gateways.length];
                calls.add(() -> ask(gateway));
            }
            return threads.invokeAll(calls);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void ofManyRequestsToSeveralGatewaysExactlyAsManyPassAsMay() throws Exception {
        String[] settings = {"llmchat.limit.points", "60", "llmchat.limit.duration", "60"};
        try (TestGateway one = gateway(settings); TestGateway two = gateway(settings); TestGateway three = gateway(settings)) {
            List<Future<HttpResponse<String>>> answers = ask(200, one, two, three);
            assertEquals(60, count(answers, 200));
            assertEquals(140, count(answers, 429));
            assertEquals(0, one.metric("llmchat_limiter_local_total") + two.metric("llmchat_limiter_local_total")
                    + three.metric("llmchat_limiter_local_total"));
            assertEquals(140, one.metric("llmchat_limiter_decisions_total{decision=\"refused\",scope=\"caller\"}")
                    + two.metric("llmchat_limiter_decisions_total{decision=\"refused\",scope=\"caller\"}")
                    + three.metric("llmchat_limiter_decisions_total{decision=\"refused\",scope=\"caller\"}"));
        }
    }

    @Test
    void everyAnswerTellsHowMuchIsLeft() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "3", "llmchat.limit.duration", "60")) {
            long since = System.nanoTime();
            HttpResponse<String> first = ask(gateway);
            assertEquals(200, first.statusCode());
            assertEquals("\"default\";q=3;w=60", header(first, "ratelimit-policy"));
            assertEquals("\"default\";r=2;t=60", header(first, "ratelimit"));
            assertEquals("3", header(first, "x-ratelimit-limit-requests"));
            assertEquals("2", header(first, "x-ratelimit-remaining-requests"));
            assertTrue(header(first, "x-ratelimit-reset-requests").matches("1m0s|59(\\.\\d+)?s"), header(first, "x-ratelimit-reset-requests"));
            assertEquals("", header(first, "retry-after"));

            HttpResponse<String> streamed = ask(gateway, chat("openai/some", true));
            assertEquals(200, streamed.statusCode());
            String left = header(streamed, "ratelimit");
            assertTrue(left.matches("\"default\";r=1;t=\\d+"), left);
            int seconds = Integer.parseInt(left.replaceAll(".*t=", ""));
            assertTrue(seconds <= 60 && seconds >= 59 - Duration.ofNanos(System.nanoTime() - since).toSeconds(), left);

            HttpResponse<String> anthropic = gateway.post("/v1/messages",
                    "{\"model\":\"anthropic/some\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "X-Forwarded-For", caller);
            assertEquals(200, anthropic.statusCode());
            assertEquals("3", header(anthropic, "anthropic-ratelimit-requests-limit"));
            assertEquals("0", header(anthropic, "anthropic-ratelimit-requests-remaining"));
            assertTrue(header(anthropic, "anthropic-ratelimit-requests-reset").matches("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ"));

            HttpResponse<String> over = ask(gateway);
            assertEquals(429, over.statusCode());
            assertTrue(header(over, "ratelimit").startsWith("\"default\";r=0;t="));
            seconds = Integer.parseInt(header(over, "retry-after"));
            assertTrue(seconds > 50 && seconds <= 60, seconds + " s");
            assertEquals("rate_limit_exceeded", json(over.body()).path("error").path("code").asText());
            assertEquals("This is over the limit of this caller, 3 requests in 60 s. Try again in " + seconds + " s.",
                    json(over.body()).path("error").path("message").asText());
            HttpResponse<String> nativeOver = gateway.post("/api/chat/completions", nativeChat("openai/some", true), "X-Forwarded-For", caller);
            assertEquals("RATE_LIMIT_EXCEEDED", json(nativeOver.body()).path("code").asText());
            assertEquals(3, gateway.provider().calls("some").size());
        }
    }

    @Test
    void whoGoesOverIsRefusedForTheBlockTimeAndAnotherCallerIsNot() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "1", "llmchat.limit.duration", "2", "llmchat.limit.block-duration", "3")) {
            assertEquals(200, ask(gateway).statusCode());
            long blocked;
            HttpResponse<String> over;
            do {
                // a machine that has no time may miss the window
                blocked = System.nanoTime();
                over = ask(gateway);
            } while (over.statusCode() == 200);
            assertEquals("3", header(over, "retry-after"));
            assertEquals(200, gateway.post(PATH, chat("openai/some", false), "X-Forwarded-For", "192.0.2.1").statusCode());
            until("the block is over", () -> ask(gateway).statusCode() == 200);
            assertTrue(System.nanoTime() - blocked > 2_500_000_000L, "longer than the window");
        }
    }

    @Test
    void aChatOfEachDialectARetryEmbeddingsAndACountAreCountedAndNothingElseIs() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "7", "llmchat.limit.duration", "60")) {
            gateway.provider().on("counting", call -> call.json(200, "{\"input_tokens\":14}")).on("embedding", call -> call.json(200,
                    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5]}],"
                            + "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":1}}"));
            String messages = ",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
            HttpResponse<String> session = counts(gateway, 6, "/api/chat/completions", nativeChat("openai/some", false));
            String chatId = json(session.body()).at("/data/chatId").asText();
            String message = "{\"chatId\":\"" + chatId + "\",\"rating\":\"up\",\"messageId\":\"" + json(session.body()).at("/data/messageId").asText() + "\"}";
            for (HttpResponse<String> free : List.of(gateway.get("/api/agents", "X-Forwarded-For", caller), gateway.get("/v1/models", "X-Forwarded-For", caller),
                    gateway.get("/api/chat/history", "X-Forwarded-For", caller), gateway.get("/api/chat/history/" + chatId, "X-Forwarded-For", caller),
                    gateway.post("/api/chat/feedback", message, "X-Forwarded-For", caller))) {
                assertEquals(200, free.statusCode(), free.body());
                assertFalse(free.headers().map().keySet().stream().anyMatch(h -> h.contains("ratelimit")), free.uri() + " tells of limits");
            }
            counts(gateway, 5, "/api/chat/history/" + chatId + "/retry", message.replace("\"chatId\":\"" + chatId + "\",\"rating\":\"up\",", ""));
            counts(gateway, 4, PATH, chat("openai/some", false));
            counts(gateway, 3, "/v1/messages", "{\"model\":\"anthropic/some\"" + messages);
            counts(gateway, 2, "/v1/responses", "{\"model\":\"openai/some\",\"input\":\"Hi\"}");
            counts(gateway, 1, "/v1/embeddings", "{\"model\":\"openai/embedding\",\"input\":\"Hi\"}");
            counts(gateway, 0, "/v1/messages/count_tokens", "{\"model\":\"anthropic/counting\"" + messages.replace("\"max_tokens\":9,", ""));
            assertEquals(429, ask(gateway).statusCode());
            assertEquals(200, gateway.get("/api/agents", "X-Forwarded-For", caller).statusCode());
        }
    }

    /** Posts what leaves so many requests. */
    private HttpResponse<String> counts(TestGateway gateway, int left, String path, String body) throws Exception {
        HttpResponse<String> answer = gateway.post(path, body, "X-Forwarded-For", caller);
        assertEquals(200, answer.statusCode(), answer.body());
        assertEquals(Integer.toString(left), header(answer, "x-ratelimit-remaining-requests"), path);
        return answer;
    }

    @Test
    void requestsForWhatIsNotThereAreCountedToo() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "3", "llmchat.limit.duration", "60")) {
            assertEquals(404, ask(gateway, chat("nobody", false)).statusCode());
            assertEquals(400, ask(gateway, "{").statusCode());
            assertEquals(404, ask(gateway, chat("nobody/has-this", false)).statusCode());
            assertEquals(429, ask(gateway, chat("nobody", false)).statusCode());
            assertEquals(429, ask(gateway, "{").statusCode());
            assertEquals(429, ask(gateway).statusCode());
        }
    }

    @Test
    void aReplayCountsAsARequestButUsesNoTokens() throws Exception {
        String model = "m" + Ids.next();
        try (TestGateway gateway = gateway("llmchat.limit.points", "2", "llmchat.limit.quotas", "model openai/" + model + " tokensPerMinute=100000")) {
            String key = Ids.next();
            for (int i = 0; i < 3; i++) {
                HttpResponse<String> answer = gateway.post(PATH, chat("openai/" + model, false), "X-Forwarded-For", caller, "Idempotency-Key", key);
                assertEquals(i < 2 ? 200 : 429, answer.statusCode());
                assertEquals(i == 0 ? "" : i == 1 ? "true" : "", header(answer, "idempotent-replayed"));
                until("it is what the provider counted", () -> used(model) == 5);
            }
            assertEquals(1, gateway.provider().calls(model).size());
        }
    }

    /** What is used of a model's tokens of this minute. */
    private static long used(String model) {
        return usedOf("MODEL:openai/" + model + ":tokens-per-minute");
    }

    private static long usedOf(String limit) {
        Object n = limited.bean(RedissonClient.class).getMap("llmchat:limit:" + limit, StringCodec.INSTANCE).get("n");
        return n == null ? -1 : Long.parseLong((String) n);
    }

    @Test
    void tokensAreTakenByEstimateAndSettledByWhatWasUsed() throws Exception {
        String model = "settled-" + RUN;
        String streamed = chat("openai/" + model, true);
        String whole = chat("openai/" + model, false);
        limited.provider().on(model, Call::hang);
        Sse running = new Sse(limited.port(), PATH, streamed);
        until("it is asked", () -> limited.provider().calls(model).size() == 1);
        assertEquals(Math.ceilDiv(streamed.length(), 4) + 1_000, used(model), "nobody said how long the answer may get");
        HttpResponse<String> second = ask(limited, whole);
        assertEquals(429, second.statusCode());
        assertTrue(json(second.body()).path("error").path("message").asText().startsWith(
                "This is over the limit of this model (openai/" + model + "), 1500 tokens per minute."), second.body());
        assertEquals("1500", header(second, "x-ratelimit-limit-tokens"));
        assertEquals("\"model-tokens-per-minute\";q=1500;qu=\"tokens\";w=60", header(second, "ratelimit-policy"));
        running.close();
        // or whoever leaves, and asks again, would have the provider work for nothing
        int left = Math.ceilDiv(limited.provider().call(model).text().length(), 4);
        until("a caller who left has used what was asked", () -> used(model) == left);

        limited.provider().on(model, call -> call.json(200, FakeProvider.completion("Hello")));
        HttpResponse<String> third = ask(limited, whole.replace("{\"model\"", "{\"max_tokens\":20,\"model\""));
        assertEquals(1_500 - left - 20 - Math.ceilDiv(whole.length() + 16, 4), tokensLeft(third));
        until("it is what the provider counted", () -> used(model) == left + 5);
    }

    /** While a request is answered so many tokens are taken for it. */
    private static void takes(String path, String model, String body, long tokens) throws Exception {
        limited.provider().on(model, Call::hang);
        try (Sse running = new Sse(limited.port(), path, body)) {
            until("it is taken", () -> used(model) == tokens);
        }
    }

    @Test
    void theLargestAnswerThatMayComeIsTakenForEachOfItsChoices() throws Exception {
        String model = "choices-" + RUN;
        String body = chat("openai/" + model, true).replace("{\"model\"", "{\"n\":3,\"max_completion_tokens\":20,\"max_tokens\":50,\"model\"");
        takes(PATH, model, body, Math.ceilDiv(body.length(), 4) + 150);
    }

    @Test
    void anEmbeddingHasNoAnswerThatWouldBeTaken() throws Exception {
        String model = "embedding-" + RUN;
        String body = "{\"model\":\"openai/" + model + "\",\"input\":\"Hello\"}";
        takes("/v1/embeddings", model, body, Math.ceilDiv(body.length(), 4));
    }

    @ParameterizedTest
    @CsvSource({"zero,0", "negative,-1"})
    void aLengthThatNoAnswerHasIsNotTaken(String name, String length) throws Exception {
        String model = name + "-" + RUN;
        String body = chat("openai/" + model, true).replace("{\"model\"", "{\"max_tokens\":" + length + ",\"n\":" + length + ",\"model\"");
        takes(PATH, model, body, Math.ceilDiv(body.length(), 4) + 1_000);
    }

    @Test
    void aLengthThatIsNoLongIsTheWholeLimit() throws Exception {
        String model = "endless-" + RUN;
        String body = chat("openai/" + model, true).replace("{\"model\"", "{\"max_tokens\":18446744073709551616,\"model\"");
        takes(PATH, model, body, 1_500);
    }

    @Test
    void whatAnAgentAddsIsPartOfTheEstimateAndAnImageIsNoText() throws Exception {
        String model = "prompted-" + RUN;
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"" + model + "\",\"maxTokens\":20,\"systemPrompt\":\"" + "x".repeat(8_000)
                + "\"", "{\"points\":1000,\"duration\":60}");
        String image = "A".repeat(600_000);
        String body = chat(agent, true).replace("\"Hi\"", "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64," + image + "\"}}]");
        limited.provider().on(model, Call::hang);
        Sse running = new Sse(limited.port(), PATH, body);
        until("it is taken", () -> used(model) == Math.ceilDiv(body.length() - image.length(), 4) + 1_000 + 2_000 + 20);
        until("it is asked", () -> limited.provider().calls(model).size() == 1);
        running.close();
        int sent = limited.provider().call(model).text().length();
        until("it is settled", () -> used(model) == Math.ceilDiv(sent - image.length(), 4) + 1_000);
    }

    @Test
    void aFailureGivesTheTokensBack() throws Exception {
        String model = "failing-" + RUN;
        limited.provider().on(model, call -> call.error(400, "no"));
        assertEquals(400, ask(limited, chat("openai/" + model, false)).statusCode());
        until("all is back", () -> used(model) == 0);
    }

    @Test
    void theModelThatAnswersIsCountedAndNotTheOneInWhosePlaceItDid() throws Exception {
        String model = "failing-" + RUN;
        String spare = "breaking-" + RUN;
        long before = Math.max(0, used(spare));
        limited.provider().on(model, call -> call.error(500, "no"));
        limited.provider().on(spare, call -> call.json(200, FakeProvider.completion("Hello")));
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"" + model + "\",\"fallbacks\":[\"openai/" + spare + "\"]", "{}");
        assertEquals(200, ask(limited, chat(agent, false)).statusCode());
        until("the fallback's are used", () -> used(spare) == before + 5);
        assertEquals(0, used(model));
        // nor does the first need to have a quota, or any other limit to be met
        limited.provider().on("without", call -> call.error(500, "no"));
        String other = agent(limited, "\"provider\":\"openai\",\"model\":\"without\",\"fallbacks\":[\"openai/" + spare + "\"]", "{}");
        assertEquals(200, ask(limited, chat(other, false)).statusCode());
        until("they are used again", () -> used(spare) == before + 10);
    }

    @Test
    void onlyTheModelThatIsAskedFirstCanRefuse() throws Exception {
        String spent = "spent-" + RUN;
        until("its tokens are used up", () -> ask(limited, chat("openai/" + spent, false)).statusCode() == 429);
        String free = "free-" + RUN;
        String first = agent(limited, "\"provider\":\"openai\",\"model\":\"" + spent + "\",\"fallbacks\":[\"openai/" + free + "\"]", "{}");
        HttpResponse<String> refused = ask(limited, chat(first, false));
        assertEquals(429, refused.statusCode(), "nobody else is asked in its place");
        assertTrue(refused.body().contains("openai/" + spent), refused.body());
        assertEquals(0, limited.provider().calls(free).size());

        limited.provider().on(free, call -> call.error(500, "no"));
        String second = agent(limited, "\"provider\":\"openai\",\"model\":\"" + free + "\",\"fallbacks\":[\"openai/" + spent + "\"]", "{}");
        HttpResponse<String> answered = ask(limited, chat(second, false));
        assertEquals(200, answered.statusCode(), answered.body());
        assertTrue(header(answered, "x-llmchat-attempts").endsWith(",openai=200"), header(answered, "x-llmchat-attempts"));
    }

    @Test
    void anAnswerThatBrokeOffIsPaidAsFarAsItCame() throws Exception {
        String model = "breaking-" + RUN;
        String body = chat("openai/" + model, true);
        long before = Math.max(0, used(model));
        limited.provider().on(model, call -> {
            call.sse();
            call.text("x".repeat(4_000));
            call.cut();
        });
        ask(limited, body);
        int sent = limited.provider().calls(model).getLast().text().length();
        until("it is settled", () -> used(model) == before + Math.ceilDiv(sent, 4) + 1_000);
    }

    @Test
    void countingTokensUsesNone() throws Exception {
        String agent = agent(limited, "\"provider\":\"anthropic\",\"model\":\"counting\"", "{\"tokensPerDay\":1000}");
        limited.provider().on("counting", call -> call.json(200, "{\"input_tokens\":14}"));
        HttpResponse<String> counted = limited.post("/v1/messages/count_tokens",
                "{\"model\":\"" + agent + "\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "X-Forwarded-For", caller);
        assertEquals(200, counted.statusCode());
        String row = "SELECT count(*) FROM usage_records WHERE agent_id = '" + agent + "'";
        until("it is written down", () -> limited.count(row) == 1);
        assertEquals(1, limited.count(row + " AND total_tokens IS NULL AND cost_usd IS NULL"));
        assertFalse(limited.bean(RedissonClient.class).getMap("llmchat:limit:AGENT:" + agent + ":tokens-per-day").isExists());
    }

    @Test
    void aBudgetIsSpentByThePriceTable() throws Exception {
        TestGateway.farFromMidnight();
        // gpt-4o costs 10 dollars for a million tokens of an answer: the first request takes a cent at most
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"gpt-4o\",\"maxTokens\":1000", "{\"budgetPerDay\":0.015}");
        limited.provider().on("gpt-4o", call -> call.json(200, FakeProvider.completion("Hello")
                .replace("\"completion_tokens\":2", "\"completion_tokens\":1490")));
        assertEquals(200, ask(limited, chat(agent, false)).statusCode());
        HttpResponse<String> over = ask(limited, chat(agent, false));
        assertEquals(429, over.statusCode());
        assertTrue(json(over.body()).path("error").path("message").asText()
                .startsWith("This is over the limit of this agent (" + agent + "), $0.015 per day (UTC)."), over.body());
        assertEquals("\"agent-budget-per-day\";q=15000;qu=\"micro-usd\";w=86400", header(over, "ratelimit-policy"));
        assertTrue(Integer.parseInt(header(over, "retry-after")) <= 86_400);
        until("it is what the answer cost", () -> "14907500".equals(limited.bean(RedissonClient.class)
                .getMap("llmchat:limit:AGENT:" + agent + ":budget-per-day", StringCodec.INSTANCE).get("n")));
    }

    private static String agent(TestGateway gateway, String members, String limits) throws Exception {
        HttpResponse<String> created = gateway.post("/api/agents", "{\"name\":\"Limited\"," + members + ",\"rateLimit\":" + limits + "}");
        assertEquals(201, created.statusCode(), created.body());
        return json(created.body()).path("data").path("id").asText();
    }

    @Test
    void anAgentHasALimitOfItsOwnAndItIsCheckedWhenItIsWritten() throws Exception {
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"some\"", "{\"points\":2,\"duration\":60}");
        assertEquals(200, ask(limited, chat(agent, false)).statusCode());
        assertEquals(200, limited.post(PATH, chat(agent, false), "X-Forwarded-For", "192.0.2.9").statusCode());
        HttpResponse<String> third = ask(limited, chat(agent, false));
        assertEquals(429, third.statusCode());
        assertEquals("\"agent-requests\";q=2;w=60", header(third, "ratelimit-policy"));
        assertEquals(200, ask(limited).statusCode(), "others are not limited");
        assertEquals(999_997, requestsLeft(ask(limited)), "who was refused by the agent has lost nothing of its own");
        HttpResponse<String> wrong = limited.post("/api/agents",
                "{\"name\":\"x\",\"provider\":\"openai\",\"model\":\"x\",\"rateLimit\":{\"points\":\"many\"}}");
        assertEquals(400, wrong.statusCode());
        assertEquals("rateLimit.points", json(wrong.body()).path("details").path(0).path("field").asText());
    }

    @Test
    void aRepeatedRequestThatIsAnsweredByItsOwnCountsForTheAgentToo() throws Exception {
        String model = "repeated-" + Ids.next();
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"" + model + "\"", "{\"points\":2,\"duration\":60}");
        String[] key = {"X-Forwarded-For", caller, "Idempotency-Key", Ids.next()};
        CountDownLatch fail = new CountDownLatch(1);
        try (TestGateway other = gateway()) {
            other.provider().on(model, call -> {
                fail.await(10, TimeUnit.SECONDS);
                call.error(400, "no");
            });
            var first = begun(() -> other.post(PATH, chat(agent, false), key));
            until("it is asked", () -> other.provider().calls(model).size() == 1);
            String allowed = "llmchat_limiter_decisions_total{decision=\"allowed\",scope=\"all\"}";
            double before = limited.metric(allowed);
            var repeated = begun(() -> limited.post(PATH, chat(agent, false), key));
            until("it is one that is repeated, and counted", () -> limited.metric(allowed) == before + 1);
            fail.countDown();
            assertEquals(400, first.get().statusCode());
            assertEquals(200, repeated.get().statusCode());
            assertEquals("0", header(repeated.get(), "x-ratelimit-remaining-requests"));
            until("of its caller's requests it is one", () -> usedOf("CALLER:" + caller + ":requests") == 2);
            assertEquals(429, ask(limited, chat(agent, false)).statusCode());
        }
    }

    @Test
    void whoMayNotAskAnAgentUsesNothingOfItsLimit() throws Exception {
        String agent = agent(limited, "\"provider\":\"openai\",\"model\":\"some\"", "{\"points\":1,\"duration\":60}");
        String key = json(limited.post("/api/keys", "{\"name\":\"Bound\",\"userId\":\"u-" + RUN + "\",\"agents\":[\"demo\"]}").body())
                .at("/data/key").asText();
        for (int i = 0; i < 2; i++) {
            assertEquals(403, limited.post(PATH, chat(agent, false), "Authorization", "Bearer " + key).statusCode());
        }
        assertEquals(200, ask(limited, chat(agent, false)).statusCode());
        assertEquals(403, limited.post(PATH, chat(agent, false), "Authorization", "Bearer " + key).statusCode(), "though it is used up");
    }

    @Test
    void withoutLimitsNothingIsTold() throws Exception {
        try (TestGateway gateway = gateway("llmchat.limit.points", "0")) {
            HttpResponse<String> answer = ask(gateway);
            assertEquals(200, answer.statusCode());
            assertFalse(answer.headers().map().keySet().stream().anyMatch(h -> h.contains("ratelimit")));
            assertEquals(0, gateway.metric("llmchat_limiter_decisions_total{decision=\"allowed\",scope=\"all\"}"));
        }
    }

    @Test
    void onlyATrustedProxySaysWhoTheCallerIs() throws Exception {
        try (TestGateway gateway = gateway("llmchat.http.trusted-proxies", "192.0.2.1")) {
            long before = requestsLeft(ask(gateway));
            long after = requestsLeft(gateway.post(PATH, chat("openai/some", false), "X-Forwarded-For", "10.9.8.7"));
            assertTrue(after < before, "both are this machine's");
        }
        assertEquals(999_999, requestsLeft(ask(limited)));
        assertEquals(999_998, requestsLeft(limited.post(PATH, chat("openai/some", false), "X-Forwarded-For", "1.2.3.4, " + caller)));
    }

    private static long requestsLeft(HttpResponse<?> response) {
        return Long.parseLong(header(response, "x-ratelimit-remaining-requests"));
    }
}
