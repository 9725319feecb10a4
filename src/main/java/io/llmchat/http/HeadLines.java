package io.llmchat.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;

/**
 * Closes a connection whose request head has lines without end, or more bytes than there is room for. The codec counts the
 * bytes of their names and values only, makes objects of a hundred bytes of a line of four, and for a line that goes on
 * (RFC 9112, section 5.2, obsolete) a copy of all before it. A head that comes in one piece has been looked at by then; it
 * stands before the codec.
 */
final class HeadLines extends ChannelInboundHandlerAdapter {

    private static final int MAX = 500;

    private final Connection connection;
    private int lines;
    /** Bytes that have come and are in no message yet. */
    private int waiting;

    HeadLines(Connection connection) {
        this.connection = connection;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
        if (!(message instanceof ByteBuf bytes)) {
            ctx.fireChannelRead(message);
            return;
        }
        int before = connection.messages();
        int understood = connection.understood();
        int from = bytes.readerIndex();
        int to = bytes.writerIndex();
        bytes.retain();
        try {
            ctx.fireChannelRead(bytes);
            boolean made = connection.messages() != before;
            lines = made ? 0 : lines;
            // of those that came before there is none left, or they were counted with what they have become
            waiting = (made ? 0 : waiting) + Math.max(0, to - from - (connection.understood() - understood));
            for (int i = from; !made && (i = bytes.indexOf(i, to, (byte) '\n') + 1) > 0;) {
                lines++;
            }
            if (lines > MAX || !connection.takeHead(waiting)) {
                ctx.close();
            }
        } finally {
            bytes.release();
        }
    }
}
