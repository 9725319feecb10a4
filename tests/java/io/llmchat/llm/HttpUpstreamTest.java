package io.llmchat.llm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import io.llmchat.support.FakeProvider;
import io.llmchat.support.LogLines;
import io.vertx.core.MultiMap;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.PoolOptions;
import io.vertx.core.http.RequestOptions;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class HttpUpstreamTest {

    /** For a call of which nothing is to be heard any more. */
    private static final Upstream.Receiver NOBODY = new Upstream.Receiver() {
        @Override
        public void head(int status, MultiMap headers) {
            fail("the head came");
        }

        @Override
        public void data(Buffer bytes) {
            fail("data came");
        }

        @Override
        public void end() {
            fail("the end came");
        }

        @Override
        public void broken(Throwable cause) {
            fail("it is said to have broken", cause);
        }
    };

    @Test
    void aCallThatIsGivenUpBeforeItHasAConnectionIsNoError() throws Exception {
        Vertx vertx = Vertx.vertx();
        try (FakeProvider provider = new FakeProvider(); LogLines log = LogLines.text()) {
            HttpClient client = vertx.createHttpClient(new PoolOptions().setHttp1MaxSize(1));
            RequestOptions options = new RequestOptions().setMethod(HttpMethod.POST).setAbsoluteURI(provider.url() + "/v1/chat/completions");
            Upstream call = new HttpUpstream(vertx, client, options, Buffer.buffer("{}"));
            call.start(NOBODY);
            call.abort();
            // there is one connection: the second call gets it when the first has given it back
            int status = client.request(options).compose(r -> r.send("{}")).toCompletionStage().toCompletableFuture()
                    .get(10, TimeUnit.SECONDS).statusCode();
            assertEquals(200, status);
            assertEquals(List.of(), log.with("ERROR"));
        } finally {
            vertx.close().toCompletionStage().toCompletableFuture().get(10, TimeUnit.SECONDS);
        }
    }
}
