package io.llmchat.ops;

import java.nio.file.FileSystemException;

/** Why something failed, in one line for people. */
public final class Cause {

    private Cause() {
    }

    /** What the innermost cause says, after its class where it names a file and no more, or its class where it says nothing. */
    public static String of(Throwable failure) {
        Throwable innermost = failure;
        while (innermost.getCause() != null) {
            innermost = innermost.getCause();
        }
        String kind = innermost.getClass().getSimpleName();
        if (innermost.getMessage() == null) {
            return kind;
        }
        return innermost instanceof FileSystemException e && e.getReason() == null ? kind + ": " + e.getMessage() : innermost.getMessage();
    }
}
