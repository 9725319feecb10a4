package io.llmchat;

import io.llmchat.chat.Quota;
import io.llmchat.chat.Target;
import io.llmchat.http.ClientAddress;
import io.llmchat.limit.Quotas;
import java.net.URI;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * What each environment variable takes. Defaults and meanings stand in application.properties; here stands only what
 * would be refused, so that a wrong value stops the start with a sentence and not later with a stack trace.
 */
public final class Settings {

    /** As browsers write it: of a page, or of what is installed with a scheme of its own, an extension or a desktop application. */
    private static final String ORIGIN = "(https?://[a-z0-9.\\[\\]:-]+|(?!https?:)[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+)";

    /** To 65535. */
    private static final String PORT = "([1-5]?\\d{1,4}|6[0-4]\\d{3}|65[0-4]\\d\\d|655[0-2]\\d|6553[0-5])";

    /** With any name that a host may have in the networks of containers, and without a user. */
    private static final String URL = "(?i)https?://([a-z0-9._-]+|\\[[0-9a-f:.]+])(:" + PORT + ")?([/?][^#]*)?";

    /** What comes to its bean as it is: beans.camel.yaml hands it over in a list that Camel takes apart. */
    private static final String PLAIN = "(?!#|(?i:\\d+|true|false|null)$|.*(\"|\\{\\{|}}|\\$\\{))";
    private static final String IS_PLAIN = ", no mere number, no # first, and none of \" {{ }} ${";

    /** Camel would take it for a placeholder, and repeat all of the value in its message. Files and secrets often end with a line end. */
    private static final String NO_PLACEHOLDER = "(?!.*(\\{\\{|}}))";
    private static final String IS_NO_PLACEHOLDER = " without a line end, control characters, {{ or }}";

    /** For each variable: of a value null if it can be used, else what the variable takes. */
    private static final Map<String, UnaryOperator<String>> CHECKS = new LinkedHashMap<>();

    static {
        number("PORT", 0, 65_535);
        text("HOST", "(?!\\d+$)[A-Za-z0-9.:_-]+", "a host name or address");
        // PostgreSQL's driver takes more than one
        text("DB_HOST", "[A-Za-z0-9.:_,\\[\\]-]*", "a host name or address");
        text("REDIS_HOST", "[A-Za-z0-9.:_\\[\\]-]*", "a host name or address");
        text("AUTH_MODE", "|open|keys", "open or keys");
        for (String provider : List.of("OPENAI", "ANTHROPIC", "DIFY", "FASTGPT")) {
            text(provider + "_API_KEY", NO_PLACEHOLDER + "[\\x21-\\x7e]*", "visible characters" + IS_NO_PLACEHOLDER);
        }
        for (String store : List.of("DB", "REDIS")) {
            text(store + "_PASSWORD", NO_PLACEHOLDER + "(?!#(bean:|class:|type:|property:|valueAs\\(|autowired))\\P{Cntrl}*",
                    "a password" + IS_NO_PLACEHOLDER + ", and none of #bean:, #class:, #type:, #property:, #valueAs( and #autowired first");
        }
        text("ADMIN_API_KEY", "|" + PLAIN + "[\\x21-\\x7e]{16,}", "at least 16 visible characters" + IS_PLAIN);
        text("METRICS_TOKEN", "|" + PLAIN + "[\\x21-\\x7e]{16,}", "at least 16 visible characters" + IS_PLAIN);
        text("KEY_HASH_SECRET", "|" + PLAIN + "[\\x21-\\x7e]{32,}", "at least 32 visible characters" + IS_PLAIN + "; the same for all instances");
        text("KEYS_FILE", "|" + PLAIN + "\\P{Cntrl}+", "a file" + IS_PLAIN);
        text("LOG_LEVEL", "(?i)trace|debug|info|warn|error", "trace, debug, info, warn or error");
        text("LOG_FORMAT", "text|json", "text or json");
        number("DRAIN_DELAY", 0, 3_600_000);
        number("DRAIN_GRACE", 0, 86_400_000);
        number("RATE_LIMIT_MAX_REQUESTS", 0, 1_000_000);
        number("RATE_LIMIT_WINDOW_MS", 1, 86_400_000);
        number("RATE_LIMIT_POINTS", 0, 1_000_000_000);
        number("RATE_LIMIT_DURATION", 1, Quota.MOST_SECONDS);
        number("RATE_LIMIT_BLOCK_DURATION", 0, Quota.MOST_SECONDS);
        CHECKS.put("LIMITS", Quotas::refuse);
        number("INSTANCES", 1, 10_000);
        CHECKS.put("TRUSTED_PROXIES", ClientAddress::refuse);
        number("MAX_CONCURRENT_REQUESTS", 1, 100_000);
        number("MAX_BODY_BYTES", 1_024, 1_073_741_824);
        number("MAX_CONNECTIONS", 1, 1_000_000);
        text("FRONTEND_URL", "|ORIGIN(\\s*,\\s*ORIGIN)*".replace("ORIGIN", ORIGIN),
                "a comma-separated list of origins, such as https://chat.example.com");
        text("STORE_MESSAGES", "true|false", "true or false");
        number("RETENTION_DAYS", 0, 36_500);
        number("HISTORY_MAX_MESSAGES", 0, 10_000);
        number("HISTORY_MAX_TOKENS", 0, 10_000_000);
        number("REQUEST_TIMEOUT", 1, 3_600_000);
        number("STREAM_TIMEOUT", 1, 86_400_000);
        number("STREAM_IDLE_TIMEOUT", 1, 3_600_000);
        number("CIRCUIT_BREAKER_TIMEOUT", 1, 3_600_000);
        number("CIRCUIT_BREAKER_FAILURE_THRESHOLD", 1, 10_000);
        number("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", 1, 1_000);
        number("CIRCUIT_BREAKER_RESET_TIMEOUT", 1, 3_600_000);
        number("RETRY_MAX_RETRIES", 0, 20);
        number("RETRY_BASE_DELAY", 0, 600_000);
        number("RETRY_MAX_DELAY", 0, 600_000);
        text("RETRY_BACKOFF_FACTOR", "[1-9]\\d?(\\.\\d+)?", "a number from 1 to 99");
        text("IDEMPOTENCY_IN_FLIGHT", "join|reject", "join or reject");
        number("RESUME_GRACE", 0, 3_600_000);
        text("MIDSTREAM", "continue|error", "continue or error");
        text("RETRY_ENABLE_JITTER", "true|false", "true or false");
        text("OTEL_EXPORTER_OTLP_ENDPOINT", "|(?i)https?://[^/\\s]+.*", "an http or https URL");
        text("OTEL_SDK_DISABLED", "true|false", "true or false");
        text("ROUTE_METRICS", "true|false", "true or false");
        text("SENTRY_ENABLED", "true|false", "true or false");
        text("SENTRY_DSN", "|(?i)https?://[^@\\s]+@\\S+/\\d+", "the address of a Sentry project: https://<key>@<host>/<project>");
        text("SENTRY_TRACES_SAMPLE_RATE", "0(\\.\\d+)?|1(\\.0+)?", "a number from 0 to 1");
        text("SENTRY_PROFILES_SAMPLE_RATE", "0(\\.\\d+)?|1(\\.0+)?", "a number from 0 to 1");
        url("OPENAI_BASE_URL");
        url("ANTHROPIC_BASE_URL");
        url("DIFY_BASE_URL");
        url("FASTGPT_BASE_URL");
        url("OLLAMA_BASE_URL");
        text("DATA_DIR", "\\P{Cntrl}+", "a folder");
        text("DB_NAME", "\\P{Cntrl}+", "the name of a database");
        number("DB_PORT", 1, 65_535);
        number("DB_MAX_CONNECTIONS", 1, 10_000);
        number("DB_MIN_CONNECTIONS", 0, 10_000);
        number("DB_IDLE_TIMEOUT", 10_000, 86_400_000);
        number("DB_CONNECTION_TIMEOUT", 250, 600_000);
        number("REDIS_PORT", 1, 65_535);
        number("REDIS_DB", 0, 1_000);
        number("REDIS_MAX_RETRIES", 0, 100);
        text("DEFAULT_MODEL", "|" + PLAIN + "\\P{Cntrl}+", "a model" + IS_PLAIN);
        CHECKS.put("DEFAULT_FALLBACKS", v -> {
            for (String name : v.split(",")) {
                if (!v.isEmpty() && Target.parse(name.trim()) == null) {
                    return "a comma-separated list of <provider>/<model>";
                }
            }
            return null;
        });
    }

    private Settings() {
    }

    private static void number(String name, long min, long max) {
        String takes = "a whole number from " + min + " to " + max;
        CHECKS.put(name, v -> {
            try {
                long n = Long.parseLong(v);
                return n >= min && n <= max ? null : takes;
            } catch (NumberFormatException e) {
                return takes;
            }
        });
    }

    private static void text(String name, String pattern, String takes) {
        CHECKS.put(name, v -> v.matches(pattern) ? null : takes);
    }

    private static void url(String name) {
        CHECKS.put(name, v -> {
            try {
                URI.create(v);
                return v.matches(URL) ? null : "an http or https URL";
            } catch (IllegalArgumentException e) {
                return "an http or https URL";
            }
        });
    }

    /**
     * A sentence for each variable whose value cannot be used; none if all can. An empty value is one too where the
     * default is not empty: it would replace the default. Secrets are not repeated, nor URLs that may have one.
     */
    public static List<String> faults(Map<String, String> environment) {
        List<String> faults = new ArrayList<>();
        CHECKS.forEach((name, check) -> {
            String value = environment.get(name);
            String takes = value == null ? null : check.apply(value);
            if (takes != null) {
                boolean secret = name.endsWith("KEY") || name.endsWith("TOKEN") || name.endsWith("DSN") || name.endsWith("SECRET")
                        || name.endsWith("PASSWORD") || value.contains("@") || value.contains("?");
                faults.add(name + " is " + (secret ? "set to something else" : "'" + value + "'") + "; it takes " + takes + ".");
            }
        });
        return faults;
    }
}
