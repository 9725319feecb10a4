package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.RawHttp;
import io.llmchat.support.RawHttp.Response;
import io.llmchat.support.TestGateway;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What browsers are told: which pages may call, and that an answer is data and nobody else's. */
class BrowserTest {

    private static final String OURS = "https://chat.example.com";
    private static final String OPENAI = "/v1/chat/completions";
    private static final String NATIVE = "/api/chat/completions";

    private static TestGateway open;
    private static TestGateway shut;

    @BeforeAll
    static void start() throws Exception {
        shut = TestGateway.shared();
        open = TestGateway.with("llmchat.http.origins", OURS + " , http://localhost:5173");
    }

    @AfterAll
    static void stop() throws Exception {
        open.close();
    }

    private static Response send(TestGateway gateway, String method, String path, String body, String... headers) throws Exception {
        try (RawHttp http = new RawHttp(gateway.port())) {
            String[] all = java.util.Arrays.copyOf(headers, headers.length + 1);
            all[headers.length] = "Content-Length: " + body.length();
            http.send(RawHttp.head(method, path, all) + body);
            return http.read();
        }
    }

    private static Response preflight(TestGateway gateway, String path, String origin, String method) throws Exception {
        return send(gateway, "OPTIONS", path, "", "Origin: " + origin, "Access-Control-Request-Method: " + method,
                "Access-Control-Request-Headers: authorization,content-type,user-agent,x-stainless-retry-count");
    }

    private static List<String> list(Response response, String header) {
        return List.of(response.header(header).toLowerCase(Locale.ROOT).split(", "));
    }

    // --- CORS

    @Test
    void withoutFrontendUrlNoPageMayCall() throws Exception {
        for (Response response : new Response[] {preflight(shut, OPENAI, OURS, "POST"),
            send(shut, "POST", OPENAI, chat("demo", false), "Origin: " + OURS)}) {
            assertFalse(response.head().toLowerCase(Locale.ROOT).contains("access-control"), response.head());
            assertNull(response.header("Vary"));
        }
    }

    @ParameterizedTest
    @CsvSource({"/v1/chat/completions,POST", "/v1/messages,POST", "/api/agents/demo,PUT", "/api/chat/history/x,DELETE", "/v1/models,GET",
        "/api/chat/history?page=1,GET"})
    void aNamedOriginMayAsk(String path, String method) throws Exception {
        for (String origin : new String[] {OURS, "http://localhost:5173"}) {
            Response response = preflight(open, path, origin, method);
            assertEquals(204, response.status());
            assertEquals(origin, response.header("Access-Control-Allow-Origin"));
            for (String vary : List.of("vary: origin", "vary: access-control-request-headers")) {
                assertTrue(response.head().toLowerCase(Locale.ROOT).contains(vary), response.head());
            }
            assertTrue(list(response, "Access-Control-Allow-Methods").contains(method.toLowerCase(Locale.ROOT)));
            assertEquals("authorization,content-type,user-agent,x-stainless-retry-count", response.header("Access-Control-Allow-Headers"));
            assertTrue(Integer.parseInt(response.header("Access-Control-Max-Age")) > 0);
            assertNull(response.header("Access-Control-Allow-Credentials"));
        }
    }

    @Test
    void aQuestionThatIsNoRequestIsRefusedLikeAllOthersAndOneThatIsIsAnsweredForNobodyElse() throws Exception {
        Response refused = preflight(open, "//health", OURS, "GET");
        assertEquals(400, refused.status());
        assertEquals(OURS, refused.header("Access-Control-Allow-Origin"));
        assertEquals("no-store", preflight(open, OPENAI, OURS, "POST").header("Cache-Control"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"https://evil.example", "https://chat.example.com.evil.example", "https://chat.example.com:444",
        "http://chat.example.com", "https://CHAT.example.com", "null", "https://sub.chat.example.com", "*"})
    void anotherOriginIsToldNothing(String origin) throws Exception {
        assertEquals(403, preflight(open, OPENAI, origin, "POST").status());
        for (Response response : new Response[] {preflight(open, OPENAI, origin, "POST"),
            send(open, "POST", OPENAI, chat("demo", false), "Origin: " + origin)}) {
            assertFalse(response.head().toLowerCase(Locale.ROOT).contains("access-control"), response.head());
            assertEquals("Origin", response.header("Vary"), "a cache must not give it to the others");
        }
    }

    @Test
    void forAPageOfAnotherOriginNothingIsDone() throws Exception {
        String agent = "page-" + System.nanoTime();
        String body = "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"demo\",\"model\":\"demo\"}";
        for (TestGateway gateway : List.of(open, shut)) {
            for (String origin : List.of("https://evil.example", "null", "http://localhost:1", "chrome-extension://abc")) {
                Response response = send(gateway, "POST", "/api/agents", body, "Origin: " + origin);
                assertEquals(403, response.status(), response.text());
                assertEquals("FORBIDDEN", response.json().path("code").asText());
                assertEquals(403, send(gateway, "GET", "/v1/models", "", "Origin: " + origin).status());
            }
            assertEquals(404, send(gateway, "GET", "/api/agents/" + agent, "").status());
            // from a page that came from where it asks, as behind a proxy that serves both
            assertEquals(200, send(gateway, "GET", "/v1/models", "", "Origin: https://LOCALHOST").status());
        }
    }

    @Test
    void answersStreamsAndErrorsCanBeReadByItsPages() throws Exception {
        String origin = "Origin: " + OURS;
        for (Response response : new Response[] {
            send(open, "POST", OPENAI, chat("demo", false), origin), send(open, "POST", OPENAI, chat("demo", true), origin),
            send(open, "POST", NATIVE, nativeChat("demo", true), origin), send(open, "POST", OPENAI, chat("nobody", false), origin),
            send(open, "POST", NATIVE, "{", origin), send(open, "GET", "/nothing", "", origin), send(open, "GET", "/health", "", origin),
            send(open, "GET", "//", "", origin)}) {
            assertEquals(OURS, response.header("Access-Control-Allow-Origin"), response.head());
            assertEquals("Origin", response.header("Vary"));
            assertTrue(list(response, "Access-Control-Expose-Headers").containsAll(List.of("x-request-id", "retry-after", "ratelimit",
                    "ratelimit-policy", "x-ratelimit-remaining-requests", "x-llmchat-attempts", "idempotent-replayed",
                    "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-reset")));
        }
    }

    @Test
    void whoIsNoPageIsAnsweredAsBefore() throws Exception {
        Response response = send(open, "POST", OPENAI, chat("demo", false));
        assertEquals(200, response.status());
        assertFalse(response.head().toLowerCase(Locale.ROOT).contains("access-control"));
    }

    // --- security headers

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"POST | /v1/chat/completions | 200", "POST | /v1/messages | 400", "POST | /api/chat/completions | 404",
        "GET | /health | 200", "GET | /health/detailed | 200", "GET | /metrics | 200", "GET | /api/agents | 200", "GET | /v1/models | 200",
        "GET | /nothing | 404", "PATCH | /health | 405", "GET | //health | 400"})
    void everythingThatIsNoStreamIsDataAndNobodyElses(String method, String path, int status) throws Exception {
        Response response = send(shut, method, path, method.equals("POST") ? chat("demo", false) : "");
        assertEquals(status, response.status());
        assertEquals("nosniff", response.header("X-Content-Type-Options"));
        assertEquals("no-store", response.header("Cache-Control"));
        assertEquals("default-src 'none'; frame-ancestors 'none'", response.header("Content-Security-Policy"));
        assertEquals("no-referrer", response.header("Referrer-Policy"));
        assertNull(response.header("Server"));
    }

    @Test
    void aStreamHasTheHeadOfAStream() throws Exception {
        Response response = send(shut, "POST", OPENAI, chat("demo", true));
        assertEquals("no-cache, no-transform", response.header("Cache-Control"));
        assertNull(response.header("Content-Security-Policy"));
    }
}
