package io.llmchat.step;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.Caller;
import io.llmchat.chat.Charge;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Operation;
import io.llmchat.chat.PromptSize;
import io.llmchat.chat.Quota;
import io.llmchat.chat.Target;
import io.llmchat.chat.Usage;
import io.llmchat.eip.Throttled;
import io.llmchat.http.ClientAddress;
import io.llmchat.http.ClientStream;
import io.llmchat.json.Json;
import io.llmchat.limit.Decision;
import io.llmchat.limit.Limit;
import io.llmchat.limit.Limiter;
import io.llmchat.limit.Need;
import io.llmchat.limit.Quotas;
import io.llmchat.limit.RateLimitHeaders;
import io.vertx.core.Context;
import io.vertx.core.http.HttpServerRequest;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.AsyncProcessorSupport;

/** The steps of {@code limit}: what a request may have is taken before it is answered, and put right afterwards. */
public final class Limits {

    /** The exchange property with the limits that the request met when it was counted. */
    private static final String COUNTED = "counted";
    /** The exchange property with what was taken and is to be settled; absent: nothing can be. */
    private static final String TAKEN = "taken";
    /** The exchange property with how long whoever is turned away should wait. */
    private static final String RETRY_AFTER = "retryAfterMillis";

    private static final List<String> MAX_TOKENS = List.of("max_completion_tokens", "max_tokens", "max_output_tokens");
    private static final long MOST_TOKENS = 100_000_000;

    private final Limiter limiter;
    private final ClientAddress addresses;
    private final Quotas quotas;
    private final Quota perCaller;
    private final long answerTokens;

    /**
     * @param quotas for all callers together
     * @param points and {@code duration} and {@code blockDuration}: the quota of callers who have none of their own; 0 points: none
     * @param answerTokens how long an answer is taken to be of which nobody says how long it may get
     */
    public Limits(Limiter limiter, ClientAddress addresses, String quotas, long points, long duration, long blockDuration, long answerTokens) {
        this.limiter = limiter;
        this.addresses = addresses;
        this.quotas = new Quotas(quotas);
        this.perCaller = new Quota(points, duration, blockDuration, 0, 0, null, null);
        this.answerTokens = answerTokens;
    }

    /**
     * A step before anything that callers share: who was over a limit of requests of its own, or of its user, is refused
     * until that is over.
     */
    public Processor refuseAgain() {
        return exchange -> {
            if (!limiter.refuses()) {
                return;
            }
            List<Limit> own = new ArrayList<>();
            addOwn(Caller.of(exchange), ClientStream.of(exchange).request(), own);
            Decision decision = limiter.refusal(own);
            if (decision != null) {
                RateLimitHeaders.add(decision, ClientStream.of(exchange));
                throw refusal(decision);
            }
        };
    }

    /**
     * A step that counts the request, once for each limit, and takes what it may use; who is over a limit is refused. On an event loop
     * the route goes on when the answer is there; other threads wait for it.
     */
    public AsyncProcessor take() {
        return new AsyncProcessorSupport() {
            @Override
            public boolean process(Exchange exchange, AsyncCallback callback) {
                CompletableFuture<Decision> asked = null;
                try {
                    asked = ask(exchange);
                } catch (RuntimeException e) {
                    exchange.setException(e);
                }
                if (asked != null && !asked.isDone() && Context.isOnEventLoopThread()) {
                    Context here = ClientStream.of(exchange).context();
                    asked.thenAccept(decision -> here.runOnContext(v -> {
                        decided(exchange, decision);
                        callback.done(false);
                    }));
                    return false;
                }
                if (asked != null) {
                    decided(exchange, asked.join());
                }
                callback.done(true);
                return true;
            }
        };
    }

    /** Asks for what the request may use; null: it meets no limit, or none that it has not met before. */
    private CompletableFuture<Decision> ask(Exchange exchange) {
        Chat chat = Chat.of(exchange);
        Target target = chat.nextTarget();
        List<Limit> limits = limits(Caller.of(exchange), chat, target);
        List<?> counted = exchange.getProperty(COUNTED, List.class);
        if (counted == null) {
            exchange.setProperty(COUNTED, limits);
        } else {
            // a repeated request that has become a first one after all: now it is known what it asks for
            limits.removeIf(l -> l.kind() == Limit.Kind.REQUESTS && counted.contains(l));
        }
        if (limits.isEmpty()) {
            if (quotas.ofModels()) {
                exchange.setProperty(TAKEN, Decision.FREE);
            }
            return null;
        }
        boolean more = target != null && chat.request().operation() != Operation.COUNT_TOKENS
                && !Limit.ofRequests(limits);
        return limiter.take(limits, more ? estimate(exchange, chat, target).plus(Need.REQUEST) : Need.REQUEST);
    }

    private void decided(Exchange exchange, Decision decision) {
        try {
            RateLimitHeaders.add(decision, ClientStream.of(exchange));
            if (!decision.allowed()) {
                throw refusal(decision);
            }
            if (quotas.ofModels() || !Limit.ofRequests(decision.limits())) {
                exchange.setProperty(TAKEN, decision);
            }
        } catch (RuntimeException e) {
            exchange.setException(e);
        }
    }

    private List<Limit> limits(Caller caller, Chat chat, Target target) {
        List<Limit> limits = new ArrayList<>(4);
        addOwn(caller, chat.client().request(), limits);
        // who may not ask an agent uses nothing of what it has: whom to ask is known of those who may
        if (target != null && chat.agent() != null && chat.agent().rateLimit() != null) {
            Limit.add(Quota.read(chat.agent().rateLimit(), "rateLimit"), Limit.Scope.AGENT, chat.agent().id(), limits);
        }
        quotas.add(target, limits);
        return limits;
    }

    private void addOwn(Caller caller, HttpServerRequest request, List<Limit> to) {
        Quota own = caller.quota() == null ? perCaller : caller.quota();
        Limit.add(own, Limit.Scope.CALLER, caller.keyId() != null ? "key " + caller.keyId() : addresses.of(request), to);
        Limit.add(caller.userQuota(), Limit.Scope.USER, caller.userId(), to);
    }

    private Need estimate(Exchange exchange, Chat chat, Target target) {
        ChatRequest request = chat.request();
        String system = chat.agent() == null ? null : chat.agent().systemPrompt();
        long bytes = PromptSize.of(request.body()) + (system == null ? 0 : Json.utf8(system).length);
        long prompt = Usage.estimate(bytes, 0).promptTokens();
        long answer = request.operation() == Operation.CHAT ? longest(chat) : 0;
        return need(exchange, target, new Usage(prompt, answer));
    }

    /** As many tokens as the answer may get: of several names the largest number, for each of its choices. */
    private long longest(Chat chat) {
        long most = -1;
        for (String name : MAX_TOKENS) {
            most = Math.max(most, number(chat, name, -1));
        }
        if (most < 0) {
            most = chat.agent() != null && chat.agent().maxTokens() != null ? chat.agent().maxTokens() : answerTokens;
        }
        return Math.min(MOST_TOKENS, most * Math.max(1, number(chat, "n", 1)));
    }

    /** What the request says; what no provider takes, such as 0, is not said. */
    private static long number(Chat chat, String name, long absent) {
        JsonNode said = chat.request().member(name);
        return said != null && said.isNumber() && said.doubleValue() >= 1 ? (long) Math.min(said.doubleValue(), MOST_TOKENS) : absent;
    }

    private static Need need(Exchange exchange, Target target, Usage usage) {
        BigDecimal dollars = exchange.getContext().getRegistry().lookupByNameAndType("prices", Prices.class).cost(target, usage);
        return new Need(0, usage.totalTokens(), dollars == null ? 0 : Limit.billionths(dollars));
    }

    private static ChatException refusal(Decision decision) {
        int seconds = Math.max(1, decision.secondsLeft(decision.refused()));
        return new ChatException("RATE_LIMIT_EXCEEDED", "This is over " + decision.describe() + ". Try again in " + seconds + " s.")
                .retryAfter(seconds);
    }

    /**
     * A step for a request that a throttle has turned away, this instance's own guard or another one: its headers tell that
     * limit, and when there is room again, which is before the whole window is over. Of Camel's throttles it is not known.
     */
    public Processor tellInstance() {
        return exchange -> {
            if (exchange.getProperty(Exchange.EXCEPTION_CAUGHT) instanceof Throttled throttled) {
                long left = Math.max(1_000, throttled.retryAfterMillis());
                exchange.setProperty(RETRY_AFTER, left);
                List<Limit> guard = List.of(new Limit(Limit.Scope.GLOBAL, "", Limit.Kind.REQUESTS, throttled.max(), throttled.windowMillis(), 0));
                RateLimitHeaders.add(new Decision(guard, new long[1], new long[] {throttled.max()}, new long[] {left}, 0, 0, 0, true), ClientStream.of(exchange));
            }
        };
    }

    /** A step at the end, whatever became of the request: what it used in truth is taken, the rest comes back. */
    public Processor settle() {
        return exchange -> {
            Decision taken = exchange.getProperty(TAKEN, Decision.class);
            if (taken == null) {
                return;
            }
            exchange.removeProperty(TAKEN);
            // by the names of their quotas; null: those that have none
            Map<String, Need> ofModels = new HashMap<>();
            for (Charge charge : Chat.of(exchange).charges()) {
                ofModels.merge(quotas.name(charge.target()), need(exchange, charge.target(), charge.usage()), Need::plus);
            }
            Need all = ofModels.values().stream().reduce(Need.NOTHING, Need::plus);
            // of a model that was asked in the place of the first nothing was taken yet
            List<Limit> others = new ArrayList<>();
            for (String model : ofModels.keySet()) {
                if (taken.limits().stream().noneMatch(l -> l.scope() == Limit.Scope.MODEL && l.name().equals(model))) {
                    quotas.addModel(model, others);
                }
            }
            limiter.settle(taken, others,
                    limit -> limit.scope() == Limit.Scope.MODEL ? ofModels.getOrDefault(limit.name(), Need.NOTHING) : all);
        };
    }
}
