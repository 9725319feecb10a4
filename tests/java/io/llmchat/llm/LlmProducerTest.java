package io.llmchat.llm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.bench.SilentClient;
import io.llmchat.chat.Candidate;
import io.llmchat.chat.Chat;
import io.llmchat.chat.Target;
import io.llmchat.dialect.OpenAiDialect;
import io.llmchat.json.Json;
import io.llmchat.wire.OpenAiWire;
import java.util.List;
import org.apache.camel.Exchange;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.junit.jupiter.api.Test;

/** The call of a provider, where it does not come to one. */
class LlmProducerTest {

    @Test
    void aRequestThatCannotBePutInTheProvidersWordsIsNotAsked() throws Exception {
        RuntimeException fault = new IllegalStateException("ours");
        try (DefaultCamelContext camel = new DefaultCamelContext()) {
            LlmComponent component = new LlmComponent();
            component.setCamelContext(camel);
            LlmEndpoint endpoint = new LlmEndpoint("llm:openai", component, "openai", new OpenAiWire(false, "max_tokens", "none", true) {
                @Override
                public Call call(Asked asked) {
                    throw fault;
                }
            });
            endpoint.setProvider("p");
            Chat chat = new Chat(SilentClient.open(camel, "/v1/chat/completions"));
            chat.setRequest(OpenAiDialect.CHAT.read(Json.utf8("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"), header -> null), null);
            chat.candidates(List.of(new Candidate(new Target("p", "m"), 0, false)));
            chat.nextCandidate();
            Exchange exchange = new DefaultExchange(camel);
            exchange.setProperty(Chat.PROPERTY, chat);
            new LlmProducer(endpoint).process(exchange, sync -> { });
            assertSame(fault, exchange.getException());
            assertEquals(true, exchange.getProperty(Breakers.NOT_ASKED));
        }
    }

    @Test
    void aBaseUrlThatCannotBeCalledIsRefusedAtTheStart() throws Exception {
        try (DefaultCamelContext camel = new DefaultCamelContext()) {
            LlmComponent component = new LlmComponent();
            component.setCamelContext(camel);
            for (String url : List.of("http://host:65536/v1", "http://me@host/v1", "ftp://host/v1", "/v1")) {
                LlmEndpoint endpoint = new LlmEndpoint("llm:openai", component, "openai", new OpenAiWire(false, "max_tokens", "none", true));
                endpoint.setProvider("p");
                endpoint.setBaseUrl(url);
                assertThrows(IllegalArgumentException.class, endpoint::start, url);
            }
        }
    }
}
