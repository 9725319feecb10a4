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
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/**
 * Makes of a finished chat the row, as a JSON object, that {@code record} writes: who used what, what that cost, and how it
 * ended. No texts.
 */
public final class UsageRecord implements Processor {

    /** A second, and how it is written: {@code 2026-01-31T12:00:00}. */
    private record Second(long number, String text) {
        Second(long number) {
            this(number, LocalDateTime.ofEpochSecond(number, 0, ZoneOffset.UTC).format(DateTimeFormatter.ISO_LOCAL_DATE_TIME));
        }
    }

    private final Prices prices;
    /** The one of the last row: the next is of the same, as like as not. */
    private volatile Second second = new Second(0);

    public UsageRecord(Prices prices) {
        this.prices = prices;
    }

    @Override
    public void process(Exchange exchange) {
        Chat chat = Chat.of(exchange);
        Target target = chat.usedLast();
        List<Charge> charges = chat.charges();
        Usage usage = Charge.sum(charges);
        // ids and numbers are ours: nothing in them has to be escaped
        StringBuilder row = new StringBuilder(720).append("{\"answer_id\":\"").append(chat.answerId());
        time(row.append("\",\"created_at\":\""), Instant.now());
        row.append("\",\"request_id\":\"").append(chat.client().requestId()).append('"');
        if (exchange.getProperty(Caller.PROPERTY) instanceof Caller caller) {
            tell(row, ",\"user_id\":", caller.userId());
            tell(row, ",\"key_id\":", caller.keyId());
        }
        tell(row, ",\"agent_id\":", chat.agent() == null ? null : chat.agent().id());
        tell(row, ",\"provider\":", target == null ? null : target.provider());
        tell(row, ",\"model\":", target == null ? null : target.model());
        row.append(",\"stream\":").append(chat.request() != null && chat.request().stream());
        // an edited route may come here before anything has come of the chat: without it no row of its batch would be taken
        tell(row, ",\"outcome\":", chat.outcome() == null ? "unknown" : chat.outcome());
        tell(row, ",\"finish_reason\":", chat.finishReason() == null ? null : told(chat.finishReason()));
        tell(row, ",\"attempts\":", chat.attempts());
        if (usage != null) {
            row.append(",\"prompt_tokens\":").append(usage.promptTokens())
                    .append(",\"completion_tokens\":").append(usage.completionTokens())
                    .append(",\"total_tokens\":").append(usage.totalTokens())
                    .append(",\"cached_tokens\":").append(usage.cachedTokens())
                    .append(",\"reasoning_tokens\":").append(usage.reasoningTokens());
        }
        row.append(",\"usage_estimated\":").append(usage != null && usage.estimated());
        BigDecimal cost = prices.cost(charges);
        if (cost != null) {
            row.append(",\"cost_usd\":").append(cost.toPlainString());
        }
        if (chat.firstTokenMillis() != null) {
            row.append(",\"first_token_ms\":").append(chat.firstTokenMillis());
        }
        row.append(",\"duration_ms\":").append(chat.durationMillis()).append('}');
        exchange.setProperty(Batch.ROW, row);
    }

    /** Null is what a row has that is not told of. */
    private static void tell(StringBuilder row, String name, String value) {
        if (value != null) {
            Json.quote(row.append(name), value);
        }
    }

    /** In UTC, to the microsecond, as PostgreSQL keeps it. */
    void time(StringBuilder row, Instant now) {
        Second of = second;
        if (of.number != now.getEpochSecond()) {
            of = new Second(now.getEpochSecond());
            second = of;
        }
        // the leading 1 keeps the zeros behind it
        row.append(of.text).append(1_000_000 + now.getNano() / 1_000).setCharAt(row.length() - 7, '.');
        row.append('Z');
    }

    /** What a provider says, without NULs and halves of characters: one that is not taken would cost the whole batch. */
    private static String told(String text) {
        return Sessions.storable(new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    }
}
