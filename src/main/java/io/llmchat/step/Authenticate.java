package io.llmchat.step;

import io.llmchat.chat.ApiKey;
import io.llmchat.chat.Caller;
import io.llmchat.chat.ChatException;
import io.llmchat.http.ClientAddress;
import io.llmchat.http.ClientStream;
import io.llmchat.json.Json;
import io.llmchat.store.KeyHash;
import io.llmchat.store.KeyRing;
import io.vertx.core.http.HttpServerRequest;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * Who may do what. In key mode everybody shows a key; what only an administrator may do needs the admin key, where
 * there is one. In open mode (on loopback, unless said otherwise) everybody may chat, and whoever shows a key is its
 * owner. A key that is unknown, malformed, expired or revoked is refused in the same words.
 */
public final class Authenticate {

    /** The exchange property with the user whose request this is. */
    public static final String USER_ID = "userId";
    /** The exchange property with the address that an administrator's request comes from. */
    private static final String ADDRESS = "address";

    private final boolean keys;
    private final byte[] adminKey;
    private final byte[] metricsToken;
    private final boolean generated;
    private final KeyRing ring;
    private final ClientAddress addresses;

    /**
     * @param mode {@code open}, {@code keys}, or empty: open where {@code host} is a loopback address
     * @param adminKey may be empty; then one is made if keys are needed, or others than this machine can reach the gateway
     */
    public Authenticate(String mode, String host, String adminKey, String metricsToken, KeyRing ring, ClientAddress addresses) {
        boolean local = isLoopback(host);
        this.keys = mode.isBlank() ? !local : mode.equals("keys");
        this.generated = (keys || !local) && adminKey.isBlank();
        this.adminKey = Json.utf8(generated ? "llmchat-admin-" + KeyHash.randomDigits() : adminKey);
        this.metricsToken = Json.utf8(metricsToken);
        this.ring = ring;
        this.addresses = addresses;
    }

    private static boolean isLoopback(String host) {
        try {
            return InetAddress.getByName(host).isLoopbackAddress();
        } catch (UnknownHostException e) {
            throw new IllegalArgumentException("HOST is '" + host + "', which cannot be resolved.");
        }
    }

    /** The admin key that was made because none was given, or null. It is to be shown once, at the start. */
    public String generatedAdminKey() {
        return generated ? new String(adminKey, StandardCharsets.UTF_8) : null;
    }

    /** Whether everybody has to show a key. */
    public boolean needsKey() {
        return keys;
    }

    /** A step that lets callers pass, and says who they are: the owner of the key, or, where none is needed, anybody. */
    public Processor caller() {
        return exchange -> enter(exchange, identify(exchange));
    }

    /** A step that lets administrators pass, and says from where: every change that they make is noted with that. */
    public Processor admin() {
        return exchange -> {
            if (adminKey.length > 0 && given(exchange) == null) {
                throw unauthorized();
            }
            Caller caller = identify(exchange);
            if (adminKey.length > 0 && caller != Caller.ADMIN) {
                throw new ChatException("FORBIDDEN", "This needs the admin key.");
            }
            enter(exchange, caller);
            exchange.setProperty(ADDRESS, addresses.whole(ClientStream.of(exchange).request()));
        };
    }

    /** A step that lets those pass who may look inside: administrators, and whoever has the metrics token. */
    public Processor observer() {
        return exchange -> {
            if (keys && !matches(metricsToken, given(exchange)) && identify(exchange) != Caller.ADMIN) {
                throw new ChatException("FORBIDDEN", "This needs the admin key or the metrics token.");
            }
        };
    }

    /** Whether who sends this needs a key, and shows none that is known here already: nobody is asked for it. */
    public boolean isStranger(HttpServerRequest request) {
        String given = keys ? given(request) : null;
        return keys && (given == null || !matches(adminKey, given) && !ring.isKnown(given));
    }

    private static void enter(Exchange exchange, Caller caller) {
        exchange.setProperty(Caller.PROPERTY, caller);
        exchange.setProperty(USER_ID, caller.userId());
    }

    private Caller identify(Exchange exchange) throws Exception {
        String given = given(exchange);
        if (given != null && matches(adminKey, given)) {
            return Caller.ADMIN;
        }
        ApiKey key = given == null ? null : ring.find(given, hash -> SubRoute.KEY.ask(exchange, hash));
        if (key != null) {
            return key.caller();
        }
        // SDKs always send something as a key; who shows one of ours means to be somebody
        if (keys || given != null && KeyHash.isOurs(given)) {
            throw unauthorized();
        }
        return Caller.ANONYMOUS;
    }

    private static boolean matches(byte[] expected, String given) {
        return expected.length > 0 && given != null && MessageDigest.isEqual(expected, Json.utf8(given));
    }

    private static String given(Exchange exchange) {
        return given(ClientStream.of(exchange).request());
    }

    private static String given(HttpServerRequest request) {
        var headers = request.headers();
        String authorization = headers.get("Authorization");
        if (authorization != null && authorization.regionMatches(true, 0, "Bearer ", 0, 7)) {
            return authorization.substring(7).trim();
        }
        return headers.get("x-api-key");
    }

    private static ChatException unauthorized() {
        return new ChatException("UNAUTHORIZED", "A valid key is needed: Authorization: Bearer <key>.");
    }
}
