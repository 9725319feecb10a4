package io.llmchat.step;

import io.llmchat.chat.Charge;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What answers cost. Filled in {@code prices.camel.yaml}: a {@code <provider>/<model>}, or {@code <provider>/*} for all its
 * others, and after it the US dollars for a million tokens of the prompt, of the completion, and, where they differ, of
 * the prompt's tokens that come from the provider's cache and of those that are written to it. Safe for all threads once
 * filled.
 */
public final class Prices {

    private static final BigDecimal MILLION = BigDecimal.valueOf(1_000_000);

    private record Price(BigDecimal prompt, BigDecimal completion, BigDecimal cached, BigDecimal written) {
    }

    private final Map<String, Price> prices = new HashMap<>();

    /**
     * The table, a model on each line.
     *
     * @throws IllegalArgumentException if a line is not a model and two to four numbers
     */
    public void setTable(String table) {
        table.lines().map(String::trim).filter(line -> !line.isEmpty()).forEach(line -> {
            String[] words = line.split("\\s+");
            if (Target.parse(words[0]) == null || words.length < 3 || words.length > 5
                    || !Arrays.stream(words).skip(1).allMatch(w -> w.matches("\\d+(\\.\\d+)?"))) {
                throw new IllegalArgumentException("prices.camel.yaml: '" + line + "' is no price; it takes <provider>/<model> and the"
                        + " dollars for a million tokens of the prompt and of the completion");
            }
            BigDecimal prompt = new BigDecimal(words[1]);
            prices.put(words[0], new Price(prompt, new BigDecimal(words[2]), words.length > 3 ? new BigDecimal(words[3]) : prompt,
                    words.length > 4 ? new BigDecimal(words[4]) : prompt));
        });
    }

    /** The US dollars that calls cost together, each by the price of its own model; null if none of these has one. */
    public BigDecimal cost(List<Charge> charges) {
        BigDecimal sum = null;
        for (Charge charge : charges) {
            BigDecimal cost = cost(charge.target(), charge.usage());
            sum = sum == null ? cost : cost == null ? sum : sum.add(cost);
        }
        return sum;
    }

    /** The US dollars that an answer cost; null if the model has no price. */
    public BigDecimal cost(Target target, Usage usage) {
        Price price = prices.get(target.toString());
        if (price == null) {
            price = prices.get(target.provider() + "/*");
        }
        if (price == null) {
            return null;
        }
        return price.prompt.multiply(BigDecimal.valueOf(usage.promptTokens() - usage.cachedTokens() - usage.cacheWriteTokens()))
                .add(price.cached.multiply(BigDecimal.valueOf(usage.cachedTokens())))
                .add(price.written.multiply(BigDecimal.valueOf(usage.cacheWriteTokens())))
                .add(price.completion.multiply(BigDecimal.valueOf(usage.completionTokens())))
                .divide(MILLION, 9, RoundingMode.HALF_UP);
    }
}
