package io.llmchat.store;

import io.llmchat.ops.Cause;
import java.io.IOException;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/** The start of a store, on a thread of its own while others make what does not need it yet. Safe for all threads. */
final class Start {

    private final FutureTask<?> task;

    /** @param elsewhere the address of a store that is not ours, which is said with what is wrong with it; null: it is ours */
    Start(String thread, String elsewhere, Callable<?> store) {
        task = new FutureTask<>(() -> {
            try {
                return store.call();
            } catch (Exception e) {
                throw elsewhere == null ? e : unusable(elsewhere, e);
            }
        });
        Thread.ofPlatform().name(thread).start(task);
    }

    private static IOException unusable(String address, Exception e) {
        IOException said = new IOException(address + " cannot be used: " + Cause.of(e));
        // not as its cause: what is told of a failed start is the innermost one
        said.addSuppressed(e);
        return said;
    }

    /**
     * Waits until the store is there.
     *
     * @throws CompletionException why it is not
     */
    void await() {
        try {
            task.get();
        } catch (ExecutionException e) {
            throw new CompletionException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CompletionException(e);
        }
    }

    /** Waits until nothing is being started any more, whatever came of it. */
    void end() {
        try {
            await();
        } catch (CompletionException e) {
            // whoever asked for the store was told why
        }
    }
}
