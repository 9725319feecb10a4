package io.llmchat.step;

import io.llmchat.chat.ChatException;
import io.llmchat.http.ClientStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HexFormat;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * Who may do what. In key mode everybody shows a key; what only an administrator may do needs the admin key, where
 * there is one. In open mode (on loopback, unless said otherwise) everybody may chat.
 */
public final class Authenticate {

    /** The exchange property with the user whose request this is. */
    public static final String USER_ID = "userId";

    private final boolean keys;
    private final byte[] adminKey;
    private final byte[] metricsToken;
    private final boolean generated;

    /**
     * @param mode {@code open}, {@code keys}, or empty: open where {@code host} is a loopback address
     * @param adminKey may be empty; then one is made if keys are needed
     */
    public Authenticate(String mode, String host, String adminKey, String metricsToken) throws UnknownHostException {
        this.keys = mode.isBlank() ? !InetAddress.getByName(host).isLoopbackAddress() : mode.equals("keys");
        this.generated = keys && adminKey.isBlank();
        this.adminKey = bytes(generated ? newKey() : adminKey);
        this.metricsToken = bytes(metricsToken);
    }

    private static String newKey() {
        byte[] random = new byte[32];
        new SecureRandom().nextBytes(random);
        return "llmchat-admin-" + HexFormat.of().formatHex(random);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** The admin key that was made because none was given, or null. It is to be shown once, at the start. */
    public String generatedAdminKey() {
        return generated ? new String(adminKey, StandardCharsets.UTF_8) : null;
    }

    /** A step that lets callers pass, and says who they are: the owner of the key, or, where none is needed, anybody. */
    public Processor caller() {
        return exchange -> {
            if (keys && !isAdmin(exchange)) {
                throw unauthorized();
            }
            exchange.setProperty(USER_ID, keys ? "admin" : "anonymous");
        };
    }

    /** A step that lets administrators pass. */
    public Processor admin() {
        return exchange -> {
            if (adminKey.length > 0 && !isAdmin(exchange)) {
                throw given(exchange) == null ? unauthorized()
                        : new ChatException("FORBIDDEN", "This needs the admin key.");
            }
        };
    }

    /** A step that lets those pass who may look inside: administrators, and whoever has the metrics token. */
    public Processor observer() {
        return exchange -> {
            if (keys && !isAdmin(exchange) && !matches(metricsToken, given(exchange))) {
                throw unauthorized();
            }
        };
    }

    private boolean isAdmin(Exchange exchange) {
        return matches(adminKey, given(exchange));
    }

    private static boolean matches(byte[] expected, String given) {
        return expected.length > 0 && given != null && MessageDigest.isEqual(expected, bytes(given));
    }

    private static String given(Exchange exchange) {
        var headers = ClientStream.of(exchange).request().headers();
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
