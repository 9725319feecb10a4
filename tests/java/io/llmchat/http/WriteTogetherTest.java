package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.buffer.UnpooledByteBufAllocator;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.ChannelPromise;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.DefaultHttpContent;
import io.netty.handler.codec.http.DefaultHttpHeaders;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseEncoder;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.vertx.core.http.impl.headers.HeadersMultiMap;
import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class WriteTogetherTest {

    private final List<String> done = new ArrayList<>();
    private final List<ByteBuf> given = new ArrayList<>();
    private final List<ByteBuf> passed = new ArrayList<>();
    private IOException broken;
    private final EmbeddedChannel channel = new EmbeddedChannel(new ChannelOutboundHandlerAdapter() {
        @Override
        public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) {
            if (message instanceof ByteBuf bytes) {
                String text = bytes.toString(StandardCharsets.US_ASCII);
                done.add(text.length() > 20 ? text.charAt(0) + "*" + text.length() : text);
                passed.add(bytes);
                bytes.release();
            } else {
                done.add(message.toString());
            }
            if (promise.isVoid()) {
                return;
            }
            if (broken == null) {
                promise.setSuccess();
            } else {
                promise.setFailure(broken);
            }
        }

        @Override
        public void flush(ChannelHandlerContext ctx) {
            done.add("flush");
        }

        @Override
        public void close(ChannelHandlerContext ctx, ChannelPromise promise) throws Exception {
            done.add("close");
            super.close(ctx, promise);
        }
    }, new WriteTogether());

    private ByteBuf bytes(String text) {
        ByteBuf bytes = Unpooled.copiedBuffer(text, StandardCharsets.US_ASCII);
        given.add(bytes);
        return bytes;
    }

    private void nothingIsHeld() {
        given.forEach(b -> assertEquals(0, b.refCnt()));
        passed.forEach(b -> assertEquals(0, b.refCnt()));
    }

    @Test
    void whatIsSentInATurnGoesOutInOnePieceAtItsEnd() {
        channel.pipeline().write(bytes("5\r\n"), channel.voidPromise());
        channel.pipeline().write(bytes("hello"), channel.voidPromise());
        channel.pipeline().writeAndFlush(bytes("\r\n"), channel.voidPromise());
        channel.pipeline().writeAndFlush(bytes("next"), channel.voidPromise());
        assertEquals(List.of(), done);
        channel.runPendingTasks();
        assertEquals(List.of("5\r\nhello\r\nnext", "flush"), done);
        channel.pipeline().writeAndFlush(bytes("c"));
        channel.runPendingTasks();
        assertEquals(List.of("5\r\nhello\r\nnext", "flush", "c", "flush"), done);
        nothingIsHeld();
    }

    @Test
    void whatIsLongOrNoBytesGoesAsItIsAndAfterWhatWasWrittenBefore() {
        channel.pipeline().write(bytes("a"));
        channel.pipeline().write(bytes("b".repeat(9_000)));
        channel.pipeline().write(bytes("c"));
        channel.pipeline().write("a file");
        channel.pipeline().write(bytes("d"));
        channel.pipeline().flush();
        channel.runPendingTasks();
        assertEquals(List.of("a", "b*9000", "c", "a file", "d", "flush"), done);
        nothingIsHeld();
    }

    @Test
    void aTurnThatWritesMuchIsNotKeptUntilItsEnd() {
        for (int i = 0; i < 20; i++) {
            channel.pipeline().write(bytes("x".repeat(1_000)));
        }
        assertEquals(List.of("x*9000", "x*9000"), done);
        channel.pipeline().flush();
        channel.runPendingTasks();
        assertEquals(List.of("x*9000", "x*9000", "x*2000", "flush"), done);
        nothingIsHeld();
    }

    @Test
    void whoAsksIsToldWhatBecameOfWhatHeWrote() {
        ChannelFuture first = channel.pipeline().write(bytes("a"));
        channel.pipeline().write(bytes("b"), channel.voidPromise());
        ChannelFuture last = channel.pipeline().writeAndFlush(bytes("c"));
        assertFalse(first.isDone());
        channel.runPendingTasks();
        assertTrue(first.isSuccess());
        assertTrue(last.isSuccess());
        broken = new IOException("Broken pipe");
        ChannelFuture lost = channel.pipeline().writeAndFlush(bytes("d"));
        channel.runPendingTasks();
        assertEquals(broken, lost.cause());
        nothingIsHeld();
    }

    @Test
    void aChunkIsWhatTheCodecMakesOfIt() {
        for (int length : new int[] {1, 9, 15, 16, 255, 256, 4_095, 4_096, 8_191, 8_192}) {
            WriteTogether together = new WriteTogether();
            EmbeddedChannel http = new EmbeddedChannel(together, new HttpResponseEncoder());
            HttpResponse head = new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK);
            HttpUtil.setTransferEncodingChunked(head, true);
            http.pipeline().writeAndFlush(head);
            http.runPendingTasks();
            sent(http);
            http.pipeline().writeAndFlush(new DefaultHttpContent(Unpooled.wrappedBuffer(new byte[length])));
            http.runPendingTasks();
            String expected = sent(http);
            ByteBuf bytes = bytes("\0".repeat(length));
            assertTrue(together.chunk(bytes));
            assertTrue(together.chunk(bytes), "the bytes stay the caller's");
            http.runPendingTasks();
            assertEquals(expected + expected, sent(http));
            http.pipeline().writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
            http.runPendingTasks();
            assertEquals("0\r\n\r\n", sent(http));
            bytes.release();
        }
        nothingIsHeld();
    }

    private static FullHttpResponse answer(int status, String body, HttpHeaders lines) {
        return new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.valueOf(status), Unpooled.copiedBuffer(body, StandardCharsets.UTF_8),
                lines.set("Content-Length", Integer.toString(body.length())), new DefaultHttpHeaders());
    }

    private static HttpHeaders lines() {
        return HeadersMultiMap.httpHeaders().set("X-Request-Id", "a b").add("Set-Cookie", "a=1").add("set-cookie", "b=2").set("Empty", "")
                .set("Accented", "caf\u00e9");
    }

    @Test
    void aWholeAnswerIsWhatTheCodecMakesOfIt() {
        WriteTogether together = new WriteTogether();
        EmbeddedChannel http = new EmbeddedChannel(together, new HttpResponseEncoder());
        for (int status : new int[] {200, 299, 404, 500, 599}) {
            for (String body : List.of("", "{}", "x".repeat(8_192))) {
                http.pipeline().writeAndFlush(answer(status, body, new DefaultHttpHeaders().add(lines())));
                http.runPendingTasks();
                String expected = sent(http);
                FullHttpResponse answer = answer(status, body, lines());
                ChannelPromise asked = http.newPromise();
                assertTrue(together.whole(answer, asked));
                assertEquals(0, answer.refCnt());
                together.flush(http.pipeline().firstContext());
                http.runPendingTasks();
                assertEquals(expected, sent(http));
                assertTrue(asked.isSuccess());
            }
        }
    }

    @Test
    void anAnswerThatIsLongOrHasNoContentOrGoesInChunksIsLeftToTheCodec() {
        WriteTogether together = channel.pipeline().get(WriteTogether.class);
        for (FullHttpResponse left : List.of(answer(200, "x".repeat(8_193), lines()), answer(100, "", lines()), answer(204, "", lines()),
                answer(205, "", lines()), answer(304, "", lines()), answer(200, "{}", lines().set("Transfer-Encoding", "chunked")), answer(200, "{}", new DefaultHttpHeaders()),
                answer(200, "{}", lines()).setProtocolVersion(HttpVersion.HTTP_1_0))) {
            assertFalse(together.whole(left, channel.voidPromise()));
            left.release();
        }
        nothingIsHeld();
    }

    private static String sent(EmbeddedChannel http) {
        StringBuilder all = new StringBuilder();
        for (ByteBuf piece = http.readOutbound(); piece != null; piece = http.readOutbound()) {
            all.append(piece.toString(StandardCharsets.US_ASCII));
            piece.release();
        }
        return all.toString();
    }

    @Test
    void aChunkThatIsLongOrEmptyOrForNobodyIsLeftToTheCodec() {
        WriteTogether together = channel.pipeline().get(WriteTogether.class);
        assertFalse(together.chunk(bytes("x".repeat(8_193))));
        assertFalse(together.chunk(bytes("")));
        channel.close();
        channel.runPendingTasks();
        assertFalse(together.chunk(bytes("late")));
        given.forEach(ByteBuf::release);
    }

    @Test
    void whatWasSentBeforeAConnectionIsClosedGoesBefore() {
        channel.pipeline().writeAndFlush(bytes("last"));
        channel.pipeline().close();
        channel.runPendingTasks();
        assertEquals(List.of("last", "flush", "close"), done);
        nothingIsHeld();
    }

    @Test
    void whatIsNotFlushedIsLostWithItsConnection() {
        UnpooledByteBufAllocator memory = new UnpooledByteBufAllocator(true);
        channel.config().setAllocator(memory);
        ChannelFuture unsent = channel.pipeline().write(bytes("a"));
        channel.runPendingTasks();
        assertNull(unsent.cause());
        channel.pipeline().close();
        channel.runPendingTasks();
        assertEquals(List.of("close"), done);
        assertInstanceOf(ClosedChannelException.class, unsent.cause());
        nothingIsHeld();
        assertEquals(0, memory.metric().usedDirectMemory());
    }
}
