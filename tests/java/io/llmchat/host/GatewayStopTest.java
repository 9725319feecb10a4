package io.llmchat.host;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.TestGateway;
import io.vertx.core.Vertx;
import io.vertx.core.impl.VertxInternal;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import org.redisson.api.RedissonClient;

class GatewayStopTest {

    @Test
    void theEventLoopsEndLastAndDoEnd() throws Exception {
        List<Boolean> redisHadEnded = new CopyOnWriteArrayList<>();
        VertxInternal vertx;
        try (TestGateway gateway = TestGateway.with()) {
            vertx = (VertxInternal) gateway.bean(Vertx.class);
            RedissonClient redis = gateway.bean(RedissonClient.class);
            vertx.addCloseHook(done -> {
                redisHadEnded.add(redis.isShuttingDown());
                done.complete();
            });
        }
        assertEquals(List.of(true), redisHadEnded);
        assertTrue(vertx.nettyEventLoopGroup().isShutdown());
    }
}
