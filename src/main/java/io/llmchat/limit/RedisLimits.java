package io.llmchat.limit;

import io.llmchat.store.Redis;
import io.llmchat.store.RedisWatch;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.LongStream;
import org.redisson.api.RFuture;
import org.redisson.api.RScript;
import org.redisson.client.codec.StringCodec;

/** The limits that all instances share, by the scripts in {@code redis/}. Safe for all threads. */
final class RedisLimits {

    private static final String TAKE = script("limit");
    private static final String SETTLE = script("limit-settle");

    /** So many requests are asked for in one call, which keeps Redis from others for a millisecond at most. */
    private static final int MAX_TOGETHER = 100;

    /** One request that asks. */
    private static final class Asking {
        private final List<Limit> limits;
        private final long ahead;
        private final long[] taken;
        private final CompletableFuture<Decision> answer = new CompletableFuture<>();

        Asking(List<Limit> limits, Need need, long ahead) {
            this.limits = limits;
            this.ahead = ahead;
            this.taken = limits.stream().mapToLong(l -> l.taken(need)).toArray();
        }
    }

    private final Queue<Asking> waiting = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean asking = new AtomicBoolean();
    private final RedisWatch watch;
    private final RScript scripts;
    private final RScript takes;

    RedisLimits(Redis redis) {
        this.watch = redis.watch();
        this.scripts = redis.client().getScript(Redis.once(StringCodec.INSTANCE));
        // what is taken when nobody waits any more is given back as long as the connection holds
        this.takes = redis.client().getScript(Redis.once(StringCodec.INSTANCE).timeout(Duration.ofSeconds(30)));
    }

    private static String script(String name) {
        try (InputStream in = RedisLimits.class.getResourceAsStream("/redis/" + name + ".lua")) {
            // comments are for people
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).replaceAll("(?m)^\\s*--.*\\R", "");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * Takes what is needed from all limits, or from none, in one round trip. Requests that ask while Redis is answering
     * others are asked for together in the next one: a client's call costs more than the script does.
     *
     * @param ahead how much more is taken of each limit, for later requests, if that leaves each a quarter
     * @param now milliseconds; 0: by Redis's clock
     * @return ends with {@link io.llmchat.store.RedisAway} if there is no answer; what depends on it must not wait
     */
    CompletableFuture<Decision> take(List<Limit> limits, Need need, long ahead, long now) {
        Asking one = new Asking(limits, need, ahead);
        if (now != 0) {
            send(List.of(one), now);
        } else {
            waiting.add(one);
            sendWaiting();
        }
        return one.answer;
    }

    private void sendWaiting() {
        while (!waiting.isEmpty() && asking.compareAndSet(false, true)) {
            List<Asking> together = new ArrayList<>();
            for (Asking next; together.size() < MAX_TOGETHER && (next = waiting.poll()) != null;) {
                together.add(next);
            }
            if (together.isEmpty()) {
                asking.set(false);
            } else {
                send(together, 0);
            }
        }
    }

    private void send(List<Asking> together, long now) {
        long ours = now == 0 ? System.currentTimeMillis() : now;
        boolean months = together.stream().anyMatch(a -> a.limits.stream().anyMatch(l -> l.window() == Limit.UTC_MONTH));
        List<Object> keys = new ArrayList<>();
        List<Object> args = new ArrayList<>();
        args.add(Long.toString(now));
        for (int i = -1; i <= 1; i++) {
            args.add(months ? Long.toString(LocalLimits.endOfMonth(ours, i)) : "0");
        }
        for (Asking one : together) {
            args.add(Integer.toString(one.limits.size()));
            args.add(Long.toString(one.ahead));
            for (int i = 0; i < one.taken.length; i++) {
                Limit limit = one.limits.get(i);
                keys.add(limit.key());
                args.add(Long.toString(limit.max()));
                args.add(Long.toString(limit.window()));
                args.add(Long.toString(limit.block()));
                args.add(Long.toString(one.taken[i]));
            }
        }
        watch.<List<List<Long>>>begin(() -> takes.evalAsync(RScript.Mode.READ_WRITE, TAKE, RScript.ReturnType.MULTI, keys, args.toArray()),
                replies -> giveBack(together, replies, now))
                .whenComplete((replies, failure) -> {
                    if (now == 0) {
                        asking.set(false);
                        sendWaiting();
                    }
                    for (int i = 0; i < together.size(); i++) {
                        if (failure != null) {
                            together.get(i).answer.completeExceptionally(failure);
                        } else {
                            together.get(i).answer.complete(decision(together.get(i), replies.get(i)));
                        }
                    }
                });
    }

    /** Others have decided meanwhile: what Redis took when it came to it is nobody's. */
    private void giveBack(List<Asking> together, List<List<Long>> replies, long now) {
        for (int i = 0; i < together.size(); i++) {
            Decision late = decision(together.get(i), replies.get(i));
            if (late.allowed() && !late.limits().isEmpty()) {
                settle(late.limits(), late.resets(), LongStream.of(late.taken()).map(taken -> -taken - late.ahead()).toArray(), now);
            }
        }
    }

    private static Decision decision(Asking asking, List<Long> reply) {
        long[] used = new long[asking.taken.length];
        long[] resets = new long[asking.taken.length];
        for (int i = 0; i < used.length; i++) {
            used[i] = reply.get(3 + 2 * i);
            resets[i] = reply.get(4 + 2 * i);
        }
        return new Decision(asking.limits, asking.taken, used, resets, reply.get(0), reply.get(1).intValue() - 1, reply.get(2), false);
    }

    /**
     * Adds to what was taken, or, what is less than 0, gives back, where the window is still the same; does not wait.
     *
     * @param ends of the windows from which was taken; 0: nothing was
     * @param now milliseconds; 0: by Redis's clock
     */
    RFuture<Object> settle(List<Limit> limits, long[] ends, long[] more, long now) {
        List<Object> keys = new ArrayList<>(limits.size());
        Object[] args = new Object[2 + 3 * more.length];
        args[0] = Long.toString(now);
        args[1] = limits.stream().anyMatch(l -> l.window() == Limit.UTC_MONTH)
                ? Long.toString(LocalLimits.endOfMonth(now == 0 ? System.currentTimeMillis() : now, 0)) : "0";
        for (int i = 0; i < more.length; i++) {
            keys.add(limits.get(i).key());
            args[3 * i + 2] = Long.toString(ends[i]);
            args[3 * i + 3] = Long.toString(more[i]);
            args[3 * i + 4] = Long.toString(limits.get(i).window());
        }
        return scripts.evalAsync(RScript.Mode.READ_WRITE, SETTLE, RScript.ReturnType.VALUE, keys, args);
    }
}
