package io.llmchat.soak;

import static io.llmchat.soak.Client.DIALECTS;
import static io.llmchat.soak.Client.MODEL;
import static io.llmchat.soak.Client.PROVIDERS;
import static io.llmchat.soak.Client.any;
import static io.llmchat.soak.Client.anyTarget;
import static io.llmchat.soak.Client.begin;
import static io.llmchat.soak.Client.called;
import static io.llmchat.soak.Client.ended;
import static io.llmchat.soak.Client.expect;
import static io.llmchat.soak.Client.random;
import static io.llmchat.soak.Client.whole;

import io.llmchat.soak.Orders.Fault;
import io.llmchat.soak.Orders.Order;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Script;
import io.llmchat.support.Sse;
import java.util.List;

/** The streams of the soak: each says what is to happen to it, and throws where something else does. */
final class Streams {

    /** How long a stream goes on for a caller who may come back: also on a machine that stands still for some seconds. */
    static final long GRACE_MILLIS = 8_000;

    private static final long GAP_MILLIS = 200;
    private static final long LEAVE_MILLIS = 5_000;
    /** The native dialect's streams go on for who may come back. */
    private static final List<String> NOT_RESUMABLE = List.of("openai", "anthropic");

    private final Client client;
    private final Orders orders;

    /** Makes the agents that fall back on another provider. */
    Streams(Client client, Orders orders) throws Exception {
        this.client = client;
        this.orders = orders;
        for (int i = 0; i < PROVIDERS.size(); i++) {
            String fallback = PROVIDERS.get((i + 1) % PROVIDERS.size()) + "/" + MODEL;
            expect(201, client.administer("POST", "/api/agents", "{\"id\":\"" + agent(PROVIDERS.get(i)) + "\",\"name\":\"A\",\"provider\":\""
                    + PROVIDERS.get(i) + "\",\"model\":\"" + MODEL + "\",\"fallbacks\":[\"" + fallback + "\"]}"));
        }
    }

    private static String agent(String provider) {
        return "soak-" + provider;
    }

    void undisturbed() throws Exception {
        int sort = random(20);
        // of 12 in 20 the text takes 8 s at most, of 7 it takes 24 s, of one 28 s
        int tokens = sort < 12 ? 5 + random(36) : sort < 19 ? 40 + random(81) : 120 + random(21);
        try (Order order = orders.place(tokens, random(100), GAP_MILLIS);
                Sse stream = client.stream(any(DIALECTS), anyTarget(), order)) {
            whole(stream, order, "");
        }
    }

    /** The provider fails once, in a way that is made good by asking it again. */
    void retried() throws Exception {
        Script fault = any(List.of(FakeProvider.fails(500, "down"), FakeProvider.fails(429, "slow"), FakeProvider.fails(503, "full"), Call::reset));
        // not of ollama: its dead model takes all the retries that this provider may have
        String provider = any(List.of("openai", "anthropic"));
        try (Order order = orders.place(30, 0, GAP_MILLIS, new Fault(-1, fault));
                Sse stream = client.stream(any(DIALECTS), provider + "/" + MODEL, order)) {
            whole(stream, order, "");
            called(2, order);
        }
    }

    /** The provider is silent, or does not want us: the next one is asked. */
    void fallenBack() throws Exception {
        Script fault = any(List.of(Call::hang, FakeProvider.fails(401, "who")));
        try (Order order = orders.place(30, 0, GAP_MILLIS, new Fault(-1, fault));
                Sse stream = client.stream(any(DIALECTS), agent(any(PROVIDERS)), order)) {
            whole(stream, order, "");
            called(2, order);
        }
    }

    /** The provider breaks off or stalls, and the next one goes on. */
    void continued() throws Exception {
        try (Order order = orders.place(40, 0, GAP_MILLIS, new Fault(1 + random(30), cutOrStall()));
                Sse stream = client.stream(any(DIALECTS), agent(any(PROVIDERS)), order)) {
            whole(stream, order, "");
        }
    }

    /** The provider breaks off or stalls, and there is nobody to go on. */
    void broken() throws Exception {
        int at = 1 + random(30);
        try (Order order = orders.place(40, 0, GAP_MILLIS, new Fault(at, cutOrStall()));
                Sse stream = client.stream(any(DIALECTS), anyTarget(), order)) {
            Client.broken(stream, order.text(at));
        }
    }

    private static Script cutOrStall() {
        return any(List.of(Call::cut, Call::hang));
    }

    void leftBeforeTheFirstToken() throws Exception {
        int wait = 2_000;
        try (Order order = orders.place(1_000, wait, GAP_MILLIS)) {
            try (Sse stream = client.stream(any(NOT_RESUMABLE), anyTarget(), order)) {
                Thread.sleep(50 + random(1_000));
            }
            ended(order, wait + LEAVE_MILLIS);
        }
    }

    void leftInMidstream() throws Exception {
        try (Order order = orders.place(1_000, 0, GAP_MILLIS)) {
            try (Sse stream = client.stream(any(NOT_RESUMABLE), anyTarget(), order)) {
                begin(stream, order, 1 + random(40));
            }
            ended(order, LEAVE_MILLIS);
        }
    }

    /** Its caller leaves, and comes back for the rest. */
    void resumed() throws Exception {
        String key = client.anyKey();
        try (Order order = orders.place(40, 0, GAP_MILLIS)) {
            String begun;
            String last;
            try (Sse stream = client.open(key, "native", Client.body("native", anyTarget(), order, true))) {
                begun = begin(stream, order, 1 + random(30));
                last = stream.lastId();
            }
            Thread.sleep(random(1_500));
            try (Sse back = client.resume(key, last)) {
                whole(back, order, begun);
            }
            called(1, order);
        }
    }

    /** Its caller leaves, and does not come back. */
    void abandoned() throws Exception {
        try (Order order = orders.place(1_000, 0, GAP_MILLIS)) {
            try (Sse stream = client.stream("native", anyTarget(), order)) {
                begin(stream, order, 1 + random(20));
            }
            ended(order, GRACE_MILLIS + LEAVE_MILLIS);
        }
    }
}
