package io.llmchat.bench;

import io.llmchat.json.Json;
import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseDecoder;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.LastHttpContent;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.HdrHistogram.Histogram;

/**
 * Sends requests and measures their answers, on one thread of its own. In an open loop time counts from when a request
 * was due, not from when it could be sent: a server that stands still is charged for all whom it keeps waiting.
 * One {@link #run} at a time.
 */
public final class LoadGenerator implements AutoCloseable {

    private static final long RECONNECT_MILLIS = 10;

    private final EventLoopGroup loops = new NioEventLoopGroup(1);
    private final EventLoop loop = loops.next();

    /** Is told when the measured part begins and when it ends. */
    interface Watch {
        void begin();

        void end();
    }

    /** Returns when all answers are there, or {@code grace} is over; what has no answer by then is an error. Throws what the watch throws at the end. */
    Measured run(Load load, Watch watch) throws Exception {
        Run run = new Run(load, watch);
        loop.execute(run::start);
        if (load.rate() > 0) {
            pace(run, load);
        }
        return run.over.get(load.warmUp().plus(load.length()).plus(load.grace()).toMillis() + 30_000, TimeUnit.MILLISECONDS);
    }

    /** The event loop's own timers are a millisecond coarse. */
    private void pace(Run run, Load load) {
        long all = Math.round((load.warmUp().toNanos() + load.length().toNanos()) * load.rate() / 1e9);
        for (long i = 0; i < all;) {
            long now = System.nanoTime();
            long due = run.begun + Math.round(i * 1e9 / load.rate());
            if (due > now) {
                LockSupport.parkNanos(due - now);
            } else {
                long from = i;
                i = Math.max(from + 1, Math.min(all, (long) ((now - run.begun) * load.rate() / 1e9)));
                long to = i;
                loop.execute(() -> {
                    for (long k = from; k < to; k++) {
                        run.due(run.begun + Math.round(k * 1e9 / load.rate()));
                    }
                });
            }
        }
        // after all that was due: whoever paces may be late
        run.stopAt(run.until);
    }

    @Override
    public void close() throws InterruptedException {
        loops.shutdownGracefully(0, 1, TimeUnit.SECONDS).sync();
    }

    /** All of it on the event loop, but {@code begun} and {@code over}. */
    private final class Run {
        private final Load load;
        private final Watch watch;
        private final CompletableFuture<Measured> over = new CompletableFuture<>();
        private final long begun = System.nanoTime();
        private final long from;
        private final long until;
        private final Queue<Connection> idle = new ArrayDeque<>();
        /** When requests were due for which there was no connection yet. */
        private final Queue<Long> waiting = new ArrayDeque<>();
        private final Map<String, Long> errors = new TreeMap<>();
        private final Histogram latency = new Histogram(3);
        private final Histogram first = new Histogram(3);
        private final Histogram gaps = new Histogram(3);
        private final Set<Channel> channels = new HashSet<>();
        private int connections;
        private long next;
        private long sent;
        private long complete;
        private long inTime;
        private int open;
        private int mostOpen;
        private boolean sending = true;

        Run(Load load, Watch watch) {
            this.load = load;
            this.watch = watch;
            from = begun + load.warmUp().toNanos();
            until = from + load.length().toNanos();
        }

        void start() {
            loop.schedule(watch::begin, from - System.nanoTime(), TimeUnit.NANOSECONDS);
            loop.schedule(this::end, until + load.grace().toNanos() - System.nanoTime(), TimeUnit.NANOSECONDS);
            if (load.rate() == 0) {
                stopAt(until);
                for (int i = 0; i < load.connections(); i++) {
                    connect();
                }
            }
        }

        void stopAt(long time) {
            loop.schedule(() -> {
                sending = false;
                endIfDone();
            }, time - System.nanoTime(), TimeUnit.NANOSECONDS);
        }

        void due(long at) {
            waiting.add(at);
            Connection free = idle.poll();
            if (free != null) {
                free.sendNext();
            } else if (connections < load.connections()) {
                connect();
            }
        }

        private void connect() {
            connections++;
            Connection connection = new Connection(this);
            ChannelFuture connected = new Bootstrap().group(loops).channel(NioSocketChannel.class).option(ChannelOption.TCP_NODELAY, true)
                    .handler(new ChannelInitializer<SocketChannel>() {
                        @Override
                        protected void initChannel(SocketChannel channel) {
                            channel.pipeline().addLast(new HttpResponseDecoder(), connection);
                        }
                    }).connect(load.to());
            connected.addListener(done -> {
                if (done.isSuccess()) {
                    channels.add(connected.channel());
                    connection.sendNext();
                } else {
                    connections--;
                    failed("connect", System.nanoTime());
                    loop.schedule(this::replace, RECONNECT_MILLIS, TimeUnit.MILLISECONDS);
                }
            });
        }

        /** Another connection for one that was lost, where there is something to send. */
        void replace() {
            if (load.rate() == 0 ? sending : !waiting.isEmpty() && connections < load.connections()) {
                connect();
            }
        }

        void failed(String why, long due) {
            if (due >= from) {
                errors.merge(why, 1L, Long::sum);
            }
        }

        void endIfDone() {
            if (!sending && open == 0 && waiting.isEmpty()) {
                end();
            }
        }

        private void end() {
            if (over.isDone()) {
                return;
            }
            try {
                watch.end();
                if (open + waiting.size() > 0) {
                    errors.merge("no answer", (long) open + waiting.size(), Long::sum);
                    sent += waiting.size();
                }
                over.complete(new Measured(sent, complete, inTime, load.length().toNanos() / 1e9, errors, latency, first, gaps, mostOpen));
            } catch (RuntimeException e) {
                over.completeExceptionally(e);
            }
            channels.forEach(Channel::close);
        }
    }

    /** One connection, with at most one request under way. */
    private static final class Connection extends SimpleChannelInboundHandler<HttpObject> {
        private final Run run;
        private final Events events = new Events();
        private ChannelHandlerContext to;
        private boolean busy;
        private boolean close;
        private int status;
        private long due;
        private long lastEvent;

        Connection(Run run) {
            this.run = run;
        }

        @Override
        public void handlerAdded(ChannelHandlerContext to) {
            this.to = to;
        }

        void sendNext() {
            Long asked = run.load.rate() == 0 ? run.sending ? System.nanoTime() : null : run.waiting.poll();
            if (asked == null) {
                run.idle.add(this);
                run.endIfDone();
                return;
            }
            due = asked;
            busy = true;
            events.reset();
            lastEvent = 0;
            if (measured()) {
                run.sent++;
            }
            run.mostOpen = Math.max(run.mostOpen, ++run.open);
            byte[] request = run.load.requests().get((int) (run.next++ % run.load.requests().size()));
            to.writeAndFlush(Unpooled.wrappedBuffer(request));
        }

        private boolean measured() {
            return due >= run.from;
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context, HttpObject part) {
            if (part.decoderResult().isFailure()) {
                lost("nonsense");
                return;
            }
            if (part instanceof HttpResponse head) {
                status = head.status().code();
                close = !HttpUtil.isKeepAlive(head);
            }
            if (part instanceof HttpContent content) {
                if (run.load.events() > 0 && status == 200) {
                    read(content.content());
                }
                if (part instanceof LastHttpContent) {
                    answered();
                }
            }
        }

        private void read(ByteBuf bytes) {
            int more = events.read(bytes);
            if (more == 0) {
                return;
            }
            long now = System.nanoTime();
            if (measured()) {
                if (lastEvent == 0) {
                    run.first.recordValue(now - due);
                } else {
                    run.gaps.recordValue(now - lastEvent);
                }
                run.gaps.recordValueWithCount(0, more - 1L);
            }
            lastEvent = now;
        }

        private void answered() {
            long now = System.nanoTime();
            busy = false;
            run.open--;
            if (measured()) {
                if (status != 200) {
                    run.failed("status " + status, due);
                } else if (run.load.events() > 0 && (events.count() != run.load.events() || !events.done())) {
                    run.failed("incomplete", due);
                } else {
                    run.complete++;
                    run.inTime += now <= run.until ? 1 : 0;
                    run.latency.recordValue(now - due);
                }
            }
            if (close) {
                to.close();
            } else {
                sendNext();
            }
            run.endIfDone();
        }

        private void lost(String why) {
            if (busy) {
                busy = false;
                run.open--;
                run.failed(why, due);
            }
            to.close();
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            boolean over = run.over.isDone();
            run.channels.remove(context.channel());
            run.idle.remove(this);
            run.connections--;
            if (!over) {
                lost("closed");
                run.replace();
                run.endIfDone();
            }
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            lost("reset");
        }
    }

    /** Counts the events of a stream, however its bytes are cut. */
    static final class Events {
        private static final byte[] DONE = Json.utf8("data: [DONE]");

        private final byte[] line = new byte[DONE.length];
        private int length;
        private int count;
        private boolean done;

        void reset() {
            length = 0;
            count = 0;
            done = false;
        }

        /** How many ended in these bytes. */
        int read(ByteBuf bytes) {
            int before = count;
            int at = bytes.readerIndex();
            int end = bytes.writerIndex();
            while (at < end) {
                int newline = bytes.indexOf(at, end, (byte) '\n');
                int to = newline < 0 ? end : newline;
                if (length < line.length) {
                    int n = Math.min(line.length - length, to - at);
                    bytes.getBytes(at, line, length, n);
                }
                length += to - at;
                if (newline >= 0) {
                    endOfLine();
                }
                at = to + 1;
            }
            return count - before;
        }

        private void endOfLine() {
            if (length >= 5 && line[0] == 'd' && line[1] == 'a' && line[2] == 't' && line[3] == 'a' && line[4] == ':') {
                count++;
                done = length == DONE.length && Arrays.equals(line, DONE);
            }
            length = 0;
        }

        int count() {
            return count;
        }

        /** Whether the last one was {@code [DONE]}. */
        boolean done() {
            return done;
        }
    }
}
