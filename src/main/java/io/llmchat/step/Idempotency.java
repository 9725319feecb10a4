package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.http.ClientStream;
import io.llmchat.store.AnswerRepository;
import io.vertx.core.buffer.Buffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** The steps of {@code deduplicate}: which key a request has, and what was answered to it before. */
public final class Idempotency {

    /** The exchange property with the key; absent: the request has none. */
    public static final String KEY = "idempotencyKey";

    private final AnswerRepository answers;

    public Idempotency(AnswerRepository answers) {
        this.answers = answers;
    }

    /** A step that reads the key. It is kept apart by path, so that the same key can be used on two of them. */
    public Processor readKey() {
        return exchange -> {
            ClientStream client = ClientStream.of(exchange);
            String given = client.request().headers().get("Idempotency-Key");
            if (given == null) {
                return;
            }
            String key = given.length() >= 2 && given.startsWith("\"") && given.endsWith("\"")
                    ? given.substring(1, given.length() - 1) : given;
            if (!key.matches("[\\x21-\\x7e]{1,255}")) {
                throw ChatException.invalid("Idempotency-Key", "Idempotency-Key takes 1 to 255 visible characters.");
            }
            Chat chat = Chat.of(exchange);
            if (!chat.request().stream()) {
                chat.idempotencyKey(client.request().path() + " " + key);
                exchange.setProperty(KEY, chat.idempotencyKey());
            }
        };
    }

    /** A step for the first request with a key: notes what it asks. */
    public Processor noteFirst() {
        return exchange -> answers.fingerprint(exchange, Chat.of(exchange).idempotencyKey(), fingerprint(exchange));
    }

    /** A step for a repeated request: answers it as the first was answered. */
    public Processor replay() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            AnswerRepository.Kept kept = answers.get(chat.idempotencyKey());
            if (kept != null && kept.fingerprint() != null && !MessageDigest.isEqual(kept.fingerprint(), fingerprint(exchange))) {
                throw new ChatException("IDEMPOTENCY_KEY_REUSED",
                        "This Idempotency-Key was used for a request with another body.");
            }
            if (kept == null || kept.body() == null) {
                throw new ChatException("IDEMPOTENCY_IN_FLIGHT",
                        "A request with this Idempotency-Key is being answered.").retryAfter(1);
            }
            chat.client().header("Idempotent-Replayed", "true");
            chat.client().json(200, Buffer.buffer(kept.body()));
        };
    }

    /** A step for a request that failed: the next one with its key is a first one again. */
    public Processor release() {
        return exchange -> answers.remove(exchange, exchange.getProperty(KEY, String.class));
    }

    /** A step at the end: keeps the answer, before it is sent. */
    public Processor keep() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            answers.keep(exchange, chat.idempotencyKey(), chat.heldAnswer());
        };
    }

    private static byte[] fingerprint(Exchange exchange) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(Chat.of(exchange).request().body());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
