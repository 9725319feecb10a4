package io.llmchat.chat;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.util.Map;
import java.util.Set;

/**
 * How much somebody may have; what is 0 or null is not limited. In JSON the members have the names used here.
 *
 * @param points requests in {@code duration}
 * @param duration seconds
 * @param blockDuration seconds for which whoever has gone over is refused; 0: until the window ends
 * @param tokensPerMinute tokens of prompts and completions
 * @param tokensPerDay the same for a day of 24 hours
 * @param budgetPerDay US dollars in a day of UTC
 * @param budgetPerMonth US dollars in a calendar month of UTC
 */
public record Quota(long points, long duration, long blockDuration, long tokensPerMinute, long tokensPerDay,
                    BigDecimal budgetPerDay, BigDecimal budgetPerMonth) {

    /** Of a duration: a year. */
    public static final long MOST_SECONDS = 31_536_000;

    private static final BigDecimal LEAST_DOLLARS = BigDecimal.valueOf(1, 9);
    /** As many as are counted exactly, about. */
    private static final BigDecimal MOST_DOLLARS = BigDecimal.valueOf(9_000_000);
    /** Before the decimal point, or behind it. */
    private static final int MOST_DIGITS = 300;
    private static final Set<String> SECONDS = Set.of("duration", "blockDuration");
    private static final Set<String> WHOLE = Set.of("points", "duration", "blockDuration", "tokensPerMinute", "tokensPerDay");
    private static final Set<String> MONEY = Set.of("budgetPerDay", "budgetPerMonth");

    /**
     * Looks at a quota that somebody gives. What is kept of earlier ones may be beyond these bounds; it is held to them where
     * it is used.
     *
     * @param where the name of the member that holds it, for errors
     * @throws ChatException VALIDATION_ERROR, naming the member that cannot be used
     */
    public static Quota check(JsonNode json, String where) {
        Quota quota = read(json, where);
        for (Map.Entry<String, JsonNode> member : json.properties()) {
            BigDecimal value = member.getValue().decimalValue();
            boolean money = MONEY.contains(member.getKey());
            // the database has no room for an exponent beyond reason, of 0 either
            if (money ? Math.abs((long) value.scale()) > MOST_DIGITS || value.signum() > 0 && (value.compareTo(LEAST_DOLLARS) < 0 || value.compareTo(MOST_DOLLARS) > 0)
                    : SECONDS.contains(member.getKey()) && value.longValue() > MOST_SECONDS) {
                throw ChatException.invalid(where + "." + member.getKey(), where + "." + member.getKey() + " must be "
                        + (money ? "0, or from 0.000000001 to 9000000 US dollars." : "at most " + MOST_SECONDS + " seconds, which are a year."));
            }
        }
        return quota;
    }

    /**
     * Reads a quota.
     *
     * @param where the name of the member that holds it, for errors
     * @throws ChatException VALIDATION_ERROR, naming the member that cannot be used
     */
    public static Quota read(JsonNode json, String where) {
        if (!json.isObject()) {
            throw ChatException.invalid(where, where + " must be an object.");
        }
        for (Map.Entry<String, JsonNode> member : json.properties()) {
            String name = where + "." + member.getKey();
            JsonNode value = member.getValue();
            boolean whole = WHOLE.contains(member.getKey());
            if (!whole && !MONEY.contains(member.getKey())) {
                throw ChatException.invalid(name, name + " is not a limit; there are points, duration, blockDuration,"
                        + " tokensPerMinute, tokensPerDay, budgetPerDay and budgetPerMonth.");
            }
            if (whole ? !value.canConvertToLong() || !value.isIntegralNumber() || value.longValue() < 0
                    : !value.isNumber() || value.decimalValue().signum() < 0) {
                throw ChatException.invalid(name, name + " must be " + (whole ? "a whole number" : "an amount of US dollars") + ", 0 or more.");
            }
        }
        if (json.path("points").longValue() > 0 && json.path("duration").longValue() == 0) {
            throw ChatException.invalid(where + ".duration", where + ".duration must say in how many seconds the points may be used.");
        }
        return new Quota(json.path("points").longValue(), json.path("duration").longValue(), json.path("blockDuration").longValue(),
                json.path("tokensPerMinute").longValue(), json.path("tokensPerDay").longValue(),
                json.path("budgetPerDay").decimalValue(), json.path("budgetPerMonth").decimalValue());
    }
}
