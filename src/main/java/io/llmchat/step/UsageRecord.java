package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** Makes of a finished chat the row that {@code record} writes: what was used, what that cost, and how it ended. No texts. */
public final class UsageRecord implements Processor {

    private final Prices prices;

    public UsageRecord(Prices prices) {
        this.prices = prices;
    }

    @Override
    public void process(Exchange exchange) {
        Chat chat = Chat.of(exchange);
        Target target = chat.target();
        Usage usage = chat.usage();
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("answer_id", chat.answerId());
        row.put("created_at", Instant.now().toString());
        row.put("request_id", chat.client().requestId());
        row.put("agent_id", chat.agent() == null ? null : chat.agent().id());
        row.put("provider", target == null ? null : target.provider());
        row.put("model", target == null ? null : target.model());
        row.put("stream", chat.request() != null && chat.request().stream());
        row.put("outcome", chat.outcome());
        row.put("finish_reason", chat.finishReason() == null ? null : told(chat.finishReason()));
        row.put("attempts", chat.attempts());
        row.put("prompt_tokens", usage == null ? null : usage.promptTokens());
        row.put("completion_tokens", usage == null ? null : usage.completionTokens());
        row.put("total_tokens", usage == null ? null : usage.totalTokens());
        row.put("cached_tokens", usage == null ? null : usage.cachedTokens());
        row.put("reasoning_tokens", usage == null ? null : usage.reasoningTokens());
        row.put("usage_estimated", usage != null && usage.estimated());
        row.put("cost_usd", usage == null || target == null ? null : prices.cost(target, usage));
        row.put("first_token_ms", chat.firstTokenMillis());
        row.put("duration_ms", chat.durationMillis());
        exchange.getMessage().setBody(row);
    }

    /** What a provider says, without NULs and halves of characters: one that is not taken would cost the whole batch. */
    private static String told(String text) {
        return Sessions.storable(new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    }
}
