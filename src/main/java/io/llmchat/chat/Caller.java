package io.llmchat.chat;

import io.llmchat.json.Json;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import org.apache.camel.Exchange;

/**
 * Whose request this is, and what this caller may ask for; the exchange property {@code caller}. Whoever is bound to
 * agents or models may ask for these and nothing else.
 *
 * @param userId the owner: sessions and answers are this user's
 * @param keyId the key that was shown; null where none is needed, and for the admin key
 * @param agents the agents that may be asked
 * @param models the models that may be asked, as {@code <provider>/<model>}, where a model {@code *} stands for all of a
 *        provider; directly, and through any agent unless {@code agents} names some
 * @param quota the key's own; null: the default per caller
 * @param userQuota for all keys of the user together; null: none
 */
public record Caller(String userId, String keyId, Set<String> agents, Set<String> models, Quota quota, Quota userQuota) {

    /** The exchange property with the caller. */
    public static final String PROPERTY = "caller";

    public static final Caller ANONYMOUS = new Caller("anonymous", null, Set.of(), Set.of(), null, null);
    public static final Caller ADMIN = new Caller("admin", null, Set.of(), Set.of(), null, null);

    /** The caller of this exchange; the anonymous one where no step has asked who it is. */
    public static Caller of(Exchange exchange) {
        return exchange.getProperty(PROPERTY, ANONYMOUS, Caller.class);
    }

    /**
     * Whether this caller may ask for that.
     *
     * @param agentId the agent that was named, or null: a model was
     * @param target the model that was named, or that of the agent
     */
    public boolean mayAsk(String agentId, Target target) {
        if (agents.isEmpty() && models.isEmpty() || agentId != null && agents.contains(agentId)) {
            return true;
        }
        return (agentId == null || agents.isEmpty()) && target != null
                && (models.contains(target.toString()) || models.contains(target.provider() + "/*"));
    }

    /** What this caller is bound to, as JSON for the queries of the routes; null: nothing. */
    public String scope() {
        return agents.isEmpty() && models.isEmpty() ? null
                : new String(Json.write(Map.of("agents", agents, "models", models)), StandardCharsets.UTF_8);
    }
}
