package io.llmchat.store;

import io.llmchat.http.AnswerLog;
import io.llmchat.http.ClientStream;
import io.llmchat.http.Drain;
import io.llmchat.http.Memory;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import io.llmchat.store.AnswerRepository.Kept;
import io.vertx.core.buffer.Buffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.redisson.api.BatchOptions;
import org.redisson.api.RBatch;
import org.redisson.api.RScript;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.ByteArrayCodec;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The streams that are being made, in Redis, so that other instances can follow them: one string of bytes for each, to
 * which all instances' streams are added four times a second, all of an instance in one round trip. Without Redis there
 * is no mirror, and other instances wait for the whole answer. What SDKs may ask again goes the same way, once it is
 * whole. Safe for all threads.
 */
public final class AnswerMirror {

    private static final Logger LOG = LoggerFactory.getLogger(AnswerMirror.class);
    private static final long INTERVAL_MILLIS = 250;
    private static final long POLL_MILLIS = 100;
    /** Milliseconds for which a follower is one, once it has asked for more. */
    private static final long WANTED_MILLIS = 2_000;
    /** Milliseconds; renewed while the answer is made, so that it vanishes if its instance does. */
    private static final long TTL = 30_000;

    private static final String LATELY = "llmchat:lately:";
    private static final Duration LATELY_TTL = Duration.ofSeconds(60);
    private static final int MAX_LATELY = 10_000;
    /** What Redis did not take is sent once more after so many milliseconds, as a whole. */
    private static final long AGAIN_MILLIS = 2_000;
    /** Bytes that are sent together, and one answer more: after an outage the whole of each is to be sent. */
    private static final int MAX_TOGETHER = 4 << 20;
    /** Bytes that a follower reads at once: all of a long answer would keep Redis from answering others in time. */
    private static final int MAX_READ = 1 << 20;
    /** For so many milliseconds Redis may be away, or have lost a stream, and who follows it waits for it. */
    private static final long BRIEF_MILLIS = 5_000;
    /** How often the end of a stream is sent, where Redis does not take it. */
    private static final int MAX_ENDS = 3;

    /** Adds bytes where they belong: all of them for 0; else none, if earlier ones were lost. */
    private static final String ADD = """
            if ARGV[1] == '0' then redis.call('set', KEYS[1], ARGV[2])
            elseif redis.call('strlen', KEYS[1]) ~= tonumber(ARGV[1]) then return 0
            else redis.call('append', KEYS[1], ARGV[2]) end
            redis.call('hset', KEYS[2], 'owner', ARGV[3], 'over', ARGV[4])
            redis.call('pexpire', KEYS[1], ARGV[5]) redis.call('pexpire', KEYS[2], ARGV[5])
            return 1
            """;
    /**
     * Reads on, as far as is asked for, and lets the instance that makes it know that somebody does. What is over nobody
     * renews any more but those who read it.
     */
    private static final String READ = """
            local owner = redis.call('hget', KEYS[2], 'owner')
            local over = redis.call('hget', KEYS[2], 'over')
            if owner == ARGV[2] then
                redis.call('set', KEYS[3], '1', 'px', ARGV[3])
                if over == '1' then redis.call('pexpire', KEYS[1], ARGV[5]) redis.call('pexpire', KEYS[2], ARGV[5]) end
            end
            if redis.call('strlen', KEYS[1]) - 1 > tonumber(ARGV[4]) then over = '0' end
            return {owner, over, redis.call('getrange', KEYS[1], ARGV[1], ARGV[4])}
            """;

    private static final class Mirrored {
        private int bytes;
        private long written = millis() - TTL;
        private int ends;
        /** Something of it may not have come to Redis: it is sent as a whole. */
        private volatile boolean lost;
    }

    private final RedissonClient redis;
    private final RedisWatch watch;
    private final RScript reads;
    private final long heartbeatNanos;
    private final Map<AnswerLog, Mirrored> logs = new ConcurrentHashMap<>();
    private final Map<String, AnswerLog> lately = new ConcurrentHashMap<>();
    private volatile boolean running = true;
    /** When Redis was last there. */
    private long thereAt = millis();

    /** @param heartbeatMillis silence after which a follower gets a comment line */
    public AnswerMirror(Redis redis, long heartbeatMillis) {
        this.redis = redis.client();
        this.watch = redis.watch();
        this.reads = this.redis.getScript(Redis.once(ByteArrayCodec.INSTANCE));
        this.heartbeatNanos = TimeUnit.MILLISECONDS.toNanos(heartbeatMillis);
    }

    /** Begins to mirror what is registered. */
    public void start() {
        Thread.ofPlatform().daemon().name("answer-mirror").start(() -> {
            while (running) {
                try {
                    Thread.sleep(INTERVAL_MILLIS);
                    flush();
                } catch (InterruptedException e) {
                    return;
                } catch (RuntimeException e) {
                    LOG.debug("Redis is away: streams are not mirrored", e);
                }
            }
        });
    }

    public void stop() {
        running = false;
    }

    /** Milliseconds until a follower elsewhere is known here: an answer should wait for one so long. */
    public static long noticeMillis() {
        return 2 * INTERVAL_MILLIS;
    }

    /** This answer, if it becomes a stream, is mirrored from its first event to its end; and goes on while it is wanted elsewhere. */
    public void mirror(AnswerLog log) {
        logs.put(log, new Mirrored());
    }

    /** This answer was given to this question: for a minute all instances know, if Redis does. */
    public void made(String question, AnswerLog log) {
        if (watch.available() && lately.size() < MAX_LATELY) {
            lately.put(question, log);
        }
    }

    /** Somebody waits here for this answer, which another instance makes: it is to go on for a while, though its caller leave. */
    public void want(String answerId) {
        if (watch.available()) {
            redis.getBucket(wanted(answerId)).setAsync("1", Duration.ofMillis(WANTED_MILLIS));
        }
    }

    /** Whether nothing can be said of what other instances are making. */
    public boolean isAway() {
        return !watch.tellsChanges();
    }

    /** What any instance has answered to this question within the last minute, or null. */
    public Kept madeLately(String question) {
        byte[] found;
        try {
            found = watch.ask(() -> redis.<byte[]>getBucket(LATELY + question, ByteArrayCodec.INSTANCE).getAsync());
        } catch (RedisAway e) {
            return null;
        }
        if (found == null) {
            return null;
        }
        Buffer all = Buffer.buffer(found);
        int body = 3 + all.getUnsignedShort(1);
        return new Kept(null, null, all.getString(3, body), all.length() - body, all.getBytes(body, all.length()), all.getByte(0) == 1, null, false);
    }

    private static byte[] lately(AnswerLog log) {
        byte[] id = Json.utf8(log.answerId());
        return Buffer.buffer().appendByte((byte) (log.isStream() ? 1 : 0)).appendUnsignedShort(id.length).appendBytes(id)
                .appendBuffer(log.bytes()).getBytes();
    }

    void flush() {
        if (!watch.tellsChanges()) {
            // the end of a stream is told to who still waits for it, other ends are of use to nobody; what goes on will be
            // mirrored as a whole
            boolean brief = millis() - thereAt < BRIEF_MILLIS;
            logs.keySet().removeIf(log -> log.isOver() && !(brief && log.isStream()));
            logs.values().forEach(mirrored -> mirrored.lost = true);
            lately.clear();
            return;
        }
        thereAt = millis();
        if (logs.isEmpty() && lately.isEmpty()) {
            return;
        }
        askWhoWantsThem();
        // once: the same bytes, sent again, look like others that were lost
        RBatch batch = redis.createBatch(BatchOptions.defaults().retryAttempts(0));
        boolean streams = addStreams(batch);
        if (addLately(batch) || streams) {
            batch.executeAsync();
        }
    }

    /** False if there is nothing to be sent. */
    private boolean addStreams(RBatch batch) {
        boolean any = false;
        int together = 0;
        long now = millis();
        for (Map.Entry<AnswerLog, Mirrored> entry : logs.entrySet()) {
            AnswerLog log = entry.getKey();
            Mirrored done = entry.getValue();
            boolean over = log.isOver();
            if (!log.isKept()) {
                // who follows it elsewhere sees that it goes no further
                keys(log.answerId()).subList(0, 2).forEach(key -> batch.getBucket(key.toString()).deleteAsync());
                any = true;
                logs.remove(log);
                continue;
            }
            if (done.lost && now - done.written < AGAIN_MILLIS || together > MAX_TOGETHER) {
                continue;
            }
            if (done.lost) {
                done.lost = false;
                done.bytes = 0;
            }
            if (log.isStream() && (over || log.length() > done.bytes || now - done.written > TTL / 3)) {
                together += add(log, done, over, batch);
                done.written = now;
                any = true;
            }
            if (over && (!log.isStream() || ++done.ends == MAX_ENDS)) {
                logs.remove(log);
            }
        }
        return any;
    }

    /** Adds what is new of a stream, or all of it; returns how many bytes these are. */
    private int add(AnswerLog log, Mirrored done, boolean over, RBatch batch) {
        Buffer bytes = log.from(done.bytes);
        batch.getScript(ByteArrayCodec.INSTANCE).evalAsync(RScript.Mode.READ_WRITE, ADD, RScript.ReturnType.INTEGER,
                keys(log.answerId()), Json.utf8(Integer.toString(done.bytes)), bytes.getBytes(), Json.utf8(log.owner()), Json.utf8(over ? "1" : "0"),
                Json.utf8(Long.toString(TTL))).whenComplete((added, failure) -> {
                    if (failure != null || !Long.valueOf(1).equals(added)) {
                        // what Redis has lost it takes at once
                        done.written -= failure == null ? AGAIN_MILLIS : 0;
                        done.lost = true;
                    } else if (over) {
                        logs.remove(log);
                    }
                });
        done.bytes += bytes.length();
        return bytes.length();
    }

    /** False if there is nothing to be sent. */
    private boolean addLately(RBatch batch) {
        boolean any = false;
        int told = 0;
        for (Map.Entry<String, AnswerLog> made : lately.entrySet()) {
            lately.remove(made.getKey());
            // of what is more than that only this instance knows: nobody has said that he will ask again
            if (told < MAX_TOGETHER) {
                batch.getBucket(LATELY + made.getKey(), ByteArrayCodec.INSTANCE).setAsync(lately(made.getValue()), LATELY_TTL);
                any = true;
                told += made.getValue().length();
            }
        }
        return any;
    }

    /** The time of day may step back. */
    private static long millis() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime());
    }

    /** A caller who has left here may have come back elsewhere, and others may follow there. */
    private void askWhoWantsThem() {
        RBatch batch = null;
        for (AnswerLog log : logs.keySet()) {
            if (log.isAlone()) {
                batch = batch != null ? batch : redis.createBatch();
                batch.getBucket(wanted(log.answerId())).isExistsAsync().thenAccept(wanted -> {
                    if (wanted) {
                        log.wanted();
                    }
                });
            }
        }
        if (batch != null) {
            batch.executeAsync();
        }
    }

    private static List<Object> keys(String answerId) {
        // one slot for all, also in a cluster
        String key = "llmchat:answer:{" + answerId + "}";
        return List.of(key, key + ":of", key + ":wanted");
    }

    private static String wanted(String answerId) {
        return keys(answerId).get(2).toString();
    }

    /**
     * Gives an answer that another instance is making to this caller, from the event after {@code event} on. Where this
     * one ends before, what has begun is cut: its last event cannot be told.
     *
     * @return false if there is nothing of it here, or it is somebody else's: nothing was sent
     */
    public boolean follow(ClientStream client, String answerId, String owner, int event, Drain drain) throws InterruptedException {
        long at = 0;
        boolean begun = false;
        // the mirror may be behind what the caller has
        boolean found = event == 0;
        Buffer before = Buffer.buffer();
        long wroteAt = System.nanoTime();
        long readAt = millis();
        while (!client.gone() && !drain.isEnding()) {
            List<byte[]> read = read(answerId, owner, at);
            if (read != null && read.get(0) != null && owner.equals(new String(read.get(0), StandardCharsets.UTF_8))) {
                readAt = millis();
            } else if (begun && millis() - readAt < BRIEF_MILLIS) {
                // it is there when Redis is back, or, where that has lost it, as soon as its instance has sent it once more
                read = List.of(Json.utf8(owner), Json.utf8("0"), Bytes.NONE);
            } else {
                if (begun) {
                    // its instance has died, or Redis is away for long: a stream without its end says so
                    client.abort();
                }
                return begun;
            }
            Buffer more = Buffer.buffer(read.get(2));
            at += more.length();
            Buffer wanted = more;
            if (!found) {
                wanted = AnswerLog.after(before.appendBuffer(more), answerId, event);
                found = wanted.length() > 0;
                before = found ? null : before;
            }
            boolean over = "1".equals(new String(read.get(1), StandardCharsets.UTF_8));
            if (!begun) {
                client.commit();
            }
            if (wanted.length() > 0) {
                // so that none has the time of an answer in one piece
                for (int from = 0; from < wanted.length(); from += Memory.SMALL) {
                    client.write(wanted.slice(from, Math.min(wanted.length(), from + Memory.SMALL)));
                }
                wroteAt = System.nanoTime();
            } else if (!over && (!begun && event > 0 || System.nanoTime() - wroteAt > heartbeatNanos)) {
                // the head, at least, for who has all there is
                client.keepAlive();
                wroteAt = System.nanoTime();
            }
            begun = true;
            if (over) {
                client.end(Buffer.buffer());
                return true;
            }
            if (more.length() < MAX_READ) {
                Thread.sleep(POLL_MILLIS);
            }
            while (client.full() && !client.gone() && !drain.isEnding()) {
                // no more for now, and wanted all the same
                read(answerId, owner, Integer.MAX_VALUE);
                Thread.sleep(POLL_MILLIS);
            }
        }
        if (begun && !client.gone()) {
            client.abort();
        }
        return begun;
    }

    /** Null if Redis is away. */
    private List<byte[]> read(String answerId, String owner, long from) {
        try {
            return watch.ask(() -> reads.evalAsync(RScript.Mode.READ_WRITE, READ,
                    RScript.ReturnType.MULTI, keys(answerId), Json.utf8(Long.toString(from)), Json.utf8(owner),
                    Json.utf8(Long.toString(WANTED_MILLIS)), Json.utf8(Long.toString(from + MAX_READ - 1)), Json.utf8(Long.toString(TTL))));
        } catch (RedisAway e) {
            return null;
        }
    }
}
