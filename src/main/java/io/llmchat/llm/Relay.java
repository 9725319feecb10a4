package io.llmchat.llm;

import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.BrokenAnswer;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ClientGone;
import io.llmchat.chat.PromptSize;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.http.ClientStream;
import io.llmchat.http.Memory;
import io.llmchat.json.Bytes;
import io.llmchat.wire.Framing;
import io.llmchat.wire.Wire;
import io.netty.channel.ConnectTimeoutException;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.impl.ContextInternal;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;

/**
 * Moves one answer from a provider to the client, on the event loop of the client, and tells the route once, at the
 * end. Sends nothing before the first token, so that until then a failure can be made good by another
 * call. A slow reader slows its own provider connection; a reader that leaves closes it.
 */
final class Relay implements Upstream.Receiver {

    private static final int MAX_ERROR_BODY = 65_536;
    private static final int MAX_WARNING = 1_000;
    private static final int MAX_EARLY = 1_000;
    private static final String NO_ROOM = "OVERLOADED";
    private static final String TOO_LONG = "toolong";
    /** Codes and outcomes of calls that were ended here, and not by the provider. */
    private static final Set<String> GIVEN_UP = Set.of("CLIENT_CLOSED", "UPSTREAM_TIMEOUT", "SHUTTING_DOWN", NO_ROOM, TOO_LONG, Continuation.DIFFERS);
    /** How much longer a stream may be than an answer in one piece: each of its events says who says it. */
    private static final long STREAM_FACTOR = 4;
    /**
     * How long a provider that has said why it stops may be silent before its answer counts as complete, and how long one
     * whose status is an error has for its words.
     */
    private static final long AFTER_FINISH = TimeUnit.SECONDS.toNanos(1);

    private final Chat chat;
    private final ClientStream client;
    private final AnswerWriter writer;
    private final Wire wire;
    private Wire.AnswerReader reader;
    private final Upstream upstream;
    private final Limits limits;
    private final LlmEndpoint endpoint;
    private final Continuation continuation;
    /** How much text the provider is sent, in bytes: with what the agent adds to the request, and without what it is not told. */
    private final long asked;
    /** Milliseconds until the first token, or the whole answer, must be there. */
    private final long patience;
    /** Whether the provider streams, and whether the caller gets a stream. */
    private final boolean streamed;
    private final boolean streams;
    private final Framing events;
    /** The answer so far, of a provider that streams to a caller who wants it in one piece. */
    private final List<AnswerPart> collected = new ArrayList<>();
    /** What came before the first token: should there be none, the caller's stream has nothing of it. */
    private final List<ChatEvent> early = new ArrayList<>();
    private long earlyBytes;

    private final BiConsumer<Relay, RuntimeException> done;
    private Pulse pulse;
    private final long started = System.nanoTime();
    private long firstToken;
    private long lastToken = started;
    private int status;
    /** Bytes of the answer so far; those of one that comes, or goes on, in one piece have their place in memory. */
    private long received;
    private boolean pieces;
    private String retryAfter;
    private Buffer whole;
    /** What is to be sent at the end of this turn, or null: an open stream that waits keeps no buffer. */
    private Buffer out;
    /** Whether the bytes at hand had an event in them. */
    private boolean heard;
    private boolean begun;
    private boolean paused;
    private boolean flushing;
    private boolean ended;
    private int unfinished;
    /** Whether each piece has brought a reason to stop so far, as some converters have it: then none of them is the end. */
    private boolean doubtful;
    private long length;

    /**
     * @param continuation fits the answer to what the caller has got from somebody else already
     * @param done is told on the event loop, once: null when the answer is complete; {@link ProviderFailure} or its kin if
     *        it failed before the first token, {@link BrokenAnswer} if it failed after it, {@link ClientGone} if the
     *        caller left
     */
    Relay(Chat chat, LlmEndpoint endpoint, Wire.Call call, Continuation continuation, BiConsumer<Relay, RuntimeException> done) {
        this.done = done;
        this.chat = chat;
        this.client = chat.client();
        this.writer = chat.writer();
        this.endpoint = endpoint;
        this.wire = endpoint.wire();
        // what has to be fitted to an answer that has begun has to be in parts
        this.reader = wire.reader(wire.name().equals(writer.wire()) && !client.committed());
        this.upstream = endpoint.upstream(call);
        this.limits = endpoint.limits();
        this.continuation = continuation;
        this.asked = PromptSize.of(call.body());
        this.streamed = call.streamed();
        this.streams = chat.request().stream();
        this.unfinished = chat.request().choices();
        // those who may be asked after this one get their share of the time
        this.patience = chat.candidatesLeft() == 0 ? chat.millisLeft() : Math.max(chat.millisLeft() / (chat.candidatesLeft() + 1),
                chat.millisLeft() - chat.candidatesLeft() * limits.firstToken());
        chat.calling();
        this.events = wire.framing(limits.maxEvent(), this::event);
    }

    /** The provider's own name for the conversation, where it has told one, or null. */
    String conversation() {
        return reader.conversation();
    }

    /** Whether it has come to the call of the provider: not where the caller had left before, or the gateway ends. */
    boolean hasAsked() {
        return pulse != null;
    }

    /** Nanoseconds to the first token of a provider's stream; 0 if there was none. */
    long firstTokenNanos() {
        return firstToken == 0 ? 0 : firstToken - started;
    }

    /** Begins to carry the answer over, here if this is the event loop of the client. */
    void start() {
        if (((ContextInternal) client.context()).isRunningOnContext()) {
            begin();
        } else {
            client.context().runOnContext(v -> begin());
        }
    }

    private void begin() {
        if (client.gone()) {
            finish(new ClientGone());
            return;
        }
        if (endpoint.isEnding()) {
            shutDown();
            return;
        }
        client.whenGone(() -> finish(new ClientGone()));
        pulse = Pulse.ofThisLoop();
        pulse.add(client.context().owner(), this);
        guarded(() -> upstream.start(this));
    }

    @Override
    public void head(int code, HttpHeaders headers) {
        // any success is an answer (RFC 9110, section 15): there are servers that say 201 to each POST
        status = code / 100 == 2 ? 200 : code;
        retryAfter = headers.get(HttpHeaderNames.RETRY_AFTER);
        if (status != 200 || !streamed || !wire.streamType(headers.get(HttpHeaderNames.CONTENT_TYPE))) {
            whole = Buffer.buffer();
        }
        if (hasRefused()) {
            // from now on there is time for its words
            lastToken = System.nanoTime();
        }
        pieces = !streams || whole != null;
    }

    @Override
    public void data(byte[] bytes) {
        guarded(() -> {
            if (whole == null) {
                if (pieces) {
                    takeRoom(bytes.length);
                }
                received += bytes.length;
                if (received > STREAM_FACTOR * limits.maxAnswer()) {
                    throw tooLong(STREAM_FACTOR * limits.maxAnswer());
                }
                events.feed(bytes);
                if (heard) {
                    heard = false;
                    lastToken = System.nanoTime();
                }
                flushSoon();
            } else if (whole.length() + bytes.length <= (status == 200 ? limits.maxAnswer() : MAX_ERROR_BODY)) {
                takeRoom(bytes.length);
                received += bytes.length;
                // the first piece often is all: then its buffer has just the size of it
                whole = whole.length() == 0 ? Buffer.buffer(bytes) : whole.appendBytes(bytes);
            } else if (status == 200) {
                throw tooLong(limits.maxAnswer());
            } else {
                refused();
            }
        });
    }

    private void takeRoom(int bytes) {
        if (!Memory.ANSWERS.take(bytes, (int) received)) {
            throw new RequestRejected(NO_ROOM, "The answers that are being received leave no memory for another one.").retryAfter(1);
        }
    }

    private ChatException tooLong(long max) {
        return tooLong("an answer of more than " + max + " bytes");
    }

    /** The same request would bring as much again: it is paid for, and nobody is asked once more. */
    private ChatException tooLong(String what) {
        chat.tooLate();
        return new RequestRejected("VALIDATION_ERROR", "The provider '" + provider() + "' sent " + what + ": ask for less at once.")
                .withOutcome(TOO_LONG);
    }

    @Override
    public void end() {
        guarded(() -> {
            if (isEvents()) {
                // under another media type, or though none were asked for
                reader = streams ? reader : wire.reader(false);
                events.feed(Bytes.of(whole));
                whole = null;
            }
            if (whole == null) {
                events.end();
                if (!ended && begun && unfinished > 0) {
                    failed("cut", "The provider '" + provider() + "' closed the stream before its end.");
                } else if (!ended) {
                    complete();
                }
            } else if (hasRefused()) {
                refused();
            } else if (streamed) {
                // it does not stream: its answer is paid for, and comes at once
                WholeAnswer all = wire.reader(false).answer(Bytes.of(whole));
                ChatEvent said = ChatEvent.of(all.parts(), all.usage());
                say(said);
                if (said.token() && said.finishReason() == null) {
                    // all of it is there, whatever it says
                    say(ChatEvent.of(List.of(new AnswerPart.Finish(0, "stop")), null));
                }
                complete();
            } else {
                answer(reader.answer(Bytes.of(whole)));
            }
        });
    }

    /** Whether a body is a stream, though nothing in its head or in what was asked says so. */
    private boolean isEvents() {
        if (whole == null || status != 200) {
            return false;
        }
        String begin = whole.getString(0, Math.min(6, whole.length()), "ISO-8859-1");
        return begin.startsWith("data:") || begin.equals("event:") || begin.startsWith(":");
    }

    @Override
    public void broken(Throwable cause) {
        if (!ended && hasStopped()) {
            // it has said why it stops: only its farewell is missing
            guarded(this::complete);
        } else if (hasRefused()) {
            guarded(this::refused);
        } else if (!ended) {
            boolean connect = !upstream.sent();
            if (cause instanceof ConnectTimeoutException) {
                endpoint.timedOut("connect");
            }
            if (connect) {
                endpoint.tell("cannot be reached", cause);
            } else if (!(cause instanceof IOException)) {
                // no connection breaks like this: each call will
                endpoint.tell("sends what cannot be read", cause);
            }
            failed(connect ? "connect" : begun ? "cut" : "reset", connect
                    ? "The provider '" + provider() + "' cannot be reached."
                    : "The connection to the provider '" + provider() + "' broke.");
        }
    }

    /** Whether its status is an error: that is its answer, whatever becomes of the words that should follow. */
    private boolean hasRefused() {
        return status != 0 && status != 200;
    }

    private void refused() {
        fail(wire.failure(provider(), status, retryAfter, Bytes.of(whole)));
    }

    /** Runs a step; whatever it throws is the provider's failure. */
    private void guarded(Runnable step) {
        if (ended) {
            return;
        }
        try {
            step.run();
        } catch (ChatException e) {
            fail(e);
        } catch (Framing.EventTooLong e) {
            fail(tooLong(e.getMessage()));
        } catch (Wire.MalformedAnswer e) {
            failed("malformed", "The provider '" + provider() + "' sent " + e.getMessage() + ".");
        } catch (RuntimeException e) {
            finish(e);
        }
    }

    // --- a streamed answer

    private void event(String type, byte[] bytes, int from, int to) {
        if (ended) {
            return;
        }
        try {
            if (!reader.event(type, bytes, from, to, this::say)) {
                complete();
            }
        } catch (Wire.MalformedAnswer e) {
            endpoint.malformed();
            // what could not be read may be a part of the answer, unless that has said why it ends
            if (!hasStopped()) {
                throw e;
            }
        }
    }

    /** Whether it has said why it stops, and means it. */
    private boolean hasStopped() {
        return begun && unfinished <= 0 && !doubtful;
    }

    private void say(ChatEvent said) {
        length += said.textLength();
        chat.setUsage(said.usage());
        List<AnswerPart> fit = said.bytes() != null ? said.parts() : continuation.fit(said.parts());
        ChatEvent event = fit == said.parts() ? said : ChatEvent.of(fit, said.usage());
        if (said.textLength() > 0 || said.toolCall()) {
            doubtful = said.finishReason() != null && (doubtful || !begun || unfinished <= 0);
            // what goes on has not stopped
            unfinished = Math.max(1, unfinished);
        }
        if (said.token() && !begun) {
            begun = true;
            firstToken = System.nanoTime();
            chat.firstToken();
            if (streams) {
                chat.attempted("200");
                if (!client.committed()) {
                    commit();
                }
            }
        }
        heard = true;
        if (said.finishReason() != null) {
            chat.setFinishReason(said.finishReason());
            unfinished--;
        }
        if (!streams) {
            if (length > limits.maxAnswer()) {
                throw tooLong(limits.maxAnswer());
            }
            event.addTo(collected);
        } else if (client.committed()) {
            send(event);
        } else {
            hold(event);
        }
    }

    private void hold(ChatEvent event) {
        if (event.bytes() == null && event.usage() == null) {
            // no token and in parts: status. An app may take thousands of steps before it says anything; the first ones will do
            if (!event.parts().isEmpty() && early.size() < MAX_EARLY / 2) {
                early.add(event);
            }
            return;
        }
        earlyBytes += event.to() - event.from();
        if (early.size() >= MAX_EARLY || earlyBytes > limits.maxEvent()) {
            throw new Wire.MalformedAnswer("event after event without a token");
        }
        early.add(event.kept());
    }

    private void send(ChatEvent event) {
        chat.sent(event);
        writer.event(event, out());
    }

    /** The head of the stream, and what comes before its first token. */
    private void commit() {
        head();
        client.commit();
        writer.start(chat.agent() != null ? chat.agent().id() : chat.target().toString(), chat.target().model(), out());
        early.forEach(this::send);
        early.clear();
    }

    private void head() {
        client.header(ClientStream.ATTEMPTS, chat.attempts());
        if (!chat.leftOut().isEmpty()) {
            // the names are the caller's: what cannot stand in a header does not
            String names = String.join(", ", chat.leftOut()).replaceAll("[^A-Za-z0-9_.,()\\[\\] -]", "?");
            client.header("Warning", "299 llmchat \"The provider does not know, and was not told: "
                    + names.substring(0, Math.min(names.length(), MAX_WARNING)) + "\"");
        }
    }

    private void complete() {
        if (!begun) {
            failed("malformed", "The provider '" + provider() + "' ended the stream before its first token.");
        } else if (chat.finishReason() == null) {
            failed("cut", "The provider '" + provider() + "' ended the stream without saying why.");
        } else if (streams) {
            writer.end(usage(), out());
            if (chat.holds()) {
                chat.setHeldAnswer(take().getBytes());
            } else {
                client.end(take());
            }
            finish(null);
        } else {
            answer(new WholeAnswer(null, collected, 0, chat.finishReason(), usage()));
        }
    }

    /** What the provider counted, or, where it told nothing, what the texts come to; with what others began. */
    private Usage usage() {
        count();
        return chat.usage();
    }

    private Usage count() {
        Usage counted = chat.callUsage();
        chat.setUsage(counted == null ? Usage.estimate(asked, length) : counted.orEstimated(asked, length));
        return chat.callUsage();
    }

    private Buffer out() {
        if (out == null) {
            out = Buffer.buffer(endpoint.room());
        }
        return out;
    }

    /** What is to be sent, for who sends it now. */
    private Buffer take() {
        Buffer piece = out;
        out = null;
        endpoint.sent(piece.length());
        return piece;
    }

    /** An event may come to nothing for the caller: then nothing is sent, and his silence lasts. */
    private boolean hasToSend() {
        return !ended && client.committed() && out != null && out.length() > 0;
    }

    /** A provider's tokens often come several at once: all that this turn of the loop reads goes in one piece. */
    private void flushSoon() {
        if (!flushing && hasToSend()) {
            flushing = true;
            client.context().runOnContext(v -> {
                flushing = false;
                guarded(this::flush);
            });
        }
    }

    /** Sends what the last bytes of the provider made, in one piece; slows the provider if the client is slow. */
    private void flush() {
        if (!hasToSend()) {
            return;
        }
        client.write(take());
        if (client.full() && !paused && !client.letGo()) {
            paused = true;
            upstream.pause();
            client.whenDrained(this::goOn);
        }
    }

    /** There is room again, or nobody left who lacks it. */
    private void goOn() {
        if (paused && !ended) {
            paused = false;
            lastToken = System.nanoTime();
            upstream.resume();
        }
    }

    // --- an answer in one piece

    private void answer(WholeAnswer answer) {
        chat.firstToken();
        chat.attempted("200");
        length += answer.textLength();
        chat.setUsage(answer.usage());
        chat.setFinishReason(answer.finishReason());
        Buffer body = writer.whole(new WholeAnswer(answer.json(), answer.parts(), answer.textLength(), answer.finishReason(), usage()),
                chat.target().model());
        head();
        if (chat.holds()) {
            chat.whole(answer);
            chat.setHeldAnswer(body.getBytes());
        } else {
            client.json(200, body);
        }
        finish(null);
    }

    // --- time

    /** Ends the call if one of its limits is over; fills a long silence. Called by the {@link Pulse}. */
    void beat(long now) {
        guarded(() -> look(now));
    }

    private void look(long now) {
        if (endpoint.isEnding()) {
            shutDown();
        } else if (hasRefused()) {
            if (now - lastToken > AFTER_FINISH) {
                refused();
            }
        } else if (streams && chat.answeringNanos() > millis(limits.stream())) {
            chat.tooLate();
            timedOut("total", "timeout", "The answer took too long.");
        } else if (!begun && (streamed && now - started > millis(limits.firstToken()) || now - started > millis(patience))) {
            timedOut(streamed ? "first_token" : "total", "timeout", streamed
                    ? "The provider '" + provider() + "' sent no token within " + Math.min(limits.firstToken(), patience) + " ms."
                    : "The provider '" + provider() + "' took too long.");
        } else if (!streams && now - started > millis(patience)) {
            timedOut("total", "timeout", "The provider '" + provider() + "' took too long.");
        } else if (paused) {
            // who has left does not say that there is room, and others may follow the answer; who takes nothing is left by
            // his connection
            if (!client.full() || client.letGo()) {
                goOn();
            }
        } else if (streamed && hasStopped() && now - lastToken > AFTER_FINISH) {
            complete();
        } else if (streamed && begun && !hasStopped() && now - lastToken > millis(limits.idle())) {
            timedOut("idle", "stall", "The provider '" + provider() + "' sent nothing more for " + limits.idle() + " ms.");
        } else if (client.committed() && now - client.wroteAt() > millis(limits.heartbeat())) {
            client.keepAlive();
        }
    }

    private void shutDown() {
        chat.tooLate();
        fail(ChatException.shuttingDown());
    }

    private static long millis(long ms) {
        return TimeUnit.MILLISECONDS.toNanos(ms);
    }

    private void timedOut(String kind, String outcome, String message) {
        endpoint.timedOut(kind);
        fail(new ProviderFailure("UPSTREAM_TIMEOUT", message).withOutcome(outcome));
    }

    // --- the end

    private String provider() {
        return chat.target().provider();
    }

    private void failed(String outcome, String message) {
        fail(new ProviderFailure("UPSTREAM_ERROR", message).withOutcome(outcome));
    }

    /**
     * Once something of this answer was sent, its failure is another one: it cannot be made good by asking again. Of one
     * that is refused because it does not go on where another broke off, nothing was; that it is too long is no fault of who gave it.
     */
    private void fail(ChatException failure) {
        if (failure.getOutcome() != null) {
            chat.attempted(failure.getOutcome());
        }
        if (failure instanceof ProviderRefusal refusal && refusal.usage() != null) {
            chat.setUsage(refusal.usage());
        }
        // some providers repeat the key that they were shown
        endpoint.hideKey(failure);
        finish(begun && streams && !(failure instanceof ProviderRefusal) && !TOO_LONG.equals(failure.getOutcome())
                ? new BrokenAnswer(failure.code(), failure.getMessage()).withOutcome(failure.getOutcome()) : failure);
    }

    /** Whether it was not the provider who ended the call. */
    static boolean givenUp(RuntimeException failure) {
        return failure instanceof ChatException e
                && (GIVEN_UP.contains(e.code()) || e.getOutcome() != null && GIVEN_UP.contains(e.getOutcome()));
    }

    private void finish(RuntimeException failure) {
        if (ended) {
            return;
        }
        if (failure != null && !client.gone()) {
            // what has come is the caller's
            flush();
        }
        if (failure != null && (begun || givenUp(failure) && upstream.sent())) {
            // it was made and is paid for, whoever has left whom; where nothing came, at least what was asked
            chat.setUsage(count().brokenOff(asked, length));
        }
        ended = true;
        if (pieces) {
            Memory.ANSWERS.give((int) received);
        }
        client.whenGone(null);
        if (pulse != null) {
            pulse.remove(this);
        }
        if (failure == null) {
            upstream.release();
        } else {
            upstream.abort();
        }
        done.accept(this, failure);
    }
}
