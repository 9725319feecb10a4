package io.llmchat.soak;

import static io.llmchat.soak.Client.DIALECTS;
import static io.llmchat.soak.Client.MODEL;
import static io.llmchat.soak.Client.any;
import static io.llmchat.soak.Client.anyTarget;
import static io.llmchat.soak.Client.body;
import static io.llmchat.soak.Client.called;
import static io.llmchat.soak.Client.expect;
import static io.llmchat.soak.Client.random;
import static io.llmchat.soak.Client.same;
import static io.llmchat.soak.Client.whole;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.soak.Orders.Fault;
import io.llmchat.soak.Orders.Order;
import io.llmchat.support.Answer;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.http.HttpResponse;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** What is asked beside the streams of the soak: each says what it wants, and throws where it gets something else. */
final class Requests {

    private static final String DEAD = "dead";
    /** More than the gateway keeps breakers for: from then on one makes room for the next. */
    private static final int NAMES_AT_FIRST = 1_100;

    private final Client client;
    private final Orders orders;
    private final AtomicLong numbers = new AtomicLong();

    /** Kills a model of the provider. */
    Requests(Client client, Orders orders, FakeProvider provider) {
        this.client = client;
        this.orders = orders;
        provider.on(DEAD, FakeProvider.fails(500, "down"));
    }

    void wholeAnswer() throws Exception {
        String dialect = any(DIALECTS);
        try (Order order = orders.place(20, 100, 0)) {
            same(order.text(), text(client.ask(client.anyKey(), dialect, body(dialect, anyTarget(), order, false))));
        }
    }

    private static String text(HttpResponse<String> response) {
        return new Answer(expect(200, response)).text();
    }

    void leftDuringAWholeAnswer() throws Exception {
        String dialect = any(DIALECTS);
        try (Order order = orders.place(1, 0, 0, new Fault(-1, Call::hang))) {
            try (Sse call = client.open(client.anyKey(), dialect, body(dialect, anyTarget(), order, false))) {
                Thread.sleep(50 + random(500));
            }
            Client.ended(order, 5_000);
        }
    }

    /** What is the caller's fault, in his request's eyes, in ours, and in the provider's. */
    void refused() throws Exception {
        String key = client.anyKey();
        expect(401, client.ask("llmchat_sk_of-nobody", "openai", TestGateway.chat("openai/" + MODEL, true)));
        expect(404, client.ask(key, "openai", TestGateway.chat("nobody/" + MODEL, true)));
        expect(400, client.ask(key, "anthropic", "{\"model\":"));
        try (Order order = orders.place(1, 0, 0, new Fault(-1, FakeProvider.fails(422, "no")))) {
            expect(422, client.ask(key, "openai", body("openai", "openai/" + MODEL, order, true)));
        }
    }

    /** A model that never answers: 502 while it is asked, 503 while its breaker is open. */
    void deadModel() throws Exception {
        HttpResponse<String> response = client.ask(client.anyKey(), "openai", TestGateway.chat("ollama/" + DEAD, true));
        assertTrue(response.statusCode() == 502 || response.statusCode() == 503, () -> response.statusCode() + " " + response.body());
    }

    /** A model that was never asked before: callers make names up. */
    void newName() throws Exception {
        do {
            same("Hello there", text(client.ask(client.anyKey(), "openai", TestGateway.chat("openai/name-" + numbers.incrementAndGet(), false))));
        } while (numbers.get() < NAMES_AT_FIRST);
    }

    void session() throws Exception {
        String key = client.anyKey();
        try (Order first = orders.place(10, 0, 0); Order second = orders.place(20, 0, 50)) {
            String chatId = TestGateway.json(expect(200, client.ask(key, "native", body("native", anyTarget(), first, false))).body())
                    .path("data").path("chatId").asText();
            String more = body("native", anyTarget(), second, true).replaceFirst("\\{", "{\"chatId\":\"" + chatId + "\",");
            try (Sse stream = client.open(key, "native", more)) {
                whole(stream, second, "");
            }
            assertEquals(3, second.messages(), "messages sent with the second question");
            String path = "/api/chat/history/" + chatId;
            JsonNode messages = TestGateway.json(expect(200, client.get(key, path)).body()).path("data").path("messages");
            assertEquals(4, messages.size(), messages::toString);
            same(first.text(), messages.path(1).path("content").asText());
            same(second.text(), messages.path(3).path("content").asText());
            expect(200, client.delete(key, path));
            expect(404, client.get(key, path));
        }
    }

    /** Two ask the same at once, and one later: the answer is made once. */
    void idempotentStream() throws Exception {
        String key = client.anyKey();
        String dialect = any(DIALECTS);
        try (Order order = orders.place(20, 0, 50)) {
            String body = body(dialect, anyTarget(), order, true);
            String header = "Idempotency-Key: " + order.prompt().replace(' ', '-');
            try (Sse first = client.open(key, dialect, body, header); Sse joining = client.open(key, dialect, body, header)) {
                whole(first, order, "");
                whole(joining, order, "");
            }
            try (Sse again = client.open(key, dialect, body, header)) {
                whole(again, order, "");
            }
            called(1, order);
        }
    }

    /** An SDK repeats a request that was answered. */
    void sdkRetry() throws Exception {
        String key = client.anyKey();
        try (Order order = orders.place(20, 50, 0)) {
            String body = body("openai", anyTarget(), order, false);
            same(order.text(), text(client.ask(key, "openai", body, "X-Stainless-Retry-Count", "0")));
            // before an SDK repeats anything, it waits half a second
            Thread.sleep(500);
            same(order.text(), text(client.ask(key, "openai", body, "X-Stainless-Retry-Count", "1")));
            called(1, order);
        }
    }

    /** A key is made, lets somebody in, is revoked, and lets nobody in a second later. */
    void keyThatIsRevoked() throws Exception {
        JsonNode made = client.makeKey("churn");
        String key = made.path("key").asText();
        try (Order order = orders.place(5, 0, 0)) {
            String body = body("openai", anyTarget(), order, false);
            expect(200, client.ask(key, "openai", body));
            expect(200, client.administer("DELETE", "/api/keys/" + made.path("id").asText(), null));
            long revoked = System.nanoTime();
            while (client.ask(key, "openai", body).statusCode() != 401) {
                assertTrue(System.nanoTime() - revoked < TimeUnit.SECONDS.toNanos(1), "a second later it still lets somebody in");
                Thread.sleep(50);
            }
        }
    }
}
