package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.LogLines;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RawHttp.Response;
import io.llmchat.support.TestGateway;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Requests that two servers could read in two ways (RFC 9112 section 11.2) are refused, and the connection is closed:
 * what follows on it, which a proxy before us may take for a body and we for a request, is never answered.
 */
class SmugglingTest {

    private static final String POST = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n";
    private static final String GET = "GET /health/live HTTP/1.1\r\nHost: x\r\n";
    /** What would be answered with 200 if it were taken for a request. */
    private static final String SMUGGLED = GET + "\r\n";

    private static TestGateway gateway;

    @BeforeAll
    static void start() throws Exception {
        gateway = TestGateway.shared();
    }

    /** All that comes back for these bytes until the gateway closes the connection. */
    private static String all(String bytes) throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(bytes);
            return http.rest();
        }
    }

    static Stream<Arguments> ambiguousBodies() {
        String chunks = "2\r\n{}\r\n0\r\n\r\n";
        return Stream.of(
                Arguments.of("length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                Arguments.of("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                Arguments.of("two lengths", "Content-Length: 5\r\nContent-Length: 0\r\n\r\n"),
                Arguments.of("a length twice", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
                Arguments.of("a list of lengths", "Content-Length: 2, 2\r\n\r\n{}"),
                Arguments.of("a negative length", "Content-Length: -1\r\n\r\n"),
                Arguments.of("a length with a sign", "Content-Length: +2\r\n\r\n{}"),
                Arguments.of("a hexadecimal length", "Content-Length: 0x2\r\n\r\n{}"),
                Arguments.of("no length at all", "Content-Length: \r\n\r\n{}"),
                Arguments.of("a length beyond 64 bits", "Content-Length: 99999999999999999999\r\n\r\n{}"),
                Arguments.of("a space before the colon of a length", "Content-Length : 2\r\n\r\n{}"),
                Arguments.of("chunked, then identity", "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks),
                Arguments.of("identity, then chunked", "Transfer-Encoding: identity, chunked\r\n\r\n" + chunks),
                Arguments.of("gzip, then chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks),
                Arguments.of("a coding nobody knows", "Transfer-Encoding: xchunked\r\n\r\n" + chunks),
                Arguments.of("identity and a length", "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"),
                Arguments.of("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks),
                Arguments.of("a coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks),
                Arguments.of("a body that somebody could unpack", "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
                Arguments.of("a space before the colon of a coding", "Transfer-Encoding : chunked\r\n\r\n" + chunks),
                Arguments.of("a vertical tab before a coding", "Transfer-Encoding: \u000bchunked\r\n\r\n" + chunks),
                Arguments.of("a coding on the next line", "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks),
                Arguments.of("a coding behind a bare LF", "X-A: b\nTransfer-Encoding: chunked\r\n\r\n" + chunks),
                Arguments.of("a coding behind a bare CR", "X-A: b\rTransfer-Encoding: chunked\r\n\r\n" + chunks));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("ambiguousBodies")
    void aBodyOfUncertainLengthIsRefusedAndNothingAfterItIsAnswered(String what, String rest) throws Exception {
        String answer = all(POST + rest + SMUGGLED);
        assertTrue(answer.startsWith("HTTP/1.1 400 "), answer);
        assertFalse(answer.contains("200 OK") || answer.contains("healthy"), answer);
    }

    static Stream<Arguments> brokenChunks() {
        return Stream.of(
                Arguments.of("a chunk beyond 64 bits", "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("a chunk beyond 32 bits", "Transfer-Encoding: chunked\r\n\r\n100000002\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("a negative chunk", "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("a chunk with 0x", "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("chunks that end with LF only", "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n"),
                Arguments.of("an extension that ends with LF only", "Transfer-Encoding: chunked\r\n\r\n2;a\nxx\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("a chunk that is longer than it says", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n"),
                Arguments.of("an extension without end", "Transfer-Encoding: chunked\r\n\r\n2;a=" + "x".repeat(100_000) + "\r\n{}\r\n0\r\n\r\n"),
                Arguments.of("trailers without end", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + "y".repeat(100_000) + "\r\n\r\n"));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("brokenChunks")
    void aBrokenChunkClosesTheConnectionWithoutAWord(String what, String rest) throws Exception {
        assertEquals("", all(POST + rest + SMUGGLED));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("brokenChunks")
    void alsoWhereItIsBehindAnotherRequest(String what, String rest) throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        gateway.provider().on("before-chunks", call -> {
            go.await(20, TimeUnit.SECONDS);
            call.json(200, FakeProvider.completion("Hi"));
        });
        try {
            assertEquals("", all(RawHttp.post("/v1/chat/completions", chat("openai/before-chunks", false)) + POST + rest + SMUGGLED));
        } finally {
            go.countDown();
        }
    }

    @Test
    void whatFollowsARequestThatIsRefusedIsNotDone() throws Exception {
        String agent = "smuggled-" + System.nanoTime();
        String body = "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"demo\",\"model\":\"demo\"}";
        String behind = RawHttp.post("/api/agents", body);
        for (String refused : List.of(POST + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                RawHttp.head("GET", "//health"), GET + "Host: y\r\n\r\n")) {
            assertTrue(all(refused + behind).startsWith("HTTP/1.1 400 "));
        }
        // what was done would be done by now
        assertEquals(201, gateway.post("/api/agents", body.replace("smuggled-", "asked-")).statusCode());
        assertEquals(404, gateway.get("/api/agents/" + agent).statusCode());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}", "GET /health/live HTTP/1.1\rHost: x\r\n\r\n",
        GET + "X-A: a\u0000b\r\n\r\n", GET + ": nameless\r\n\r\n", GET + "no colon\r\n\r\n", GET + "Host: y\r\n\r\n",
        GET + "Sec-WebSocket-Key1: a\r\nSec-WebSocket-Key2: b\r\n\r\n", "GET /health/live HTTP/1.1\r\n\r\n", "GET /health/live HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n", "GET /health\u0000 HTTP/1.1\r\nHost: x\r\n\r\n",
        "g@t /health/live HTTP/1.1\r\nHost: x\r\n\r\n", "GET /health/live\r\n\r\n"})
    void aHeadThatIsNoneIsRefusedAndNothingAfterItIsAnswered(String head) throws Exception {
        String answer = all(head + SMUGGLED);
        assertTrue(answer.matches("(?s)HTTP/1\\.[01] 400 .*\"message\":\"[^\"]+\".*"), answer);
        assertFalse(answer.contains("healthy"), answer);
    }

    @Test
    void aLineOrAHeadWithoutEndIsRefused() throws Exception {
        assertTrue(all("GET /" + "a".repeat(9_000) + " HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED).matches("(?s)HTTP/1\\.[01] 414 .*\"URI_TOO_LONG\".*"));
        assertTrue(all(GET + "X: " + "a".repeat(90_000) + "\r\n\r\n" + SMUGGLED).matches("(?s)HTTP/1\\.1 431 .*\"HEADERS_TOO_LARGE\".*"));
    }

    @Test
    void whoAsksForAHeadGetsNoBodyThatWouldBeTakenForTheNextAnswer() throws Exception {
        String nowhere = all("HEAD /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assertTrue(nowhere.startsWith("HTTP/1.1 404 ") && nowhere.endsWith("\r\n\r\n"), nowhere);
        String before = all("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" + GET + "Connection: close\r\n\r\n");
        assertTrue(before.matches("(?s)HTTP/1\\.1 200 [^{]*\r\n\r\nHTTP/1\\.1 200 .*"), before);
    }

    @Test
    void onlyCallersOfHttp10MaySendNoHost() throws Exception {
        assertTrue(all("GET /health/live HTTP/1.0\r\n\r\n").startsWith("HTTP/1.0 200 "));
        String body = chat("demo", false);
        String answer = all("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + body.length() + "\r\n\r\n" + body + SMUGGLED);
        assertTrue(answer.startsWith("HTTP/1.1 400 ") && answer.contains("The request has no Host.") && !answer.contains("healthy"), answer);
    }

    @Test
    void chunksAsTheyShouldBeAreRead() throws Exception {
        String body = chat("demo", false);
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(POST + "Transfer-Encoding: Chunked\r\n\r\n" + Integer.toHexString(body.length()) + ";name=\"value\"\r\n" + body
                    + "\r\n0\r\nX-Request-Id: of-the-trailer\r\nContent-Length: 7\r\n\r\n" + SMUGGLED);
            Response first = http.read();
            assertEquals(200, first.status());
            assertFalse(first.head().contains("of-the-trailer"));
            assertEquals(200, http.read().status(), "the second is a request of its own");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"http://evil.example/health/live", "http://evil.example/api/../health/live", "*", "health/live", "evil.example:443",
        "//health/live", "/health//live", "//evil.example/health/live", "/v1/../health/live", "/v1/%2e%2E/health/live", "/./health/live",
        "/health/live/.", "/health/live/..", "/v1/.%2e/health/live", "/v1\\..\\health/live", "/health/live%00", "/health/live%0d%0aX:y",
        "/health/live%", "/health/live%zz", "/api/agents/%00", "/v1/models/demo%00", "/api/chat/history/a%00", "/h\u00e9alth",
        "/health/%6cive", "/health/liv%65/", "/v1/models/gpt%2D4", "/v1/models/demo%7E"})
    void aPathThatSaysTheSameAsAnotherIsRefused(String target) throws Exception {
        String answer = all("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED);
        assertTrue(answer.startsWith("HTTP/1.1 400 "), answer);
        assertFalse(answer.contains("200 OK"), answer);
    }

    @ParameterizedTest
    @CsvSource({"/v1/messages, msg_, anthropic-version: 2023-06-01", "/v1/responses, resp_, X: y", "/v1/chat/completions, chatcmpl-, X: y"})
    void aSlashAtTheEndSaysNothing(String path, String id, String header) throws Exception {
        String body = path.equals("/v1/responses") ? "{\"model\":\"demo\",\"input\":\"Hi\"}" : chat("demo", false).replace("{\"model\"", "{\"max_tokens\":9,\"model\"");
        String counted = "http_requests_total{method=\"POST\",path=\"" + path + "\",status=\"200\"}";
        double before = gateway.metric(counted);
        try (RawHttp http = new RawHttp(gateway.port()); LogLines log = LogLines.text()) {
            http.send(RawHttp.head("POST", path + "/", header, "X-Request-Id: slash-" + before, "Content-Length: " + body.length()) + body);
            Response response = http.read();
            assertTrue(response.json().path("id").asText().startsWith(id), response.text());
            until("it is counted", () -> gateway.metric(counted) == before + 1);
            until("it has its line", () -> !log.with("id=slash-" + before).isEmpty());
            assertEquals(1, log.with("id=slash-" + before).size());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"/health%2flive", "/v1/..%2fhealth/live", "/health/live;a=b", "/health;/live", "/HEALTH/live"})
    void whatOnlyLooksLikeAPathLeadsNowhere(String target) throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head("GET", target));
            assertEquals(404, http.read().status());
        }
    }

    @ParameterizedTest
    @CsvSource({"POST,/health/live?_method=GET,405", "GET,/v1/chat/completions?_method=POST,405", "GET,/api/agents/demo?_method=DELETE,200",
        "TRACE,/health/live,405", "PATCH,/api/agents/demo,405"})
    void theMethodIsTheOneOfTheRequestLine(String method, String target, int status) throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(RawHttp.head(method, target, "X-HTTP-Method-Override: " + (method.equals("POST") ? "GET" : "DELETE"),
                    "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "Content-Length: 0", "X-Secret: of-the-caller"));
            Response response = http.read();
            assertEquals(status, response.status());
            assertFalse((response.head() + response.text()).contains("of-the-caller"));
            http.send(RawHttp.head("GET", "/api/agents/demo"));
            assertEquals(200, http.read().status(), "nothing was deleted");
        }
    }

    @Test
    void thereIsNoUpgradeToAnotherProtocol() throws Exception {
        for (String upgrade : new String[] {"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"}) {
            try (RawHttp http = new RawHttp(gateway.port())) {
                http.send(GET + upgrade + "\r\n\r\n");
                Response response = http.read();
                assertEquals(200, response.status());
                assertFalse(response.head().toLowerCase(Locale.ROOT).contains("upgrade"), response.head());
            }
        }
        assertFalse(all("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0").contains("200"));
    }

    @Test
    void aBodyBelongsToItsRequestWhateverItsMethod() throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(GET + "Content-Length: " + SMUGGLED.length() + "\r\n\r\n" + SMUGGLED + GET + "X-Request-Id: second\r\n\r\n");
            assertFalse("second".equals(http.read().header("X-Request-Id")));
            assertEquals("second", http.read().header("X-Request-Id"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"a%0d%0aX-Evil: y", "a b", "\u00e9", "a;b", "x\u0085y"})
    void aRequestIdThatIsNoneIsReplaced(String id) throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            http.send(GET + "X-Request-Id: " + id + "\r\n\r\n");
            Response response = http.read();
            assertTrue(response.header("X-Request-Id").matches("[0-9a-f]{32}"), response.head());
            assertFalse(response.head().contains("Evil"));
        }
    }
}
