package io.llmchat;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.nativeChat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.http.Ids;
import io.llmchat.support.RawHttp;
import io.llmchat.support.RawHttp.Response;
import io.llmchat.support.TestGateway;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Nonsense over raw sockets: the contract's error in the caller's dialect, nothing of our inside or of the request in
 * it, and the next request on the same connection is answered.
 */
class BadInputTest {

    private static final String OPENAI = "/v1/chat/completions";
    private static final String NATIVE = "/api/chat/completions";

    private TestGateway gateway;
    private RawHttp http;

    @BeforeEach
    void connect() throws Exception {
        gateway = TestGateway.shared();
        http = new RawHttp(gateway.port());
    }

    @AfterEach
    void theNextRequestOnTheConnectionIsAnswered() throws Exception {
        try (RawHttp connection = http) {
            assertEquals(200, post(OPENAI, chat("demo", false).getBytes(StandardCharsets.UTF_8)).status());
        }
    }

    private Response post(String path, byte[] body, String... headers) throws Exception {
        String[] all = new String[headers.length + 2];
        System.arraycopy(headers, 0, all, 2, headers.length);
        all[0] = "Content-Type: application/json";
        all[1] = "Content-Length: " + body.length;
        http.send(RawHttp.head("POST", path, all));
        http.send(body);
        return http.read();
    }

    private Response post(String path, String body, String... headers) throws Exception {
        return post(path, body.getBytes(StandardCharsets.UTF_8), headers);
    }

    private static Response clean(Response response) {
        String all = response.head() + response.text();
        for (String inside : new String[] {"Exception", "io.llmchat", "org.apache", "\tat ", "<html", "Camel"}) {
            assertFalse(all.contains(inside), all);
        }
        assertTrue(response.header("X-Request-Id").matches("[A-Za-z0-9._-]{1,128}"));
        return response;
    }

    private static void refused(Response response, int status, String param) {
        assertEquals(status, clean(response).status(), response.text());
        JsonNode json = response.json();
        if (json.has("error")) {
            assertEquals("invalid_request_error", json.path("error").path("type").asText());
            assertFalse(json.path("error").path("message").asText().isEmpty());
            assertEquals(param, json.path("error").path("param").textValue(), response.text());
        } else {
            assertEquals(param, json.path("details").path(0).path("field").textValue(), response.text());
            assertTrue(json.hasNonNull("message") && json.hasNonNull("timestamp"));
            assertEquals(response.header("X-Request-Id"), json.path("requestId").asText());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\"", "[]", "\"text\"", "12", "null", "{} {}",
        "{\"model\":\"demo\",}", "{'model':'demo'}", "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"\u0001\"}]}"})
    void aBodyThatIsNoJsonObjectIsRefused(String body) throws Exception {
        refused(post(OPENAI, body), 400, "body");
        refused(post(NATIVE, body), 400, "body");
    }

    @Test
    void aBodyThatIsNotUtf8IsRefused() throws Exception {
        refused(post(OPENAI, chat("demo", false).getBytes(StandardCharsets.UTF_16)), 400, "body");
        // in bytes: Latin-1, an "l" and an end of a string that are longer than they need be, half of a character, one beyond all
        for (String no : new String[] {"\u00e9", "\u00c1\u00ac", "\u00c0\u00a2", "\u00e0\u0080\u00a2", "\u00ed\u00a0\u0080", "\u00f4\u0090\u0080\u0080"}) {
            refused(post(OPENAI, chat("demo", false).replace("Hi", no).getBytes(StandardCharsets.ISO_8859_1)), 400, "body");
            refused(post(OPENAI, chat("demo", false).replace("model", "mode" + no).getBytes(StandardCharsets.ISO_8859_1)), 400, "body");
            refused(post(NATIVE, nativeChat("demo", false).replace("Hi", no).getBytes(StandardCharsets.ISO_8859_1)), 400, "body");
            refused(post("/api/agents", ("{\"name\":\"" + no + "\"}").getBytes(StandardCharsets.ISO_8859_1)), 400, "body");
        }
        assertEquals(200, post(OPENAI, chat("demo", false).replace("Hi", "\u00e9\u20ac\ud83d\ude00\uffff")).status());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
        "\"model\":1                                              | model",
        "\"stream\":\"yes\"                                       | stream",
        "\"messages\":{}                                          | messages",
        "\"messages\":[]                                          | messages",
        "\"messages\":[1]                                         | messages[0]",
        "\"messages\":[{\"content\":\"x\"}]                       | messages[0].role",
        "\"messages\":[{\"role\":\"alien\",\"content\":\"x\"}]    | messages[0].role",
        "\"messages\":[{\"role\":7,\"content\":\"x\"}]            | messages[0].role",
        "\"messages\":[{\"role\":\"user\",\"content\":{}}]        | messages[0].content",
        "\"temperature\":\"hot\"                                  | temperature",
        "\"max_tokens\":1.5                                       | max_tokens",
        "\"tools\":{}                                             | tools",
        "\"stream_options\":true                                  | stream_options",
        "\"response_format\":\"json\"                             | response_format"})
    void aMemberOfAWrongTypeIsNamed(String member, String field) throws Exception {
        String messages = member.startsWith("\"messages\"") ? "" : ",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]";
        String model = member.startsWith("\"model\"") ? "" : "\"model\":\"demo\",";
        refused(post(OPENAI, "{" + model + member + messages + "}"), 400, field);
    }

    @Test
    void missingMessagesAreNamed() throws Exception {
        refused(post(OPENAI, "{\"model\":\"demo\"}"), 400, "messages");
        refused(post(NATIVE, "{\"agentId\":\"demo\"}"), 400, "messages");
    }

    @Test
    void aBodyThatIsTooDeepIsRefused() throws Exception {
        String deep = "[".repeat(70) + "]".repeat(70);
        refused(post(OPENAI, "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"x\":" + deep + "}"), 400, "body");
    }

    @ParameterizedTest
    @ValueSource(strings = {OPENAI, "/v1/responses", "/v1/messages", NATIVE, "/api/agents", "/api/chat/feedback"})
    void aBodyWithMoreInItThanIsReadIsRefused(String path) throws Exception {
        Response response = post(path, "{\"x\":[" + "{},".repeat(160_000) + "{}]}");
        refused(response, 400, path.equals("/v1/messages") ? null : "body");
        assertTrue(response.text().contains("300000 names, values and brackets"), response.text());
    }

    @Test
    void aBodyOverTheLimitIsRefusedWhetherItsLengthIsSaidOrNot() throws Exception {
        String most = "{\"x\":\"" + "y".repeat((1 << 20) - 8) + "\"}";
        refused(post(NATIVE, most), 400, "messages");
        String big = most + " ";
        refused(post(OPENAI, big), 413, null);
        http.send(RawHttp.head("POST", NATIVE, "Content-Type: application/json", "Transfer-Encoding: chunked"));
        http.send(Integer.toHexString(big.length()) + "\r\n" + big + "\r\n0\r\n\r\n");
        assertEquals("PAYLOAD_TOO_LARGE", clean(http.read()).json().path("code").asText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"nobody", "nobody/model", "/", "openai/"})
    void aModelThatIsNotThereIsNotFound(String model) throws Exception {
        Response response = clean(post(OPENAI, chat(model, true)));
        assertEquals(404, response.status());
        assertEquals("model_not_found", response.json().path("error").path("code").asText());
    }

    @Test
    void aRequestThatNamesNoModelIsNotFound() throws Exception {
        assertEquals(404, clean(post(OPENAI, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}")).status());
    }

    @ParameterizedTest
    @CsvSource({"/v1/nothing,404,", "/api/nothing,404,NOT_FOUND", "/,404,NOT_FOUND", "/favicon.ico,404,NOT_FOUND", "/v1/chat/completions,405,",
        "/api/chat/completions,405,METHOD_NOT_ALLOWED"})
    void anUnknownPathOrMethodIsAnErrorInTheDialectOfThePath(String path, int status, String code) throws Exception {
        http.send(RawHttp.head("GET", path));
        Response response = clean(http.read());
        assertEquals(status, response.status());
        assertEquals(code, response.json().path("code").textValue(), response.text());
        assertEquals(path.startsWith("/v1"), response.json().has("error"), response.text());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"GET | /v1/chat/completions | POST", "PATCH | /api/agents/any | DELETE, GET, PUT",
        "PATCH | /api/keys | GET, POST", "POST | /health/ready | GET, HEAD", "PUT | /api/chat/history/any/retry | POST"})
    void whatTakesAnotherMethodSaysWhich(String method, String path, String methods) throws Exception {
        http.send(RawHttp.head(method, path));
        Response response = clean(http.read());
        assertEquals(405, response.status());
        assertEquals(methods, response.header("Allow"));
    }

    @Test
    void headersThatAreTooLargeAreRefused() throws Exception {
        Response response = clean(post(OPENAI, chat("demo", false), "X-Large: " + "x".repeat(20_000)));
        assertEquals(431, response.status());
        assertFalse(response.head().contains("xxxx"));
    }

    @Test
    void queryParametersAreNotHeaders() throws Exception {
        String path = OPENAI + "?Content-Type=text/html&authorization=evil-1&Idempotency-Key=evil-" + Ids.next() + "&X-Request-Id=evil-3"
                + "&CamelHttpResponseCode=418&Location=evil-4";
        // the second would be a replay if the key were one
        for (int i = 0; i < 2; i++) {
            Response response = clean(post(path, chat("demo", false)));
            assertEquals(200, response.status());
            assertEquals("application/json", response.header("Content-Type"));
            assertFalse((response.head() + response.text()).contains("evil"));
            assertFalse(response.head().toLowerCase(Locale.ROOT).contains("idempotent"));
        }
    }

    @Test
    void headersFromOutsideGiveNoOrdersAndDoNotComeBack() throws Exception {
        Response response = clean(post(OPENAI, chat("demo", false), "CamelHttpResponseCode: 418", "CamelHttpUri: http://127.0.0.1:1/",
                "CamelHttpPath: /evil", "CamelSqlQuery: DROP TABLE answers", "X-Api-Key: evil-key", "X-Custom: evil-custom"));
        assertEquals(200, response.status());
        assertFalse(response.head().contains("evil") || response.head().contains("DROP"));
        http.send(RawHttp.head("GET", "/api/agents", "CamelHttpResponseCode: 418", "X-Custom: evil-custom", "id: evil-id"));
        Response list = clean(http.read());
        assertEquals(200, list.status());
        assertFalse(list.head().contains("evil"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "\"\"", "with space", "\u00e9"})
    void anIdempotencyKeyThatIsNoneIsRefused(String key) throws Exception {
        refused(post(OPENAI, chat("demo", false), "Idempotency-Key: " + key), 400, "Idempotency-Key");
    }

    @Test
    void anIdempotencyKeyThatIsTooLongIsRefused() throws Exception {
        refused(post(OPENAI, chat("demo", false), "Idempotency-Key: " + "k".repeat(256)), 400, "Idempotency-Key");
    }

    @Test
    void aFormIsNoJson() throws Exception {
        byte[] form = "model=demo".getBytes(StandardCharsets.US_ASCII);
        http.send(RawHttp.head("POST", OPENAI, "Content-Type: application/x-www-form-urlencoded", "Content-Length: " + form.length));
        http.send(form);
        assertEquals(400, clean(http.read()).status());
    }

    @Test
    void theBodyMayWaitToBeAskedFor() throws Exception {
        byte[] body = chat("demo", false).getBytes(StandardCharsets.UTF_8);
        http.send(RawHttp.head("POST", OPENAI, "Content-Type: application/json", "Content-Length: " + body.length, "Expect: 100-continue"));
        assertEquals(100, http.read().status());
        http.send(body);
        assertEquals(200, http.read().status());
    }
}
