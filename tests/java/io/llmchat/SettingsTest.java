package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the environment may say, and that the three places which know its variables know the same ones. */
class SettingsTest {

    /** Variables that take any text: whether it is right only the store, the provider or the disk can say. */
    private static final Set<String> FREE_TEXT = Set.of("DB_USER", "ROUTES_DIR");

    private static List<String> faults(String name, String value) {
        return Settings.faults(Map.of(name, value));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "PORT                          | 70000               | a whole number from 0 to 65535",
        "PORT                          | http                | a whole number from 0 to 65535",
        "MAX_BODY_BYTES                | 1MB                 | a whole number from 1024 to 1073741824",
        "REQUEST_TIMEOUT               | 30s                 | a whole number from 1 to 3600000",
        "RETRY_MAX_RETRIES             | -1                  | a whole number from 0 to 20",
        "RETRY_BACKOFF_FACTOR          | 0.5                 | a number from 1 to 99",
        "RETRY_ENABLE_JITTER           | yes                 | true or false",
        "RATE_LIMIT_MAX_REQUESTS       | 99999999999999999999| a whole number from 0 to 1000000",
        "RATE_LIMIT_POINTS             | 1.5                 | a whole number from 0 to 1000000000",
        "INSTANCES                     | 0                   | a whole number from 1 to 10000",
        "TRUSTED_PROXIES               | proxy.example       | a comma-separated list of addresses and CIDR ranges",
        "AUTH_MODE                     | none                | open or keys",
        "LOG_FORMAT                    | xml                 | text or json",
        "LOG_LEVEL                     | loud                | trace, debug, info, warn or error",
        "HOST                          | a b                 | a host name or address",
        "HOST                          | 0                   | a host name or address",
        "DB_HOST                       | //db.example        | a host name or address",
        "REDIS_HOST                    | redis://r.example   | a host name or address",
        "OPENAI_BASE_URL               | ftp://host/v1       | an http or https URL",
        "OPENAI_BASE_URL               | api.openai.com/v1   | an http or https URL",
        "OLLAMA_BASE_URL               | //localhost:1/v1    | an http or https URL",
        "OLLAMA_BASE_URL               | http://host:65536/v1| an http or https URL",
        "OLLAMA_BASE_URL               | http:// /v1         | an http or https URL",
        "FRONTEND_URL                  | *                   | a comma-separated list of origins, such as https://chat.example.com",
        "FRONTEND_URL                  | https://A.example   | a comma-separated list of origins, such as https://chat.example.com",
        "FRONTEND_URL                  | localhost:5173      | a comma-separated list of origins, such as https://chat.example.com",
        "FRONTEND_URL                  | https://a.example/  | a comma-separated list of origins, such as https://chat.example.com",
        "DEFAULT_FALLBACKS             | openai/a,gpt        | a comma-separated list of <provider>/<model>"})
    void aFaultNamesTheVariableItsValueAndWhatItTakes(String name, String value, String takes) {
        assertEquals(List.of(name + " is '" + value + "'; it takes " + takes + "."), faults(name, value));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "PORT | 0", "PORT | 65535", "HOST | ::1", "HOST | gateway.example.com", "AUTH_MODE | keys", "LOG_LEVEL | DEBUG",
        "RETRY_MAX_RETRIES | 0", "RETRY_BACKOFF_FACTOR | 1.5", "RATE_LIMIT_MAX_REQUESTS | 0", "TRUSTED_PROXIES | 10.0.0.0/8, ::1",
        "LIMITS | global points=9 duration=60; model openai/* budgetPerMonth=99.5", "OPENAI_BASE_URL | HTTPS://api.example.com/v1/",
        "OLLAMA_BASE_URL | http://[::1]:11434/v1", "OLLAMA_BASE_URL | http://my_ollama:65535/v1",
        "OPENAI_BASE_URL | https://api.example.com/v1?api-version=1", "DEFAULT_FALLBACKS | openai/a, ollama/org/b:free", "ADMIN_API_KEY | 0123456789abcdef",
        "DB_HOST | ''", "DB_HOST | my_db.example,[::2]", "REDIS_HOST | [::1]", "REDIS_HOST | 10.0.0.7",
        "FRONTEND_URL | https://a.example,http://localhost:5173",
        "FRONTEND_URL | app://localhost, tauri://localhost,capacitor://localhost, chrome-extension://abcdefghijklmnop"})
    void whatCanBeUsedIsNoFault(String name, String value) {
        assertEquals(List.of(), faults(name, value));
    }

    /** Camel would take it apart, or for something else, and none of its beans would be made, or with another value. */
    @ParameterizedTest
    @ValueSource(strings = {"01234567890123456789012345678901", "0123456789-0123456789-012\"456789-", "0\"23456789-0123456789-012\"456789-",
        "#bean:789-0123456789-0123456789-", "{{0123456789-0123456789-01234567", "0123456789-0123456789-01234567}}", "${bodies}-0123456789-0123456789-"})
    void whatDoesNotComeToItsBeanAsItIsIsAFault(String value) {
        for (String name : List.of("ADMIN_API_KEY", "METRICS_TOKEN", "KEY_HASH_SECRET", "DEFAULT_MODEL", "KEYS_FILE")) {
            assertEquals(1, faults(name, value).size(), name);
            assertEquals(List.of(), faults(name, "it's-#{}$-0123456789-0123456789-0123"), name);
        }
    }

    /** Camel's own message would have it in it. */
    @ParameterizedTest
    @ValueSource(strings = {"hunter{{2", "hunter}}2", "#bean:hunter2", "#property:hunter2", "#valueAs(String):hunter2", "#autowired", "hunter2\n"})
    void aPasswordThatDoesNotComeToItsStoreAsItIsIsAFault(String value) {
        for (String name : List.of("DB_PASSWORD", "REDIS_PASSWORD")) {
            assertEquals(List.of(name + " is set to something else; it takes a password without a line end, control characters, {{ or }},"
                    + " and none of #bean:, #class:, #type:, #property:, #valueAs( and #autowired first."), faults(name, value));
            assertEquals(List.of(), faults(name, "#hunter {2} $\"'\\ä"), name);
        }
    }

    @Test
    void allFaultsAreToldAtOnce() {
        assertEquals(2, Settings.faults(Map.of("PORT", "x", "DB_PORT", "0", "HOST", "localhost")).size());
    }

    @Test
    void anEmptyEnvironmentHasNoFaults() {
        assertEquals(List.of(), Settings.faults(Map.of()));
    }

    @Test
    void theDefaultsCanBeUsed() throws IOException {
        Map<String, String> defaults = defaults();
        // who has set none of them relies on these
        Map.ofEntries(Map.entry("PORT", "3001"), Map.entry("HOST", "127.0.0.1"), Map.entry("DATA_DIR", "./data"),
                Map.entry("RATE_LIMIT_MAX_REQUESTS", "1000"), Map.entry("RATE_LIMIT_WINDOW_MS", "60000"), Map.entry("RATE_LIMIT_POINTS", "1000"),
                Map.entry("RATE_LIMIT_DURATION", "60"), Map.entry("RATE_LIMIT_BLOCK_DURATION", "60"), Map.entry("MAX_CONCURRENT_REQUESTS", "1000"),
                Map.entry("MAX_BODY_BYTES", "1048576"), Map.entry("REQUEST_TIMEOUT", "30000"), Map.entry("STREAM_TIMEOUT", "300000"),
                Map.entry("STREAM_IDLE_TIMEOUT", "30000"), Map.entry("CIRCUIT_BREAKER_TIMEOUT", "10000"), Map.entry("DB_PORT", "5432"),
                Map.entry("DB_NAME", "llmchat"), Map.entry("DB_MAX_CONNECTIONS", "50"), Map.entry("DB_MIN_CONNECTIONS", "5"),
                Map.entry("DB_IDLE_TIMEOUT", "30000"), Map.entry("DB_CONNECTION_TIMEOUT", "10000"), Map.entry("REDIS_PORT", "6379"),
                Map.entry("REDIS_DB", "0"), Map.entry("REDIS_MAX_RETRIES", "10"), Map.entry("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "5"),
                Map.entry("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", "3"), Map.entry("CIRCUIT_BREAKER_RESET_TIMEOUT", "30000"),
                Map.entry("RETRY_MAX_RETRIES", "3"), Map.entry("RETRY_BASE_DELAY", "1000"), Map.entry("RETRY_MAX_DELAY", "10000"),
                Map.entry("RETRY_BACKOFF_FACTOR", "2"), Map.entry("RETRY_ENABLE_JITTER", "true"), Map.entry("SENTRY_ENABLED", "false"),
                Map.entry("SENTRY_TRACES_SAMPLE_RATE", "0.1"), Map.entry("RESUME_GRACE", "15000"), Map.entry("MIDSTREAM", "continue"),
                Map.entry("IDEMPOTENCY_IN_FLIGHT", "join"), Map.entry("INSTANCES", "1"), Map.entry("STORE_MESSAGES", "true"),
                Map.entry("RETENTION_DAYS", "0"), Map.entry("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                Map.entry("OLLAMA_BASE_URL", "http://localhost:11434/v1"))
                .forEach((name, value) -> assertEquals(value, defaults.get(name), name));
        assertEquals(List.of(), Settings.faults(defaults));
    }

    @Test
    void anEmptyValueIsAFaultWhereItWouldReplaceADefault() throws IOException {
        assertEquals(List.of("PORT is ''; it takes a whole number from 0 to 65535."), faults("PORT", ""));
        defaults().forEach((name, value) -> {
            if (checked().contains(name)) {
                assertEquals(value.isEmpty() ? 0 : 1, faults(name, "").size(), name);
            }
        });
    }

    @Test
    void secretsAreNotRepeated() {
        for (String name : checked()) {
            if (name.matches(".*(KEY|TOKEN|PASSWORD|SECRET|DSN)")) {
                String fault = faults(name, "hunter 2}}").get(0);
                assertTrue(fault.startsWith(name + " is set to something else; it takes "), fault);
                assertFalse(fault.contains("hunter"), fault);
            }
        }
        assertEquals(1, faults("ADMIN_API_KEY", "short").size());
        assertEquals(1, faults("METRICS_TOKEN", "with spaces in it, though long").size());
    }

    @ParameterizedTest
    @CsvSource({"OPENAI_BASE_URL, http://me:hunter2@host/v1", "OLLAMA_BASE_URL, host/v1?key=hunter2", "DB_HOST, postgres://me:hunter2@db/llmchat",
        "REDIS_HOST, :hunter2@redis", "OTEL_EXPORTER_OTLP_ENDPOINT, me:hunter2@collector:4318"})
    void urlsThatMayHaveASecretAreNotRepeated(String name, String value) {
        String fault = faults(name, value).get(0);
        assertTrue(fault.startsWith(name + " is set to something else; it takes "), fault);
    }

    @Test
    void everyVariableThatIsReadIsCheckedOrFreeText() throws IOException {
        Set<String> unchecked = read();
        unchecked.removeAll(checked());
        assertEquals(new TreeSet<>(FREE_TEXT), unchecked);
    }

    @Test
    void everyVariableThatIsCheckedIsRead() throws IOException {
        Set<String> unread = checked();
        unread.removeAll(read());
        assertEquals(Set.of(), unread);
    }

    /** All variables with a check: an environment in which each of them has a value that none takes. */
    private static Set<String> checked() {
        Map<String, String> unusable = new HashMap<>() {
            @Override
            public String get(Object name) {
                return "\u0001";
            }
        };
        return Settings.faults(unusable).stream().map(f -> f.substring(0, f.indexOf(' '))).collect(Collectors.toCollection(TreeSet::new));
    }

    private static Map<String, String> defaults() throws IOException {
        return matches("/application.properties", "\\{\\{env:([A-Z0-9_]+):([^}]*)}}").stream()
                .collect(Collectors.toMap(m -> m.group(1), m -> m.group(2), (a, b) -> a));
    }

    private static Set<String> read() throws IOException {
        Set<String> names = new TreeSet<>();
        matches("/application.properties", "\\{\\{env:([A-Z0-9_]+)").forEach(m -> names.add(m.group(1)));
        matches("/log4j2.properties", "\\$\\{env:([A-Z0-9_]+)").forEach(m -> names.add(m.group(1)));
        return names;
    }

    private static List<MatchResult> matches(String resource, String pattern) throws IOException {
        try (InputStream in = SettingsTest.class.getResourceAsStream(resource)) {
            return Pattern.compile(pattern).matcher(new String(in.readAllBytes(), StandardCharsets.UTF_8)).results().toList();
        }
    }
}
