package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Ids;
import io.llmchat.limit.Limit.Kind;
import io.llmchat.limit.Limit.Scope;
import io.llmchat.store.Redis;
import io.llmchat.support.TestGateway;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What an instance remembers of refusals, so that they need not be asked for again. */
class LimiterTest {

    private final String name = Ids.next();
    private Limiter limiter;

    @BeforeEach
    void start() throws Exception {
        limiter = new Limiter(TestGateway.shared().bean(Redis.class), new SimpleMeterRegistry(), 1);
    }

    private Limit requests(Scope scope, long max, long window, long block) {
        return new Limit(scope, name, Kind.REQUESTS, max, window, block);
    }

    private Decision take(Limit... limits) {
        return limiter.take(List.of(limits), Need.REQUEST).join();
    }

    private Decision refusal(Limit limit) {
        return limiter.refusal(List.of(limit));
    }

    @Test
    void aRefusalHoldsUntilItsLimitIsAsNew() throws Exception {
        Limit one = requests(Scope.CALLER, 1, 1_000, 1_500);
        take(one);
        assertFalse(limiter.refuses());
        Decision first = take(one);
        Decision again = refusal(one);
        assertTrue(limiter.refuses());
        assertEquals(first.describe(), again.describe());
        assertEquals(first.resets()[0], again.resets()[0]);
        assertTrue(again.now() >= first.now());
        TestGateway.until("the block is over", () -> refusal(one) == null);
        TestGateway.until("nothing is remembered", () -> !limiter.refuses());
        assertTrue(take(one).allowed());
    }

    @Test
    void whoseLimitWasRaisedIsAskedForAgain() {
        Limit one = requests(Scope.USER, 1, 60_000, 0);
        take(one);
        take(one);
        assertNotNull(refusal(one));
        assertNull(refusal(requests(Scope.USER, 2, 60_000, 0)));
    }

    @Test
    void ofSeveralLimitsOnlyTheOnesThatAreUsedUpAreRemembered() {
        Limit caller = requests(Scope.CALLER, 9, 60_000, 0);
        Limit user = requests(Scope.USER, 1, 60_000, 0);
        take(caller, user);
        assertFalse(take(caller, user).allowed());
        assertNull(refusal(caller));
        assertNotNull(refusal(user));
    }

    @Test
    void whatAnAgentHasNoMoreOfIsNoReasonToRefuseItsCaller() {
        Limit agent = requests(Scope.AGENT, 1, 60_000, 0);
        Limit caller = requests(Scope.CALLER, 9, 60_000, 0);
        take(caller, agent);
        assertFalse(take(caller, agent).allowed());
        assertFalse(limiter.refuses());
    }
}
