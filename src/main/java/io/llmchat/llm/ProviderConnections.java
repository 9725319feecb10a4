package io.llmchat.llm;

import io.netty.channel.EventLoop;
import io.netty.util.concurrent.EventExecutor;
import io.vertx.core.AsyncResult;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.impl.ContextInternal;
import io.vertx.core.impl.VertxInternal;
import io.vertx.core.net.NetClient;
import io.vertx.core.net.NetClientOptions;
import io.vertx.core.net.NetSocket;
import io.vertx.core.net.impl.ConnectionBase;
import io.vertx.core.shareddata.Shareable;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The connections to providers. They are the process's: a new version of the routes finds those of the one before. Each
 * event loop has its own, which only its calls use: with those of another one each token would change threads.
 */
final class ProviderConnections implements Shareable {

    /** Of one event loop to one provider: more than it serves streams. The number of chats is limited by {@code admit}, not here. */
    private static final int MAX_CONNECTIONS = 16_384;
    private static final long SWEEP_MILLIS = 1_000;

    private final int max;
    private final NetClient plain;
    private final NetClient tls;
    private final Map<EventExecutor, Loop> loops = new HashMap<>();

    /** @param max of one event loop to one provider */
    ProviderConnections(Vertx vertx, NetClientOptions options, int max) {
        this.max = max;
        plain = vertx.createNetClient(options);
        // without this algorithm any name would do
        tls = vertx.createNetClient(new NetClientOptions(options).setSsl(true).setHostnameVerificationAlgorithm("HTTPS"));
        vertx.nettyEventLoopGroup().forEach(loop -> loops.put(loop, new Loop(((VertxInternal) vertx).createEventLoopContext(
                (EventLoop) loop, null, getClass().getClassLoader()))));
    }

    /** Those of this process that have this time to be made, in milliseconds. */
    static ProviderConnections of(Vertx vertx, int connectTimeout) {
        return vertx.sharedData().<Integer, ProviderConnections>getLocalMap("llm").computeIfAbsent(connectTimeout,
                millis -> new ProviderConnections(vertx, new NetClientOptions().setConnectTimeout(millis), MAX_CONNECTIONS));
    }

    /** Lets a call send its request on a connection of this loop, at once or when there is one; or tells it that it broke. */
    void connect(EventExecutor loop, ProviderAddress to, HttpUpstream call) {
        Loop here = loops.get(loop);
        here.pools.computeIfAbsent(to, address -> new Pool(here, address)).connect(call);
    }

    /** What an event loop has. Used on its thread. */
    private static final class Loop {
        /** Not that of a call: a connection would keep it, and all that it knows. */
        private final ContextInternal context;
        private final Map<ProviderAddress, Pool> pools = new HashMap<>();
        private boolean sweeping;

        Loop(ContextInternal context) {
            this.context = context;
        }

        /** Sees to it that what nobody uses is closed in time. */
        private void sweepLater() {
            if (!sweeping) {
                sweeping = true;
                context.nettyEventLoop().schedule(this::sweep, SWEEP_MILLIS, TimeUnit.MILLISECONDS);
            }
        }

        private void sweep() {
            sweeping = false;
            long now = System.nanoTime();
            pools.values().forEach(pool -> {
                pool.idle.removeIf(connection -> connection.isPast(now));
                if (!pool.idle.isEmpty()) {
                    sweepLater();
                }
            });
        }
    }

    /** The connections of one event loop to one provider. */
    final class Pool {
        private final Loop loop;
        private final ProviderAddress to;
        /** Those without a call, the newest first. */
        private final ArrayDeque<ProviderConnection> idle = new ArrayDeque<>();
        /** All, with those that are being made. */
        private int open;

        Pool(Loop loop, ProviderAddress to) {
            this.loop = loop;
            this.to = to;
        }

        private void connect(HttpUpstream call) {
            long now = System.nanoTime();
            for (ProviderConnection newest = idle.poll(); newest != null; newest = idle.poll()) {
                if (!newest.isPast(now)) {
                    call.sendTo(newest);
                    return;
                }
            }
            if (open == max) {
                call.broken(new IllegalStateException("there are " + open + " connections to it already"));
                return;
            }
            ContextInternal before = loop.context.beginDispatch();
            try {
                Future<NetSocket> making = (to.ssl() ? tls : plain).connect(to.port(), to.host());
                open++;
                making.onComplete(socket -> made(socket, call));
            } finally {
                loop.context.endDispatch(before);
            }
        }

        private void made(AsyncResult<NetSocket> socket, HttpUpstream call) {
            if (socket.failed()) {
                left(null);
                call.broken(socket.cause());
                return;
            }
            ProviderConnection connection = ProviderConnection.on(((ConnectionBase) socket.result()).channel(), this);
            if (!call.sendTo(connection)) {
                idle(connection);
            }
        }

        /** It can be used again. */
        void idle(ProviderConnection connection) {
            idle.push(connection);
            loop.sweepLater();
        }

        /** It is closed. */
        void left(ProviderConnection connection) {
            idle.remove(connection);
            if (--open == 0) {
                loop.pools.remove(to);
            }
        }
    }
}
