package io.llmchat.llm;

import io.llmchat.chat.BrokenAnswer;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ClientGone;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.dialect.AnswerWriter;
import io.llmchat.http.ClientStream;
import io.vertx.core.MultiMap;
import io.vertx.core.buffer.Buffer;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * Moves one answer from a provider to the client, on the event loop of the client, and wakes the request's thread
 * once, at the end. Sends nothing before the first token, so that until then a failure can be made good by another
 * call. A slow reader slows its own provider connection; a reader that leaves closes it.
 */
final class Relay implements Upstream.Receiver {

    private static final int MAX_ERROR_BODY = 65_536;

    private final Chat chat;
    private final ClientStream client;
    private final AnswerWriter writer;
    private final Wire wire;
    private final Upstream upstream;
    private final Limits limits;
    private final boolean streamed;
    private final boolean wantsText;
    private final CompletableFuture<Void> done = new CompletableFuture<>();
    private final SseReader events;

    private final long started = System.nanoTime();
    private long lastToken = started;
    private long lastWrite = started;
    private int status;
    private String retryAfter;
    private Buffer whole;
    private Buffer out = Buffer.buffer();
    private boolean paused;
    private boolean ended;

    Relay(Chat chat, Wire wire, Upstream upstream, Limits limits) {
        this.chat = chat;
        this.client = chat.client();
        this.writer = chat.writer();
        this.wire = wire;
        this.upstream = upstream;
        this.limits = limits;
        this.streamed = chat.request().stream();
        this.wantsText = writer.wantsText();
        chat.finishReason(null);
        this.events = new SseReader(limits.maxEvent(), this::event);
    }

    /**
     * Carries the answer over; returns when it is complete.
     *
     * @throws ProviderFailure or its kin if it failed before the first token
     * @throws BrokenAnswer if it failed after it
     * @throws ClientGone if the caller left
     */
    void run() throws InterruptedException {
        client.context().runOnContext(v -> begin());
        try {
            done.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof ChatException c ? c : new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            client.context().runOnContext(v -> fail(new ProviderFailure("UPSTREAM_ERROR", "The gateway is stopping.")));
            throw e;
        }
    }

    private void begin() {
        if (client.gone()) {
            finish(new ClientGone());
            return;
        }
        client.whenGone(() -> finish(new ClientGone()));
        Pulse.ofThisLoop().add(client.context().owner(), this);
        guarded(() -> upstream.start(this));
    }

    @Override
    public void head(int code, MultiMap headers) {
        status = code;
        retryAfter = headers.get("Retry-After");
        String type = headers.get("Content-Type");
        boolean sse = type != null && type.regionMatches(true, 0, "text/event-stream", 0, 17);
        if (code != 200 || !streamed || !sse) {
            whole = Buffer.buffer();
        }
    }

    @Override
    public void data(Buffer bytes) {
        guarded(() -> {
            if (whole == null) {
                events.feed(bytes.getBytes());
                flush();
            } else if (whole.length() + bytes.length() <= (status == 200 ? limits.maxAnswer() : MAX_ERROR_BODY)) {
                whole.appendBuffer(bytes);
            } else if (status == 200) {
                throw new Wire.MalformedAnswer("an answer of more than " + limits.maxAnswer() + " bytes");
            }
        });
    }

    @Override
    public void end() {
        guarded(() -> {
            if (whole == null) {
                events.end();
                flush();
                if (!ended && chat.finishReason() != null) {
                    complete();
                } else if (!ended) {
                    failed("cut", "The provider '" + provider() + "' closed the stream before its end.");
                }
            } else if (status != 200) {
                ChatException failure = wire.failure(provider(), status, retryAfter, whole.getBytes());
                chat.attempted(Integer.toString(status));
                finish(failure);
            } else if (streamed) {
                wire.answer(whole.getBytes());
                throw new Wire.MalformedAnswer("an answer that is not streamed, though a stream was asked for");
            } else {
                answer(wire.answer(whole.getBytes()));
            }
        });
    }

    @Override
    public void broken(Throwable cause) {
        if (!ended) {
            boolean connect = cause instanceof ConnectException || cause instanceof UnknownHostException;
            failed(connect ? "connect" : client.committed() ? "cut" : "reset", connect
                    ? "The provider '" + provider() + "' cannot be reached."
                    : "The connection to the provider '" + provider() + "' broke.");
        }
    }

    /** Runs a step; whatever it throws is the provider's failure. */
    private void guarded(Runnable step) {
        if (ended) {
            return;
        }
        try {
            step.run();
        } catch (ChatException e) {
            chat.attempted("error");
            fail(e);
        } catch (Wire.MalformedAnswer | SseReader.EventTooLong e) {
            failed("malformed", "The provider '" + provider() + "' sent " + e.getMessage() + ".");
        } catch (RuntimeException e) {
            finish(e);
        }
    }

    // --- a streamed answer

    private void event(String type, byte[] bytes, int from, int to) {
        if (!ended && !wire.event(type, bytes, from, to, wantsText, this::say)) {
            complete();
        }
    }

    private void say(ChatEvent event) {
        if (event.token() && !client.committed()) {
            chat.firstToken();
            chat.attempted("200");
            client.header("X-LLMChat-Attempts", chat.attempts());
            client.commit();
            Buffer held = out;
            out = Buffer.buffer(held.length() + 1024);
            writer.start(chat.agent() != null ? chat.agent().id() : chat.target().toString(), out);
            out.appendBuffer(held);
        }
        lastToken = System.nanoTime();
        chat.usage(event.usage());
        if (event.finishReason() != null) {
            chat.finishReason(event.finishReason());
        }
        writer.event(event, out);
    }

    private void complete() {
        if (!client.committed()) {
            failed("malformed", "The provider '" + provider() + "' ended the stream before its first token.");
            return;
        }
        writer.end(out);
        client.end(out);
        finish(null);
    }

    /** Sends what the last bytes of the provider made, in one piece; slows the provider if the client is slow. */
    private void flush() {
        if (ended || !client.committed() || out.length() == 0) {
            return;
        }
        client.write(out);
        out = Buffer.buffer(256);
        lastWrite = System.nanoTime();
        if (client.full() && !paused) {
            paused = true;
            upstream.pause();
            client.whenDrained(() -> {
                paused = false;
                lastToken = System.nanoTime();
                lastWrite = lastToken;
                if (!ended) {
                    upstream.resume();
                }
            });
        }
    }

    // --- an answer in one piece

    private void answer(WholeAnswer answer) {
        chat.firstToken();
        chat.attempted("200");
        chat.usage(answer.usage());
        chat.finishReason(answer.finishReason());
        Buffer body = writer.whole(answer);
        client.header("X-LLMChat-Attempts", chat.attempts());
        if (chat.holds()) {
            chat.heldAnswer(body.getBytes());
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
        if (now - started > millis(streamed ? limits.stream() : limits.request())) {
            timedOut(client.committed() ? "The answer took too long." : "The provider '" + provider() + "' took too long.");
        } else if (streamed && !client.committed()) {
            if (now - started > millis(limits.firstToken())) {
                timedOut("The provider '" + provider() + "' sent no token within " + limits.firstToken() + " ms.");
            }
        } else if (paused) {
            if (now - lastWrite > millis(limits.idle())) {
                // nobody reads any more
                client.abort();
                finish(new ClientGone());
            }
        } else if (streamed && now - lastToken > millis(limits.idle())) {
            chat.attempted("stall");
            fail(new BrokenAnswer("UPSTREAM_TIMEOUT",
                    "The provider '" + provider() + "' sent nothing more for " + limits.idle() + " ms."));
        } else if (streamed && now - lastWrite > millis(limits.heartbeat())) {
            client.keepAlive();
            lastWrite = now;
        }
    }

    private static long millis(long ms) {
        return TimeUnit.MILLISECONDS.toNanos(ms);
    }

    private void timedOut(String message) {
        chat.attempted("timeout");
        fail(client.committed() ? new BrokenAnswer("UPSTREAM_TIMEOUT", message) : new ProviderFailure("UPSTREAM_TIMEOUT", message));
    }

    // --- the end

    private String provider() {
        return chat.target().provider();
    }

    private void failed(String attempt, String message) {
        chat.attempted(attempt);
        fail(new ProviderFailure("UPSTREAM_ERROR", message));
    }

    private void fail(ChatException failure) {
        finish(client.committed() && !(failure instanceof BrokenAnswer)
                ? new BrokenAnswer(failure.code(), failure.getMessage()) : failure);
    }

    private void finish(RuntimeException failure) {
        if (ended) {
            return;
        }
        ended = true;
        client.whenGone(null);
        Pulse.ofThisLoop().remove(this);
        if (failure == null) {
            upstream.release();
            done.complete(null);
        } else {
            upstream.abort();
            done.completeExceptionally(failure);
        }
    }
}
