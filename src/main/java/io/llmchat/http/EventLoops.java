package io.llmchat.http;

import io.netty.channel.EventLoopGroup;
import io.netty.channel.SelectStrategy;
import io.netty.channel.SingleThreadEventLoop;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.util.IntSupplier;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.file.FileSystemOptions;
import io.vertx.core.impl.VertxBuilder;
import io.vertx.core.impl.transports.JDKTransport;
import java.nio.channels.spi.SelectorProvider;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.StreamSupport;

/**
 * Makes the one Vert.x of this process. A loop that has hundreds of connections and is woken thousands of times a second
 * takes its events together: it rests for half a millisecond where it would wait for the next one. With a thousand
 * streams most of what a token costs is the waking of the thread that handles it.
 */
public final class EventLoops {

    /** Connections, of callers and providers together, below which no loop rests: there every moment is somebody's latency. */
    private static final int MANY = 256;
    private static final long REST = TimeUnit.MICROSECONDS.toNanos(500);
    /** Two events, in sixteenths: fewer are not worth a rest. */
    private static final int WORTH = 32;
    private static final int ENOUGH = 48;
    /** So often a loop waits as others do before it tries again whether rests are worth it. */
    private static final int SKIPPED = 64;

    private EventLoops() {
    }

    /**
     * An event loop for each core: they never block, so that more would only take turns. And no folder for temporary
     * files: nothing here is served from a file of the class path.
     */
    public static Vertx vertx() {
        return new VertxBuilder(new VertxOptions().setEventLoopPoolSize(Runtime.getRuntime().availableProcessors())
                .setFileSystemOptions(new FileSystemOptions().setClassPathResolvingEnabled(false).setFileCachingEnabled(false)))
                .findTransport(new Gathering()).init().vertx();
    }

    private static final class Gathering extends JDKTransport {
        @Override
        public EventLoopGroup eventLoopGroup(int type, int threads, ThreadFactory factory, int ioRatio) {
            if (type != IO_EVENT_LOOP_GROUP) {
                return super.eventLoopGroup(type, threads, factory, ioRatio);
            }
            EventLoopGroup[] made = new EventLoopGroup[1];
            NioEventLoopGroup group = new NioEventLoopGroup(threads, factory, SelectorProvider.provider(), () -> new Gatherer(() -> connections(made[0])));
            made[0] = group;
            group.setIoRatio(ioRatio);
            return group;
        }

        /** How many the loop has whose thread asks. */
        private static int connections(EventLoopGroup group) {
            return StreamSupport.stream(group.spliterator(), false).filter(loop -> loop.inEventLoop())
                    .mapToInt(loop -> ((SingleThreadEventLoop) loop).registeredChannels()).findFirst().orElse(0);
        }
    }

    /** What a loop does when it has nothing to do. Used on its thread. */
    static final class Gatherer implements SelectStrategy {
        private final java.util.function.IntSupplier connections;
        private int turns;
        private boolean many;
        /** Events after a rest, sixteen times as many, on an average of the last eight or so. */
        private int gathered = ENOUGH;
        private int skip;

        /** @param connections how many the loop has */
        Gatherer(java.util.function.IntSupplier connections) {
            this.connections = connections;
        }

        @Override
        public int calculateStrategy(IntSupplier ready, boolean hasTasks) throws Exception {
            if (hasTasks) {
                return ready.get();
            }
            if ((turns++ & 1023) == 0) {
                many = connections.getAsInt() >= MANY;
            }
            if (!many) {
                return SELECT;
            }
            if (skip > 0) {
                skip--;
                return SELECT;
            }
            LockSupport.parkNanos(REST);
            int events = ready.get();
            gathered += (16 * events - gathered) / 8;
            if (gathered < WORTH) {
                gathered = ENOUGH;
                skip = SKIPPED;
            }
            return events > 0 ? events : SELECT;
        }
    }
}
