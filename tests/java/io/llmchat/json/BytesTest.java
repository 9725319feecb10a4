package io.llmchat.json;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.vertx.core.buffer.Buffer;
import org.junit.jupiter.api.Test;

class BytesTest {

    @Test
    void aBufferOfAnArrayGivesThatArrayBack() {
        byte[] hello = Json.utf8("Hello");
        assertSame(hello, Bytes.of(Bytes.buffer(hello)));
        assertEquals(Buffer.buffer("Hello"), Bytes.buffer(hello));
    }

    @Test
    void ofAnArrayThatHoldsMoreOnlyTheBytesOfTheBufferAreGiven() {
        assertArrayEquals(Json.utf8("Hello"), Bytes.of(Buffer.buffer(100).appendString("Hello")));
        assertArrayEquals(Json.utf8("ell"), Bytes.of(Buffer.buffer("Hello").slice(1, 4)));
        assertArrayEquals(new byte[0], Bytes.of(Buffer.buffer()));
    }
}
