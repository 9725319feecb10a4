package io.llmchat.support;

import io.llmchat.http.Memory;

/** A part of the memory of which nothing is left but so many bytes, until it is closed. */
public final class FullMemory implements AutoCloseable {

    /** What others give back meanwhile leaves nothing either. */
    private static final int BEYOND = 1 << 20;

    private final Memory memory;
    private int taken;

    public FullMemory(Memory memory) {
        this(memory, -BEYOND);
    }

    public FullMemory(Memory memory, int left) {
        this.memory = memory;
        for (int step = 1 << 20; step > 0; step /= 2) {
            while (memory.take(step, 0)) {
                taken += step;
            }
        }
        memory.give(left);
        taken -= left;
    }

    @Override
    public void close() {
        memory.give(taken);
    }
}
