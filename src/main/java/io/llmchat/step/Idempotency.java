package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ClientGone;
import io.llmchat.http.AnswerLog;
import io.llmchat.http.ClientStream;
import io.llmchat.http.Drain;
import io.llmchat.http.Memory;
import io.llmchat.json.Bytes;
import io.llmchat.store.AnswerMirror;
import io.llmchat.store.AnswerRepository;
import io.llmchat.store.AnswerRepository.Kept;
import io.llmchat.store.AnswersInProgress;
import io.llmchat.store.Later;
import io.llmchat.store.MustWait;
import io.vertx.core.buffer.Buffer;
import java.security.MessageDigest;
import java.util.HexFormat;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.SynchronizationAdapter;

/** The steps of {@code deduplicate} and {@code resume}: an answer is made once, for all who ask for it. */
public final class Idempotency {

    /** The exchange property with the key; absent: the request has none. */
    private static final String KEY = "idempotencyKey";

    private static final String SDK_RETRIES = "X-Stainless-Retry-Count";
    private static final long POLL_MILLIS = 200;

    private final AnswerRepository answers;
    private final AnswersInProgress inProgress;
    private final Later later = new Later();
    private final AnswerMirror mirror;
    private final boolean join;
    private final long graceMillis;
    private final long patienceMillis;
    private final Drain drain;

    /**
     * @param inFlight join or reject: what becomes of a request while the first one with its key is being answered
     * @param graceMillis how long a stream goes on for a caller who may come back
     * @param patienceMillis how long a request waits for an answer that another instance makes
     */
    public Idempotency(AnswerRepository answers, AnswersInProgress inProgress, AnswerMirror mirror, String inFlight,
                       long graceMillis, long patienceMillis, Drain drain) {
        this.answers = answers;
        this.inProgress = inProgress;
        this.mirror = mirror;
        this.join = inFlight.equals("join");
        this.graceMillis = graceMillis;
        this.patienceMillis = patienceMillis;
        this.drain = drain;
        // others know then who is alive, and whom a crash has cost its claim has it again before they ask for the key
        answers.whenBack(this::catchUp);
    }

    /**
     * A step that reads how the answer may be asked for again. A key is kept apart by caller and path, so that the same
     * key can be used by others and elsewhere. From here on a chat that waits for stores has a thread of its own.
     */
    public Processor readKey() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            var headers = chat.client().request().headers();
            String given = headers.get("Idempotency-Key");
            String retries = headers.get(SDK_RETRIES);
            if (given != null || chat.waits() || retries != null && !retries.equals("0")) {
                MustWait.here();
            }
            if (given != null) {
                String key = given.length() >= 2 && given.startsWith("\"") && given.endsWith("\"")
                        ? given.substring(1, given.length() - 1) : given;
                if (!key.matches("[\\x21-\\x7e]{1,255}")) {
                    throw ChatException.invalid("Idempotency-Key", "Idempotency-Key takes 1 to 255 visible characters.");
                }
                chat.setIdempotencyKey(chat.userId() + " " + chat.client().request().path() + " " + key);
                exchange.setProperty(KEY, chat.idempotencyKey());
            }
            boolean sdk = retries != null;
            if (sdk) {
                // now: the request may get a history
                chat.fingerprint();
            }
            if (given == null && sdk && !retries.equals("0")) {
                Object earlier = inProgress.madeLately(question(chat));
                if (earlier == null) {
                    earlier = mirror.madeLately(question(chat));
                }
                if (earlier != null) {
                    exchange.setProperty("answeredBefore", earlier);
                    return;
                }
            }
            if (given == null && (sdk || chat.request().resumable())) {
                begin(exchange, chat);
            }
        };
    }

    /** The answer is made here: it is kept while it is, for those who will ask for it. Who gets an earlier one makes none. */
    private void begin(Exchange exchange, Chat chat) {
        boolean resumable = chat.request().resumable();
        // who gives a key will ask again
        boolean comesBack = resumable || chat.idempotencyKey() != null;
        if (chat.idempotencyKey() != null && Memory.KEPT_ANSWERS.isFull()) {
            throw ChatException.overloaded("The answers that are kept for their keys leave no memory for another one.");
        }
        chat.setLog(new AnswerLog(chat.answerId(), chat.userId(), comesBack ? Math.max(graceMillis, AnswerMirror.noticeMillis()) : 0, !comesBack));
        if (resumable) {
            inProgress.resumable(chat.log());
        }
        if (comesBack) {
            mirror.mirror(chat.log());
            exchange.getExchangeExtension().addOnCompletion(new SynchronizationAdapter() {
                @Override
                public void onDone(Exchange done) {
                    if (!chat.log().isOver()) {
                        giveUp(done, chat);
                    }
                }
            });
        }
    }

    /** A route has answered itself: nobody will make this answer, and who waits for it comes to the route. */
    private void giveUp(Exchange exchange, Chat chat) {
        inProgress.forgetId(chat.log());
        if (chat.idempotencyKey() != null) {
            release(exchange, chat);
        }
        chat.log().fail(new ClientGone());
    }

    /** What an SDK asks again, without a key: the same body, by the same caller, in the same place. */
    private static String question(Chat chat) {
        return chat.userId() + " " + chat.client().request().path() + " " + HexFormat.of().formatHex(chat.fingerprint());
    }

    /** A step for a request that an SDK repeats by itself though it was answered: it gets that answer. */
    public Processor giveAgain() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            chat.client().header("Idempotent-Replayed", "true");
            switch (exchange.getProperty("answeredBefore")) {
                case AnswerLog here -> here.follow(chat.client(), 0);
                case Kept elsewhere -> give(chat.client(), elsewhere, 0);
                default -> throw new IllegalStateException("no answer to give again");
            }
        };
    }

    /** A step for the first request with a key: from now on others can join it. */
    public Processor first() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            begin(exchange, chat);
            inProgress.keyed(chat.idempotencyKey(), chat.log());
        };
    }

    /**
     * A step for a repeated request: answers it as the first was answered, or is being answered. Where the first has
     * been given up, by its instance's death or because it failed, this one becomes the first.
     */
    public Processor replay() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            long end = System.nanoTime() + patienceMillis * 1_000_000;
            while (true) {
                Kept kept = answers.get(chat.idempotencyKey());
                if (kept != null && !MessageDigest.isEqual(kept.fingerprint(), chat.fingerprint())) {
                    throw new ChatException("IDEMPOTENCY_KEY_REUSED",
                            "This Idempotency-Key was used for a request with another body.");
                }
                if (kept != null && kept.length() >= 0) {
                    chat.client().header("Idempotent-Replayed", "true");
                    give(chat.client(), kept, 0);
                    return;
                }
                boolean givenUp = kept == null || !kept.claimed();
                if (givenUp && answers.add(exchange, chat.idempotencyKey())) {
                    exchange.removeProperty(Exchange.DUPLICATE_MESSAGE);
                    chat.beginAgain();
                    return;
                }
                AnswerLog made = inProgress.ofKey(chat.idempotencyKey());
                if (join && made != null && followed(made, chat.client())) {
                    return;
                }
                if (join && !givenUp && chat.request().stream() && mirror.follow(chat.client(), kept.answerId(), chat.userId(), 0, drain)) {
                    return;
                }
                endIfEnding();
                if (!join || System.nanoTime() > end || chat.client().gone()) {
                    throw new ChatException("IDEMPOTENCY_IN_FLIGHT",
                            "A request with this Idempotency-Key is being answered.").retryAfter(1);
                }
                if (kept != null) {
                    mirror.want(kept.answerId());
                }
                Thread.sleep(POLL_MILLIS);
            }
        };
    }

    /** Whoever waits here for another instance's answer can do that elsewhere when this one ends. */
    private void endIfEnding() {
        if (drain.isEnding()) {
            throw ChatException.shuttingDown();
        }
    }

    /** Gives the answer to this caller too; false if the one it was made for left before there was anything of it. */
    private static boolean followed(AnswerLog made, ClientStream client) throws InterruptedException {
        try {
            made.follow(client, 0);
            return true;
        } catch (ClientGone e) {
            return false;
        }
    }

    /** A step for a caller who comes back: the events of its answer after the last one that it has. */
    public Processor resume() {
        return exchange -> {
            ClientStream client = ClientStream.of(exchange);
            String id = exchange.getMessage().getHeader("answerId", String.class);
            int event = lastEvent(client.request().getHeader("Last-Event-ID"), id);
            String user = exchange.getProperty(Authenticate.USER_ID, "anonymous", String.class);
            AnswerLog made = inProgress.ofId(id);
            if (made != null && made.owner().equals(user)) {
                made.follow(client, event);
                return;
            }
            // what another instance is making is known here a little later
            long end = System.nanoTime() + AnswerMirror.noticeMillis() * 1_000_000;
            while (!mirror.follow(client, id, user, event, drain)) {
                Kept kept = answers.ofId(id);
                boolean theirs = kept != null && user.equals(kept.owner());
                if (theirs && kept.length() >= 0) {
                    give(client, kept, event);
                    return;
                }
                endIfEnding();
                if (System.nanoTime() > end || client.gone()) {
                    throw theirs && kept.claimed() || mirror.isAway() || answers.mayMissSome()
                            ? new ChatException("STORE_UNAVAILABLE", "Where the answer '" + id + "' is made cannot be told at the moment.").retryAfter(1)
                            : new ChatException("NOT_FOUND", "There is no answer '" + id + "'.");
                }
                Thread.sleep(POLL_MILLIS);
            }
        };
    }

    private static int lastEvent(String given, String answerId) {
        if (given == null) {
            return 0;
        }
        if (!given.startsWith(answerId + ":") || !given.substring(answerId.length() + 1).matches("\\d{1,9}")) {
            throw ChatException.invalid("Last-Event-ID", "Last-Event-ID must be the id of an event of this answer.");
        }
        return Integer.parseInt(given.substring(answerId.length() + 1));
    }

    private void give(ClientStream client, Kept kept, int event) {
        if (!Memory.takeAnswer(kept.length())) {
            throw ChatException.overloaded("The answers that callers have not taken yet leave no memory for another one.");
        }
        try {
            byte[] bytes = answers.body(kept);
            if (bytes == null) {
                throw new ChatException("STORE_UNAVAILABLE", "The answer that was kept has just been removed.").retryAfter(1);
            }
            Buffer body = Bytes.buffer(bytes);
            if (kept.stream()) {
                client.commit();
                client.end(AnswerLog.after(body, kept.answerId(), event));
            } else {
                client.json(200, body);
            }
        } finally {
            // what is on its way has its own place
            Memory.giveAnswer(kept.length());
        }
    }

    /** A step for a request that failed: the next one with its key is a first one again. */
    public Processor release() {
        return exchange -> release(exchange, Chat.of(exchange));
    }

    private void release(Exchange exchange, Chat chat) {
        if (chat.log() != null) {
            inProgress.forgetKey(chat.idempotencyKey(), chat.log());
        }
        answers.remove(exchange, chat.idempotencyKey());
    }

    /**
     * A step at the end: keeps the answer to a key, before the caller sees its end. Until it is kept, others find it here;
     * where PostgreSQL is away, or there was no memory for a stream, the caller has the answer nevertheless.
     */
    public Processor keep() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            AnswerLog log = chat.log();
            boolean stream = log.isStream();
            if (!chat.isAnswered()) {
                // but by a route itself
                return;
            }
            if (stream && !log.isKept()) {
                release(exchange, chat);
                return;
            }
            byte[] body = stream ? log.bytes().appendBytes(chat.heldAnswer()).getBytes() : chat.heldAnswer();
            String claim = exchange.getExchangeId();
            String key = chat.idempotencyKey();
            Runnable forget = () -> {
                inProgress.forgetKey(key, log);
                inProgress.forgetId(log);
            };
            later.store(body.length, () -> {
                answers.keep(claim, key, body, stream);
                forget.run();
            }, () -> {
                answers.giveUp(claim, key);
                forget.run();
            });
        };
    }

    /**
     * The last step of an answer: sends what was held back until something was stored; from then on who comes back for
     * the answer finds it in the store, whether it was whole or broke off.
     */
    public Processor settle() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            deliver(chat);
            chat.setHeldAnswer(null);
            AnswerLog log = chat.log();
            if (log == null) {
                return;
            }
            if (chat.idempotencyKey() == null && log.isComplete() && chat.client().request().headers().contains(SDK_RETRIES)) {
                inProgress.made(question(chat), log);
                mirror.made(question(chat), log);
            }
            if (chat.request().resumable()) {
                if (log.isStream() && log.isKept() && (chat.idempotencyKey() == null || !log.isComplete())) {
                    byte[] body = log.bytes().getBytes();
                    later.store(body.length, () -> {
                        answers.keepWithoutKey(log.answerId(), log.owner(), body);
                        inProgress.forgetId(log);
                    }, () -> inProgress.forgetId(log));
                } else if (chat.idempotencyKey() == null || !log.isComplete()) {
                    inProgress.forgetId(log);
                }
            }
        };
    }

    /** A step, now and then: renews the claims of the answers that are being made here, and stores what could not be stored. */
    public Processor renew() {
        return exchange -> catchUp();
    }

    private void catchUp() {
        answers.renew();
        later.again();
    }

    /** Stores what could not be stored, before this process ends: after that nobody would. */
    public void end() {
        later.again();
    }

    private static void deliver(Chat chat) {
        byte[] held = chat.heldAnswer();
        if (held == null || chat.client().ended()) {
            return;
        }
        if (chat.client().committed()) {
            chat.client().end(Bytes.buffer(held));
        } else {
            chat.client().json(200, Bytes.buffer(held));
        }
    }
}
