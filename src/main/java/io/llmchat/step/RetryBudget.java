package io.llmchat.step;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * How many of a provider's calls may be retries: a share of its first calls, so that a provider in trouble does not get
 * several times its usual load, and a floor, so that a few requests can still be made good. Safe for all threads.
 */
final class RetryBudget {

    private static final class Account {
        private double balance;
        private long since = System.nanoTime();

        private Account(double floor) {
            balance = floor;
        }
    }

    private final Map<String, Account> accounts = new ConcurrentHashMap<>();
    private final double share;
    private final int floor;

    /**
     * @param share retries for each first call: 0.2 is one in five
     * @param floor how many may be saved up; one more comes each second
     */
    RetryBudget(double share, int floor) {
        this.share = share;
        this.floor = floor;
    }

    /** A provider is asked for the first time by a request. */
    void asked(String provider) {
        Account account = account(provider);
        synchronized (account) {
            account.balance = Math.min(floor, account.balance + share);
        }
    }

    /** Takes one retry of a provider; false if it has none left. */
    boolean take(String provider) {
        Account account = account(provider);
        synchronized (account) {
            long now = System.nanoTime();
            account.balance = Math.min(floor, account.balance + (now - account.since) / 1e9);
            account.since = now;
            if (account.balance < 1) {
                return false;
            }
            account.balance--;
            return true;
        }
    }

    private Account account(String provider) {
        return accounts.computeIfAbsent(provider, p -> new Account(floor));
    }
}
