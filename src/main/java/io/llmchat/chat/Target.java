package io.llmchat.chat;

/**
 * Whom to ask: a provider, by the name of its route file, and a model by the provider's own name for it.
 *
 * @param name of both, {@code <provider>/<model>}: it is asked for again and again
 */
public record Target(String provider, String model, String name) {

    public Target(String provider, String model) {
        this(provider, model, provider + "/" + model);
    }

    /** Reads {@code <provider>/<model>}; the model may hold slashes and colons. Null if there is no slash, or nothing before or after it. */
    public static Target parse(String name) {
        int slash = name.indexOf('/');
        return slash <= 0 || slash == name.length() - 1
                ? null : new Target(name.substring(0, slash), name.substring(slash + 1), name);
    }

    @Override
    public String toString() {
        return name;
    }
}
