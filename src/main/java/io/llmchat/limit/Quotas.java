package io.llmchat.limit;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Quota;
import io.llmchat.chat.Target;
import io.llmchat.json.Json;
import java.math.BigDecimal;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What all callers together may have of this gateway, and of a model. Written as entries with a {@code ;} between them:
 * {@code global} or {@code model <provider>/<model>} (or {@code <provider>/*}: all its other models together), and after
 * it the members of a {@link Quota} as {@code name=value}. Safe for all threads.
 */
public final class Quotas {

    private static final String TAKES = "entries such as 'global points=1000 duration=60' or"
            + " 'model openai/gpt-4o tokensPerMinute=100000 budgetPerDay=50', with a ; between them";

    private Quota global;
    private final Map<String, Quota> models = new HashMap<>();

    /** @throws IllegalArgumentException that says what is wrong */
    public Quotas(String text) {
        for (String entry : text.split(";")) {
            if (!entry.isBlank()) {
                read(entry.trim().split("\\s+"), entry.trim());
            }
        }
    }

    /** Null if the text can be read, else what it takes. */
    public static String refuse(String text) {
        try {
            new Quotas(text);
            return null;
        } catch (IllegalArgumentException e) {
            return TAKES + " (" + e.getMessage() + ")";
        }
    }

    private void read(String[] words, String entry) {
        boolean forModel = words[0].equals("model") && words.length > 2 && Target.parse(words[1]) != null;
        if (!forModel && (!words[0].equals("global") || words.length < 2)) {
            throw new IllegalArgumentException("'" + entry + "' is none");
        }
        ObjectNode members = Json.MAPPER.createObjectNode();
        for (String word : List.of(words).subList(forModel ? 2 : 1, words.length)) {
            if (!word.matches("[A-Za-z]+=\\d{1,15}(\\.\\d{1,9})?")) {
                throw new IllegalArgumentException("'" + word + "' is no name=value");
            }
            int equals = word.indexOf('=');
            String name = word.substring(0, equals);
            String value = word.substring(equals + 1);
            if (members.has(name)) {
                throw new IllegalArgumentException("'" + entry + "' has two " + name);
            }
            if (value.indexOf('.') < 0) {
                members.put(name, Long.parseLong(value));
            } else {
                members.put(name, new BigDecimal(value));
            }
        }
        try {
            Quota quota = Quota.check(members, words[0]);
            Quota before = forModel ? models.put(words[1], quota) : global;
            if (before != null) {
                throw new IllegalArgumentException("there are two entries for " + words[forModel ? 1 : 0] + ", of which one would not hold");
            }
            global = forModel ? global : quota;
        } catch (ChatException e) {
            throw new IllegalArgumentException(e.getMessage());
        }
    }

    /** Whether any model has one. */
    public boolean ofModels() {
        return !models.isEmpty();
    }

    /** Whose quota is that of this model: its own name, or that of all others of its provider; null: it has none. */
    public String name(Target target) {
        String name = target.toString();
        if (!models.containsKey(name)) {
            name = target.provider() + "/*";
        }
        return models.containsKey(name) ? name : null;
    }

    /** Adds the limits that all callers share; {@code target} may be null: it is not known whom is asked. */
    public void add(Target target, List<Limit> to) {
        if (target != null && !models.isEmpty()) {
            addModel(name(target), to);
        }
        Limit.add(global, Limit.Scope.GLOBAL, "all", to);
    }

    /** Adds those of the quota of this name; null: none. */
    public void addModel(String name, List<Limit> to) {
        Limit.add(models.get(name), Limit.Scope.MODEL, name, to);
    }
}
