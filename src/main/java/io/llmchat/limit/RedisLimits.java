package io.llmchat.limit;

import io.llmchat.store.Redis;
import io.llmchat.store.RedisAway;
import io.llmchat.store.RedisWatch;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.redisson.api.RFuture;
import org.redisson.api.RScript;
import org.redisson.client.codec.StringCodec;

/** The limits that all instances share, by the scripts in {@code redis/}. Safe for all threads. */
final class RedisLimits {

    private static final String TAKE = script("limit");
    private static final String SETTLE = script("limit-settle");

    private final RedisWatch watch;
    private final RScript scripts;

    RedisLimits(Redis redis) {
        this.watch = redis.watch();
        this.scripts = redis.client().getScript(StringCodec.INSTANCE);
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
     * Takes what is needed from all limits, or from none, in one round trip.
     *
     * @param now milliseconds; 0: by Redis's clock
     * @throws RedisAway if there is no answer
     */
    Decision take(List<Limit> limits, Need need, long now) {
        long ours = now == 0 ? System.currentTimeMillis() : now;
        boolean months = limits.stream().anyMatch(l -> l.window() == Limit.UTC_MONTH);
        List<Object> keys = new ArrayList<>(limits.size());
        Object[] args = new Object[4 + 4 * limits.size()];
        args[0] = Long.toString(now);
        for (int i = 0; i < 3; i++) {
            args[1 + i] = months ? Long.toString(LocalLimits.endOfMonth(ours, i - 1)) : "0";
        }
        long[] taken = new long[limits.size()];
        for (int i = 0; i < taken.length; i++) {
            Limit limit = limits.get(i);
            keys.add(limit.key());
            taken[i] = limit.taken(need);
            args[4 + 4 * i] = Long.toString(limit.max());
            args[5 + 4 * i] = Long.toString(limit.window());
            args[6 + 4 * i] = Long.toString(limit.block());
            args[7 + 4 * i] = Long.toString(taken[i]);
        }
        return decision(limits, taken, watch.<List<Long>>ask(() -> scripts.evalAsync(RScript.Mode.READ_WRITE, TAKE, RScript.ReturnType.MULTI, keys, args)));
    }

    private static Decision decision(List<Limit> limits, long[] taken, List<Long> reply) {
        long[] used = new long[taken.length];
        long[] resets = new long[taken.length];
        for (int i = 0; i < taken.length; i++) {
            used[i] = reply.get(2 + 2 * i);
            resets[i] = reply.get(3 + 2 * i);
        }
        return new Decision(limits, taken, used, resets, reply.get(0), reply.get(1).intValue() - 1, false);
    }

    /** Adds to what was taken, or, what is less than 0, gives back, where the window is still the same; does not wait. */
    RFuture<Object> settle(List<Limit> limits, long[] ends, long[] more) {
        List<Object> keys = new ArrayList<>(limits.size());
        Object[] args = new Object[2 * more.length];
        for (int i = 0; i < more.length; i++) {
            keys.add(limits.get(i).key());
            args[2 * i] = Long.toString(ends[i]);
            args[2 * i + 1] = Long.toString(more[i]);
        }
        return scripts.evalAsync(RScript.Mode.READ_WRITE, SETTLE, RScript.ReturnType.VALUE, keys, args);
    }
}
