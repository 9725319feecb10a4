package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.Redis;
import io.llmchat.support.OwnStores;
import io.llmchat.support.TestGateway;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Limits in a Redis that stands still for a while. */
class RedisLimitsTest {

    private static final List<Limit> MONEY = List.of(new Limit(Limit.Scope.CALLER, "m", Limit.Kind.BUDGET_PER_MONTH, 1_000, Limit.UTC_MONTH, 0));

    @TempDir
    Path data;

    @Test
    void whatIsGivenBackWhileRedisStandsStillComesBackOnceAtMost() throws Exception {
        OwnStores stores = new OwnStores(data);
        try (TestGateway gateway = TestGateway.alone(data)) {
            RedisLimits limits = new RedisLimits(gateway.bean(Redis.class));
            List<Limit> limit = List.of(new Limit(Limit.Scope.CALLER, "c", Limit.Kind.REQUESTS, 1_000, 3_600_000, 0));
            long ends = limits.take(limit, new Need(100, 0, 0), 0, 0).join().resets()[0];
            limits.settle(limit, new long[] {ends}, new long[] {0}, 0).get();
            stores.pauseRedis();
            var settled = limits.settle(limit, new long[] {ends}, new long[] {-10}, 0);
            try {
                TestGateway.until("it is given up", settled::isDone);
            } finally {
                stores.resumeRedis();
            }
            TestGateway.until("Redis is back", () -> gateway.bean(Redis.class).available());
            long used = limits.take(limit, Need.REQUEST, 0, 0).join().used()[0];
            assertTrue(used == 91 || used == 101, "once, or not at all: " + used);
        } finally {
            stores.stop();
        }
    }

    @Test
    void whatRedisTakesWhenNobodyWaitsForItAnyMoreComesBack() throws Exception {
        OwnStores stores = new OwnStores(data);
        try (TestGateway gateway = TestGateway.alone(data)) {
            RedisLimits limits = new RedisLimits(gateway.bean(Redis.class));
            assertEquals(1, limits.take(MONEY, new Need(0, 0, 1), 0, 0).join().used()[0]);
            stores.pauseRedis();
            try {
                assertThrows(CompletionException.class, () -> limits.take(MONEY, new Need(0, 0, 500), 0, 0).join());
                // longer than its client waits for an answer
                Thread.sleep(1_500);
            } finally {
                stores.resumeRedis();
            }
            TestGateway.until("Redis is back", () -> gateway.bean(Redis.class).available());
            TestGateway.until("it has come back", () -> limits.take(MONEY, Need.NOTHING, 0, 0).join().used()[0] == 1);
        } finally {
            stores.stop();
        }
    }

    @Test
    void whatWasUsedBeyondTheEstimateIsCountedHereWhereRedisCannotBeTold() throws Exception {
        OwnStores stores = new OwnStores(data);
        try (TestGateway gateway = TestGateway.alone(data)) {
            Limiter limiter = new Limiter(gateway.bean(Redis.class), new SimpleMeterRegistry(), 1);
            Decision taken = limiter.take(MONEY, new Need(0, 0, 1)).join();
            assertFalse(taken.local());
            stores.pauseRedis();
            try {
                limiter.settle(taken, List.of(), limit -> new Need(0, 0, 900));
                TestGateway.until("it is counted here", () -> {
                    Decision next = limiter.take(MONEY, Need.NOTHING).join();
                    return next.local() && next.used()[0] == 900;
                });
            } finally {
                stores.resumeRedis();
            }
        } finally {
            stores.stop();
        }
    }
}
