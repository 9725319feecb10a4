package io.llmchat.store;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.llmchat.chat.ApiKey;
import io.llmchat.chat.ChatException;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keys that stand in a YAML file, for those who run without a database to administer: a list of entries
 * {@code {name, userId, expiresAt?, agents?, models?, limits?}}, each with the key itself, {@code key}, or with
 * {@code sha256}, the SHA-256 of the key in hex. Only the hash is held here. Safe for all threads.
 */
public final class KeyFile {

    private static final Logger LOG = LoggerFactory.getLogger(KeyFile.class);
    private static final YAMLMapper YAML = YAMLMapper.builder().enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION).build();

    private final Path file;
    /** As the file was when it was read, and when it was last looked at. */
    private String readAs;
    private String seen;
    private String fault;
    private volatile Map<String, ApiKey> keys = Map.of();

    /**
     * @param path empty: there is no file
     * @throws IllegalArgumentException a sentence that names the file and the entry which cannot be used
     */
    public KeyFile(String path) {
        this.file = path.isBlank() ? null : Path.of(path);
        if (file != null) {
            keys = read();
        }
    }

    /** The key, or null if it does not stand in the file. */
    public ApiKey find(String key) {
        Map<String, ApiKey> now = keys;
        return now.isEmpty() ? null : now.get(HexFormat.of().formatHex(sha256(key)));
    }

    /**
     * Reads the file again if it was changed, and is now as it was the last time: who writes it has done so. Where it cannot
     * be used the keys stay as they were, and why is said once.
     */
    public synchronized void reread() {
        if (file == null) {
            return;
        }
        try {
            String before = seen;
            seen = version();
            if (seen.equals(before) && !seen.equals(readAs)) {
                keys = read();
                LOG.info("Read {} keys from {}", keys.size(), file);
            }
            fault = null;
        } catch (IllegalArgumentException | IOException e) {
            String now = e instanceof IOException ? unreadable() : e.getMessage();
            if (!now.equals(fault)) {
                LOG.warn("The keys stay as they were: {}", now);
            }
            fault = now;
        }
    }

    private String version() throws IOException {
        return Files.getLastModifiedTime(file) + " " + Files.size(file);
    }

    private String unreadable() {
        return "KEYS_FILE " + file + " cannot be read.";
    }

    private Map<String, ApiKey> read() {
        JsonNode list;
        try {
            String version = version();
            byte[] content = Files.readAllBytes(file);
            // not before: what could not be read is read when it can be, though it was not changed
            readAs = version;
            list = YAML.readTree(content);
        } catch (JacksonException e) {
            // its own message would show the line, and with it a key
            throw new IllegalArgumentException("KEYS_FILE " + file + " is not YAML: see line "
                    + (e.getLocation() == null ? "1" : e.getLocation().getLineNr()) + ".");
        } catch (IOException e) {
            throw new IllegalArgumentException(unreadable());
        }
        if (list.isMissingNode() || list.isNull()) {
            return Map.of();
        }
        if (!list.isArray()) {
            throw new IllegalArgumentException("KEYS_FILE " + file + " takes a list: each entry begins with a hyphen.");
        }
        Map<String, ApiKey> read = new HashMap<>();
        Set<String> names = new HashSet<>();
        for (int i = 0; i < list.size(); i++) {
            String where = "KEYS_FILE " + file + ", entry " + (i + 1) + (list.get(i).path("name").isTextual()
                    ? " (" + list.get(i).path("name").asText() + ")" : "") + ": ";
            try {
                ApiKey key = entry(list.get(i));
                if (!names.add(key.caller().keyId()) || read.put(HexFormat.of().formatHex(key.hash()), key) != null) {
                    throw ChatException.invalid("name", "an entry above has this name, or this key.");
                }
            } catch (ChatException e) {
                throw new IllegalArgumentException(where + e.getMessage());
            }
        }
        return Map.copyOf(read);
    }

    private static ApiKey entry(JsonNode json) {
        ApiKey.check(json, Set.of("key", "sha256"));
        String key = json.path("key").asText("");
        String hash = json.path("sha256").asText("");
        if (json.has("key") == json.has("sha256")) {
            throw ChatException.invalid("key", "it needs either key or sha256.");
        }
        if (json.has("key") && !key.matches("[\\x21-\\x7e]{32,}")) {
            throw ChatException.invalid("key", "key must have at least 32 visible characters.");
        }
        if (json.has("sha256") && !hash.matches("(?i)[0-9a-f]{64}")) {
            throw ChatException.invalid("sha256", "sha256 must be 64 hexadecimal digits: printf %s \"$KEY\" | sha256sum.");
        }
        ObjectNode document = ((ObjectNode) json.deepCopy()).put("id", "file:" + json.path("name").asText());
        return ApiKey.read(document.put("hash", json.has("key") ? HexFormat.of().formatHex(sha256(key)) : hash));
    }

    private static byte[] sha256(String key) {
        return Bytes.sha256(Json.utf8(key));
    }
}
