package io.llmchat.step;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Quota;
import io.llmchat.http.Ids;
import io.llmchat.json.Json;
import io.llmchat.llm.Breakers;
import io.llmchat.llm.LlmComponent;
import io.llmchat.llm.LlmEndpoint;
import io.llmchat.store.NearCache;
import io.llmchat.store.Redis;
import io.micrometer.core.instrument.MeterRegistry;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** The steps of the routes that show and change agents. */
public final class Agents {

    private static final Set<String> MEMBERS = Set.of("id", "name", "description", "provider", "model", "systemPrompt", "temperature",
            "maxTokens", "fallbacks", "capabilities", "isActive", "rateLimit", "metadata");
    private static final List<String> NEEDED = List.of("name", "provider", "model");
    private static final Set<String> TEXTS = Set.of("id", "name", "description", "provider", "model", "systemPrompt");
    private static final Set<String> LISTS = Set.of("fallbacks", "capabilities");
    private static final Set<String> OBJECTS = Set.of("rateLimit", "metadata");

    private static final int MAX_WEIGHT = 1_000_000;
    /** Before the decimal point, and behind it. */
    private static final int MAX_DIGITS = 300;

    private final NearCache<Agent> cache;
    private final Breakers breakers;

    public Agents(NearCache<Agent> cache, Breakers breakers) {
        this.cache = cache;
        this.breakers = breakers;
    }

    /** Agents that were read lately, with the targets of their fallbacks; {@code ttlSeconds} is how long they are kept. */
    public static NearCache<Agent> cache(Redis redis, MeterRegistry meters, long ttlSeconds) {
        return new NearCache<>("agents", redis, meters, ttlSeconds, text -> {
            try {
                return Json.MAPPER.readValue(text, Agent.class);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** A step: the body is a new agent; gives it an id if it has none. */
    public Processor readNew() {
        return exchange -> {
            ObjectNode agent = read(exchange);
            for (String needed : NEEDED) {
                if (!agent.hasNonNull(needed)) {
                    throw ChatException.invalid(needed, needed + " is missing.");
                }
            }
            if (!agent.hasNonNull("id")) {
                agent.put("id", "agent-" + Ids.next());
            }
            exchange.getMessage().setBody(agent.toString());
        };
    }

    /** A step: the body has the members of an agent that shall change. */
    public Processor readChange() {
        return exchange -> {
            ObjectNode change = read(exchange);
            change.remove("id");
            exchange.getMessage().setBody(change.toString());
        };
    }

    private static ObjectNode read(Exchange exchange) {
        ObjectNode agent = JsonBody.read(exchange);
        agent.retain(MEMBERS);
        agent.properties().forEach(member -> check(member.getKey(), member.getValue()));
        // null is nothing: what the database keeps of them has its type
        LISTS.stream().filter(name -> agent.path(name).isNull()).forEach(agent::putArray);
        if (agent.path("metadata").isNull()) {
            agent.putObject("metadata");
        }
        if (agent.hasNonNull("provider") && LlmComponent.of(exchange.getContext()).provider(agent.get("provider").asText()) == null) {
            throw ChatException.invalid("provider", "There is no provider '" + agent.get("provider").asText() + "'.");
        }
        return agent;
    }

    private static void check(String name, JsonNode value) {
        if (value.isNull() && !NEEDED.contains(name)) {
            return;
        }
        // two backslashes are one that was written, and what follows them is no escape
        if (value.toString().replace("\\\\", "").contains("\\u0000")) {
            // the database keeps every character but this one
            throw ChatException.invalid(name, name + " has a NUL in it.");
        }
        String takes = TEXTS.contains(name) && !value.isTextual() ? "a string"
                : NEEDED.contains(name) && value.asText().isBlank() ? "a string that says something"
                : LISTS.contains(name) && !value.isArray() ? "an array"
                : OBJECTS.contains(name) && !value.isObject() ? "an object"
                : name.equals("temperature") && !isTemperature(value) ? "a number from 0 to 2"
                : name.equals("maxTokens") && !(value.isIntegralNumber() && value.canConvertToInt() && value.intValue() > 0) ? "a whole number from 1 to " + Integer.MAX_VALUE
                : name.equals("isActive") && !value.isBoolean() ? "true or false" : null;
        if (takes != null) {
            throw ChatException.invalid(name, name + " must be " + takes + ".");
        }
        for (int i = 0; name.equals("fallbacks") && i < value.size(); i++) {
            JsonNode model = value.get(i).isObject() ? value.get(i).path("model") : value.get(i);
            if (!model.isTextual()) {
                throw ChatException.invalid("fallbacks[" + i + "]", "fallbacks[" + i
                        + "] must be <provider>/<model> or the id of an agent, or an object with one of them as its model.");
            }
            JsonNode weight = value.get(i).path("weight");
            if (!(weight.isMissingNode() || weight.isNull() || weight.isNumber() && weight.doubleValue() >= 0 && weight.doubleValue() <= MAX_WEIGHT)) {
                throw ChatException.invalid("fallbacks[" + i + "].weight", "weight must be a number from 0 to " + MAX_WEIGHT + ".");
            }
            JsonNode larger = value.get(i).path("larger");
            if (!(larger.isMissingNode() || larger.isNull() || larger.isBoolean())) {
                throw ChatException.invalid("fallbacks[" + i + "].larger", "larger must be true or false.");
            }
        }
        if (isTooLong(value)) {
            throw ChatException.invalid(name, name + " has a number of more than " + MAX_DIGITS + " digits.");
        }
        if (name.equals("rateLimit")) {
            Quota.check(value, name);
        }
        if (name.equals("id") && !value.asText().matches("[a-z0-9][a-z0-9._-]{0,63}")) {
            throw ChatException.invalid(name, "id takes 1 to 64 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first.");
        }
    }

    /** Whether a number is in it that the database writes out in digits, and that cannot be read again as that. */
    private static boolean isTooLong(JsonNode value) {
        if (value.isNumber()) {
            BigDecimal number = value.decimalValue();
            return number.scale() > MAX_DIGITS || (long) number.precision() - number.scale() > MAX_DIGITS;
        }
        for (JsonNode each : value) {
            if (isTooLong(each)) {
                return true;
            }
        }
        return false;
    }

    /** Whether a provider takes it: OpenAI's range (API reference, "Create chat completion"), the widest of them. */
    private static boolean isTemperature(JsonNode value) {
        double temperature = value.doubleValue();
        // the database takes no number that is not 0 and nearer to it than a double can be
        return value.isNumber() && temperature >= 0 && temperature <= 2 && (temperature > 0 || value.decimalValue().signum() == 0);
    }

    /** A step: the body is what the database found; nothing found is an error. */
    public Processor mustExist() {
        return exchange -> {
            if (exchange.getMessage().getBody() == null) {
                throw new ChatException("AGENT_NOT_FOUND", "There is no agent '" + exchange.getMessage().getHeader("id") + "'.");
            }
        };
    }

    /** A step: the body is the id that the database took; none taken is an error. */
    public Processor mustBeNew() {
        return exchange -> {
            if (exchange.getMessage().getBody() == null) {
                throw new ChatException("AGENT_EXISTS", "There is an agent with this id already.");
            }
        };
    }

    /** A step: an agent was written; it may stand in the fallbacks of others. */
    public Processor written() {
        return exchange -> cache.allChanged();
    }

    /** A step: the body is an agent; makes of it whether the agent can answer now. */
    public Processor status() {
        return exchange -> {
            Agent agent = Json.MAPPER.readValue(exchange.getMessage().getBody(String.class), Agent.class);
            LlmEndpoint provider = LlmComponent.of(exchange.getContext()).provider(agent.provider());
            String breaker = breakers.state(agent.target()).name();
            boolean configured = provider != null && provider.isConfigured();
            ObjectNode status = Json.MAPPER.createObjectNode().put("id", agent.id()).put("isActive", agent.isActive())
                    .put("provider", agent.provider()).put("model", agent.model()).put("configured", configured)
                    .put("circuitBreaker", breaker.toLowerCase(Locale.ROOT))
                    .put("available", agent.isActive() && configured && !breaker.equals("OPEN"));
            exchange.getMessage().setBody(status.toString());
        };
    }
}
