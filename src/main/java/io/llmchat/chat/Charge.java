package io.llmchat.chat;

import java.util.List;

/** What one call of a provider has used: that is paid for, whatever the caller got of it. */
public record Charge(Target target, Usage usage) {

    /** What all of them have used; null: there is none. */
    public static Usage sum(List<Charge> charges) {
        Usage sum = null;
        for (Charge charge : charges) {
            sum = sum == null ? charge.usage : sum.plus(charge.usage);
        }
        return sum;
    }
}
