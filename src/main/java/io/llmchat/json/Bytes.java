package io.llmchat.json;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.vertx.core.buffer.Buffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** What is done with bytes. Buffers and arrays are made of each other without a copy: whoever does so changes neither from then on. */
public final class Bytes {

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
