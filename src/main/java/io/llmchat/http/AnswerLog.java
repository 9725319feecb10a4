package io.llmchat.http;

import io.llmchat.chat.ChatException;
import io.vertx.core.buffer.Buffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/**
 * One answer as its caller gets it, kept while it is made, so that others can follow it from any event on: requests
 * with the same key, and callers that come back. Each follower reads at its own pace. Events resemble each other, so that
 * all of a long answer but its end is kept compressed. Where there is no memory for it, it is kept no longer: nobody can
 * follow it then, and its own caller has it all the same, if he does not read it from here too. Safe for all threads.
 */
public final class AnswerLog {

    /** Bytes. */
    private static final int MOST_SPARE = 262_144;
    private static final int LEAST_BLOCK = 512;
    private static final int MOST_BLOCK = 8_192;
    /** For so long it counts as held up once its caller could take no more. */
    private static final long HELD_UP_NANOS = TimeUnit.SECONDS.toNanos(1);
    private static final Deflater DEFLATER = new Deflater(Deflater.BEST_SPEED, true);

    /** So many bytes of the answer; compressed where it has fewer. */
    private record Block(int length, byte[] bytes) {

        byte[] content() {
            if (bytes.length == length) {
                return bytes;
            }
            Inflater inflater = new Inflater(true);
            try {
                byte[] content = new byte[length];
                inflater.setInput(bytes);
                inflater.inflate(content);
                return content;
            } catch (DataFormatException e) {
                throw new IllegalStateException(e);
            } finally {
                inflater.end();
            }
        }

        Block compressed() {
            byte[] small = new byte[length - 1];
            synchronized (DEFLATER) {
                DEFLATER.reset();
                DEFLATER.setInput(bytes);
                DEFLATER.finish();
                int size = DEFLATER.deflate(small);
                return DEFLATER.finished() ? new Block(length, Arrays.copyOf(small, size)) : this;
            }
        }
    }

    private final String answerId;
    private final String owner;
    private final long graceNanos;
    private final boolean spare;
    private final Memory memory;
    private int length;
    /** Bytes of {@link #memory}. */
    private int taken;
    private boolean dropped;
    /** All of it, and how much of the last block is free. */
    private final List<Block> blocks = new ArrayList<>();
    private int free;
    private final Set<Follower> followers = new HashSet<>();
    private boolean begun;
    private boolean stream;
    private boolean over;
    private ChatException failure;
    private long aloneSince;
    /** When its caller last could take no more, or 0; and whether somebody has followed it on another instance. */
    private long heldUpAt;
    private boolean followedElsewhere;

    /**
     * @param owner the user whose answer it is
     * @param graceMillis how long it is made for nobody, once its caller and all followers have left
     * @param spare whether it is not kept where it is long, or many are: nobody has said that it will be asked for again
     */
    public AnswerLog(String answerId, String owner, long graceMillis, boolean spare) {
        this.answerId = answerId;
        this.owner = owner;
        this.spare = spare;
        this.memory = spare ? Memory.SPARE_ANSWERS : Memory.KEPT_ANSWERS;
        this.graceNanos = TimeUnit.MILLISECONDS.toNanos(graceMillis);
    }

    public String answerId() {
        return answerId;
    }

    public String owner() {
        return owner;
    }

    // --- the one who makes it

    /** The head of a stream was sent. */
    synchronized void begin() {
        begun = true;
        stream = true;
    }

    /** More events. */
    void append(Buffer events) {
        if (events.length() > 0) {
            keep(events, false);
            wake();
        }
    }

    /** It is whole: as a stream, or with {@code body} in one piece. */
    void complete(Buffer body) {
        synchronized (this) {
            begun = true;
            if (body != null) {
                keep(body, true);
            }
            end();
        }
        wake();
    }

    /** @param last whether it is over with this: whoever keeps it from now on counts it */
    private synchronized void keep(Buffer piece, boolean last) {
        if (dropped || over) {
            return;
        }
        if (spare && length + piece.length() > MOST_SPARE || !last && !memory.take(piece.length(), taken)) {
            memory.give(taken);
            taken = 0;
            dropped = true;
            blocks.clear();
            free = 0;
            length = 0;
            return;
        }
        taken += last ? 0 : piece.length();
        for (int at = 0; at < piece.length();) {
            int more = piece.length() - at;
            if (free == 0) {
                // as much as there is, within bounds: half of it at most is empty
                free = Math.max(more, Math.clamp(length, LEAST_BLOCK, MOST_BLOCK));
                blocks.add(new Block(free, new byte[free]));
            }
            Block block = blocks.getLast();
            int fits = Math.min(free, more);
            piece.getBytes(at, at + fits, block.bytes, block.length - free);
            free -= fits;
            at += fits;
            if (free == 0 && block.length >= MOST_BLOCK && !last) {
                Block compressed = block.compressed();
                blocks.set(blocks.size() - 1, compressed);
                memory.give(block.length - compressed.bytes.length);
                taken -= block.length - compressed.bytes.length;
            }
        }
        length += piece.length();
    }

    private void end() {
        if (!over) {
            memory.give(taken);
        }
        over = true;
    }

    /** It will not be whole; followers of a stream that has begun have the error as its last event. */
    public void fail(ChatException why) {
        synchronized (this) {
            failure = why;
            end();
        }
        wake();
    }

    /** Its caller has left. */
    synchronized void callerLeft() {
        aloneSince = System.nanoTime();
    }

    /** Whether its caller has left, or holds it up, and nobody follows it here. */
    public synchronized boolean isAlone() {
        return followers.isEmpty() && !over && (aloneSince != 0 || heldUpAt != 0 && System.nanoTime() - heldUpAt < HELD_UP_NANOS);
    }

    /** Somebody follows it on another instance. */
    public synchronized void wanted() {
        aloneSince = System.nanoTime();
        followedElsewhere = true;
    }

    /** Its caller can take no more for now: whether others follow it, as far as that is known. */
    synchronized boolean isWantedByOthers() {
        heldUpAt = System.nanoTime();
        return !dropped && !over && (followedElsewhere || !followers.isEmpty());
    }

    /** Its caller has all of it so far, can take no more for now, and has the rest as those who follow. On his context. */
    CompletableFuture<Void> callerFollows(ClientStream caller) {
        Follower follower = new Follower(caller, 0);
        synchronized (this) {
            follower.at = length;
            followers.add(follower);
        }
        caller.whenGone(follower::leave);
        follower.done.whenComplete((all, failure) -> follower.leave());
        follower.waitForRoom();
        return follower.done;
    }

    /** Whether nobody has wanted it for the time of grace. */
    synchronized boolean abandoned() {
        return dropped || followers.isEmpty() && System.nanoTime() - aloneSince >= graceNanos;
    }

    /** All of it so far, byte for byte. */
    public synchronized Buffer bytes() {
        return from(0);
    }

    /** What there is of it behind so many bytes. */
    public synchronized Buffer from(int bytes) {
        return from(bytes, length);
    }

    private Buffer from(int bytes, int most) {
        int skip = bytes;
        int left = bytes + Math.min(length - bytes, most);
        Buffer all = Buffer.buffer(left - bytes);
        for (Block block : blocks) {
            int filled = Math.min(left, block.length);
            if (skip < filled) {
                all.appendBytes(block.content(), skip, filled - skip);
            }
            skip = Math.max(0, skip - filled);
            left -= filled;
        }
        return all;
    }

    /** Whether it is a stream. */
    public synchronized boolean isStream() {
        return stream;
    }

    /** Whether it is kept: where there was no memory for it, it is not. */
    public synchronized boolean isKept() {
        return !dropped;
    }

    /** Whether it was given whole, and can be given again. */
    public synchronized boolean isComplete() {
        return over && failure == null && !dropped;
    }

    /** How many bytes of it are kept. */
    public synchronized int length() {
        return length;
    }

    /** Whether no more of it will come. */
    public synchronized boolean isOver() {
        return over;
    }

    /** Nothing has come for a while. */
    void keepAlive() {
        each(Follower::keepAlive);
    }

    private void wake() {
        each(Follower::pump);
    }

    private void each(Consumer<Follower> action) {
        List<Follower> all;
        synchronized (this) {
            all = List.copyOf(followers);
        }
        all.forEach(f -> f.client.context().runOnContext(v -> action.accept(f)));
    }

    // --- those who follow

    /**
     * Gives it to another caller, from the event after {@code event} on, and returns when that one has all of it.
     *
     * @param event the number of the last event that the caller has; 0: none
     * @throws ChatException why there is no answer, if it failed before anything of it was sent, or could not be kept
     */
    public void follow(ClientStream client, int event) throws InterruptedException {
        Follower follower = new Follower(client, event);
        synchronized (this) {
            followers.add(follower);
        }
        client.context().runOnContext(v -> {
            if (client.gone()) {
                // before he came here
                follower.leave();
                return;
            }
            client.whenGone(follower::leave);
            follower.pump();
        });
        try {
            follower.done.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof ChatException c ? c : new IllegalStateException(e.getCause());
        } finally {
            follower.leave();
        }
    }

    /**
     * The events after the one of this number; all of them for 0. Events begin with their id, as {@code <answerId>:<n>}. Some
     * numbers may be missing: the end of an answer that could not be kept was never sent, but the error after it was.
     */
    public static Buffer after(Buffer events, String answerId, int event) {
        if (event == 0) {
            return events;
        }
        byte[] id = ("id: " + answerId + ":").getBytes(StandardCharsets.UTF_8);
        byte[] all = events.getBytes();
        for (int i = 0; i + id.length < all.length; i++) {
            if ((i == 0 || all[i - 1] == '\n') && Arrays.equals(all, i, i + id.length, id, 0, id.length) && number(all, i + id.length) > event) {
                // what stands before it is kept no longer
                return events.getBuffer(i, all.length);
            }
        }
        return Buffer.buffer();
    }

    /** The number that ends a line; -1: its end is not there yet. */
    private static int number(byte[] all, int from) {
        int number = 0;
        for (int i = from; i < all.length; i++) {
            if (all[i] == '\n') {
                return number;
            }
            number = number * 10 + all[i] - '0';
        }
        return -1;
    }

    private final class Follower {
        private final ClientStream client;
        private final int event;
        private final CompletableFuture<Void> done = new CompletableFuture<>();
        private int at = -1;
        private boolean waits;

        Follower(ClientStream client, int event) {
            this.client = client;
            this.event = event;
        }

        /** Sends what there is, as fast as the caller reads. On the caller's context. */
        void pump() {
            while (!done.isDone()) {
                Buffer next;
                synchronized (AnswerLog.this) {
                    if (dropped) {
                        lose();
                        return;
                    }
                    if (waits) {
                        return;
                    }
                    if (!begun) {
                        if (over) {
                            done.completeExceptionally(failure);
                        }
                        return;
                    }
                    if (!stream && !Memory.takeAnswer(length)) {
                        lose();
                        return;
                    }
                    next = next();
                    if (next == null && !over) {
                        return;
                    }
                }
                send(next);
            }
        }

        /** It is kept no longer: whoever has a part of it sees that more is missing. */
        private void lose() {
            if (client.committed()) {
                client.abort();
                done.complete(null);
            } else {
                done.completeExceptionally(ChatException.overloaded("There was no memory to keep this answer for others."));
            }
        }

        /** What comes next, of a stream not so much that it would have the time of an answer in one piece; null: nothing more yet. */
        private Buffer next() {
            if (at == length) {
                return null;
            }
            if (at < 0) {
                at = event == 0 ? 0 : length - after(bytes(), answerId, event).length();
            }
            Buffer more = from(at, stream ? Memory.SMALL : length);
            at += more.length();
            return more;
        }

        private void send(Buffer next) {
            if (!stream) {
                client.json(200, next);
                Memory.giveAnswer(next.length());
                done.complete(null);
                return;
            }
            if (!client.committed()) {
                client.commit();
            }
            if (next == null) {
                if (failure == null) {
                    client.end(Buffer.buffer());
                } else {
                    client.endFailed(Buffer.buffer());
                }
                done.complete(null);
                return;
            }
            if (next.length() > 0) {
                client.write(next);
            } else if (event > 0) {
                // the head, at least, for who has all there is
                keepAlive();
            }
            if (client.full()) {
                waitForRoom();
            }
        }

        void waitForRoom() {
            waits = true;
            client.whenDrained(() -> {
                waits = false;
                pump();
            });
        }

        void keepAlive() {
            // who has more to get may be in the midst of an event
            if (client.committed() && at == length() && !isOver() && !done.isDone()) {
                client.keepAlive();
            }
        }

        void leave() {
            synchronized (AnswerLog.this) {
                if (followers.remove(this) && followers.isEmpty()) {
                    aloneSince = System.nanoTime();
                }
            }
            done.complete(null);
        }
    }
}
