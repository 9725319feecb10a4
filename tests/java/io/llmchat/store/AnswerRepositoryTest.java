package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.llmchat.json.Json;
import io.llmchat.store.AnswerRepository.Kept;
import io.llmchat.support.TestGateway;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is kept of answers, where it comes out otherwise than usual. */
class AnswerRepositoryTest {

    private final String id = "a-" + UUID.randomUUID();
    private TestGateway gateway;
    private AnswerRepository answers;

    @BeforeEach
    void start() throws Exception {
        gateway = TestGateway.shared();
        answers = gateway.bean(AnswerRepository.class);
    }

    @Test
    void anAnswerThatPostgresTookWithoutSayingSoIsKeptOnceMoreAndStaysAsItWas() {
        answers.keepWithoutKey(id, "anonymous", Json.utf8("well"));
        answers.keepWithoutKey(id, "anonymous", Json.utf8("well"));
        assertArrayEquals(Json.utf8("well"), answers.ofId(id).body());
    }

    @Test
    void ofAnAnswerThatIsKeptThoughItsClaimIsThereStillTheBodyIsFound() throws Exception {
        gateway.execute("INSERT INTO answers (key, claimed_by, answer_id, owner, claimed_until) VALUES ('claimed " + id + "', 'dead', '" + id
                + "', 'anonymous', now() + interval '1 minute')");
        answers.keepWithoutKey(id, "anonymous", Json.utf8("well"));
        assertEquals(4, answers.ofId(id).length());
        gateway.execute("DELETE FROM answers WHERE answer_id = '" + id + "'");
    }

    @Test
    void theBodyOfAKeyThatHasAnotherAnswerByNowIsNotTheOneThatWasFound() {
        answers.keepWithoutKey(id, "anonymous", Json.utf8("well"));
        Kept now = answers.ofId(id);
        assertArrayEquals(Json.utf8("well"), answers.body(new Kept(now.key(), null, id, 4, null, true, "anonymous", false)));
        assertNull(answers.body(new Kept(now.key(), null, "earlier", 4, null, true, "anonymous", false)));
    }
}
