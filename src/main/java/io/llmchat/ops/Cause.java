package io.llmchat.ops;

/** Why something failed, in one line for people. */
public final class Cause {

    private Cause() {
    }

    /** What the innermost cause says, or its class where it says nothing. */
    public static String of(Throwable failure) {
        Throwable innermost = failure;
        while (innermost.getCause() != null) {
            innermost = innermost.getCause();
        }
        return innermost.getMessage() == null ? innermost.getClass().getSimpleName() : innermost.getMessage();
    }
}
