package io.llmchat.soak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** What the soak takes for growth, and what for noise. */
class TrendTest {

    private static final List<Double> AT = IntStream.range(0, 45).mapToObj(i -> i * 20.0).toList();

    private final Random random = new Random(7);

    private static Trend of(IntToDoubleFunction value) {
        return Trend.of(AT, IntStream.range(0, AT.size()).mapToObj(value::applyAsDouble).toList());
    }

    @Test
    void theLineGoesFromWhereItBeganToWhereItEnded() {
        Trend trend = of(i -> 100 + i);
        assertEquals(100, trend.from(), 1e-9);
        assertEquals(144, trend.to(), 1e-9);
        assertEquals(0, trend.error(), 1e-9);
    }

    @Test
    void aSlowLeakUnderMoreNoiseThanItAddsIsGrowth() {
        assertTrue(of(i -> 100 + 0.2 * i + 3 * random.nextGaussian()).grew(3));
    }

    @Test
    void noiseAloneIsNoneHoweverLargeItIs() {
        for (int run = 0; run < 50; run++) {
            assertFalse(of(i -> 100 + 10 * random.nextGaussian()).grew(10));
        }
    }

    @Test
    void whatGoesUpAndDownIsNone() {
        assertFalse(of(i -> i % 3).grew(1));
    }

    @Test
    void whatIsWithinTheToleranceIsNoneThoughItBeCertain() {
        assertFalse(of(i -> 100 + 0.05 * i).grew(3));
        assertTrue(of(i -> 100 + 0.05 * i).grew(2));
    }

    @Test
    void twoValuesAreNoLine() {
        assertThrows(IllegalArgumentException.class, () -> Trend.of(List.of(1.0, 2.0), List.of(1.0, 2.0)));
    }
}
