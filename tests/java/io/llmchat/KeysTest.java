package io.llmchat;

import static io.llmchat.support.TestGateway.ADMIN;
import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.inKeyMode;
import static io.llmchat.support.TestGateway.json;
import static io.llmchat.support.TestGateway.nativeChat;
import static io.llmchat.support.TestGateway.until;
import static io.llmchat.support.TestGateway.withinASecond;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import com.zaxxer.hikari.HikariDataSource;
import io.llmchat.chat.Caller;
import io.llmchat.chat.ChatException;
import io.llmchat.http.Memory;
import io.llmchat.step.Authenticate;
import io.llmchat.store.KeyFile;
import io.llmchat.store.KeyHash;
import io.llmchat.store.KeyRing;
import io.llmchat.support.Documents;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.FullMemory;
import io.llmchat.support.LogLines;
import io.llmchat.support.Sse;
import io.llmchat.support.TestGateway;
import java.math.BigDecimal;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.sql.Connection;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.sql.DataSource;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.redisson.api.RedissonClient;
import org.redisson.api.options.KeysScanOptions;

/** Keys: who gets in with them, as whom, for what and until when; and that nobody finds one where it was kept. */
class KeysTest {

    private static final String OF_THE_FILE = "a-key-that-somebody-brought-along-0001";

    @TempDir
    private static Path folder;
    private static Path file;
    private static TestGateway gateway;
    /** Another instance on the same stores. */
    private static TestGateway second;

    private final String user = "u-" + UUID.randomUUID();
    private final String model = "k-" + UUID.randomUUID();

    @BeforeAll
    static void start() throws Exception {
        file = folder.resolve("keys.yaml");
        Files.writeString(file, "- {name: CI, userId: builder, key: " + OF_THE_FILE + ", models: [openai/*]}\n");
        gateway = inKeyMode("llmchat.keys.file", file.toString(), "llmchat.keys.file-period", "20");
        second = inKeyMode();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
        second.close();
    }

    private static String[] bearer(String key) {
        return new String[] {"Authorization", "Bearer " + key};
    }

    /** Makes a key of this test's user and returns what was told of it. */
    private JsonNode make(String more) throws Exception {
        HttpResponse<String> made = gateway.post("/api/keys", "{\"name\":\"A key\",\"userId\":\"" + user + "\"" + more + "}", ADMIN);
        assertEquals(201, made.statusCode(), made.body());
        return json(made.body()).path("data");
    }

    /** Makes a key of another user. */
    private String othersKey() throws Exception {
        HttpResponse<String> made = gateway.post("/api/keys", "{\"name\":\"B\",\"userId\":\"other-" + user + "\"}", ADMIN);
        return json(made.body()).path("data").path("key").asText();
    }

    private int ask(TestGateway of, String key) throws Exception {
        return of.post("/v1/chat/completions", chat("openai/" + model, false), bearer(key)).statusCode();
    }

    private HttpResponse<String> ask(TestGateway of, String key, String header, String value) throws Exception {
        HttpResponse<String> answer = of.post("/v1/chat/completions", chat("openai/" + model, false), "Authorization", "Bearer " + key, header, value);
        assertEquals(200, answer.statusCode(), answer.body());
        return answer;
    }

    private static boolean replayed(HttpResponse<String> answer) {
        return answer.headers().firstValue("idempotent-replayed").isPresent();
    }

    private static void refused(HttpResponse<String> response, String message) {
        assertEquals(403, response.statusCode(), response.body());
        JsonNode body = json(response.body());
        boolean openAi = body.has("error");
        assertEquals(openAi ? "permission_error" : "FORBIDDEN", openAi ? body.path("error").path("type").asText() : body.path("code").asText());
        assertTrue(response.body().contains(message), response.body());
    }

    // --- getting in

    @Test
    void whoShowsNoKeyThatIsKnownTakesNoRoomForLongBodiesFromOthers() throws Exception {
        String path = "/v1/chat/completions";
        String body = chat("openai/" + model, false).replace("\"Hi\"", "\"" + "y".repeat(100_000) + "\"");
        String key = make("").path("key").asText();
        String made = gateway.bean(KeyHash.class).make();
        try (FullMemory none = new FullMemory(Memory.STRANGERS)) {
            HttpResponse<String> full = gateway.post(path, body);
            assertEquals(503, full.statusCode());
            assertEquals("1", full.headers().firstValue("Retry-After").orElse(null));
            assertEquals(503, gateway.post(path, body, bearer(made)).statusCode());
            assertEquals(503, gateway.post(path, body, bearer(key)).statusCode(), "here it was not shown yet");
            assertEquals(401, ask(gateway, made), "short ones are read");
            assertEquals(200, ask(gateway, key));
            for (String known : List.of(key, TestGateway.ADMIN_KEY, OF_THE_FILE)) {
                assertEquals(200, gateway.post(path, body, bearer(known)).statusCode());
            }
        }
        assertEquals(401, gateway.post(path, body).statusCode());
        assertEquals(401, gateway.post(path, body, bearer(made)).statusCode());
        assertEquals(200, second.post(path, body, bearer(othersKey())).statusCode());
        for (Memory room : List.of(Memory.STRANGERS, Memory.LARGE_BODIES)) {
            until("all of it was given back", () -> room.take(Integer.MAX_VALUE, 0));
            room.give(Integer.MAX_VALUE);
        }
    }

    // --- making, listing, revoking

    @Test
    void whoMakesUpKeysDoesNotGetAllConnections() throws Exception {
        TestGateway gateway = TestGateway.shared();
        KeyRing ring = gateway.bean(KeyRing.class);
        KeyHash hash = gateway.bean(KeyHash.class);
        CountDownLatch go = new CountDownLatch(1);
        AtomicInteger reading = new AtomicInteger();
        List<CompletableFuture<Object>> lookups = new ArrayList<>();
        for (int i = 0; i < 18; i++) {
            CompletableFuture<Object> lookup = new CompletableFuture<>();
            lookups.add(lookup);
            Thread.ofVirtual().start(() -> {
                try {
                    lookup.complete("found " + ring.find(hash.make(), id -> {
                        reading.incrementAndGet();
                        go.await(10, TimeUnit.SECONDS);
                        return null;
                    }));
                } catch (Exception e) {
                    lookup.complete(e);
                }
            });
        }
        TestGateway.until("two wait in vain", () -> lookups.stream().filter(l -> l.isDone() && l.join() instanceof ChatException).count() == 2);
        assertEquals(16, reading.get());
        go.countDown();
        for (CompletableFuture<Object> lookup : lookups) {
            assertTrue(lookup.get(10, TimeUnit.SECONDS) instanceof ChatException || lookup.join().equals("found null"));
        }
    }

    @Test
    void aKeyIsNotTakenForAnotherWhateverAStoreSays() throws Exception {
        KeyRing ring = gateway.bean(KeyRing.class);
        KeyHash hash = gateway.bean(KeyHash.class);
        String document = "{\"id\":\"k\",\"userId\":\"u\",\"hash\":\"%s\"}";
        assertNull(ring.find(hash.make(), id -> document.formatted("0".repeat(64))));
        assertNotNull(ring.find(hash.make(), document::formatted));
    }

    @Test
    void aKeyIsShownOnceAndLetsItsOwnerIn() throws Exception {
        JsonNode made = make(",\"limits\":{\"points\":5,\"duration\":60},\"expiresAt\":\"2999-01-01T00:00:00Z\"");
        String key = made.path("key").asText();
        assertTrue(key.startsWith(made.path("prefix").asText()) && key.startsWith("llmchat_sk_"), key);
        assertEquals(200, ask(gateway, key));
        assertEquals(200, gateway.post("/v1/messages", "{\"model\":\"demo\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
                "x-api-key", key).statusCode());

        HttpResponse<String> one = gateway.get("/api/keys/" + made.path("id").asText(), ADMIN);
        JsonNode listed = json(gateway.get("/api/keys?userId=" + user, ADMIN).body()).path("data");
        assertEquals(1, listed.path("total").asInt());
        assertEquals(json(one.body()).path("data"), listed.path("items").path(0));
        assertEquals("2999-01-01T00:00:00.000Z", listed.path("items").path(0).path("expiresAt").asText());
        assertEquals(5, listed.path("items").path(0).path("limits").path("points").asInt());
        assertFalse(one.body().contains(key) || listed.toString().contains(key) || listed.toString().contains("hash"), listed.toString());
        assertEquals(404, gateway.get("/api/keys/none", ADMIN).statusCode());
    }

    @Test
    void aKeyLooksAsSecretScannersAreTold() throws Exception {
        String scanned = Files.readString(Path.of("SECURITY.md")).replaceAll("(?s).*Secret scanners find it by `([^`]+)`.*", "$1");
        for (int i = 0; i < 3; i++) {
            String key = make("").path("key").asText();
            assertTrue(key.matches(scanned), key + " is none of " + scanned);
            assertTrue(KeyHash.isOurs(key));
            // what was mistyped is nobody's, without a look into the database
            assertFalse(KeyHash.isOurs(key.substring(0, 20) + (key.charAt(20) == 'a' ? 'b' : 'a') + key.substring(21)));
        }
    }

    @Test
    void keysAreListedByPagesTheNewestFirst() throws Exception {
        String first = make("").path("id").asText();
        String last = make("").path("id").asText();
        JsonNode page = json(gateway.get("/api/keys?pageSize=1&userId=" + user, ADMIN).body()).path("data");
        assertEquals(2, page.path("total").asInt());
        assertEquals(last, page.path("items").path(0).path("id").asText());
        page = json(gateway.get("/api/keys?pageSize=1&page=2&userId=" + user, ADMIN).body()).path("data");
        assertEquals(first, page.path("items").path(0).path("id").asText());
        assertEquals(400, gateway.get("/api/keys?pageSize=201", ADMIN).statusCode());
    }

    @Test
    void aRevokedKeyIsGoodForNothingOnAnyInstanceWithinASecond() throws Exception {
        withinASecond(() -> {
            JsonNode made = make("");
            String key = made.path("key").asText();
            assertEquals(200, ask(gateway, key));
            assertEquals(200, ask(second, key));
            assertEquals(200, revoke(made).statusCode());
            assertEquals(401, ask(gateway, key));
            return () -> ask(second, key) == 401;
        });
    }

    private static HttpResponse<String> revoke(JsonNode key) throws Exception {
        return gateway.send("DELETE", "/api/keys/" + key.path("id").asText(), null, ADMIN);
    }

    @Test
    void aKeyIsRevokedOnce() throws Exception {
        JsonNode made = make("");
        HttpResponse<String> revoked = revoke(made);
        assertFalse(revoked.body().contains("hash"), revoked.body());
        assertTrue(json(revoked.body()).path("data").hasNonNull("revokedAt"), revoked.body());
        assertEquals(json(revoked.body()).path("data"), json(revoke(made).body()).path("data"), "once is enough");
        assertEquals(404, gateway.send("DELETE", "/api/keys/none", null, ADMIN).statusCode());
    }

    @Test
    void aKeyEndsAtItsTimeThoughItIsInTheCache() throws Exception {
        Instant end = Instant.now().plusMillis(6000);
        String key = make(",\"expiresAt\":\"" + end + "\"").path("key").asText();
        assertEquals(200, ask(gateway, key));
        until("its time is over", () -> ask(gateway, key) == 401);
        assertFalse(Instant.now().isBefore(end));
    }

    @Test
    void anEndMayHaveAnyOffset() throws Exception {
        assertEquals("2999-01-31T06:00:00.000Z", make(",\"expiresAt\":\"2999-02-01T00:00:00+18:00\"").path("expiresAt").asText());
    }

    @Test
    void aKeyThatWasMadeToLastForEverDoes() throws Exception {
        JsonNode made = make("");
        gateway.execute("UPDATE api_keys SET expires_at = '10000-01-01 04:59:59Z' WHERE id = '" + made.path("id").asText() + "'");
        assertEquals(200, ask(gateway, made.path("key").asText()));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "name             | {'userId':'u'}",
        "name             | {'name':'','userId':'u'}",
        "userId           | {'name':'n'}",
        "userId           | {'name':'n','userId':'two words'}",
        "userId           | {'name':'n','userId':'.'}",
        "userId           | {'name':'n','userId':'..'}",
        "expiresAt        | {'name':'n','userId':'u','expiresAt':'tomorrow'}",
        "expiresAt        | {'name':'n','userId':'u','expiresAt':'2020-01-01T00:00:00Z'}",
        "expiresAt        | {'name':'n','userId':'u','expiresAt':'9999-12-31T23:59:59-05:00'}",
        "expiresAt        | {'name':'n','userId':'u','expiresAt':'+10000-01-01T00:00:00Z'}",
        "agents           | {'name':'n','userId':'u','agents':'demo'}",
        "agents[0]        | {'name':'n','userId':'u','agents':[7]}",
        "agents[0]        | {'name':'n','userId':'u','agents':[' ']}",
        "agents[0]        | {'name':'n','userId':'u','agents':['openai/gpt-4o']}",
        "models[1]        | {'name':'n','userId':'u','models':['openai/a','gpt-4o']}",
        "limits.points    | {'name':'n','userId':'u','limits':{'points':-1}}",
        "limits.duration  | {'name':'n','userId':'u','limits':{'points':1,'duration':9223372036854775807}}",
        "limits.blockDuration | {'name':'n','userId':'u','limits':{'points':1,'duration':1,'blockDuration':31536001}}",
        "limits.budgetPerDay  | {'name':'n','userId':'u','limits':{'budgetPerDay':1e-10}}",
        "limits.budgetPerDay  | {'name':'n','userId':'u','limits':{'budgetPerDay':0e-999999}}",
        "limits.budgetPerDay  | {'name':'n','userId':'u','limits':{'budgetPerDay':0e2147483648}}",
        "limits.budgetPerMonth | {'name':'n','userId':'u','limits':{'budgetPerMonth':1e200}}",
        "limits.budgetPerMonth | {'name':'n','userId':'u','limits':{'budgetPerMonth':9000000.01}}",
        "limits.rpm       | {'name':'n','userId':'u','limits':{'rpm':1}}",
        "expires_at       | {'name':'n','userId':'u','expires_at':'2999-01-01T00:00:00Z'}",
        "body             | []",
        "body             | {"})
    void whatCannotBeAKeyIsRefusedAndTheMemberNamed(String member, String body) throws Exception {
        HttpResponse<String> response = gateway.post("/api/keys", body.replace('\'', '"'), ADMIN);
        assertEquals(400, response.statusCode(), response.body());
        assertEquals(member, json(response.body()).path("details").path(0).path("field").asText(), response.body());
    }

    @Test
    void aKeyThatWasMadeWithLimitsBeyondReasonIsGood() throws Exception {
        JsonNode made = make("");
        gateway.execute("UPDATE api_keys SET limits = '{\"points\":1,\"duration\":9223372036854775807,\"budgetPerDay\":1e-10}' WHERE id = '"
                + made.path("id").asText() + "'");
        assertEquals(200, ask(gateway, made.path("key").asText()));
        assertEquals(429, ask(gateway, made.path("key").asText()), "its limit is one");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", ",\"duration\":31536001"})
    void anAgentWithLimitsThatAreNoneIsRefused(String duration) throws Exception {
        HttpResponse<String> response = gateway.post("/api/agents",
                "{\"name\":\"A\",\"provider\":\"openai\",\"model\":\"m\",\"rateLimit\":{\"points\":1" + duration + "}}", ADMIN);
        assertEquals(400, response.statusCode());
        assertEquals("rateLimit.duration", json(response.body()).path("details").path(0).path("field").asText());
    }

    // --- who gets in

    @Test
    void whoeverHasNoGoodKeyHearsTheSame() throws Exception {
        String good = make("").path("key").asText();
        String cut = good.substring(0, good.length() - 1);
        String mistyped = good.replace(good.charAt(20), good.charAt(20) == 'a' ? 'b' : 'a');
        JsonNode gone = make("");
        gateway.send("DELETE", "/api/keys/" + gone.path("id").asText(), null, ADMIN);
        JsonNode expired = make("");
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.createStatement()) {
            s.execute("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = '" + expired.path("id").asText() + "'");
        }
        String never = new KeyHash(gateway.bean(DataSource.class), "").make();
        Set<String> bodies = new HashSet<>();
        for (String key : List.of(cut, mistyped, gone.path("key").asText(), expired.path("key").asText(), never, "anything", "")) {
            HttpResponse<String> response = gateway.post("/v1/chat/completions", chat("demo", false), bearer(key));
            assertEquals(401, response.statusCode(), key);
            assertEquals("Bearer", response.headers().firstValue("WWW-Authenticate").orElse(null));
            bodies.add(response.body());
        }
        bodies.add(gateway.post("/v1/chat/completions", chat("demo", false)).body());
        assertEquals(1, bodies.size(), bodies.toString());
        assertEquals("invalid_api_key", json(bodies.iterator().next()).path("error").path("code").asText());
    }

    @Test
    void onlyTheAdminKeyChangesThings() throws Exception {
        onlyTheAdminKeyChangesThings(gateway, make("").path("key").asText(), 401);
        try (TestGateway open = TestGateway.with("llmchat.admit.admin-key", "the-admin-key-of-an-open-one")) {
            onlyTheAdminKeyChangesThings(open, json(open.post("/api/keys", "{\"name\":\"K\",\"userId\":\"ada\"}",
                    bearer("the-admin-key-of-an-open-one")).body()).at("/data/key").asText(), 403);
        }
        String key = make("").path("key").asText();
        refused(gateway.get("/metrics", bearer(key)), "admin key");
        refused(gateway.get("/health/detailed", bearer(key)), "admin key");
    }

    /** @param unknown the status for a key that is none */
    private static void onlyTheAdminKeyChangesThings(TestGateway gateway, String key, int unknown) throws Exception {
        for (String[] request : new String[][] {{"POST", "/api/keys"}, {"GET", "/api/keys"}, {"GET", "/api/keys/x"}, {"DELETE", "/api/keys/x"},
            {"GET", "/api/users/x"}, {"PUT", "/api/users/x"}, {"GET", "/api/audit"}, {"POST", "/api/agents"}, {"PUT", "/api/agents/demo"},
            {"DELETE", "/api/agents/demo"}, {"PUT", "/api/loglevel"}}) {
            String body = request[0].startsWith("P") ? "{}" : null;
            refused(gateway.send(request[0], request[1], body, bearer(key)), "admin key");
            assertEquals(401, gateway.send(request[0], request[1], body).statusCode(), request[1]);
            assertEquals(unknown, gateway.send(request[0], request[1], body, bearer("wrong")).statusCode(), request[1]);
        }
    }

    @Test
    void everyPathButTheProbesWantsAKey() throws Exception {
        Set<String> open = new HashSet<>();
        int paths = 0;
        for (JsonNode item : new YAMLMapper().readTree(Path.of("src/main/resources/routes/http.camel.yaml").toFile())) {
            for (String method : List.of("get", "post", "put", "delete")) {
                for (JsonNode each : item.path("rest").path(method)) {
                    String path = (item.path("rest").path("path").asText() + each.path("path").asText()).replace("//", "/").replaceAll("[{]\\w+[}]", "x");
                    int status = gateway.send(method.toUpperCase(), path, method.startsWith("p") ? "{}" : null).statusCode();
                    paths++;
                    if (status != 401) {
                        open.add(path + " " + status);
                    }
                }
            }
        }
        assertTrue(paths > 30, paths + " paths");
        assertEquals(Set.of("/health 200", "/health/live 200", "/health/ready 200"), open);
    }

    @Test
    void inOpenModeAKeySaysWhoItIsAndAnythingElseIsNobody() throws Exception {
        JsonNode made = make("");
        TestGateway open = TestGateway.shared();
        String chatId = json(open.post("/api/chat/completions", nativeChat("openai/" + model, false), bearer(made.path("key").asText())).body())
                .path("data").path("chatId").asText();
        assertEquals(200, open.get("/api/chat/history/" + chatId, bearer(made.path("key").asText())).statusCode());
        assertEquals(404, open.get("/api/chat/history/" + chatId).statusCode());
        assertEquals(404, open.get("/api/chat/history/" + chatId, bearer("sk-what-an-sdk-sends")).statusCode());
        gateway.send("DELETE", "/api/keys/" + made.path("id").asText(), null, ADMIN);
        until("the key is refused: its owner would else talk in front of everybody", () -> ask(open, made.path("key").asText()) == 401);
    }

    @Test
    void sessionsOfTwoUsersAreApart() throws Exception {
        String mine = make("").path("key").asText();
        String theirs = othersKey();
        String alsoMine = make("").path("key").asText();
        String chatId = json(gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), bearer(mine)).body())
                .path("data").path("chatId").asText();
        assertEquals(200, gateway.get("/api/chat/history/" + chatId, bearer(mine)).statusCode());
        assertEquals(200, gateway.get("/api/chat/history/" + chatId, bearer(alsoMine)).statusCode());
        assertEquals(404, gateway.get("/api/chat/history/" + chatId, bearer(theirs)).statusCode());
        assertEquals(404, gateway.send("DELETE", "/api/chat/history/" + chatId, null, bearer(theirs)).statusCode());
        assertEquals(0, json(gateway.get("/api/chat/history", bearer(theirs)).body()).path("data").path("total").asInt(-1));
        assertEquals(404, gateway.post("/api/chat/completions",
                nativeChat("openai/" + model, false).replace("{\"agentId\"", "{\"chatId\":\"" + chatId + "\",\"agentId\""), bearer(theirs)).statusCode());
    }

    @Test
    void anAnswerIsGivenAgainToNobodyButItsUser() throws Exception {
        String mine = make("").path("key").asText();
        String theirs = othersKey();
        ask(gateway, mine, "Idempotency-Key", model);
        assertFalse(replayed(ask(gateway, theirs, "Idempotency-Key", model)));
        assertTrue(replayed(ask(gateway, mine, "Idempotency-Key", model)));
        assertEquals(2, gateway.provider().calls(model).size());

        ask(gateway, mine, "X-Stainless-Retry-Count", "0");
        until("Redis has it", () -> gateway.bean(RedissonClient.class).getKeys()
                .getKeys(KeysScanOptions.defaults().pattern("llmchat:lately:" + user + " *")).iterator().hasNext());
        assertTrue(replayed(ask(second, mine, "X-Stainless-Retry-Count", "1")));
        assertFalse(replayed(ask(gateway, theirs, "X-Stainless-Retry-Count", "1")));
        assertTrue(replayed(ask(gateway, mine, "X-Stainless-Retry-Count", "1")));
        assertEquals(4, gateway.provider().calls(model).size());
    }

    @Test
    void anAnswerIsGivenAgainToEachKeyOfItsUser() throws Exception {
        HttpResponse<String> first = ask(gateway, make("").path("key").asText(), "Idempotency-Key", model);
        HttpResponse<String> again = ask(second, make("").path("key").asText(), "Idempotency-Key", model);
        assertTrue(replayed(again));
        assertEquals(first.body(), again.body());
    }

    @Test
    void nobodyComesBackForAnAnswerOfSomebodyElse() throws Exception {
        String mine = make("").path("key").asText();
        String theirs = othersKey();
        CountDownLatch go = new CountDownLatch(1);
        gateway.provider().on(model, FakeProvider.waits("Hel", go, "lo"));
        String path;
        List<String> inRedis;
        try (Sse stream = new Sse(gateway.port(), "/api/chat/completions", nativeChat("openai/" + model, true), "\r\nAuthorization: Bearer " + mine)) {
            String id = stream.lineWith("id: ").replaceAll("id: |:.*", "");
            path = "/api/chat/completions/" + id;
            inRedis = List.of("llmchat:answer:{" + id + "}", "llmchat:answer:{" + id + "}:of");
            stream.lineWith("Hel");
            try (Sse elsewhere = Sse.get(second.port(), path, "Authorization: Bearer " + mine)) {
                elsewhere.lineWith("Hel");
                nobodyElses(path, theirs);
                go.countDown();
                elsewhere.lineWith("event: end");
            }
            stream.lineWith("event: end");
        }
        nobodyElses(path, theirs);
        assertEquals(2, gateway.bean(RedissonClient.class).getKeys().delete(inRedis.toArray(String[]::new)), "it was there");
        until("it is in PostgreSQL", () -> second.get(path, bearer(mine)).statusCode() == 200);
        nobodyElses(path, theirs);
        assertEquals(200, gateway.get(path, bearer(mine)).statusCode());
    }

    private static void nobodyElses(String path, String key) throws Exception {
        assertEquals(404, gateway.get(path, bearer(key)).statusCode());
        assertEquals(404, second.get(path, bearer(key)).statusCode());
    }

    // --- for what

    @Test
    void aKeyThatIsBoundToAgentsAsksThemAndNobodyElse() throws Exception {
        String agent = "k-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model
                + "\",\"fallbacks\":[\"demo/demo\"]}", ADMIN);
        String key = make(",\"agents\":[\"" + agent + "\"]").path("key").asText();
        assertEquals(200, gateway.post("/v1/chat/completions", chat(agent, false), bearer(key)).statusCode());
        gateway.provider().on(model, call -> call.error(500, "broken"));
        assertEquals(200, gateway.post("/v1/chat/completions", chat(agent, false), bearer(key)).statusCode(), "fallbacks are the operator's");
        refused(gateway.post("/v1/chat/completions", chat("demo", false), bearer(key)), "may not ask the agent 'demo'");
        refused(gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), bearer(key)), "may not ask the model 'openai/" + model + "'");

        assertEquals(List.of(agent), json(gateway.get("/v1/models", bearer(key)).body()).path("data").findValuesAsText("id"));
        assertEquals(List.of(agent), json(gateway.get("/v1/models", "x-api-key", key, "anthropic-version", "2023-06-01").body())
                .path("data").findValuesAsText("id"));
        assertEquals(List.of(agent), json(gateway.get("/api/agents", bearer(key)).body()).path("data").findValuesAsText("id"));
        for (String path : List.of("/v1/models/", "/api/agents/")) {
            assertEquals(200, gateway.get(path + agent, bearer(key)).statusCode());
            assertEquals(404, gateway.get(path + "demo", bearer(key)).statusCode());
        }
        assertEquals(404, gateway.get("/api/agents/demo/status", bearer(key)).statusCode());
        gateway.send("DELETE", "/api/agents/" + agent, null, ADMIN);
    }

    @Test
    void aKeyThatIsBoundToModelsAsksThemAndTheirAgents() throws Exception {
        String key = make(",\"models\":[\"openai/" + model + "\",\"demo/*\"]").path("key").asText();
        assertEquals(200, ask(gateway, key));
        assertEquals(200, gateway.post("/v1/chat/completions", chat("demo", false), bearer(key)).statusCode());
        assertEquals(200, gateway.post("/v1/chat/completions", chat("demo/any", false), bearer(key)).statusCode());
        HttpResponse<String> other = gateway.post("/v1/messages",
                "{\"model\":\"openai/other\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "x-api-key", key);
        assertEquals(403, other.statusCode(), other.body());
        assertEquals("permission_error", json(other.body()).path("error").path("type").asText());
        assertTrue(json(gateway.get("/v1/models", bearer(key)).body()).path("data").findValuesAsText("id").contains("demo"));
        assertEquals(403, gateway.post("/v1/embeddings", "{\"model\":\"openai/other\",\"input\":\"Hi\"}", bearer(key)).statusCode());
    }

    @Test
    void aKeyIsReadFromEitherFieldHoweverItIsWritten() throws Exception {
        String key = make("").path("key").asText();
        for (String[] shown : List.of(new String[] {"Authorization", "bearer   " + key}, new String[] {"Authorization", "Basic eDp5", "x-api-key", key})) {
            assertEquals(200, gateway.get("/v1/models", shown).statusCode(), shown[1]);
        }
        for (String path : List.of("/metrics", "/api/keys")) {
            assertEquals(401, gateway.get(path, "x-api-key", "").statusCode(), "a token that is not set is nobody's");
        }
    }

    @Test
    void whereOthersThanThisMachineMayAskWithoutAKeyChangesNeedAnAdminKeyAllTheSame() {
        assertNotNull(new Authenticate("open", "0.0.0.0", "", "", null, null).generatedAdminKey());
        assertNull(new Authenticate("open", "127.0.0.1", "", "", null, null).generatedAdminKey());
    }

    @Test
    void aKeyThatIsBoundToAgentsAndModelsAsksNoOtherAgentsOfTheseModels() throws Exception {
        String agent = "k-" + UUID.randomUUID().toString().substring(0, 8);
        gateway.post("/api/agents", "{\"id\":\"" + agent + "\",\"name\":\"A\",\"provider\":\"openai\",\"model\":\"" + model + "\"}", ADMIN);
        String key = make(",\"agents\":[\"" + agent + "\"],\"models\":[\"demo/*\"]").path("key").asText();
        for (String may : List.of(agent, "demo/any")) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat(may, false), bearer(key)).statusCode());
        }
        refused(gateway.post("/v1/chat/completions", chat("demo", false), bearer(key)), "may not ask the agent 'demo'");
        assertEquals(List.of(agent), json(gateway.get("/v1/models", bearer(key)).body()).path("data").findValuesAsText("id"));
        String other = make(",\"models\":[\"demo/*\"]").path("key").asText();
        refused(gateway.post("/v1/chat/completions", chat(agent, false), bearer(other)), "may not ask the agent '" + agent + "'");
        List<String> seen = json(gateway.get("/v1/models", bearer(other)).body()).path("data").findValuesAsText("id");
        assertTrue(seen.contains("demo") && !seen.contains(agent), seen::toString);
        gateway.send("DELETE", "/api/agents/" + agent, null, ADMIN);
    }

    @Test
    void aUserHasANameAndLimitsForAllKeysTogether() throws Exception {
        String key = make(",\"limits\":{\"budgetPerDay\":0.5}").path("key").asText();
        assertEquals(200, ask(gateway, key));
        JsonNode written = json(gateway.send("PUT", "/api/users/" + user, "{\"limits\":{\"tokensPerDay\":1000}}", ADMIN).body()).path("data");
        assertEquals(user, written.path("name").asText());
        assertEquals(200, gateway.send("PUT", "/api/users/" + user, "{\"name\":\"Ada\",\"more\":\"\\u0000\"}", ADMIN).statusCode());
        JsonNode read = json(gateway.get("/api/users/" + user, ADMIN).body()).path("data");
        assertEquals("Ada", read.path("name").asText());
        assertEquals(1000, read.path("limits").path("tokensPerDay").asInt());
        assertEquals(200, ask(gateway, key));
        Caller caller = gateway.bean(KeyRing.class).find(key, hash -> null).caller();
        assertEquals(new BigDecimal("0.5"), caller.quota().budgetPerDay());
        assertEquals(1000, caller.userQuota().tokensPerDay());
        assertEquals(user, caller.userId());
        JsonNode unlimited = json(gateway.send("PUT", "/api/users/" + user, "{\"limits\":null}", ADMIN).body()).path("data");
        assertEquals("Ada", unlimited.path("name").asText(), "what is not said stays");
        assertFalse(unlimited.hasNonNull("limits"), unlimited::toString);
        assertEquals(200, ask(gateway, key));
        assertNull(gateway.bean(KeyRing.class).find(key, hash -> null).caller().userQuota());
        assertEquals(400, gateway.send("PUT", "/api/users/" + user, "{\"limits\":{\"tokensPerDay\":\"many\"}}", ADMIN).statusCode());
        assertEquals(400, gateway.send("PUT", "/api/users/" + user, "{\"limits\":{\"budgetPerDay\":1e-10}}", ADMIN).statusCode());
        assertEquals(404, gateway.get("/api/users/nobody-" + user, ADMIN).statusCode());
    }

    @Test
    void aKeyAsksAsOftenAsItsLimitsSayAndTheOthersOfItsUserDoNotNotice() throws Exception {
        String key = make(",\"limits\":{\"points\":2,\"duration\":60}").path("key").asText();
        assertEquals(200, ask(gateway, key));
        assertEquals(200, ask(second, key));
        HttpResponse<String> over = gateway.post("/v1/chat/completions", chat("openai/" + model, false), bearer(key));
        assertEquals(429, over.statusCode(), over.body());
        assertEquals("\"default\";q=2;w=60", over.headers().firstValue("ratelimit-policy").orElseThrow());
        assertEquals(429, ask(second, key));
        assertEquals(200, ask(gateway, make("").path("key").asText()));
    }

    @Test
    void allKeysOfAUserTogetherAskAsOftenAsItsLimitsSay() throws Exception {
        String key = make("").path("key").asText();
        String another = make("").path("key").asText();
        assertEquals(200, gateway.send("PUT", "/api/users/" + user, "{\"limits\":{\"points\":3,\"duration\":60}}", ADMIN).statusCode());
        assertEquals(200, ask(gateway, key));
        assertEquals(200, ask(gateway, another));
        assertEquals(200, ask(second, key));
        HttpResponse<String> over = gateway.post("/v1/chat/completions", chat("openai/" + model, false), bearer(another));
        assertEquals(429, over.statusCode(), over.body());
        assertEquals("\"user-requests\";q=3;w=60", over.headers().firstValue("ratelimit-policy").orElseThrow());
        assertEquals(429, ask(second, another));
        assertEquals(200, ask(second, othersKey()));
    }

    @Test
    void whatTheReadmeAsksTellsWhatEachUserAndKeyHasCost() throws Exception {
        TestGateway.farFromMidnight();
        JsonNode mine = make("");
        JsonNode alsoMine = make("");
        for (String key : List.of(mine.path("key").asText(), mine.path("key").asText(), alsoMine.path("key").asText(), OF_THE_FILE,
                TestGateway.ADMIN_KEY)) {
            assertEquals(200, gateway.post("/v1/chat/completions", chat("openai/gpt-4o-mini", false), bearer(key)).statusCode());
        }
        String shown = Documents.block("FROM usage_records");
        String asked = "(" + shown.substring(shown.indexOf("SELECT"), shown.indexOf(";")) + ") u WHERE model = 'gpt-4o-mini' AND tokens > 0"
                + " AND month = to_char(now(), 'YYYY-MM') AND ";
        until("two of one key are in one row", () -> gateway.count("SELECT count(*) FROM " + asked + "user_id = '" + user + "' AND key_id = '"
                + mine.path("id").asText() + "' AND requests = 2 AND dollars = 0.0000033") == 1);
        until("the other key has its own", () -> gateway.count("SELECT count(*) FROM " + asked + "user_id = '" + user + "' AND key_id = '"
                + alsoMine.path("id").asText() + "' AND requests = 1 AND dollars = 0.00000165") == 1);
        until("so has one of the file", () -> gateway.count("SELECT count(*) FROM " + asked + "user_id = 'builder' AND key_id = 'file:CI'") == 1);
        until("the admin key has no id", () -> gateway.count("SELECT count(*) FROM " + asked + "user_id = 'admin' AND key_id IS NULL") == 1);
    }

    // --- keys that stand in a file

    @Test
    void aKeyOfTheFileLetsItsOwnerInAndIsBoundAsItSays() throws Exception {
        assertEquals(200, ask(gateway, OF_THE_FILE));
        assertEquals(401, ask(second, OF_THE_FILE), "this instance has no file");
        refused(gateway.post("/v1/chat/completions", chat("demo", false), bearer(OF_THE_FILE)), "'demo'");
    }

    /** Adds a key of this test's user, with {@code more} members, to the file, and asks with it; returns the file as it was. */
    private String addToFile(String key, String more) throws Exception {
        String before = Files.readString(file);
        Files.writeString(file, before + "- {name: Added " + model + ", userId: " + user + ", key: " + key + more + "}\n");
        until("the new key is good", () -> ask(gateway, key) == 200);
        return before;
    }

    @Test
    void whoseKeyIsInTheFileHasSessionsLikeEverybodyElse() throws Exception {
        String key = "a-third-key-that-somebody-brought-0003";
        String before = addToFile(key, "");
        HttpResponse<String> answer = gateway.post("/api/chat/completions", nativeChat("openai/" + model, false), bearer(key));
        assertEquals(200, answer.statusCode(), answer.body());
        String session = json(answer.body()).path("data").path("chatId").asText();
        assertEquals(200, gateway.get("/api/chat/history/" + session, bearer(key)).statusCode());
        assertEquals(404, gateway.get("/api/chat/history/" + session, bearer(OF_THE_FILE)).statusCode());
        Files.writeString(file, before);
        until("it is good no more", () -> ask(gateway, key) == 401);
    }

    @Test
    void aKeyOfTheFileAsksAsOftenAsItsLimitsSay() throws Exception {
        String key = "a-fifth-key-that-somebody-brought-00005";
        String before = addToFile(key, ", limits: {points: 2, duration: 60}");
        assertEquals(200, ask(gateway, key));
        HttpResponse<String> over = gateway.post("/v1/chat/completions", chat("openai/" + model, false), bearer(key));
        assertEquals(429, over.statusCode(), over.body());
        assertEquals("\"default\";q=2;w=60", over.headers().firstValue("ratelimit-policy").orElseThrow());
        Files.writeString(file, before);
    }

    @Test
    void anAnswerToARemovedSessionIsNotPutIntoSomebodyElsesOfTheSameName() throws Exception {
        String key = "a-fourth-key-that-somebody-brought-0004";
        String before = addToFile(key, "");
        CountDownLatch go = new CountDownLatch(1);
        gateway.provider().on(model, call -> {
            call.sse();
            call.text("secret");
            go.await(10, TimeUnit.SECONDS);
            call.finish("stop");
            call.done();
        });
        String session = "s-" + model;
        String body = "{\"model\":\"openai/%s\",\"stream\":%s,\"metadata\":{\"session_id\":\"" + session
                + "\"},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
        try (Sse stream = new Sse(gateway.port(), "/v1/chat/completions", body.formatted(model, true), "\r\nAuthorization: Bearer " + OF_THE_FILE)) {
            stream.lineWith("secret");
            assertEquals(200, gateway.send("DELETE", "/api/chat/history/" + session, null, bearer(OF_THE_FILE)).statusCode());
            assertEquals(200, gateway.post("/v1/chat/completions", body.formatted(model + "-2", false), bearer(key)).statusCode());
            go.countDown();
            stream.lineWith("[DONE]");
        }
        String history = gateway.get("/api/chat/history/" + session, bearer(key)).body();
        assertEquals(2, json(history).path("data").path("messages").size(), history);
        assertFalse(history.contains("secret"), history);
        Files.writeString(file, before);
    }

    @Test
    void theFileIsReadAgainWhenItChangesAndABadOneChangesNothing() throws Exception {
        String before = Files.readString(file);
        String key = "another-key-that-somebody-brought-0002";
        String hash = HexFormat.of().withUpperCase().formatHex(MessageDigest.getInstance("SHA-256").digest(key.getBytes()));
        Files.writeString(file, before + "- {name: Two, userId: builder, sha256: " + hash + "}\n");
        until("the new key is good", () -> ask(gateway, key) == 200);
        try (LogLines logs = LogLines.text()) {
            Files.writeString(file, before + "- {name: Three}\n");
            until("the fault is told", () -> !logs.with("entry 2 (Three): userId is missing.").isEmpty());
        }
        assertEquals(200, ask(gateway, key));
        Files.writeString(file, before);
        until("the key is gone", () -> ask(gateway, key) == 401);
    }

    @Test
    void aFileThatCannotBeReadForAWhileIsReadWhenItCanBeAndThatIsSaidOnce() throws Exception {
        Path own = folder.resolve("own.yaml");
        String entry = "- {name: A, userId: u, key: %s}\n";
        Files.writeString(own, entry.formatted("a" + OF_THE_FILE));
        KeyFile keys = new KeyFile(own.toString());
        FileTime changedAt = FileTime.from(Instant.parse("2026-01-01T00:00:00Z"));
        try (LogLines logs = LogLines.text()) {
            String told = "The keys stay as they were: KEYS_FILE " + own + " cannot be read.";
            for (int times = 1; times <= 2; times++) {
                Files.delete(own);
                // nobody can read it, whoever runs this
                Files.createDirectory(own);
                Files.setLastModifiedTime(own, changedAt);
                keys.reread();
                keys.reread();
                Files.delete(own);
                keys.reread();
                assertEquals(times, logs.with(told).size());
                Files.writeString(own, entry.formatted(times + OF_THE_FILE));
                Files.setLastModifiedTime(own, changedAt);
                keys.reread();
                keys.reread();
                assertNotNull(keys.find(times + OF_THE_FILE));
                changedAt = FileTime.from(changedAt.toInstant().plusSeconds(1));
            }
        }
    }

    @Test
    void aFileThatIsBeingWrittenIsNotRead() throws Exception {
        Path own = folder.resolve("written.yaml");
        String entry = "- {name: %s, userId: u, key: %s}\n";
        Files.writeString(own, entry.formatted("A", "a" + OF_THE_FILE));
        KeyFile keys = new KeyFile(own.toString());
        // as a shell does it before the program begins whose output it is to be
        Files.writeString(own, "");
        keys.reread();
        assertNotNull(keys.find("a" + OF_THE_FILE));
        Files.writeString(own, entry.formatted("Another", "b" + OF_THE_FILE));
        try (LogLines logs = LogLines.text()) {
            keys.reread();
            assertNull(keys.find("b" + OF_THE_FILE));
            keys.reread();
            assertNotNull(keys.find("b" + OF_THE_FILE));
            assertNull(keys.find("a" + OF_THE_FILE));
            keys.reread();
            assertEquals(1, logs.with("Read 1 keys from " + own).size(), "it was changed once");
        }
    }

    @Test
    void whatTheReadmeShowsIsNobodysKey() throws Exception {
        String shown = Documents.block("userId: builder");
        Path copied = folder.resolve("copied.yaml");
        Files.writeString(copied, shown);
        assertTrue(assertThrows(IllegalArgumentException.class, () -> new KeyFile(copied.toString())).getMessage().contains("entry 1 (CI): sha256"));
        Files.writeString(copied, shown.substring(shown.indexOf("- {name: Laptop")));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> new KeyFile(copied.toString())).getMessage().contains("entry 1 (Laptop): key"));
        String key = "0123456789abcdef".repeat(4);
        Files.writeString(copied, shown.replaceAll("<[^>]*>", key));
        assertEquals("file:Laptop", new KeyFile(copied.toString()).find(key).caller().keyId());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{name: CI}                                                                          | takes a list",
        "- {name: CI, userId: u}                                                             | entry 1 (CI): it needs either key or sha256.",
        "- {name: CI, userId: u, key: 01234567890123456789012345678901, sha256: 0123}        | entry 1 (CI): it needs either key or sha256.",
        "- {name: CI, userId: u, key: 0123456789012345678901234567890}                       | entry 1 (CI): key must have at least 32 visible",
        "- {name: CI, userId: u, sha256: 0123}                                               | entry 1 (CI): sha256 must be 64 hexadecimal digits",
        "- {name: CI, userId: u, key: 01234567890123456789012345678901, limits: {points: x}} | entry 1 (CI): limits.points must be a whole number",
        "- {name: CI, userId: u, key: 01234567890123456789012345678901, expiresAt: soon}     | entry 1 (CI): expiresAt must be a time",
        "- {name: CI, userId: .., key: 01234567890123456789012345678901}                     | entry 1 (CI): userId must be 1 to 128 visible",
        "- [a]                                                                               | entry 1: A key is described by an object.",
        "- {name: 'CI                                                                        | is not YAML: see line 1"})
    void aFileThatCannotBeUsedStopsTheStartAndSaysWhere(String content, String fault) throws Exception {
        Path bad = folder.resolve("bad.yaml");
        Files.writeString(bad, content + "\n");
        String told = assertThrows(IllegalArgumentException.class, () -> new KeyFile(bad.toString())).getMessage();
        assertTrue(told.contains("KEYS_FILE " + bad) && told.contains(fault), told);
        assertFalse(told.contains("0123456789"), told);
    }

    @Test
    void aFileThatIsNotThereStopsTheStartAndTwoKeysOfOneNameOrTwoNamesOfOneKeyDoToo() throws Exception {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> new KeyFile("/nowhere/keys.yaml")).getMessage()
                .contains("KEYS_FILE /nowhere/keys.yaml cannot be read"));
        Path twice = folder.resolve("twice.yaml");
        for (String second : List.of("A, userId: u, key: 01234567890123456789012345678902", "B, userId: v, key: 01234567890123456789012345678901")) {
            Files.writeString(twice, "- {name: A, userId: u, key: 01234567890123456789012345678901}\n- {name: " + second + "}\n");
            assertTrue(assertThrows(IllegalArgumentException.class, () -> new KeyFile(twice.toString())).getMessage()
                    .contains("entry 2 (" + second.charAt(0) + "): an entry above"));
        }
    }

    @Test
    void withPostgresAwayKeysOfTheFileAndThoseShownLatelyAreKnownAndNoneIsRefusedByMistake() throws Exception {
        String known = make("").path("key").asText();
        String unknown = make("").path("key").asText();
        try (TestGateway cut = inKeyMode("llmchat.keys.file", file.toString())) {
            refused(cut.get("/api/keys", bearer(known)), "admin key");
            cut.bean(DataSource.class).unwrap(HikariDataSource.class).close();
            refused(cut.get("/api/keys", bearer(known)), "admin key");
            refused(cut.get("/api/keys", bearer(OF_THE_FILE)), "admin key");
            HttpResponse<String> response = cut.get("/api/keys", bearer(unknown));
            assertEquals(503, response.statusCode(), response.body());
            assertEquals("STORE_UNAVAILABLE", json(response.body()).path("code").asText());
            assertEquals(401, cut.get("/api/keys", bearer("anything")).statusCode());
        }
    }

    // --- where keys are not

    @Test
    void aKeyIsNowhereInClearInTheDatabaseNorInLogs() throws Exception {
        String key;
        Instant start = Instant.now();
        try (LogLines logs = LogLines.all()) {
            key = make("").path("key").asText();
            ask(gateway, key);
            gateway.post("/api/chat/completions", nativeChat("openai/" + model, true), bearer(key));
            gateway.post("/v1/chat/completions", "{", bearer(key));
            gateway.provider().on(model, call -> call.error(500, "broken"));
            ask(gateway, key);
            assertTrue(logs.with("").size() > 10, "everything is logged");
            assertEquals(List.of(), logs.with(key.substring(20)), "in the logs");
        }
        assertEquals(List.of(), columnsWith(key.substring(20), start));
        assertNotEquals(List.of(), columnsWith(key.substring(0, 19), start), "what would be found is: the prefix that lists show");
        assertFalse(gateway.get("/metrics", ADMIN).body().contains(key.substring(0, 19)));
        assertFalse(gateway.get("/health/detailed", ADMIN).body().contains(key.substring(0, 19)));
    }

    /** The columns of all tables that have a value with this text in it, in a row that was made since then. */
    private static List<String> columnsWith(String text, Instant start) throws Exception {
        List<String> found = new ArrayList<>();
        try (Connection c = gateway.bean(DataSource.class).getConnection(); var s = c.createStatement()) {
            List<String[]> columns = new ArrayList<>();
            Map<String, String> since = new HashMap<>();
            try (var rows = s.executeQuery("SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables"
                    + " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")) {
                while (rows.next()) {
                    columns.add(new String[] {rows.getString(1), rows.getString(2)});
                    if (Set.of("created_at", "at").contains(rows.getString(2))) {
                        since.put(rows.getString(1), rows.getString(2) + " >= '" + start + "' AND ");
                    }
                }
            }
            assertTrue(columns.size() > 40);
            for (String[] column : columns) {
                String value = "CASE pg_typeof(\"" + column[1] + "\")::text WHEN 'bytea' THEN encode(\"" + column[1] + "\"::text::bytea, 'escape')"
                        + " ELSE \"" + column[1] + "\"::text END";
                try (var row = s.executeQuery("SELECT count(*) FROM \"" + column[0] + "\" WHERE " + since.getOrDefault(column[0], "") + value
                        + " LIKE '%" + text + "%'")) {
                    row.next();
                    if (row.getLong(1) > 0) {
                        found.add(column[0] + "." + column[1]);
                    }
                }
            }
        }
        return found;
    }

    @Test
    void keysOfAnotherSecretAreNotRecognised() throws Exception {
        DataSource database = gateway.bean(DataSource.class);
        String key = new KeyHash(database, "").make();
        assertTrue(KeyHash.isOurs(key) && !KeyHash.isOurs(key + "0") && !KeyHash.isOurs("llmchat_sk_"));
        assertTrue(Arrays.equals(new KeyHash(database, "").of(key), new KeyHash(database, "").of(key)), "the one in the database is shared");
        assertFalse(Arrays.equals(new KeyHash(database, "").of(key), new KeyHash(database, "a-secret-of-more-than-thirty-two-characters").of(key)));
    }
}
