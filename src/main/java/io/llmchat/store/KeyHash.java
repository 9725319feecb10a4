package io.llmchat.store;

import io.llmchat.json.Json;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.HexFormat;
import java.util.zip.CRC32;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.sql.DataSource;

/**
 * The keys that the gateway makes, and what it keeps of them. A key is {@code llmchat_sk_}, 256 random bits in hex, and
 * the CRC-32 of these 64 digits in hex, by which one that was cut or mistyped is told from one of ours without asking
 * anybody. It is kept as its HMAC-SHA-256 (RFC 2104) under a secret that all instances share. Safe for all threads.
 */
public final class KeyHash {

    /** How a key of ours begins. */
    public static final String PREFIX = "llmchat_sk_";

    /** The digits after the prefix that lists may show. */
    private static final int SHOWN = 8;
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final int RANDOM_DIGITS = 64;
    private static final int LENGTH = PREFIX.length() + RANDOM_DIGITS + 8;

    /** Never fed itself: each hash is made by a copy, which is cheaper than a lock or a new one. */
    private final Mac mac;

    /**
     * @param secret what the hashes are made with; empty: one that is made once and kept in the database. Keys that were
     *        made under another one are not recognised.
     */
    public KeyHash(DataSource database, String secret) throws GeneralSecurityException, SQLException {
        mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Json.utf8(secret.isEmpty() ? shared(database) : secret), "HmacSHA256"));
    }

    private String shared(DataSource database) throws SQLException {
        try (Connection c = database.getConnection();
             var insert = c.prepareStatement("INSERT INTO settings VALUES ('key-hash-secret', ?) ON CONFLICT DO NOTHING");
             var select = c.prepareStatement("SELECT value FROM settings WHERE name = 'key-hash-secret'")) {
            insert.setString(1, randomDigits());
            insert.executeUpdate();
            try (var row = select.executeQuery()) {
                row.next();
                return row.getString(1);
            }
        }
    }

    /** 256 random bits in hex. */
    public static String randomDigits() {
        byte[] bytes = new byte[RANDOM_DIGITS / 2];
        RANDOM.nextBytes(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    /** A new key. */
    public String make() {
        String digits = randomDigits();
        return PREFIX + digits + checksum(digits);
    }

    private static String checksum(String digits) {
        CRC32 crc = new CRC32();
        crc.update(Json.utf8(digits));
        return HexFormat.of().toHexDigits((int) crc.getValue());
    }

    /** Whether a text has the form of a key of ours: one that does not was never made here. */
    public static boolean isOurs(String text) {
        int end = PREFIX.length() + RANDOM_DIGITS;
        return text.length() == LENGTH && text.startsWith(PREFIX)
                && text.regionMatches(end, checksum(text.substring(PREFIX.length(), end)), 0, 8);
    }

    /** What lists show of a key. */
    public static String shown(String key) {
        return key.substring(0, PREFIX.length() + SHOWN);
    }

    /** What is kept of a key: 32 bytes. */
    public byte[] of(String key) {
        try {
            return ((Mac) mac.clone()).doFinal(Json.utf8(key));
        } catch (CloneNotSupportedException e) {
            throw new IllegalStateException("this JDK's HmacSHA256 cannot be copied", e);
        }
    }
}
