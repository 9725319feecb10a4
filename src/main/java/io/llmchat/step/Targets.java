package io.llmchat.step;

import io.llmchat.chat.Agent;
import io.llmchat.chat.Caller;
import io.llmchat.chat.Candidate;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Target;
import io.llmchat.llm.LlmComponent;
import io.llmchat.store.NearCache;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.camel.Exchange;
import org.apache.camel.Predicate;
import org.apache.camel.Processor;

/** The steps of {@code enrich} and {@code complete}: whom the request names, and who is asked, in which order. */
public final class Targets {

    private final NearCache<Agent> cache;
    private final String defaultModel;
    private final long deadlineMillis;
    private final List<Candidate> defaultFallbacks = new ArrayList<>();

    /**
     * @param defaultModel what is asked when the request names nothing, or nothing we know; empty: 404
     * @param defaultFallbacks {@code <provider>/<model>}, comma separated; may be empty
     * @param deadlineMillis how long a caller waits for a whole answer, or for the first token of a stream
     */
    public Targets(NearCache<Agent> cache, String defaultModel, String defaultFallbacks, long deadlineMillis) {
        this.deadlineMillis = deadlineMillis;
        this.cache = cache;
        this.defaultModel = defaultModel;
        for (String name : defaultFallbacks.split(",")) {
            if (!name.isBlank()) {
                this.defaultFallbacks.add(new Candidate(Target.parse(name.trim()), 0, false));
            }
        }
    }

    /**
     * A step that reads the name in the request, an agent's id or {@code <provider>/<model>}, and finds the agent: in the
     * cache, or by the route {@code enrich-agent}.
     */
    public Processor name() {
        return exchange -> {
            String given = Chat.of(exchange).request().model();
            boolean unknown = given == null || given.isBlank() || given.indexOf('/') >= 0 && isUnknown(Target.parse(given), LlmComponent.of(exchange.getContext()));
            String name = unknown && !defaultModel.isBlank() ? defaultModel : given;
            if (name == null || name.isBlank()) {
                throw new ChatException("AGENT_NOT_FOUND", "The request names no agent and no model, and there is no default.");
            }
            Chat chat = Chat.of(exchange);
            chat.setName(name);
            if (name.indexOf('/') < 0 && !use(chat, agent(exchange, name))) {
                // nothing we know: the default, which may be an agent too
                if (defaultModel.isBlank() || Target.parse(defaultModel) == null && !use(chat, agent(exchange, defaultModel))) {
                    throw noSuchModel(name);
                }
                chat.setName(defaultModel);
            }
        };
    }

    private Agent agent(Exchange exchange, String id) throws Exception {
        return cache.get(id, () -> SubRoute.AGENT.ask(exchange, id));
    }

    private static boolean use(Chat chat, Agent agent) {
        if (agent == null) {
            return false;
        }
        if (!agent.isActive()) {
            throw new ChatException("AGENT_INACTIVE", "The agent '" + agent.id() + "' is not active.");
        }
        chat.setAgent(agent);
        return true;
    }

    /** A step that lets pass who may ask for what was named; which fallbacks it has is the operator's decision. */
    public Processor mayAsk() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            Agent agent = chat.agent();
            Caller caller = Caller.of(exchange);
            if (!caller.mayAsk(agent == null ? null : agent.id(), agent == null ? chat.named() : agent.target())) {
                throw new ChatException("FORBIDDEN", "This key may not ask the " + (agent == null ? "model '" : "agent '") + chat.name() + "'.");
            }
        };
    }

    /** A step that puts in order who is asked: what was named, then its fallbacks. */
    public Processor order() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            chat.deadline(deadlineMillis);
            LlmComponent providers = LlmComponent.of(exchange.getContext());
            List<Candidate> candidates = new ArrayList<>();
            if (chat.agent() != null) {
                candidates.add(new Candidate(chat.agent().target(), 0, false));
                chat.agent().fallbacks().forEach(f -> candidates.add(new Candidate(Target.parse(f.path("model").asText()),
                        f.path("weight").asDouble(0), f.path("larger").asBoolean(false))));
            } else {
                candidates.add(new Candidate(chat.named(), 0, false));
            }
            if (candidates.size() == 1) {
                candidates.addAll(defaultFallbacks);
            }
            Target first = candidates.get(0).target();
            if (chat.agent() == null && isUnknown(first, providers)) {
                throw noSuchModel(chat.name());
            }
            candidates.removeIf(c -> isUnknown(c.target(), providers) || !providers.provider(c.target().provider()).isConfigured());
            if (chat.request().operation() == Operation.EMBEDDINGS) {
                // vectors of different models cannot be compared
                candidates.removeIf(c -> !c.target().model().equals(first.model()));
            }
            if (candidates.isEmpty()) {
                throw isUnknown(first, providers) ? noSuchModel(chat.name()) : new ChatException("AGENT_NOT_FOUND",
                        "The provider '" + first.provider() + "' is not configured: the gateway has no key for it.");
            }
            draw(candidates);
            chat.candidates(candidates);
        };
    }

    /** Neighbours that have weights are equals: their order is drawn, the heavier the likelier first. */
    private static void draw(List<Candidate> candidates) {
        for (int i = 0; i < candidates.size(); i++) {
            double sum = 0;
            int end = i;
            while (end < candidates.size() && candidates.get(end).weight() > 0) {
                sum += candidates.get(end++).weight();
            }
            if (end - i < 2) {
                continue;
            }
            double drawn = ThreadLocalRandom.current().nextDouble(sum);
            int chosen = i;
            while (chosen < end - 1 && (drawn -= candidates.get(chosen).weight()) >= 0) {
                chosen++;
            }
            candidates.add(i, candidates.remove(chosen));
        }
    }

    private static boolean isUnknown(Target target, LlmComponent providers) {
        return target == null || providers.provider(target.provider()) == null;
    }

    private static ChatException noSuchModel(String name) {
        return new ChatException("AGENT_NOT_FOUND", "The model '" + name + "' does not exist.");
    }

    /** True if there is somebody left to ask; then the exchange property {@code provider} names the one. */
    public Predicate next() {
        return new Predicate() {
            @Override
            public boolean matches(Exchange exchange) {
                Chat chat = Chat.of(exchange);
                // a loop looks for its next round even where the last one has raised what ends the request
                if (exchange.getException() != null || !chat.nextCandidate()) {
                    return false;
                }
                exchange.setProperty("provider", chat.target().provider());
                return true;
            }
        };
    }
}
