package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.support.TestGateway;
import java.util.Set;
import org.apache.camel.Exchange;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.spi.OptimisticLockingAggregationRepository.OptimisticLockingException;
import org.apache.camel.support.DefaultExchange;
import org.junit.jupiter.api.Test;
import org.redisson.Redisson;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

class WaitingInRedisTest {

    private final DefaultCamelContext context = new DefaultCamelContext();

    private WaitingInRedis repository(RedissonClient client) throws Exception {
        WaitingInRedis waiting = new WaitingInRedis();
        // that it is there: what is asked of it goes to the client below
        waiting.setRedis(TestGateway.shared().bean(Redis.class));
        waiting.setRedisson(client);
        waiting.setMapName("test:waiting");
        waiting.start();
        return waiting;
    }

    private RedissonClient client() throws Exception {
        Config config = new Config();
        config.useSingleServer().setAddress("redis://127.0.0.1:" + TestGateway.shared().redisPort()).setConnectionMinimumIdleSize(1).setConnectionPoolSize(2);
        return Redisson.create(config);
    }

    private Exchange exchange(String body) {
        Exchange exchange = new DefaultExchange(context);
        exchange.getIn().setBody(body);
        return exchange;
    }

    @Test
    void whatWaitsIsFoundAndTakenByOne() throws Exception {
        RedissonClient client = client();
        try {
            WaitingInRedis waiting = repository(client);
            Exchange exchange = exchange("paid");
            waiting.add(context, "a", exchange);
            assertEquals(Set.of("a"), waiting.getKeys());
            assertEquals("paid", waiting.get(context, "a").getIn().getBody());
            waiting.remove(context, "a", exchange);
            assertThrows(OptimisticLockingException.class, () -> waiting.remove(context, "a", exchange), "another instance was faster");
            assertEquals(Set.of(exchange.getExchangeId()), waiting.scan(context));
            assertEquals("paid", waiting.recover(context, exchange.getExchangeId()).getIn().getBody());
            waiting.confirm(context, exchange.getExchangeId());
            assertEquals(Set.of(), waiting.scan(context));
        } finally {
            client.shutdown();
        }
    }

    @Test
    void whereRedisIsAwayNothingIsFoundAndNothingFailsButWhatIsAdded() throws Exception {
        RedissonClient client = client();
        WaitingInRedis waiting = repository(client);
        client.shutdown();
        assertEquals(Set.of(), waiting.getKeys());
        assertEquals(Set.of(), waiting.scan(context));
        assertNull(waiting.get(context, "a"));
        assertNull(waiting.recover(context, "a"));
        assertThrows(OptimisticLockingException.class, () -> waiting.remove(context, "a", exchange("paid")));
        assertThrows(RuntimeException.class, () -> waiting.add(context, "a", exchange("paid")));
    }
}
