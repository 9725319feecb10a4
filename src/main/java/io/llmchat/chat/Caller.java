package io.llmchat.chat;

import java.util.Set;

/**
 * Whose request this is, and what this caller may ask for; the exchange property {@code caller}.
 *
 * @param userId the owner: sessions and answers are this user's
 * @param keyId the key that was shown; null where none is needed, and for the admin key
 * @param agents the agents that may be asked; empty: all
 * @param models the models that may be asked, as {@code <provider>/<model>}, where a model {@code *} stands for all of a
 *        provider; empty: all
 * @param quota the key's own; null: the default per caller
 * @param userQuota for all keys of the user together; null: none
 */
public record Caller(String userId, String keyId, Set<String> agents, Set<String> models, Quota quota, Quota userQuota) {

    public static final Caller ANONYMOUS = new Caller("anonymous", null, Set.of(), Set.of(), null, null);
    public static final Caller ADMIN = new Caller("admin", null, Set.of(), Set.of(), null, null);
}
