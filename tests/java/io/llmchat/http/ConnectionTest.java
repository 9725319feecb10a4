package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FullMemory;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.DefaultHttpContent;
import io.netty.handler.codec.http.DefaultHttpRequest;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequestDecoder;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class ConnectionTest {

    private static final long PATIENCE = TimeUnit.SECONDS.toNanos(1);
    private static final String SHORT = "GET / HTTP/1.1\r\nHost: x\r\n";

    /** A caller who takes what is sent, or so many bytes of it each time, or nothing. */
    private static final class Caller extends EmbeddedChannel {
        private boolean takes;
        private int bytes;

        @Override
        protected void doWrite(ChannelOutboundBuffer queue) throws Exception {
            if (takes) {
                super.doWrite(queue);
            } else if (bytes > 0 && queue.current() != null) {
                queue.removeBytes(bytes);
            }
        }
    }

    private final Caller caller = new Caller();
    private final Connection connection = new Connection(caller, new Connections.Patience(PATIENCE, PATIENCE, PATIENCE, PATIENCE), (path, id) -> null);
    private final long begin = System.nanoTime();

    private void look(long after) {
        connection.look(begin + after);
        caller.runPendingTasks();
    }

    @Test
    void whoWasSlowOnceIsNotLeftBecauseNettyUsesTheSameObjectAgain() {
        caller.pipeline().addLast(connection);
        ByteBuf bytes = Unpooled.copiedBuffer("data: x\n\n", StandardCharsets.UTF_8).retain();
        caller.writeAndFlush(bytes);
        look(0);
        caller.takes = true;
        caller.flush();
        look(PATIENCE / 2);
        caller.takes = false;
        caller.writeAndFlush(bytes);
        look(PATIENCE + 1);
        assertTrue(caller.isOpen(), "he has taken all that was sent before");
        look(2 * PATIENCE + 2);
        assertFalse(caller.isOpen(), "now he takes nothing");
    }

    /** For how many times his patience a caller who takes so many bytes of a long answer at a time is waited for, 20 at most. */
    private int waitedFor(int bytes, int length) {
        caller.pipeline().addLast(connection);
        request(1);
        caller.bytes = bytes;
        caller.writeAndFlush(Unpooled.buffer(length).writeZero(length));
        int times = 0;
        for (; times < 20 && caller.isOpen(); times++) {
            look(times * PATIENCE);
            caller.flush();
        }
        return times;
    }

    @Test
    void whoTakesAByteOfALongAnswerNowAndThenIsLeft() {
        int times = waitedFor(1, 1_000_000);
        assertTrue(times > 5 && times < 10, times + " times");
    }

    @Test
    void whoTakesALongAnswerSlowlyButTakesItIsNot() {
        assertEquals(20, waitedFor(40_000, 1_000_000));
    }

    @Test
    void norIsWhoTakesPiecesOfAStreamSlowly() {
        assertEquals(20, waitedFor(1, 8_192));
    }

    private void request(int length) {
        DefaultHttpRequest head = new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/");
        caller.writeInbound(head, new DefaultLastHttpContent(Unpooled.buffer(length).writeZero(length)));
    }

    private void answer() {
        caller.writeOutbound(new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK), LastHttpContent.EMPTY_LAST_CONTENT);
    }

    @Test
    void whoDoesNotTakeHisAnswersIsReadAgainWhenHeDoes() {
        caller.pipeline().addLast(connection);
        for (int answers = 0; caller.config().isAutoRead(); answers++) {
            assertTrue(answers < 200, "they are kept without end");
            request(0);
            caller.writeAndFlush(new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK));
            caller.writeAndFlush(new DefaultHttpContent(Unpooled.buffer(1_000).writeZero(1_000)));
            caller.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
        }
        caller.takes = true;
        caller.flush();
        assertTrue(caller.config().isAutoRead());
    }

    @Test
    void aBodyIsNotLateWhileItIsNotRead() {
        caller.pipeline().addLast(connection);
        caller.bytes = 1_000;
        caller.writeAndFlush(Unpooled.buffer(100_000).writeZero(100_000));
        caller.writeInbound(new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/"));
        caller.writeAndFlush(new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK));
        for (int times = 1; times <= 4; times++) {
            look(times * PATIENCE);
            caller.flush();
        }
        assertTrue(caller.isOpen());
    }

    @Test
    void whoHasTakenTheLastOfALongAnswerMayBeIdleFromThenOn() {
        caller.pipeline().addLast(connection);
        caller.takes = true;
        request(0);
        caller.writeAndFlush(new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK));
        caller.takes = false;
        caller.bytes = 1_000;
        caller.writeAndFlush(Unpooled.buffer(100_000).writeZero(100_000));
        caller.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
        for (int times = 1; times <= 4; times++) {
            look(times * PATIENCE);
            caller.flush();
        }
        caller.takes = true;
        caller.flush();
        look(5 * PATIENCE - 1);
        assertTrue(caller.isOpen());
        look(6 * PATIENCE);
        assertFalse(caller.isOpen());
    }

    @Test
    void whoTakesNothingOfAnAnswerForAMomentIsNotIdle() {
        Connection patient = new Connection(caller, new Connections.Patience(PATIENCE, PATIENCE, PATIENCE, 3 * PATIENCE), (path, id) -> null);
        caller.pipeline().addLast(patient);
        request(0);
        caller.writeAndFlush(Unpooled.buffer(100).writeZero(100));
        caller.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
        for (int times = 0; times <= 2; times++) {
            patient.look(begin + times * PATIENCE);
            caller.runPendingTasks();
        }
        assertTrue(caller.isOpen());
    }

    @Test
    void whoseAnswerHasBegunBeforeHisBodyWasThereIsNotAnsweredOnceMoreWhenThatIsLate() {
        Connection late = new Connection(caller, new Connections.Patience(PATIENCE, PATIENCE, PATIENCE, PATIENCE),
                (path, id) -> new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.REQUEST_TIMEOUT));
        caller.pipeline().addLast(late);
        caller.takes = true;
        caller.writeInbound(new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/"));
        caller.writeAndFlush(new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK));
        late.look(begin + 2 * PATIENCE);
        caller.runPendingTasks();
        assertFalse(caller.isOpen());
        assertEquals(1, caller.outboundMessages().size());
    }

    @Test
    void aShortBodyIsLateOnceAndNotEachTimeThatAPieceOfItComes() {
        long patience = TimeUnit.MILLISECONDS.toNanos(20);
        Connection waits = new Connection(caller, new Connections.Patience(PATIENCE, patience, PATIENCE, PATIENCE),
                (path, id) -> new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.REQUEST_TIMEOUT));
        caller.pipeline().addLast(waits);
        caller.takes = true;
        caller.writeInbound(new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/"));
        while (System.nanoTime() - begin < 4 * patience) {
            Thread.onSpinWait();
        }
        caller.writeInbound(new DefaultHttpContent(Unpooled.buffer(1).writeZero(1)));
        waits.look(System.nanoTime());
        caller.runPendingTasks();
        assertFalse(caller.isOpen());
    }

    @Test
    void whatWaitsBehindAnotherRequestHasItsPlaceInMemoryUntilItIsItsTurn() {
        caller.takes = true;
        caller.pipeline().addLast(connection);
        try (FullMemory left = new FullMemory(Memory.BEHIND, 20_000)) {
            for (int i = 0; i < 10; i++) {
                request(30_000);
                assertTrue(caller.isOpen(), "nothing is before it");
                request(15_000);
                assertTrue(caller.isOpen(), "it has a place");
                answer();
                request(15_000);
                assertTrue(caller.isOpen(), "the one before has none any more");
                answer();
                answer();
            }
            request(1);
            request(15_000);
            request(15_000);
            assertFalse(caller.isOpen(), "there is no place");
            assertTrue(Memory.BEHIND.take(20_000, 0), "what it had is given back");
            Memory.BEHIND.give(20_000);
        }
    }

    @Test
    void theLinesOfAHeadTakeMoreThanTheirBytes() {
        caller.pipeline().addLast(connection);
        try (FullMemory left = new FullMemory(Memory.BEHIND, 64_000)) {
            request(1);
            DefaultHttpRequest head = new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.GET, "/");
            for (int i = 0; i < 1_000; i++) {
                head.headers().add("a", "b");
            }
            caller.writeInbound(head);
            assertFalse(caller.isOpen());
            assertEquals(2, caller.inboundMessages().size(), "nothing of it is handed on, nor its end");
        }
    }

    @Test
    void soDoPiecesOfABody() {
        caller.pipeline().addLast(connection);
        try (FullMemory left = new FullMemory(Memory.BEHIND, 64_000)) {
            request(1);
            caller.writeInbound(new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/"));
            for (int i = 0; i < 1_000 && caller.isOpen(); i++) {
                caller.writeInbound(new DefaultHttpContent(Unpooled.buffer(1).writeZero(1)));
            }
            assertFalse(caller.isOpen());
        }
    }

    /** A connection on which these pieces have come. */
    private static EmbeddedChannel reads(String... pieces) {
        EmbeddedChannel channel = new EmbeddedChannel();
        Connection connection = new Connection(channel, new Connections.Patience(PATIENCE, PATIENCE, PATIENCE, PATIENCE), (path, id) -> null);
        channel.pipeline().addLast(new HeadLines(connection), new HttpRequestDecoder(8_192, 65_536, 8_192), connection);
        for (String piece : pieces) {
            channel.writeInbound(Unpooled.copiedBuffer(piece, StandardCharsets.US_ASCII));
        }
        return channel;
    }

    @Test
    void longHeadsHaveAPlaceInMemoryAsLongAsTheirConnectionIsThere() {
        String head = SHORT + "X: " + "x".repeat(16_000);
        try (FullMemory left = new FullMemory(Memory.HEADS, 20_000)) {
            for (String comes : List.of(head + "\r\n\r\n", head, SHORT + "\r\n" + head)) {
                EmbeddedChannel first = reads(comes);
                assertTrue(first.isOpen(), "there is room for it");
                assertFalse(reads(comes).isOpen(), "and for no other one");
                assertTrue(reads(SHORT + "\r\n").isOpen());
                first.close();
            }
        }
    }

    @Test
    void aShortHeadNeedsNoPlaceHoweverLongItsBodyIs() {
        String body = "x".repeat(30_000);
        try (FullMemory left = new FullMemory(Memory.HEADS)) {
            assertTrue(reads(SHORT + "Content-Length: 60000\r\n\r\n" + body, body + SHORT + "\r\n").isOpen());
        }
    }
}
