package io.llmchat.store;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/** The start of a store, on a thread of its own while others make what does not need it yet. Safe for all threads. */
final class Start {

    private final FutureTask<?> task;

    Start(String thread, Callable<?> store) {
        task = new FutureTask<>(store);
        Thread.ofPlatform().name(thread).start(task);
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
