package io.llmchat.llm;

import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ProviderRefusal;
import java.util.ArrayList;
import java.util.List;

/**
 * Fits the answer of another provider to the text that the caller already has. Until it is clear whether the new text
 * repeats the old, it is held back; what was sent is not sent again. Used by one thread at a time.
 */
final class Continuation {

    /** What came of a call whose answer is another one. */
    static final String DIFFERS = "differs";

    private final String sent;
    private final boolean repeats;
    private final StringBuilder held = new StringBuilder();
    private boolean fitted;

    /**
     * @param sent what the caller has, or the part of it that may come again
     * @param repeats the provider was asked anew: its answer has to begin with {@code sent}. Otherwise it was asked to go
     *                on: it may begin with it
     */
    Continuation(String sent, boolean repeats) {
        this.sent = sent;
        this.repeats = repeats;
        this.fitted = sent.isEmpty();
    }

    /**
     * What of these parts the caller is to get.
     *
     * @throws ProviderRefusal if the new answer is another one: that is no fault of who gave it
     */
    List<AnswerPart> fit(List<AnswerPart> parts) {
        if (fitted) {
            return parts;
        }
        List<AnswerPart> fit = new ArrayList<>(parts.size());
        for (AnswerPart part : parts) {
            if (fitted) {
                fit.add(part);
            } else if (part instanceof AnswerPart.Text text) {
                held.append(text.text());
                compare(text.text(), fit);
            } else if (part instanceof AnswerPart.Finish || part instanceof AnswerPart.ToolStart || part instanceof AnswerPart.Refusal) {
                differs(fit);
                fit.add(part);
            } else if (part instanceof AnswerPart.Status) {
                fit.add(part);
            }
            // other thoughts on the way to the same text are of no use
        }
        return fit;
    }

    /** @param text the end of what is held; what was before fits */
    private void compare(String text, List<AnswerPart> fit) {
        if (held.length() >= sent.length() && held.substring(0, sent.length()).equals(sent)) {
            fitted = true;
            if (held.length() > sent.length()) {
                fit.add(new AnswerPart.Text(0, held.substring(sent.length())));
            }
        } else if (!sent.startsWith(text, held.length() - text.length())) {
            differs(fit);
        }
    }

    private void differs(List<AnswerPart> fit) {
        if (repeats) {
            throw new ProviderRefusal("UPSTREAM_ERROR", "The answer broke off, and another provider began a different one.")
                    .withOutcome(DIFFERS);
        }
        fitted = true;
        if (!held.isEmpty()) {
            fit.add(new AnswerPart.Text(0, held.toString()));
        }
    }
}
