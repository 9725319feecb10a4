package io.llmchat.step;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ApiKey;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Quota;
import io.llmchat.http.Ids;
import io.llmchat.json.Json;
import io.llmchat.store.KeyHash;
import io.llmchat.store.KeyRing;
import java.io.IOException;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.HexFormat;
import java.util.Set;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** The steps of the routes that show and change keys and their users. */
public final class Keys {

    /** The exchange property with a key that was just made: for the answer, and for nothing else. */
    private static final String MADE = "madeKey";
    /** No key is good until then: years are written with four digits. */
    private static final Instant LAST = Instant.parse("9999-12-31T00:00:00Z");

    private final KeyHash hash;
    private final KeyRing ring;

    public Keys(KeyHash hash, KeyRing ring) {
        this.hash = hash;
        this.ring = ring;
    }

    /** A step: the body describes a key; makes one, and adds to the body what is kept of it. */
    public Processor readNew() {
        return exchange -> {
            ObjectNode json = JsonBody.read(exchange);
            ApiKey.check(json, Set.of());
            if (json.hasNonNull("expiresAt")) {
                Instant end = OffsetDateTime.parse(json.path("expiresAt").asText()).toInstant();
                if (!end.isAfter(Instant.now()) || !end.isBefore(LAST)) {
                    throw ChatException.invalid("expiresAt", "expiresAt must be a time to come, before " + LAST + ".");
                }
                // the database knows fewer offsets than RFC 3339
                json.put("expiresAt", end.toString());
            }
            String key = hash.make();
            exchange.setProperty(MADE, key);
            ObjectNode kept = json.put("id", Ids.next()).put("prefix", KeyHash.shown(key))
                    .put("hash", HexFormat.of().formatHex(hash.of(key)));
            exchange.getMessage().setBody(kept.toString());
        };
    }

    /** A step: the body is a key as it is listed; adds the key itself, this once. */
    public Processor show() {
        return exchange -> {
            ObjectNode shown = document(exchange);
            shown.put("key", (String) exchange.removeProperty(MADE));
            exchange.getMessage().setBody(shown.toString());
        };
    }

    /** A step: the body is a key that was revoked, with its hash: nobody gets in with it any more. */
    public Processor revoked() {
        return exchange -> {
            ObjectNode key = document(exchange);
            ring.changed(key.remove("hash").asText());
            exchange.getMessage().setBody(key.toString());
        };
    }

    /** A step: the body has the members of the user in the path that shall change. */
    public Processor readUser() {
        return exchange -> {
            ObjectNode user = JsonBody.read(exchange);
            user.retain("name", "limits");
            String id = exchange.getMessage().getHeader("id", String.class);
            ApiKey.checkText(user.deepCopy().put("id", id), "id", ApiKey.USER_ID, ApiKey.USER_ID_TAKES);
            if (user.hasNonNull("name")) {
                ApiKey.checkText(user, "name", ApiKey.NAME, ApiKey.NAME_TAKES);
            }
            if (user.hasNonNull("limits")) {
                Quota.check(user.path("limits"), "limits");
            }
            exchange.getMessage().setBody(user.put("id", id).toString());
        };
    }

    /** A step: a user was written, and stands in all that is kept of the keys. */
    public Processor userWritten() {
        return exchange -> ring.allChanged();
    }

    /** A step: the body is what the database found; nothing found is an error. */
    public Processor mustBeThere() {
        return exchange -> {
            if (exchange.getMessage().getBody() == null) {
                throw new ChatException("NOT_FOUND", "There is nothing with this id.");
            }
        };
    }

    private static ObjectNode document(Exchange exchange) throws IOException {
        return (ObjectNode) Json.MAPPER.readTree(exchange.getMessage().getBody(String.class));
    }
}
