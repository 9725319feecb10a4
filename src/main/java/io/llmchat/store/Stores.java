package io.llmchat.store;

/** Both stores, started: to make it is to wait for them. */
public final class Stores {

    /** @throws java.util.concurrent.CompletionException why one of them does not start */
    public Stores(Postgres postgres, Redis redis) {
        postgres.dataSource();
        redis.client();
    }
}
