package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.Redis;
import io.llmchat.support.TestGateway;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.redisson.api.RScript;
import org.redisson.client.codec.StringCodec;

/** What is taken ahead is a way to ask less often: nobody gets more for it, or less. */
class AheadTest {

    private final List<Ahead> all = new ArrayList<>();
    private Redis redis;

    @BeforeEach
    void start() throws Exception {
        redis = TestGateway.shared().bean(Redis.class);
    }

    @AfterEach
    void stop() {
        all.forEach(Ahead::stop);
    }

    private Ahead instance() {
        Ahead ahead = new Ahead(new RedisLimits(redis));
        ahead.start();
        all.add(ahead);
        return ahead;
    }

    private static List<Limit> limit(long max) {
        return List.of(new Limit(Limit.Scope.CALLER, UUID.randomUUID().toString(), Limit.Kind.REQUESTS, max, 60_000, 0));
    }

    private long counted(Limit limit) {
        Object n = redis.client().getScript(StringCodec.INSTANCE).eval(RScript.Mode.READ_ONLY, "return redis.call('hget', KEYS[1], 'n')",
                RScript.ReturnType.VALUE, List.of(limit.key()));
        return Long.parseLong((String) n);
    }

    private long scriptsRun() {
        String stats = redis.client().getScript(StringCodec.INSTANCE).eval(RScript.Mode.READ_ONLY, "return redis.call('info', 'commandstats')",
                RScript.ReturnType.VALUE);
        return stats.lines().filter(l -> l.startsWith("cmdstat_evalsha:") || l.startsWith("cmdstat_eval:"))
                .mapToLong(l -> Long.parseLong(l.replaceAll(".*calls=(\\d+),.*", "$1"))).sum();
    }

    @Test
    void whoAsksOftenIsAnsweredWithFewCallsAndSeesHisRemainderFallByOne() throws Exception {
        Ahead ahead = instance();
        List<Limit> limits = limit(1_000_000);
        long before = scriptsRun();
        for (int i = 1; i <= 20_000; i++) {
            Decision decision = ahead.take(limits).join();
            assertTrue(decision.allowed());
            assertArrayEquals(new long[] {i}, decision.used());
        }
        long calls = scriptsRun() - before;
        assertTrue(calls < 10_000, "20000 requests took " + calls + " calls");
        // what nobody has used is given back
        long end = System.nanoTime() + 5_000_000_000L;
        while (counted(limits.get(0)) != 20_000 && System.nanoTime() < end) {
            Thread.onSpinWait();
        }
        assertEquals(20_000, counted(limits.get(0)));
    }

    @Test
    void whatIsHeldWhenOneOfSeveralWindowsEndsComesBackToTheOthers() throws Exception {
        Ahead ahead = instance();
        String who = UUID.randomUUID().toString();
        Limit key = new Limit(Limit.Scope.CALLER, who, Limit.Kind.REQUESTS, 10_000_000, 150, 0);
        Limit user = new Limit(Limit.Scope.USER, who, Limit.Kind.REQUESTS, 10_000_000, 600_000, 0);
        Set<Long> windows = new HashSet<>();
        long requests = 0;
        while (windows.size() < 10) {
            windows.add(ahead.take(List.of(key, user)).join().resets()[0]);
            requests++;
        }
        long end = System.nanoTime() + 5_000_000_000L;
        while (counted(user) != requests && System.nanoTime() < end) {
            Thread.onSpinWait();
        }
        assertEquals(requests, counted(user));
    }

    @Test
    void manyInstancesTogetherLetPassWhatTheLimitHasAndNoMore() throws Exception {
        List<Limit> limits = limit(6_400);
        AtomicLong passed = new AtomicLong();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Ahead ahead = instance();
            for (int j = 0; j < 4; j++) {
                threads.add(Thread.startVirtualThread(() -> {
                    // what another instance holds comes back for those who still ask
                    for (long refusedSince = 0; refusedSince == 0 || System.nanoTime() - refusedSince < 1_500_000_000L;) {
                        if (ahead.take(limits).join().allowed()) {
                            passed.incrementAndGet();
                            refusedSince = 0;
                        } else {
                            refusedSince = refusedSince == 0 ? System.nanoTime() : refusedSince;
                            LockSupport.parkNanos(5_000_000);
                        }
                    }
                }));
            }
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(6_400, passed.get());
        assertEquals(6_400, counted(limits.get(0)));
    }

    @Test
    void aSmallLimitIsNeverTakenAhead() {
        Ahead ahead = instance();
        List<Limit> limits = limit(63);
        for (int i = 1; i <= 63; i++) {
            assertTrue(ahead.take(limits).join().allowed());
            assertEquals(i, counted(limits.get(0)));
        }
        assertFalse(ahead.take(limits).join().allowed());
    }
}
