package io.llmchat.step;

import io.llmchat.chat.Agent;
import io.llmchat.chat.Candidate;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Target;
import io.llmchat.json.Json;
import io.llmchat.llm.LlmComponent;
import io.llmchat.llm.LlmEndpoint;
import io.llmchat.store.AgentCache;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.camel.Exchange;
import org.apache.camel.Predicate;
import org.apache.camel.Processor;

/** The steps of {@code enrich} and {@code complete}: whom the request names, and who is asked, in which order. */
public final class Targets {

    /** The exchange property with the id of the agent that must be read; absent: a provider's model was named. */
    public static final String AGENT_ID = "agentId";

    private static final String CHANGES = "changes";

    private final AgentCache cache;
    private final String defaultModel;
    private final long deadlineMillis;
    private final List<Candidate> defaultFallbacks = new ArrayList<>();

    /**
     * @param defaultModel what is asked when the request names nothing, or nothing we know; empty: 404
     * @param defaultFallbacks {@code <provider>/<model>}, comma separated; may be empty
     * @param deadlineMillis how long a caller waits for a whole answer, or for the first token of a stream
     */
    public Targets(AgentCache cache, String defaultModel, String defaultFallbacks, long deadlineMillis) {
        this.deadlineMillis = deadlineMillis;
        this.cache = cache;
        this.defaultModel = defaultModel;
        for (String name : defaultFallbacks.split(",")) {
            if (!name.isBlank()) {
                this.defaultFallbacks.add(new Candidate(Target.parse(name.trim()), 0, false));
            }
        }
    }

    /** A step that reads the name in the request: an agent's id, or {@code <provider>/<model>}. */
    public Processor name() {
        return exchange -> {
            String given = Chat.of(exchange).request().model();
            boolean unknown = given == null || given.isBlank()
                    || Target.parse(given) != null && providers(exchange).provider(Target.parse(given).provider()) == null;
            String name = unknown && !defaultModel.isBlank() ? defaultModel : given;
            if (name == null || name.isBlank()) {
                throw new ChatException("AGENT_NOT_FOUND", "The request names no model, and there is no default.");
            }
            Chat.of(exchange).name(name);
            if (name.indexOf('/') < 0) {
                Agent kept = cache.get(name);
                if (kept != null) {
                    use(exchange, kept);
                } else {
                    exchange.setProperty(CHANGES, cache.changes());
                    exchange.setProperty(AGENT_ID, name);
                }
            }
        };
    }

    /** A step that takes the agent which was read: the message body is its document, or null. */
    public Processor keep() {
        return exchange -> {
            String document = exchange.getMessage().getBody(String.class);
            if (document != null) {
                Agent agent = Json.MAPPER.readValue(document, Agent.class);
                cache.put(agent, exchange.getProperty(CHANGES, Long.class));
                use(exchange, agent);
            } else if (Target.parse(defaultModel) != null) {
                Chat.of(exchange).name(defaultModel);
            } else {
                throw noSuchModel(exchange.getProperty(AGENT_ID, String.class));
            }
        };
    }

    private static void use(Exchange exchange, Agent agent) {
        if (!agent.isActive()) {
            throw new ChatException("AGENT_INACTIVE", "The agent '" + agent.id() + "' is not active.");
        }
        Chat.of(exchange).agent(agent);
    }

    /** A step that puts in order who is asked: what was named, then its fallbacks. */
    public Processor order() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            chat.deadline(deadlineMillis);
            LlmComponent providers = providers(exchange);
            List<Candidate> candidates = new ArrayList<>();
            if (chat.agent() != null) {
                candidates.add(new Candidate(chat.agent().target(), 0, false));
                chat.agent().fallbacks().forEach(f -> candidates.add(new Candidate(Target.parse(f.path("model").asText()),
                        f.path("weight").asDouble(0), f.path("larger").asBoolean(false))));
            } else {
                candidates.add(new Candidate(Target.parse(chat.name()), 0, false));
            }
            if (candidates.size() == 1) {
                candidates.addAll(defaultFallbacks);
            }
            check(candidates.get(0).target(), chat.name(), providers);
            candidates.removeIf(c -> c.target() == null || providers.provider(c.target().provider()) == null
                    || !providers.provider(c.target().provider()).isConfigured());
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

    private static void check(Target target, String name, LlmComponent providers) {
        LlmEndpoint provider = target == null ? null : providers.provider(target.provider());
        if (provider == null) {
            throw noSuchModel(name);
        }
        if (!provider.isConfigured()) {
            throw new ChatException("AGENT_NOT_FOUND",
                    "The provider '" + target.provider() + "' is not configured: the gateway has no key for it.");
        }
    }

    private static ChatException noSuchModel(String name) {
        return new ChatException("AGENT_NOT_FOUND", "The model '" + name + "' does not exist.");
    }

    private static LlmComponent providers(Exchange exchange) {
        return exchange.getContext().getComponent("llm", LlmComponent.class);
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
