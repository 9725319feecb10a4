package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.store.Redis;
import io.llmchat.support.OwnStores;
import io.llmchat.support.TestGateway;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Limits in a Redis that stands still for a while. */
class RedisLimitsTest {

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
}
