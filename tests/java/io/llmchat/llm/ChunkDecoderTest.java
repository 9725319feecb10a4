package io.llmchat.llm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseDecoder;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ChunkDecoderTest {

    private static final String HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    private static final String LONG = "data: " + "x".repeat(300) + "\n\n";

    /** A connection to a provider, whose client takes what it can. */
    private static final class Connection extends ChannelInboundHandlerAdapter {
        private final ChunkDecoder decoder = new ChunkDecoder(this::taken);
        private final EmbeddedChannel channel = new EmbeddedChannel(decoder, new HttpResponseDecoder(), this);
        /** All bytes of all bodies, in order; those that came by the codec, alone; what was decoded of heads and ends. */
        private final StringBuilder data = new StringBuilder();
        private final StringBuilder byCodec = new StringBuilder();
        private final List<String> told = new ArrayList<>();
        private final List<String> pieces = new ArrayList<>();
        private final List<ByteBuf> received = new ArrayList<>();

        Connection() {
            decoder.expect();
        }

        @Override
        public void channelRead(ChannelHandlerContext ctx, Object message) {
            if (message instanceof HttpResponse head) {
                boolean chunks = "chunked".equals(head.headers().get("Transfer-Encoding"));
                boolean taken = chunks && decoder.take();
                if (!taken && head.status().code() >= 200) {
                    decoder.forget();
                }
                told.add(head.status().code() + (taken ? " taken" : ""));
            }
            if (message instanceof HttpContent content) {
                String text = content.content().toString(StandardCharsets.UTF_8);
                data.append(text);
                byCodec.append(text);
                assertTrue(content.decoderResult().isSuccess(), () -> content.decoderResult().toString());
            }
            if (message instanceof LastHttpContent last) {
                told.add("end " + last.trailingHeaders().entries());
                pieces.add("end");
                decoder.expect();
            }
            ReferenceCountUtil.release(message);
        }

        private void taken(byte[] bytes) {
            String piece = new String(bytes, StandardCharsets.UTF_8);
            pieces.add(piece);
            data.append(piece);
        }

        void receive(String... pieces) {
            for (String piece : pieces) {
                ByteBuf bytes = Unpooled.copiedBuffer(piece, StandardCharsets.ISO_8859_1);
                channel.writeInbound(bytes);
                received.add(bytes);
            }
        }

        /** Whether nobody holds what was received, which is so at the end of a response. */
        void assertReleased() {
            received.forEach(bytes -> assertEquals(0, bytes.refCnt()));
        }
    }

    private static String chunk(String data) {
        return Integer.toHexString(data.length()) + "\r\n" + data + "\r\n";
    }

    private static Connection receiving(String... pieces) {
        Connection connection = new Connection();
        connection.receive(pieces);
        return connection;
    }

    @Test
    void aStreamThatIsCutAnywhereHasTheSameDataAndTheSameEndAndThenTheNextOneComes() {
        String stream = HEAD + chunk("data: 1\n\n") + chunk(LONG) + "00A\r\n0123456789\r\n" + chunk("\r\n\r\n") + "0\r\n\r\n";
        String data = "data: 1\n\n" + LONG + "0123456789\r\n\r\n";
        for (int cut = 0; cut <= stream.length(); cut++) {
            for (int second : new int[] {1, 2, 7}) {
                int next = Math.min(cut + second, stream.length());
                Connection connection = receiving(stream.substring(0, cut), stream.substring(cut, next), stream.substring(next), stream);
                assertEquals(data + data, connection.data.toString(), "cut at " + cut + " and " + next);
                assertEquals(List.of("200 taken", "end []", "200 taken", "end []"), connection.told);
                assertEquals("", connection.byCodec.toString());
                connection.assertReleased();
            }
        }
        assertEquals(data, receiving(stream.split("")).data.toString());
    }

    @Test
    void whatIsReadAtOnceIsHandedOnAtOnce() {
        Connection connection = receiving(HEAD, chunk("a") + chunk("b") + chunk("c"), chunk("d") + "2\r\ne", "f\r\n0\r\n\r\n");
        assertEquals(List.of("abc", "de", "f", "end"), connection.pieces);
    }

    @Test
    void whatComesBeforeTheHeadIsNotTakenForIt() {
        for (String cut : List.of("", "|")) {
            String all = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + cut + "\r\n" + HEAD + chunk("a") + "0\r\n\r\n";
            Connection connection = receiving(all.split("\\|"));
            assertEquals(List.of("103", "end []", "200 taken", "end []"), connection.told);
            assertEquals("a", connection.data.toString());
        }
    }

    @Test
    void trailersComeByTheCodec() {
        Connection connection = receiving(HEAD + chunk("a") + "0\r\nChecksum: 1", "2\r\n", "\r\n");
        assertEquals(List.of("200 taken", "end [Checksum=12]"), connection.told);
    }

    @Test
    void aChunkThatIsWrittenUnusuallyComesByTheCodecAndAllAfterIt() {
        for (String unusual : List.of("1;name=value\r\nb\r\n", "00000001\r\nb\r\n")) {
            Connection connection = receiving((HEAD + chunk("a") + unusual + chunk("c") + "0\r\n\r\n").split("(?<=\r)"));
            assertEquals("abc", connection.data.toString(), unusual);
            assertEquals("bc", connection.byCodec.toString(), unusual);
            assertEquals(List.of("200 taken", "end []"), connection.told);
            connection.receive(HEAD + chunk("d") + "0\r\n\r\n");
            assertEquals("abcd", connection.data.toString(), "the next one is taken as if that had not been");
            assertEquals("bc", connection.byCodec.toString());
        }
    }

    @Test
    void aChunkThatIsLongerThanItSaysIsAnError() {
        for (String wrong : List.of("2\r\nabc\r\n", "2\r\nab\rc")) {
            Connection connection = new Connection();
            assertThrows(DecoderException.class, () -> connection.receive(HEAD + wrong));
        }
    }

    @Test
    void aResponseThatIsNotTakenComesByTheCodec() {
        Connection connection = receiving("HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\n\r\n\r\nab", HEAD + chunk("c") + "0\r\n\r\n");
        assertEquals(List.of("400", "end []", "200 taken", "end []"), connection.told);
        assertEquals("\r\n\r\nabc", connection.data.toString());
    }

    @Test
    void itIsTakenOnlyWhileItsHeadIsReceived() {
        Connection connection = receiving(HEAD + chunk("a"));
        assertFalse(connection.decoder.take());
        connection.receive(chunk("b"));
        assertEquals("ab", connection.data.toString());
    }

    @Test
    void whatNobodyHasAskedForIsAnError() {
        Connection connection = new Connection();
        connection.decoder.expectNothing();
        assertThrows(DecoderException.class, () -> connection.receive(HEAD + chunk("a")));
        assertEquals(List.of(), connection.told);
    }

    @Test
    void whoHasPausedReadsAgainAtTheEnd() {
        Connection connection = receiving(HEAD + chunk("a"));
        connection.decoder.pause();
        assertFalse(connection.channel.config().isAutoRead());
        connection.receive(chunk("b") + "0\r\n");
        assertTrue(connection.channel.config().isAutoRead());
        assertEquals("ab", connection.data.toString());
        assertNull(connection.channel.readInbound());
    }
}
