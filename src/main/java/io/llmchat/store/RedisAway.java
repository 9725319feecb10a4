package io.llmchat.store;

/** Redis does not answer: whoever asked goes on without it. */
public final class RedisAway extends RuntimeException {

    public RedisAway(String why) {
        super(why, null, false, false);
    }
}
