package io.llmchat.llm;

import io.llmchat.json.Bytes;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.handler.codec.DecoderException;
import io.netty.util.ByteProcessor;
import io.netty.util.internal.StringUtil;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * Takes the data of a stream's chunks (RFC 9112, section 7.1) out of what its connection receives, before HTTP codec and
 * client make five objects of each token. All else passes on as it came: heads, the last chunk with its trailers, and a
 * chunk that is written in an unusual way with all that follows it. So the codec sees a response without data, and judges
 * what is wrong; the client knows when it ends and whether its connection stays. Used on the event loop of the connection.
 */
final class ChunkDecoder extends ChannelInboundHandlerAdapter {

    /** Hexadecimal digits: a chunk of more than 256 MB is unusual. */
    private static final int MAX_DIGITS = 7;

    private enum Expected { NOTHING, ANYTHING, HEAD, SIZE, END_OF_SIZE, DATA, CR, LF }

    private Expected expected = Expected.NOTHING;
    /** Whether the line at hand has nothing in it so far; and whether the bytes being passed on end with a head. */
    private boolean blank;
    private boolean atEndOfHead;
    private final Consumer<byte[]> sink;
    /** Data of what is being read, and how much of it there is: all that is read at once is handed on at once. */
    private byte[] data = Bytes.NONE;
    private int length;
    /** Of the chunk at hand: how many digits its size has so far, and how much of it is to come. */
    private int digits;
    private int left;
    private ChannelHandlerContext context;

    /** @param sink takes what is read of a chunk; it is the sink's from then on */
    ChunkDecoder(Consumer<byte[]> sink) {
        this.sink = sink;
    }

    /** The response that comes next may be a stream: it can be taken when its head is there. */
    void expect() {
        expected = Expected.HEAD;
    }

    /** The response at hand, or the next one, is not taken. */
    void forget() {
        expected = Expected.ANYTHING;
    }

    /** Nothing was asked: what comes is an error. It must not be taken for the answer to what is asked next. */
    void expectNothing() {
        expected = Expected.NOTHING;
    }

    /**
     * Takes the data of the response whose head has just been received, a response in chunks; until its last one, or
     * until one that is passed on.
     *
     * @return false if it cannot be taken, because something of it was passed on with the head
     */
    boolean take() {
        if (!atEndOfHead) {
            return false;
        }
        begin();
        return true;
    }

    /** Reads no more from the connection until {@link #resume()}, or until the response ends. */
    void pause() {
        context.channel().config().setAutoRead(false);
    }

    void resume() {
        context.channel().config().setAutoRead(true);
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        context = ctx;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
        if (expected == Expected.ANYTHING || !(message instanceof ByteBuf bytes)) {
            ctx.fireChannelRead(message);
            return;
        }
        try {
            while (bytes.isReadable()) {
                switch (expected) {
                    case NOTHING -> {
                        bytes.skipBytes(bytes.readableBytes());
                        ctx.fireExceptionCaught(new DecoderException("an answer that nobody has asked for"));
                    }
                    case ANYTHING -> pass(bytes, bytes.readableBytes());
                    case HEAD -> head(bytes);
                    case DATA -> data(bytes);
                    default -> frame(bytes);
                }
            }
            handOn();
        } finally {
            bytes.release();
        }
    }

    private void pass(ByteBuf bytes, int length) {
        context.fireChannelRead(bytes.readRetainedSlice(length));
    }

    /** Passes on what there is of a head. An empty line ends it, and may stand before it. */
    private void head(ByteBuf bytes) {
        int end = bytes.forEachByte(this::inHead);
        atEndOfHead = end >= 0;
        pass(bytes, end < 0 ? bytes.readableBytes() : end + 1 - bytes.readerIndex());
        atEndOfHead = false;
    }

    /** A {@link ByteProcessor}: false at the end of an empty line. */
    private boolean inHead(byte b) {
        if (b == '\n') {
            boolean empty = blank;
            blank = !empty;
            return !empty;
        }
        blank &= b == '\r';
        return true;
    }

    private void begin() {
        expected = Expected.SIZE;
        digits = 0;
        left = 0;
    }

    private void data(ByteBuf bytes) {
        int piece = Math.min(left, bytes.readableBytes());
        if (length + piece > data.length) {
            // the first one often is all; after a second one there is room for whatever follows
            data = Arrays.copyOf(data, length + (length == 0 ? piece : bytes.readableBytes()));
        }
        bytes.readBytes(data, length, piece);
        length += piece;
        left -= piece;
        if (left == 0) {
            expected = Expected.CR;
        }
    }

    private void handOn() {
        if (length > 0) {
            byte[] all = length == data.length ? data : Arrays.copyOf(data, length);
            data = Bytes.NONE;
            length = 0;
            sink.accept(all);
        }
    }

    private void frame(ByteBuf bytes) {
        byte b = bytes.readByte();
        int digit = expected == Expected.SIZE && digits < MAX_DIGITS ? StringUtil.decodeHexNibble(b) : -1;
        if (digit >= 0) {
            left = left << 4 | digit;
            digits++;
        } else if (expected == Expected.SIZE && b == '\r' && digits > 0) {
            expected = Expected.END_OF_SIZE;
        } else if (expected == Expected.END_OF_SIZE && b == '\n' && left > 0) {
            expected = Expected.DATA;
        } else if (expected == Expected.CR && b == '\r') {
            expected = Expected.LF;
        } else if (expected == Expected.LF && b == '\n') {
            begin();
        } else {
            bytes.readerIndex(bytes.readerIndex() - 1);
            leave();
        }
    }

    /** The last chunk, or something unusual: it passes on, and all after it. */
    private void leave() {
        Expected at = expected;
        handOn();
        forget();
        resume();
        if (at == Expected.CR || at == Expected.LF) {
            context.fireExceptionCaught(new DecoderException("a chunk is longer than it says"));
        } else if (digits > 0) {
            String size = Integer.toHexString(left) + (at == Expected.END_OF_SIZE ? "\r" : "");
            context.fireChannelRead(Unpooled.copiedBuffer(size, StandardCharsets.US_ASCII));
        }
    }
}
