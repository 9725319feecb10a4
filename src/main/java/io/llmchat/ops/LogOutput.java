package io.llmchat.ops;

import io.vertx.core.Context;
import io.vertx.core.Vertx;
import io.vertx.core.impl.ContextInternal;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.RejectedExecutionException;

/**
 * Standard output that writes what one turn of an event loop logs in one piece, at the end of that turn: a write for each
 * line, and the waking of whoever reads it, was a good part of what a line costs. What others write goes out at once,
 * after what is held. Safe for all threads.
 */
public final class LogOutput extends OutputStream {

    private static final int HELD = 16 * 1024;

    private final OutputStream out;
    private final byte[] held = new byte[HELD];
    private int length;
    private boolean awaited;

    LogOutput(OutputStream out) {
        this.out = out;
    }

    /** Makes it this process' {@link System#out}. To be called before anything is logged. */
    public static void install() {
        System.setOut(new PrintStream(new LogOutput(new FileOutputStream(FileDescriptor.out)), false, StandardCharsets.UTF_8));
    }

    @Override
    public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public synchronized void write(byte[] bytes, int from, int count) throws IOException {
        if (count > held.length - length || !endOfTurnComes()) {
            drain();
            out.write(bytes, from, count);
        } else {
            System.arraycopy(bytes, from, held, length, count);
            length += count;
        }
    }

    /** Whether this thread is an event loop's, and will come to {@link #turnEnds}. */
    private boolean endOfTurnComes() {
        // null also where a loop does what Vert.x knows nothing of, as Redisson does
        ContextInternal here = Context.isOnEventLoopThread() ? (ContextInternal) Vertx.currentContext() : null;
        if (here == null) {
            return false;
        }
        if (!awaited) {
            try {
                here.nettyEventLoop().execute(this::turnEnds);
                awaited = true;
            } catch (RejectedExecutionException e) {
                return false;
            }
        }
        return true;
    }

    private synchronized void turnEnds() {
        awaited = false;
        try {
            drain();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void drain() throws IOException {
        int count = length;
        length = 0;
        if (count > 0) {
            out.write(held, 0, count);
        }
    }
}
