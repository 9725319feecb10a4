package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.FakeProvider.Call;
import io.llmchat.support.RawHttp;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.net.Socket;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Streams are honest: nothing early, nothing late, nothing that looks whole and is not, nothing left open. */
class StreamingTest {

    private static final String PATH = "/v1/chat/completions";

    private static TestGateway gateway;
    private static FakeProvider provider;

    private final String model = "m-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
        provider = gateway.provider();
    }

    private Sse stream() throws Exception {
        return new Sse(gateway.port(), PATH, chat("openai/" + model, true));
    }

    @Test
    void theFirstTokenArrivesBeforeTheProviderHasFinished() throws Exception {
        CountDownLatch seen = new CountDownLatch(1);
        AtomicInteger waited = new AtomicInteger();
        provider.on(model, call -> {
            call.sse();
            for (int i = 0; i < 3; i++) {
                call.text("t" + i);
                if (i == 0 && seen.await(10, TimeUnit.SECONDS)) {
                    waited.incrementAndGet();
                }
            }
            call.finish("stop");
            call.done();
        });
        try (Sse stream = stream()) {
            stream.lineWith("\"t0\"");
            seen.countDown();
            stream.lineWith("\"t2\"");
            stream.lineWith("[DONE]");
        }
        assertEquals(1, waited.get());
    }

    @Test
    void aCallerOfHttp10GetsAStreamWithoutChunksThatEndsWithItsConnection() throws Exception {
        provider.on(model, call -> {
            call.sse();
            for (int i = 0; i < 3; i++) {
                call.text("t" + i);
                Thread.sleep(20);
            }
            call.finish("stop");
            call.done();
        });
        byte[] body = chat("openai/" + model, true).getBytes(StandardCharsets.UTF_8);
        try (Socket socket = new Socket("127.0.0.1", gateway.port())) {
            socket.setSoTimeout(10_000);
            socket.getOutputStream().write(("POST " + PATH + " HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: "
                    + body.length + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
            socket.getOutputStream().write(body);
            String all = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            String events = all.substring(all.indexOf("\r\n\r\n") + 4);
            assertFalse(all.toLowerCase(Locale.ROOT).contains("transfer-encoding"), all);
            assertTrue(events.lines().allMatch(line -> line.isEmpty() || line.startsWith("data: ")), events);
            assertTrue(events.contains("\"t2\"") && events.endsWith("data: [DONE]\n\n"), events);
        }
    }

    @Test
    void theConnectionOfAFailedStreamEndsWhenNobodyIsLikelyToSendOnIt() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half an");
            call.cut();
        });
        CountDownLatch go = new CountDownLatch(1);
        provider.on("next-" + model, call -> {
            go.await(10, TimeUnit.SECONDS);
            call.json(200, FakeProvider.completion("All of it"));
        });
        String request = RawHttp.post(PATH, chat("openai/" + model, true));
        try (RawHttp quick = new RawHttp(gateway.port()); RawHttp silent = new RawHttp(gateway.port())) {
            for (int i = 0; i < 2; i++) {
                quick.send(request);
                assertTrue(quick.read().text().contains("\"error\""));
            }
            quick.send(RawHttp.post(PATH, chat("openai/next-" + model, false)));
            silent.send(request);
            assertTrue(silent.read().text().contains("\"error\""));
            long ended = System.nanoTime();
            assertTrue(silent.closed(), "whoever does not read the event sees it by the connection");
            assertTrue(System.nanoTime() - ended > 1_000_000_000L, "a next request may have been on its way");
            go.countDown();
            assertTrue(quick.read().text().contains("All of it"), "a connection with a next request stays");
        }
        try (Socket old = new Socket("127.0.0.1", gateway.port())) {
            old.setSoTimeout(1_500);
            old.getOutputStream().write(request.replace("HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n").getBytes(StandardCharsets.US_ASCII));
            assertTrue(new String(old.getInputStream().readAllBytes(), StandardCharsets.UTF_8).contains("\"error\""), "and it is the end of a stream without chunks");
        }
    }

    @Test
    void anEventThatCameInSeveralLinesGoesOnInOne() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.bytes(("data: {\"id\":\"x\",\ndata: \"choices\":[{\"index\":0,\"delta\":{\"content\":\"whole\"},\ndata: \"finish_reason\":null}]}\n\n")
                    .getBytes(StandardCharsets.UTF_8));
            call.finish("stop");
            call.done();
        });
        try (Sse stream = stream()) {
            String line = stream.lineWith("\"whole\"");
            assertTrue(line.startsWith("data: {\"id\":\"x\", \"choices\"") && line.endsWith("}]}"), line);
            stream.lineWith("[DONE]");
        }
    }

    @Test
    void nothingIsSentBeforeTheFirstToken() throws Exception {
        CountDownLatch roleSent = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.bytes(": a comment\n\n".getBytes());
            call.role();
            roleSent.countDown();
            go.await(10, TimeUnit.SECONDS);
            call.text("now");
            call.finish("stop");
            call.done();
        });
        try (Sse stream = stream()) {
            assertTrue(roleSent.await(10, TimeUnit.SECONDS));
            assertTrue(stream.silentFor(300));
            go.countDown();
            stream.lineWith("\"role\":\"assistant\"");
            stream.lineWith("\"now\"");
        }
    }

    @Test
    void tokensThatComeTogetherAreAllThere() throws Exception {
        StringBuilder all = new StringBuilder();
        for (int i = 0; i < 500; i++) {
            all.append("data: ").append(Call.chunk("{\"content\":\"<" + i + ">\"}", "null")).append("\n\n");
        }
        provider.on(model, call -> {
            call.sse();
            call.bytes(all.toString().getBytes());
            call.finish("stop");
            call.done();
        });
        String body = gateway.post(PATH, chat("openai/" + model, true)).body();
        assertTrue(body.startsWith(all.toString()));
        assertTrue(body.endsWith("data: [DONE]\n\n"));
    }

    @Test
    void aProviderThatDiesInTheMiddleGivesOneErrorEventAndNoDone() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.cut();
        });
        String body = gateway.post(PATH, chat("openai/" + model, true)).body();
        assertTrue(body.contains("\"Half\""));
        assertEquals(1, body.split("data: \\{\"error\"", -1).length - 1, body);
        assertFalse(body.contains("[DONE]"));
        assertEquals(1, provider.calls(model).size(), "it is not asked again");
    }

    @Test
    void aResponseThatEndsWithoutFinishReasonAndDoneIsNotWhole() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.end();
        });
        String body = gateway.post(PATH, chat("openai/" + model, true)).body();
        assertTrue(body.contains("\n\nevent: error\ndata: {\"error\""), "some know an error by the name of its event");
        assertFalse(body.contains("[DONE]"));
    }

    @Test
    void anErrorEventOfTheProviderAfterTheFirstTokenEndsTheStream() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("Half");
            call.event("{\"error\":{\"message\":\"out of memory\"}}");
            call.done();
        });
        String body = gateway.post(PATH, chat("openai/" + model, true)).body();
        assertTrue(body.contains("out of memory"));
        assertFalse(body.contains("[DONE]"));
    }

    @Test
    void aClientThatLeavesBeforeTheFirstTokenClosesTheProvidersConnection() throws Exception {
        provider.on(model, Call::hang);
        Sse stream = stream();
        until("the provider is asked", () -> provider.calls(model).size() == 1);
        stream.close();
        assertTrue(provider.call(model).leftWithin(10_000));
    }

    @Test
    void aClientThatLeavesInTheMiddleClosesTheProvidersConnection() throws Exception {
        provider.on(model, call -> {
            call.sse();
            call.text("One");
            call.hang();
        });
        Sse stream = stream();
        stream.lineWith("\"One\"");
        stream.close();
        assertTrue(provider.call(model).leftWithin(10_000));
    }

    @Test
    void aClientThatLeavesDuringAnAnswerThatIsNotStreamedClosesTheProvidersConnection() throws Exception {
        provider.on(model, Call::hang);
        Sse waiting = new Sse(gateway.port(), PATH, chat("openai/" + model, false));
        until("the provider is asked", () -> provider.calls(model).size() == 1);
        waiting.close();
        assertTrue(provider.call(model).leftWithin(10_000));
        assertEquals(1, provider.calls(model).size(), "it is not asked again for nobody");
    }

    @Test
    void clientsThatLeaveDoNotOpenTheBreaker() throws Exception {
        try (TestGateway own = TestGateway.with("camel.resilience4j.minimum-number-of-calls", "2",
                "camel.resilience4j.sliding-window-size", "2")) {
            own.provider().on(model, Call::hang);
            for (int i = 1; i <= 4; i++) {
                int n = i;
                Sse stream = new Sse(own.port(), PATH, chat("openai/" + model, true));
                until("the provider is asked", () -> own.provider().calls(model).size() == n);
                stream.close();
                assertTrue(own.provider().calls(model).get(i - 1).leftWithin(10_000));
            }
            own.provider().on(model, FakeProvider.says(List.of("well")));
            assertEquals(200, own.post(PATH, chat("openai/" + model, false)).statusCode());
        }
    }

    @Test
    void aSlowReaderSlowsItsOwnStreamOnly() throws Exception {
        AtomicInteger written = new AtomicInteger();
        provider.on(model, FakeProvider.writes(4_000, written));
        try (Sse slow = stream()) {
            slow.lineWith("xxx");
            // the provider can write on until every buffer between is full; then it stands still
            TestGateway.untilStill("the provider is held up", written);
            assertTrue(written.get() < 4_000, "32 MB were taken in for a client that reads nothing");
            HttpResponse<String> other = gateway.post(PATH, chat("openai/other-" + model, true));
            assertTrue(other.body().endsWith("data: [DONE]\n\n"));
            slow.lineWith("[DONE]");
        }
        assertEquals(4_000, written.get());
    }

    @Test
    void silenceIsFilledWithComments() throws Exception {
        try (TestGateway own = TestGateway.with("camel.component.llm.heartbeat", "100")) {
            CountDownLatch seen = new CountDownLatch(1);
            own.provider().on(model, call -> {
                call.sse();
                call.text("One");
                seen.await(10, TimeUnit.SECONDS);
                call.finish("stop");
                call.done();
            });
            try (Sse stream = new Sse(own.port(), PATH, chat("openai/" + model, true))) {
                stream.lineWith("\"One\"");
                stream.lineWith(": keep-alive");
                stream.lineWith(": keep-alive");
                seen.countDown();
                stream.lineWith("[DONE]");
            }
        }
    }

    @Test
    void aCommentIsOneLineAndEndsNoEvent() throws Exception {
        try (TestGateway own = TestGateway.with("camel.component.llm.heartbeat", "100")) {
            own.provider().on(model, call -> {
                call.sse();
                call.text("One");
                Thread.sleep(600);
                call.text("Two");
                call.finish("stop");
                call.done();
            });
            for (String resumable : List.of("false", "true")) {
                try (Sse stream = new Sse(own.port(), PATH, chat("openai/" + model, true), "\r\nX-Resumable: " + resumable)) {
                    assertEquals(200, stream.status());
                    String all = stream.rest();
                    assertTrue(all.contains("\n: keep-alive\n"), all);
                    assertFalse(all.contains(": keep-alive\n\n"), all);
                    assertFalse(asOpenAiPythonReads(all).contains(""), all);
                }
            }
        }
    }

    /** The data of each event of a stream: where an id is known, that SDK takes any empty line for the end of an event. */
    private static List<String> asOpenAiPythonReads(String stream) {
        List<String> events = new ArrayList<>();
        boolean known = false;
        String data = "";
        for (String line : stream.lines().toList()) {
            known |= line.startsWith("id: ");
            if (line.startsWith("data: ")) {
                data = line.substring(6);
            } else if (line.isEmpty() && (known || !data.isEmpty())) {
                events.add(data);
                data = "";
            }
        }
        return events;
    }

    @Test
    void eventsThatComeToNothingForTheCallerAreSilenceToo() throws Exception {
        try (TestGateway own = TestGateway.with("camel.component.llm.heartbeat", "300")) {
            CountDownLatch seen = new CountDownLatch(1);
            own.provider().on(model, call -> {
                call.sse();
                call.text("One");
                do {
                    // nobody has asked for it
                    call.usage(3, 1);
                } while (!seen.await(20, TimeUnit.MILLISECONDS));
                call.finish("stop");
                call.done();
            });
            try (Sse stream = new Sse(own.port(), PATH, chat("openai/" + model, true))) {
                stream.lineWith("\"One\"");
                stream.lineWith(": keep-alive");
                seen.countDown();
                stream.lineWith("[DONE]");
            } finally {
                seen.countDown();
            }
        }
    }

    @Test
    void manyStreamsRunSideBySide() throws Exception {
        int streams = 200;
        CountDownLatch open = new CountDownLatch(streams);
        provider.on(model, call -> {
            call.sse();
            call.text("One");
            open.countDown();
            open.await(20, TimeUnit.SECONDS);
            call.text("Two");
            call.finish("stop");
            call.done();
        });
        List<CompletableFuture<String>> answers = new ArrayList<>();
        for (int i = 0; i < streams; i++) {
            answers.add(TestGateway.begun(() -> gateway.post(PATH, chat("openai/" + model, true)).body()));
        }
        for (CompletableFuture<String> answer : answers) {
            String body = answer.get(30, TimeUnit.SECONDS);
            assertTrue(body.contains("\"Two\"") && body.endsWith("data: [DONE]\n\n"), body);
        }
    }

    @Test
    void theNativeStreamIsSentTokenByTokenToo() throws Exception {
        CountDownLatch seen = new CountDownLatch(1);
        provider.on(model, call -> {
            call.sse();
            call.text("t0");
            seen.await(10, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        try (Sse stream = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true))) {
            stream.lineWith("\"t0\"");
            seen.countDown();
            stream.lineWith("event: end");
        }
    }
}
