package io.llmchat.store;

import static io.llmchat.support.TestGateway.chat;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.llmchat.http.AnswerLog;
import io.llmchat.json.Bytes;
import io.llmchat.json.Json;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.TestGateway;
import java.util.HexFormat;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.redisson.api.RedissonClient;

/** What other instances are told of answers. */
class AnswerMirrorTest {

    private TestGateway gateway;
    private final String model = "m-" + UUID.randomUUID();

    private int told() {
        return (int) gateway.bean(RedissonClient.class).getKeys().getKeysStreamByPattern("llmchat:lately:" + model + "*").count();
    }

    @Test
    void ofWhatManySdksMayAskAgainAtOnceSomeIsTold() throws Exception {
        gateway = TestGateway.shared();
        gateway.provider().on(model, call -> call.json(200, FakeProvider.completion("x".repeat(250_000))));
        String body = chat("openai/" + model, false);
        assertEquals(200, gateway.post("/v1/chat/completions", body, "X-Stainless-Retry-Count", "0").statusCode());
        AnswerLog answer = gateway.bean(AnswersInProgress.class).madeLately("anonymous /v1/chat/completions "
                + HexFormat.of().formatHex(Bytes.sha256(Json.utf8(body))));
        AnswerMirror mirror = new AnswerMirror(gateway.bean(Redis.class), 15_000);
        for (int i = 0; i < 40; i++) {
            mirror.made(model + i, answer);
        }
        mirror.flush();
        int some = (4 << 20) / answer.length() + 1;
        until("as many are told as go together", () -> told() == some);
        mirror.made(model + "last", answer);
        mirror.flush();
        until("so is the next", () -> told() == some + 1);
    }
}
