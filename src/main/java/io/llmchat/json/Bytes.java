package io.llmchat.json;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.vertx.core.buffer.Buffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** What is done with bytes. Buffers and arrays are made of each other without a copy: whoever does so changes neither from then on. */
public final class Bytes {

    public static final byte[] NONE = new byte[0];

    private Bytes() {
    }

    /** The bytes of a buffer; copied only where its array holds more than them. */
    public static byte[] of(Buffer buffer) {
        ByteBuf bytes = buffer.getByteBuf();
        return bytes.hasArray() && bytes.arrayOffset() == 0 && bytes.array().length == bytes.readableBytes()
                ? bytes.array() : buffer.getBytes();
    }

    /** A buffer of these bytes. */
    @SuppressWarnings("deprecation")
    public static Buffer buffer(byte[] bytes) {
        return Buffer.buffer(Unpooled.wrappedBuffer(bytes));
    }

    /** Whether they are UTF-8 (RFC 3629): no character is longer than it need be, and none is half of one. */
    public static boolean areUtf8(byte[] bytes) {
        int all = 0;
        for (byte each : bytes) {
            all |= each;
        }
        // most are ASCII, of which that is all there is to see
        return all >= 0 || ByteBufUtil.isText(Unpooled.wrappedBuffer(bytes), StandardCharsets.UTF_8);
    }

    /** Their SHA-256. */
    public static byte[] sha256(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("this JDK has no SHA-256", e);
        }
    }

    /** Makes one line of JSON, in place: in it a line end is the same as a space. */
    public static void oneLine(byte[] json, int from, int to) {
        for (int i = from; i < to; i++) {
            if (json[i] == '\n') {
                json[i] = ' ';
            }
        }
    }
}
