package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.anthropic.client.AnthropicClient;
import com.anthropic.client.okhttp.AnthropicOkHttpClient;
import com.anthropic.core.JsonValue;
import com.anthropic.core.http.StreamResponse;
import com.anthropic.errors.AnthropicServiceException;
import com.anthropic.errors.BadRequestException;
import com.anthropic.errors.InternalServerException;
import com.anthropic.errors.NotFoundException;
import com.anthropic.errors.RateLimitException;
import com.anthropic.errors.UnauthorizedException;
import com.anthropic.helpers.MessageAccumulator;
import com.anthropic.models.messages.Base64ImageSource;
import com.anthropic.models.messages.ContentBlock;
import com.anthropic.models.messages.ContentBlockParam;
import com.anthropic.models.messages.ImageBlockParam;
import com.anthropic.models.messages.Message;
import com.anthropic.models.messages.MessageCountTokensParams;
import com.anthropic.models.messages.MessageCreateParams;
import com.anthropic.models.messages.RawMessageStreamEvent;
import com.anthropic.models.messages.Tool;
import com.anthropic.models.messages.ToolResultBlockParam;
import com.anthropic.models.messages.ToolUseBlock;
import io.llmchat.support.SdkScripts;
import io.llmchat.support.TestGateway;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The official Anthropic SDK for Java as it is, pointed at the gateway, with a provider of each wire. */
class AnthropicJavaSdkTest {

    private static TestGateway gateway;
    private static AnthropicClient client;

    @BeforeAll
    static void start() throws Exception {
        gateway = SdkScripts.gateway();
        // the SDK would repeat failed requests by itself and hide what the gateway answered first
        client = AnthropicOkHttpClient.builder().baseUrl(gateway.url()).apiKey(SdkScripts.KEY).maxRetries(0).build();
    }

    @AfterAll
    static void stop() throws Exception {
        if (client != null) {
            client.close();
        }
        if (gateway != null) {
            gateway.close();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aMessageHasItsTextUsageAndReasonToStop(String provider) {
        Message message = create(chat(provider + "/sdk-text").system("Be brief")).validate();
        assertEquals("Hello there", text(message));
        assertEquals("end_turn", message.stopReason().orElseThrow().asString());
        assertEquals(3, message.usage().inputTokens());
        assertEquals(2, message.usage().outputTokens());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aStreamBringsTheTextInPiecesAndItsUsage(String provider) {
        List<String> pieces = new ArrayList<>();
        MessageAccumulator all = MessageAccumulator.create();
        try (StreamResponse<RawMessageStreamEvent> stream = stream(chat(provider + "/sdk-text"))) {
            stream.stream().forEach(event -> {
                all.accumulate(event.validate());
                event.contentBlockDelta().flatMap(d -> d.delta().text()).ifPresent(t -> pieces.add(t.text()));
            });
        }
        assertEquals(List.of("Hello", " there"), pieces);
        assertEquals("Hello there", text(all.message()));
        assertEquals(2, all.message().usage().outputTokens());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aToolIsCalledAndItsResultIsTaken(String provider) {
        Message asked = create(chat(provider + "/sdk-tool").addTool(weather()));
        assertEquals("tool_use", asked.stopReason().orElseThrow().asString());
        ToolUseBlock call = asked.content().get(0).asToolUse();
        assertEquals("weather Oslo", call.name() + " " + city(call));

        Message answered = create(chat(provider + "/sdk-tool").addTool(weather()).addMessage(asked)
                .addUserMessageOfContentBlockParams(List.of(ContentBlockParam.ofToolResult(
                        ToolResultBlockParam.builder().toolUseId(call.id()).content("rain").build()))));
        assertEquals("call-1: rain", text(answered));
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void twoToolsAreCalledInOneStreamAfterSomeWords(String provider) {
        MessageAccumulator all = MessageAccumulator.create();
        try (StreamResponse<RawMessageStreamEvent> stream = stream(chat(provider + "/sdk-two-tools").addTool(weather()))) {
            stream.stream().forEach(all::accumulate);
        }
        assertEquals("Let me look", text(all.message()));
        assertEquals(List.of("call-1 Oslo", "call-2 Rome"), all.message().content().stream().skip(1)
                .map(ContentBlock::asToolUse).map(call -> call.id() + " " + city(call)).toList());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void anImageReachesTheProviderAsItWasSent(String provider) {
        Message message = create(MessageCreateParams.builder().model(provider + "/sdk-image").maxTokens(100)
                .addUserMessageOfContentBlockParams(List.of(ContentBlockParam.ofImage(ImageBlockParam.builder()
                        .source(Base64ImageSource.builder().mediaType(Base64ImageSource.MediaType.IMAGE_PNG).data("iVBORw0KGgo=").build())
                        .build()))));
        assertEquals("data:image/png;base64,iVBORw0KGgo=", text(message));
    }

    @Test
    void theTokensOfAMessageAreCounted() {
        assertEquals(14, client.messages().countTokens(
                MessageCountTokensParams.builder().model("anthropic/sdk-counted").addUserMessage("Hi").build()).inputTokens());
        assertThrows(BadRequestException.class, () -> client.messages().countTokens(
                MessageCountTokensParams.builder().model("openai/sdk-counted").addUserMessage("Hi").build()));
    }

    @Test
    void aWrongKeyIsAnUnauthorizedException() {
        AnthropicClient stranger = AnthropicOkHttpClient.builder().baseUrl(gateway.url()).apiKey("wrong").maxRetries(0).build();
        assertThrows(UnauthorizedException.class, () -> stranger.messages().create(chat("openai/sdk-text").build()));
        stranger.close();
    }

    @Test
    void anUnknownModelIsANotFoundException() {
        NotFoundException error = assertThrows(NotFoundException.class, () -> create(chat("sdk-nobody")));
        assertTrue(error.getMessage().contains("sdk-nobody"), error.getMessage());
        assertTrue(error.body().toString().contains("not_found_error"), () -> error.body().toString());
        assertEquals(1, error.headers().values("request-id").size());
        // a stream that cannot begin is told in the same way
        assertThrows(NotFoundException.class, () -> stream(chat("sdk-nobody")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void whatGoesWrongIsAnExceptionOfItsKind(String provider) {
        assertTrue(assertThrows(BadRequestException.class, () -> create(chat(provider + "/sdk-refused")))
                .getMessage().contains("the provider says 400"));
        RateLimitException limited = assertThrows(RateLimitException.class, () -> create(chat(provider + "/sdk-limited")));
        assertTrue(limited.headers().values("Retry-After").get(0).matches("[1-7]"));
        assertEquals(502, assertThrows(InternalServerException.class, () -> create(chat(provider + "/sdk-failing"))).statusCode());
        assertEquals(502, assertThrows(InternalServerException.class, () -> stream(chat(provider + "/sdk-hanging-up"))).statusCode());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aProviderThatIsCutOffInAStreamIsAnExceptionAfterWhatItSaid(String provider) {
        StringBuilder said = new StringBuilder();
        AnthropicServiceException error = assertThrows(AnthropicServiceException.class, () -> {
            try (StreamResponse<RawMessageStreamEvent> stream = stream(chat(provider + "/sdk-cut"))) {
                stream.stream().forEach(event -> event.contentBlockDelta().flatMap(d -> d.delta().text())
                        .ifPresent(t -> said.append(t.text())));
            }
        });
        assertEquals("Half an", said.toString());
        assertTrue(error.body().toString().contains("api_error"), () -> error.body().toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aStreamThatIsClosedClosesTheProvidersConnection(String provider) throws Exception {
        int before = gateway.provider().calls("sdk-left").size();
        try (StreamResponse<RawMessageStreamEvent> stream = stream(chat(provider + "/sdk-left"))) {
            assertEquals("One", stream.stream().flatMap(event -> event.contentBlockDelta().stream())
                    .flatMap(d -> d.delta().text().stream()).findFirst().orElseThrow().text());
        }
        assertTrue(gateway.provider().calls("sdk-left").get(before).leftWithin(10_000));
    }

    private static Tool weather() {
        return Tool.builder().name("weather").description("The weather in a city")
                .inputSchema(Tool.InputSchema.builder()
                        .properties(Tool.InputSchema.Properties.builder()
                                .putAdditionalProperty("city", JsonValue.from(Map.of("type", "string"))).build())
                        .addRequired("city").build())
                .build();
    }

    private static String city(ToolUseBlock call) {
        return (String) call._input().convert(Map.class).get("city");
    }

    private static MessageCreateParams.Builder chat(String model) {
        return MessageCreateParams.builder().model(model).maxTokens(100).addUserMessage("Hi");
    }

    private static Message create(MessageCreateParams.Builder params) {
        return client.messages().create(params.build());
    }

    private static StreamResponse<RawMessageStreamEvent> stream(MessageCreateParams.Builder params) {
        return client.messages().createStreaming(params.build());
    }

    private static String text(Message message) {
        return message.content().get(0).asText().text();
    }
}
