package io.llmchat.limit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.http.Ids;
import io.llmchat.limit.Limit.Kind;
import io.llmchat.limit.Limit.Scope;
import io.llmchat.store.Redis;
import io.llmchat.support.TestGateway;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The limits that Redis keeps and those that an instance keeps by itself decide the same. */
class LocalLimitsTest {

    private final String name = Ids.next();
    private final LocalLimits local = new LocalLimits();

    private Limit limit(Kind kind, long max, long window, long block) {
        return new Limit(Scope.CALLER, name, kind, max, window, block);
    }

    private Decision take(long now, Need need, Limit... limits) {
        return local.take(List.of(limits), need, now);
    }

    @Test
    void theScriptAndTheInstanceDecideTheSameOfTheSameRequests() throws Exception {
        RedisLimits redis = new RedisLimits(TestGateway.shared().bean(Redis.class));
        for (int seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            String who = name + seed;
            List<Limit> all = List.of(
                    new Limit(Scope.CALLER, who, Kind.REQUESTS, 5, 10_000, random.nextInt(3) * 8_000L),
                    new Limit(Scope.USER, who, Kind.TOKENS_PER_MINUTE, 1_000, 60_000, 0),
                    new Limit(Scope.MODEL, who, Kind.TOKENS_PER_DAY, 20_000, 86_400_000, 0),
                    new Limit(Scope.AGENT, who, Kind.BUDGET_PER_DAY, 3_000_000_000L, Limit.UTC_DAY, 0),
                    new Limit(Scope.GLOBAL, who, Kind.BUDGET_PER_MONTH, 9_000_000_000_000_000L, Limit.UTC_MONTH, 0));
            long now = Instant.parse("2027-01-31T23:50:00Z").toEpochMilli();
            List<Decision> unsettled = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                now += random.nextInt(10) == 0 ? random.nextInt(90_000) : random.nextInt(2_000);
                List<Limit> some = all.stream().filter(l -> random.nextInt(4) > 0).toList();
                Need need = new Need(random.nextInt(8) == 0 ? 0 : 1, random.nextInt(600), random.nextLong(400_000_000));
                Decision shared = redis.take(some, need, 0, now).join();
                Decision own = local.take(some, need, now);
                String at = "seed " + seed + ", request " + i;
                assertEquals(shared.refused(), own.refused(), at);
                assertArrayEquals(shared.used(), own.used(), at);
                assertArrayEquals(shared.resets(), own.resets(), at);
                assertEquals(shared.now(), own.now(), at);
                if (own.allowed()) {
                    unsettled.add(own);
                }
                // some at once, some when their windows are over
                while (!unsettled.isEmpty() && random.nextBoolean()) {
                    Decision taken = unsettled.remove(random.nextInt(unsettled.size()));
                    long[] more = random.longs(taken.limits().size(), -500, 500).toArray();
                    redis.settle(taken.limits(), taken.resets(), more, now).get(10, TimeUnit.SECONDS);
                    local.settle(taken.limits(), taken.resets(), more, now);
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"2027-01-31T23:50:00Z, 2027-02-01T00:00:00Z, 2027-02-01T00:00:00Z", "2028-02-28T00:00:00Z, 2028-02-29T00:00:00Z, 2028-03-01T00:00:00Z",
        "2028-02-29T12:00:00Z, 2028-03-01T00:00:00Z, 2028-03-01T00:00:00Z", "2027-12-31T23:59:59.999Z, 2028-01-01T00:00:00Z, 2028-01-01T00:00:00Z",
        "2027-12-01T00:00:00Z, 2027-12-02T00:00:00Z, 2028-01-01T00:00:00Z"})
    void daysAndMonthsEndByTheCalendar(Instant now, Instant day, Instant month) {
        Decision taken = take(now.toEpochMilli(), Need.REQUEST, limit(Kind.BUDGET_PER_DAY, 1, Limit.UTC_DAY, 0),
                limit(Kind.BUDGET_PER_MONTH, 1, Limit.UTC_MONTH, 0));
        assertArrayEquals(new long[] {day.toEpochMilli(), month.toEpochMilli()}, taken.resets());
    }

    @Test
    void whatOneLimitRefusesTakesNothingFromTheOthers() {
        Limit requests = limit(Kind.REQUESTS, 10, 60_000, 0);
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 100, 60_000, 0);
        assertTrue(take(1, new Need(1, 80, 0), requests, tokens).allowed());
        assertFalse(take(2, new Need(1, 30, 0), requests, tokens).allowed());
        Decision third = take(3, new Need(1, 20, 0), requests, tokens);
        assertTrue(third.allowed());
        assertArrayEquals(new long[] {2, 100}, third.used());
    }

    @Test
    void aBlockIsNotShorterThanTheWindowAndDoesNotGrowByAsking() {
        Limit one = limit(Kind.REQUESTS, 1, 10_000, 3_000);
        take(1, Need.REQUEST, one);
        assertEquals(10_001, take(2, Need.REQUEST, one).resets()[0]);
        assertEquals(10_001, take(8_999, Need.REQUEST, one).resets()[0]);
        assertTrue(take(10_001, Need.REQUEST, one).allowed());
    }

    /** Tries it in Redis and here: both count alike. */
    private void byBoth(Consumer<BiFunction<Limit, Long, Decision>> test) throws Exception {
        RedisLimits redis = new RedisLimits(TestGateway.shared().bean(Redis.class));
        test.accept((limit, now) -> redis.take(List.of(limit), Need.REQUEST, 0, now).join());
        test.accept((limit, now) -> take(now, Need.REQUEST, limit));
    }

    @Test
    void aBlockGoesBeyondTheWindowAndSaysUntilItsEndWhenItEnds() throws Exception {
        byBoth(this::aBlockGoesBeyondTheWindow);
    }

    private void aBlockGoesBeyondTheWindow(BiFunction<Limit, Long, Decision> take) {
        // beginning in the future, so that Redis keeps it
        long now = System.currentTimeMillis() + 1_000_000;
        Limit one = limit(Kind.REQUESTS, 1, 1_000, 5_000);
        assertTrue(take.apply(one, now).allowed());
        assertEquals(now + 5_900, take.apply(one, now + 900).resets()[0]);
        Decision last = take.apply(one, now + 5_899);
        assertFalse(last.allowed());
        assertEquals(now + 5_900, last.resets()[0], "and not a window later");
        assertTrue(take.apply(one, now + 5_900).allowed());
    }

    @Test
    void aLimitThatIsChangedHoldsAsItIsNow() throws Exception {
        byBoth(this::changedLimitsHoldAsTheyAre);
    }

    private void changedLimitsHoldAsTheyAre(BiFunction<Limit, Long, Decision> take) {
        // beginning in the future, so that Redis keeps it
        long now = System.currentTimeMillis() + 1_000_000;
        Limit days = limit(Kind.REQUESTS, 1, 1_000, 86_400_000);
        assertTrue(take.apply(days, now).allowed());
        assertFalse(take.apply(days, now).allowed());
        assertTrue(take.apply(limit(Kind.REQUESTS, 2, 1_000, 86_400_000), now).allowed(), "there is more than before");
        assertFalse(take.apply(limit(Kind.REQUESTS, 2, 1_000, 86_400_000), now).allowed());
        assertFalse(take.apply(days, now + 1_000).allowed(), "less than before lets nobody in");
        assertTrue(take.apply(limit(Kind.REQUESTS, 2, 1_000, 500), now + 1_001).allowed(), "the block is shorter than before");

        Limit year = limit(Kind.REQUESTS, 2, 31_536_000_000L, 0);
        now += 10_000;
        assertTrue(take.apply(year, now).allowed());
        assertTrue(take.apply(year, now).allowed());
        assertFalse(take.apply(year, now).allowed());
        Limit minute = limit(Kind.REQUESTS, 2, 60_000, 0);
        assertEquals(now + 60_001, take.apply(minute, now + 1).resets()[0], "the window is shorter than before");
        assertEquals(now + 60_001, take.apply(minute, now + 60_000).resets()[0], "and ends, though it is asked for meanwhile");
        assertTrue(take.apply(minute, now + 60_001).allowed());
    }

    @Test
    void whoNeedsMoreThanThereIsGetsAWholeWindow() {
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 100, 60_000, 0);
        assertTrue(take(0, new Need(1, 5_000, 0), tokens).allowed());
        assertFalse(take(1, new Need(1, 5_000, 0), tokens).allowed());
    }

    @Test
    void nothingIsGivenBackToALaterWindow() {
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 100, 60_000, 0);
        Decision first = take(0, new Need(1, 50, 0), tokens);
        take(60_000, new Need(1, 40, 0), tokens);
        local.settle(first.limits(), first.resets(), new long[] {-50}, 60_001);
        assertEquals(50, take(60_001, new Need(1, 10, 0), tokens).used()[0]);
    }

    @Test
    void whatWasUsedTooMuchIsTakenFromALaterWindow() {
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 1_000, 60_000, 0);
        Decision first = take(0, new Need(1, 50, 0), tokens);
        take(60_000, new Need(1, 40, 0), tokens);
        local.settle(first.limits(), first.resets(), new long[] {300}, 60_001);
        assertEquals(350, take(60_002, new Need(1, 10, 0), tokens).used()[0]);
        // and where none has begun since, one begins
        local.settle(first.limits(), first.resets(), new long[] {300}, 200_000);
        assertArrayEquals(new long[] {310, 260_000}, new long[] {take(200_001, new Need(1, 10, 0), tokens).used()[0],
            take(200_002, new Need(1, 0, 0), tokens).resets()[0]});
    }

    @Test
    void itGoesOnFromItsShareOfWhatRedisHasTold() {
        Limit requests = limit(Kind.REQUESTS, 10, 60_000, 60_000);
        Limit tokens = limit(Kind.TOKENS_PER_DAY, 900, 86_400_000, 0);
        long redisNow = 1_000_000;
        // a Redis whose clock is another one
        local.goOn(new Decision(List.of(requests, tokens), new long[] {1, 50}, new long[] {10, 600}, new long[] {redisNow + 5_000, redisNow + 9_000},
                redisNow, 0, 0, false), 3, 0);
        assertFalse(take(4_999, Need.REQUEST, requests.share(3)).allowed());
        assertTrue(take(5_000 + 60_000, Need.REQUEST, requests.share(3)).allowed());
        assertArrayEquals(new long[] {300}, take(1, new Need(1, 100, 0), tokens.share(3)).used());
        assertFalse(take(8_999, new Need(1, 1, 0), tokens.share(3)).allowed());
        assertTrue(take(9_000, new Need(1, 1, 0), tokens.share(3)).allowed());
    }

    @Test
    void aBlockThatRedisHasToldIsNotCutToTheWindow() {
        Limit requests = limit(Kind.REQUESTS, 10, 1_000, 60_000);
        local.goOn(new Decision(List.of(requests), new long[] {1}, new long[] {10}, new long[] {50_000}, 0, 0, 0, false), 1, 0);
        assertFalse(take(49_999, Need.REQUEST, requests).allowed());
    }

    @Test
    void aBlockFromBeforeIsOverWhenRedisHasToldOtherwise() {
        Limit requests = limit(Kind.REQUESTS, 1, 1_000, 60_000);
        take(0, Need.REQUEST, requests);
        assertFalse(take(1, Need.REQUEST, requests).allowed());
        local.goOn(new Decision(List.of(requests), new long[] {1}, new long[] {1}, new long[] {1_001_000}, 1_000_000, -1, 0, false), 1, 5_000);
        assertTrue(take(6_000, Need.REQUEST, requests).allowed());
    }

    @Test
    void ofMoreLimitsThanAreKeptThoseGoThatWereNotUsedForLongest() {
        Limit first = limit(Kind.REQUESTS, 1, 60_000, 0);
        Limit used = new Limit(Scope.USER, name, Kind.REQUESTS, 100_000, 60_000, 0);
        take(0, Need.REQUEST, first);
        for (int i = 1; i < 100_000; i++) {
            take(1, Need.REQUEST, used, new Limit(Scope.CALLER, name + i, Kind.REQUESTS, 1, 60_000, 0));
        }
        assertTrue(take(2, Need.REQUEST, first).allowed(), "it was forgotten");
        assertEquals(100_000, take(3, Need.REQUEST, used).used()[0]);
    }

    @Test
    void whatWasTakenByRedisComesBackToTheWindowThatRedisHasTold() {
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 1_000, 60_000, 0);
        long redisNow = 1_000_000;
        Decision taken = new Decision(List.of(tokens), new long[] {1_000}, new long[] {1_000}, new long[] {redisNow + 60_000}, redisNow, -1, 0, false);
        local.goOn(taken, 1, 0);
        local.settle(taken.limits(), taken.resets(), new long[] {-900}, 1);
        assertArrayEquals(new long[] {101}, take(2, new Need(1, 1, 0), tokens).used());
        // and not to one that has begun since, here or after it was over
        take(60_000, new Need(1, 500, 0), tokens);
        local.settle(taken.limits(), taken.resets(), new long[] {-900}, 60_001);
        assertArrayEquals(new long[] {501}, take(60_002, new Need(1, 1, 0), tokens).used());
        local.goOn(taken, 1, 120_000);
        local.settle(taken.limits(), new long[] {0}, new long[] {500}, 180_000);
        local.settle(taken.limits(), taken.resets(), new long[] {-900}, 180_001);
        assertArrayEquals(new long[] {501}, take(180_002, new Need(1, 1, 0), tokens).used());
    }

    @Test
    void aShareIsNeverNothing() {
        assertEquals(20, limit(Kind.REQUESTS, 60, 1, 0).share(3).max());
        assertEquals(1, limit(Kind.REQUESTS, 2, 1, 0).share(3).max());
    }

    @Test
    void aCallerTakesAFewHundredBytesOfRedisForAsLongAsItsWindow() throws Exception {
        Redis redis = TestGateway.shared().bean(Redis.class);
        Limit requests = limit(Kind.REQUESTS, 10, 5_000, 0);
        new RedisLimits(redis).take(List.of(requests), Need.REQUEST, 0, 0).join();
        var kept = redis.client().getBucket(requests.key());
        assertTrue(kept.sizeInMemory() < 300, kept.sizeInMemory() + " bytes");
        assertTrue(kept.remainTimeToLive() > 0 && kept.remainTimeToLive() <= 5_000);
    }

    @Test
    void whatIsUsedBeyondAWindowTakesRedisForAsLongAsItsOwn() throws Exception {
        Redis redis = TestGateway.shared().bean(Redis.class);
        Limit tokens = limit(Kind.TOKENS_PER_MINUTE, 1_000, 60_000, 0);
        new RedisLimits(redis).settle(List.of(tokens), new long[] {0}, new long[] {5}, 0).get();
        long left = redis.client().getBucket(tokens.key()).remainTimeToLive();
        assertTrue(left > 0 && left <= 60_000, left + " ms");
    }

    @Test
    void aBlockOutlivesAWindowThatIsShorterByNowAndNothingIsTakenAheadInIt() throws Exception {
        Redis redis = TestGateway.shared().bean(Redis.class);
        RedisLimits limits = new RedisLimits(redis);
        List<Limit> before = List.of(limit(Kind.REQUESTS, 100, 600_000, 600_000));
        assertTrue(limits.take(before, new Need(100, 0, 0), 0, 1_000_000).join().allowed());
        assertFalse(limits.take(before, Need.REQUEST, 0, 1_000_000).join().allowed());
        List<Limit> now = List.of(limit(Kind.REQUESTS, 100, 1_000, 600_000));
        assertFalse(limits.take(now, Need.REQUEST, 0, 1_000_001).join().allowed());
        assertTrue(redis.client().getBucket(now.get(0).key()).remainTimeToLive() > 60_000);
        assertEquals(0, limits.take(now, Need.NOTHING, 1, 1_300_000).join().ahead());
    }
}
