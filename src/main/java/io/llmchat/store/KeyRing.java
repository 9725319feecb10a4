package io.llmchat.store;

import io.llmchat.chat.ApiKey;
import io.llmchat.chat.ChatException;
import io.micrometer.core.instrument.MeterRegistry;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * All keys there are: those of the file, and those of the database, kept for a while once they were shown. A change is
 * known to every instance within a second. Safe for all threads.
 */
public final class KeyRing {

    /** Reads what the database has of a key. */
    public interface Reader {
        /** @return the document, or null if there is no such key, or none any more */
        String read(String hash) throws Exception;
    }

    /** How many keys that are not kept are looked up at once: whoever makes them up must not have all connections of the pool. */
    private static final int MAX_LOOKUPS = 16;
    private static final long PATIENCE_SECONDS = 3;

    private final KeyHash hash;
    private final KeyFile file;
    private final NearCache<ApiKey> cache;
    private final Semaphore lookups = new Semaphore(MAX_LOOKUPS, true);

    /** @param ttlSeconds how long a key of the database is kept */
    public KeyRing(KeyHash hash, KeyFile file, Redis redis, MeterRegistry meters, long ttlSeconds) {
        this.hash = hash;
        this.file = file;
        this.cache = new NearCache<>("keys", redis, meters, ttlSeconds, ApiKey::read);
    }

    /**
     * The key, or null if nobody has it: it was never made, was revoked, or its time is over.
     *
     * @param reader asked for a key that is not kept; what it throws passes
     */
    public ApiKey find(String key, Reader reader) throws Exception {
        ApiKey found = file.find(key);
        if (found == null && KeyHash.isOurs(key)) {
            byte[] wanted = hash.of(key);
            String id = HexFormat.of().formatHex(wanted);
            found = cache.get(id, () -> lookUp(reader, id));
            if (found != null && !MessageDigest.isEqual(found.hash(), wanted)) {
                return null;
            }
        }
        return found == null || found.isExpired() ? null : found;
    }

    /** Whether somebody has the key, as far as is known here: nobody is asked. */
    public boolean isKnown(String key) {
        ApiKey found = file.find(key);
        if (found == null && KeyHash.isOurs(key)) {
            found = cache.kept(HexFormat.of().formatHex(hash.of(key)));
        }
        return found != null && !found.isExpired();
    }

    private String lookUp(Reader reader, String id) throws Exception {
        if (!lookups.tryAcquire(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
            throw ChatException.overloaded("Too many unknown keys are being looked up.");
        }
        try {
            return reader.read(id);
        } finally {
            lookups.release();
        }
    }

    /** The key with this hash, in hex, was changed. */
    public void changed(String id) {
        cache.changed(id);
    }

    /** Any of the keys may have been changed. */
    public void allChanged() {
        cache.allChanged();
    }
}
