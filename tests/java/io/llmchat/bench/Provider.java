package io.llmchat.bench;

import io.llmchat.json.Json;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpRequestDecoder;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A provider that speaks OpenAI's chat completions and costs as little as possible: one thread, on loopback, answers
 * that are the same bytes each time. The model's name says how it answers: {@code bench-<tokens>-<ms to the first
 * token>-<ms between tokens>}. A stream has an event for each token, one with the finish reason, one with the usage if
 * it was asked for, and {@code [DONE]}; without gaps all of it is written at once.
 */
public final class Provider implements AutoCloseable {

    private static final int MAX_BODY = 4 << 20;
    private static final int BACKLOG = 4096;
    private static final Pattern MODEL = Pattern.compile("\"model\"\\s*:\\s*\"bench-(\\d+)-(\\d+)-(\\d+)\"");
    private static final Pattern STREAM = Pattern.compile("\"stream\"\\s*:\\s*true");
    private static final Pattern USAGE = Pattern.compile("\"include_usage\"\\s*:\\s*true");

    private static final String NAMES = "\"id\":\"chatcmpl-bench\",\"created\":1700000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\"";
    private static final String EVENT = "data: {" + NAMES + ",\"object\":\"chat.completion.chunk\",\"choices\":";
    private static final byte[] STREAM_HEAD = Json.utf8("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    private static final byte[] TOKEN = chunk(EVENT + "[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n");
    private static final byte[] FINISH = chunk(EVENT + "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    private static final byte[] DONE = Json.utf8(new String(chunk("data: [DONE]\n\n"), StandardCharsets.UTF_8) + "0\r\n\r\n");
    private static final byte[] NOT_FOUND = Json.utf8("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");

    private final EventLoopGroup loop = new NioEventLoopGroup(1);
    private final Channel listening;

    /** @param port 0: a free one */
    public Provider(int port) throws InterruptedException {
        listening = new ServerBootstrap().group(loop).channel(NioServerSocketChannel.class)
                .option(ChannelOption.SO_BACKLOG, BACKLOG).childOption(ChannelOption.TCP_NODELAY, true)
                .childHandler(new ChannelInitializer<SocketChannel>() {
                    @Override
                    protected void initChannel(SocketChannel channel) {
                        channel.pipeline().addLast(new HttpRequestDecoder(), new HttpObjectAggregator(MAX_BODY), new Answers());
                    }
                }).bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port)).sync().channel();
    }

    public int port() {
        return ((InetSocketAddress) listening.localAddress()).getPort();
    }

    @Override
    public void close() throws InterruptedException {
        loop.shutdownGracefully(0, 1, TimeUnit.SECONDS).sync();
    }

    private static byte[] chunk(String text) {
        return Json.utf8(Integer.toHexString(text.length()) + "\r\n" + text + "\r\n");
    }

    private static String usage(int tokens) {
        return "\"usage\":{\"prompt_tokens\":80,\"completion_tokens\":" + tokens + ",\"total_tokens\":" + (80 + tokens) + "}";
    }

    private static final class Answers extends SimpleChannelInboundHandler<FullHttpRequest> {

        @Override
        protected void channelRead0(ChannelHandlerContext to, FullHttpRequest request) {
            String body = request.content().toString(StandardCharsets.UTF_8);
            Matcher model = MODEL.matcher(body);
            if (request.method() != HttpMethod.POST || !request.uri().endsWith("/chat/completions") || !model.find()) {
                to.writeAndFlush(Unpooled.wrappedBuffer(NOT_FOUND));
                return;
            }
            int tokens = Integer.parseInt(model.group(1));
            long first = Long.parseLong(model.group(2));
            if (!STREAM.matcher(body).find()) {
                later(to, System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(first), () -> to.writeAndFlush(whole(tokens)));
                return;
            }
            new Stream(to, tokens, Long.parseLong(model.group(3)), USAGE.matcher(body).find()).start(first);
        }

        private static ByteBuf whole(int tokens) {
            String body = "{" + NAMES + ",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\""
                    + " token".repeat(tokens) + "\"},\"finish_reason\":\"stop\"}]," + usage(tokens) + "}";
            return Unpooled.copiedBuffer("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + body.length() + "\r\n\r\n" + body,
                    StandardCharsets.US_ASCII);
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext to, Throwable cause) {
            // who leaves in the middle of a stream is no concern of ours
            to.close();
        }
    }

    /** One answer that goes out token by token, each when it is due, however late the one before was. */
    private static final class Stream {
        private final ChannelHandlerContext to;
        private final int tokens;
        private final long gap;
        private final boolean usage;
        private int sent;
        private long due;

        Stream(ChannelHandlerContext to, int tokens, long gapMillis, boolean usage) {
            this.to = to;
            this.tokens = tokens;
            this.gap = TimeUnit.MILLISECONDS.toNanos(gapMillis);
            this.usage = usage;
        }

        void start(long firstMillis) {
            due = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(firstMillis);
            later(to, due, this::next);
        }

        private void next() {
            ByteBuf out = to.alloc().buffer();
            if (sent == 0) {
                out.writeBytes(STREAM_HEAD);
            }
            do {
                out.writeBytes(TOKEN);
                sent++;
                due += gap;
            } while (sent < tokens && due <= System.nanoTime());
            if (sent == tokens) {
                out.writeBytes(FINISH);
                if (usage) {
                    out.writeBytes(chunk(EVENT + "[]," + usage(tokens) + "}\n\n"));
                }
                out.writeBytes(DONE);
            }
            to.writeAndFlush(out);
            if (sent < tokens) {
                later(to, due, this::next);
            }
        }
    }

    private static void later(ChannelHandlerContext to, long due, Runnable what) {
        long nanos = due - System.nanoTime();
        if (nanos <= 0) {
            what.run();
        } else {
            to.executor().schedule(() -> {
                if (to.channel().isActive()) {
                    what.run();
                }
            }, nanos, TimeUnit.NANOSECONDS);
        }
    }

    /** Says on which port it is, and runs until its input ends: it does not outlive who has started it. */
    public static void main(String[] args) throws Exception {
        Provider provider = new Provider(args.length == 0 ? 0 : Integer.parseInt(args[0]));
        System.out.println(provider.port());
        while (System.in.read() >= 0) {
            // nothing is said to it
        }
        provider.close();
    }
}
