package io.llmchat.step;

import io.llmchat.chat.Caller;
import io.llmchat.chat.Charge;
import io.llmchat.chat.Chat;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import io.llmchat.json.Json;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * Makes of a finished chat the row, as a JSON object, that {@code record} writes: who used what, what that cost, and how it
 * ended. No texts.
 */
public final class UsageRecord implements Processor {

    private final Prices prices;

    public UsageRecord(Prices prices) {
        this.prices = prices;
    }

    @Override
    public void process(Exchange exchange) {
        Chat chat = Chat.of(exchange);
        Target target = chat.target();
        List<Charge> charges = chat.charges();
        Usage usage = Charge.sum(charges);
        StringBuilder row = new StringBuilder(720).append('{');
        tell(row, "answer_id", chat.answerId());
        tell(row, "created_at", Instant.now().toString());
        tell(row, "request_id", chat.client().requestId());
        if (exchange.getProperty(Caller.PROPERTY) instanceof Caller caller) {
            tell(row, "user_id", caller.userId());
            tell(row, "key_id", caller.keyId());
        }
        tell(row, "agent_id", chat.agent() == null ? null : chat.agent().id());
        tell(row, "provider", target == null ? null : target.provider());
        tell(row, "model", target == null ? null : target.model());
        tell(row, "stream", chat.request() != null && chat.request().stream());
        tell(row, "outcome", chat.outcome());
        tell(row, "finish_reason", chat.finishReason() == null ? null : told(chat.finishReason()));
        tell(row, "attempts", chat.attempts());
        if (usage != null) {
            tell(row, "prompt_tokens", usage.promptTokens());
            tell(row, "completion_tokens", usage.completionTokens());
            tell(row, "total_tokens", usage.totalTokens());
            tell(row, "cached_tokens", usage.cachedTokens());
            tell(row, "reasoning_tokens", usage.reasoningTokens());
        }
        tell(row, "usage_estimated", usage != null && usage.estimated());
        tell(row, "cost_usd", prices.cost(charges));
        tell(row, "first_token_ms", chat.firstTokenMillis());
        tell(row, "duration_ms", chat.durationMillis());
        row.setCharAt(row.length() - 1, '}');
        exchange.getMessage().setBody(row);
    }

    /** Null is what a row has that is not told of. */
    private static void tell(StringBuilder row, String name, Object value) {
        if (value instanceof String text) {
            row.append('"').append(name).append("\":");
            Json.quote(row, text);
            row.append(',');
        } else if (value != null) {
            row.append('"').append(name).append("\":").append(value instanceof BigDecimal number ? number.toPlainString() : value).append(',');
        }
    }

    /** What a provider says, without NULs and halves of characters: one that is not taken would cost the whole batch. */
    private static String told(String text) {
        return Sessions.storable(new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    }
}
