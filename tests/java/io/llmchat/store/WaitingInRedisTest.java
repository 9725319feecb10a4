package io.llmchat.store;

import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.support.LogLines;
import io.llmchat.support.TestGateway;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.processor.aggregate.UseLatestAggregationStrategy;
import org.apache.camel.spi.OptimisticLockingAggregationRepository.OptimisticLockingException;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.UnitOfWorkHelper;
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
        try (LogLines log = LogLines.text()) {
            WaitingInRedis waiting = repository(client);
            Exchange exchange = exchange("paid");
            waiting.add(context, "a", exchange);
            assertEquals(Set.of("a"), waiting.getKeys());
            assertEquals("paid", waiting.get(context, "a").getIn().getBody());
            waiting.remove(context, "a", exchange);
            assertThrows(OptimisticLockingException.class, () -> waiting.remove(context, "a", exchange), "another instance was faster");
            assertEquals(List.of(), log.with("rolled back"), "as it should be");
            assertEquals(Set.of(exchange.getExchangeId()), waiting.scan(context));
            Exchange recovered = waiting.recover(context, exchange.getExchangeId());
            assertEquals("paid", recovered.getIn().getBody());
            assertEquals("interval", recovered.getProperty(Exchange.AGGREGATED_COMPLETED_BY), "Camel complains of what it does not know");
            waiting.confirm(context, exchange.getExchangeId());
            assertEquals(Set.of(), waiting.scan(context));
        } finally {
            client.shutdown();
        }
    }

    @Test
    void noMoreAreTakenThanMayBeInMemory() throws Exception {
        RedissonClient client = client();
        try {
            WaitingInRedis waiting = repository(client);
            waiting.setAtOnce(2);
            for (String key : List.of("a", "b", "c")) {
                waiting.add(context, key, exchange("paid"));
            }
            List<Exchange> taken = new ArrayList<>();
            for (String key : waiting.getKeys()) {
                taken.add(waiting.get(context, key));
                waiting.remove(context, key, taken.get(taken.size() - 1));
            }
            assertEquals(2, taken.size());
            assertEquals(Set.of(), waiting.getKeys());
            assertEquals(Set.of(), waiting.scan(context));
            tried(taken.get(0));
            assertEquals(1, waiting.getKeys().size());
            Exchange again = waiting.recover(context, waiting.scan(context).iterator().next());
            assertEquals(Set.of(), waiting.getKeys());
            tried(again);
            assertEquals(1, waiting.getKeys().size());
        } finally {
            client.getKeys().delete("test:waiting", "test:waiting-completed");
            client.shutdown();
        }
    }

    private static void tried(Exchange exchange) {
        UnitOfWorkHelper.doneSynchronizations(exchange, exchange.getExchangeExtension().handoverCompletions());
    }

    @Test
    void thoseThatFailAreInNobodysWay() throws Exception {
        RedissonClient client = client();
        Set<String> written = ConcurrentHashMap.newKeySet();
        try {
            WaitingInRedis waiting = repository(client);
            waiting.setAtOnce(2);
            waiting.setRecoveryInterval(20);
            context.addRoutes(new RouteBuilder() {
                @Override
                public void configure() {
                    from("direct:later").aggregate(simple("${body}"), new UseLatestAggregationStrategy()).aggregationRepository(waiting)
                            .completionInterval(20).process(tried -> {
                                String body = tried.getIn().getBody(String.class);
                                if (body.startsWith("refused")) {
                                    throw new IllegalStateException(body);
                                }
                                written.add(body);
                            });
                }
            });
            context.start();
            for (String body : List.of("refused 1", "refused 2", "refused 3", "a", "b", "c", "d", "e")) {
                context.createProducerTemplate().sendBody("direct:later", body);
            }
            until("all others are written", () -> client.getMap("test:waiting").isEmpty() && client.getMap("test:waiting-completed").size() == 3);
            assertEquals(Set.of("a", "b", "c", "d", "e"), written);
        } finally {
            context.stop();
            client.getKeys().delete("test:waiting", "test:waiting-completed");
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
        assertThrows(StoreUnavailable.class, () -> waiting.add(context, "a", exchange("paid")));
    }
}
