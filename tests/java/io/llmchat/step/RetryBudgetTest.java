package io.llmchat.step;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** How many retries a provider has: as many as said, and one more for each second that has passed. */
class RetryBudgetTest {

    private final long begun = System.nanoTime();
    private final RetryBudget budget = new RetryBudget(0.5, 4);

    private void has(int retries, String provider) {
        int taken = 0;
        while (budget.take(provider)) {
            taken++;
        }
        double most = retries + (System.nanoTime() - begun) / 1e9;
        assertTrue(taken >= retries && taken <= most, taken + " of " + retries + " to " + most);
    }

    private void asked(int times) {
        for (int i = 0; i < times; i++) {
            budget.asked("a");
        }
    }

    @Test
    void aProviderHasAShareOfItsFirstCallsAndNoMoreIsSavedUpThanSaid() {
        has(4, "a");
        asked(6);
        has(3, "a");
        asked(1_000);
        has(4, "a");
        has(4, "b");
    }
}
