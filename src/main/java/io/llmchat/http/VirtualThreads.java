package io.llmchat.http;

import io.vertx.core.spi.ExecutorServiceFactory;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;

/**
 * Gives Vert.x virtual threads for its blocking work, so that each request is one: by default twenty platform
 * threads would run all of them. Found by {@link java.util.ServiceLoader}.
 */
public final class VirtualThreads implements ExecutorServiceFactory {

    @Override
    public ExecutorService createExecutor(ThreadFactory threadFactory, Integer concurrency, Integer maxConcurrency) {
        return Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("request-", 0).factory());
    }
}
