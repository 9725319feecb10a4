package io.llmchat.soak;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.FakeProvider.Script;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The script of a provider that does for each request what that one has ordered: which, it finds by the prompt. */
final class Orders implements Script {

    private static final String PROMPT = "order ";

    private final Map<String, Order> open = new ConcurrentHashMap<>();
    private final AtomicLong ids = new AtomicLong();

    /**
     * What goes wrong with a call.
     *
     * @param after so many tokens; -1: before the head of the response
     * @param then what is done instead of the rest
     */
    record Fault(int after, Script then) {
    }

    /** What one request wants of the provider, and what became of it there. */
    final class Order implements AutoCloseable {

        private final String id = Long.toString(ids.incrementAndGet(), 36);
        private final int tokens;
        private final long waitMillis;
        private final long gapMillis;
        private final List<Fault> faults;
        private final AtomicInteger calls = new AtomicInteger();
        private final CountDownLatch over = new CountDownLatch(1);
        private volatile int said;
        private volatile int messages;

        private Order(int tokens, long waitMillis, long gapMillis, List<Fault> faults) {
            this.tokens = tokens;
            this.waitMillis = waitMillis;
            this.gapMillis = gapMillis;
            this.faults = faults;
        }

        /** What the user says. */
        String prompt() {
            return PROMPT + id;
        }

        /** What the provider answers: no two orders, and no two places of an answer, have the same. */
        String text() {
            return text(tokens);
        }

        /** The first so many tokens of it. */
        String text(int first) {
            return IntStream.range(0, first).mapToObj(i -> id + "." + i + " ").collect(Collectors.joining());
        }

        /** How often the provider was asked. */
        int calls() {
            return calls.get();
        }

        /** How many messages the provider was sent with the last call. */
        int messages() {
            return messages;
        }

        /** Whether the call ends within this time, by its answer's end or because the gateway leaves. */
        boolean isOverWithin(long millis) throws InterruptedException {
            return over.await(millis, TimeUnit.MILLISECONDS);
        }

        private void play(Call call) throws Exception {
            messages = call.body().path("messages").size();
            int nth = calls.getAndIncrement();
            Fault fault = nth < faults.size() ? faults.get(nth) : null;
            try {
                if (fault != null && fault.after < 0) {
                    fault.then.play(call);
                    return;
                }
                Thread.sleep(waitMillis);
                if (!call.streamed()) {
                    FakeProvider.says(List.of(text())).play(call);
                    return;
                }
                call.begin();
                stream(call, fault);
            } finally {
                over.countDown();
            }
        }

        private void stream(Call call, Fault fault) throws Exception {
            int at = call.prefill().length();
            int n = 0;
            for (String token : text().substring(at).split("(?<= )")) {
                if (fault != null && n == fault.after) {
                    fault.then.play(call);
                    return;
                }
                call.tokens(List.of(token));
                n++;
                at += token.length();
                // what an earlier call has said comes at once
                if (at > said) {
                    said = at;
                    Thread.sleep(gapMillis);
                }
            }
            call.close("stop");
        }

        /** It is done: the provider forgets it. */
        @Override
        public void close() {
            open.remove(id);
        }
    }

    /**
     * An answer of so many tokens.
     *
     * @param waitMillis before the first one
     * @param gapMillis after each one
     * @param faults of the first call, the second ...; those after the last are answered
     */
    Order place(int tokens, long waitMillis, long gapMillis, Fault... faults) {
        Order order = new Order(tokens, waitMillis, gapMillis, List.of(faults));
        open.put(order.id, order);
        return order;
    }

    @Override
    public void play(Call call) throws Exception {
        String asked = "";
        for (var message : call.body().path("messages")) {
            if (message.path("role").asText().equals("user")) {
                var content = message.path("content");
                asked = content.isTextual() ? content.asText() : content.path(0).path("text").asText();
            }
        }
        Order order = open.get(asked.substring(Math.min(asked.length(), PROMPT.length())));
        if (order == null) {
            throw new IOException("asked for '" + asked + "', which nobody waits for any more");
        }
        order.play(call);
    }
}
