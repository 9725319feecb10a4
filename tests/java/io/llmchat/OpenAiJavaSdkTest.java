package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.BadRequestException;
import com.openai.errors.InternalServerException;
import com.openai.errors.NotFoundException;
import com.openai.errors.OpenAIServiceException;
import com.openai.errors.RateLimitException;
import com.openai.errors.UnauthorizedException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionContentPart;
import com.openai.models.chat.completions.ChatCompletionContentPartImage;
import com.openai.models.chat.completions.ChatCompletionContentPartText;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionMessage;
import com.openai.models.chat.completions.ChatCompletionMessageFunctionToolCall;
import com.openai.models.chat.completions.ChatCompletionStreamOptions;
import com.openai.models.chat.completions.ChatCompletionToolMessageParam;
import com.openai.models.embeddings.EmbeddingCreateParams;
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

/** The official OpenAI SDK for Java as it is, pointed at the gateway, with a provider of each wire. */
class OpenAiJavaSdkTest {

    private static TestGateway gateway;
    private static OpenAIClient client;

    @BeforeAll
    static void start() throws Exception {
        gateway = SdkScripts.gateway();
        // the SDK would repeat failed requests by itself and hide what the gateway answered first
        client = OpenAIOkHttpClient.builder().baseUrl(gateway.url() + "/v1").apiKey(SdkScripts.KEY).maxRetries(0).build();
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
    void aCompletionHasItsTextUsageAndFinishReason(String provider) {
        ChatCompletion completion = create(chat(provider + "/sdk-text").addSystemMessage("Be brief")).validate();
        assertEquals("Hello there", text(completion));
        assertEquals("stop", completion.choices().get(0).finishReason().asString());
        assertEquals(3, completion.usage().orElseThrow().promptTokens());
        assertEquals(2, completion.usage().orElseThrow().completionTokens());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aStreamBringsTheTextInPiecesAndItsUsage(String provider) {
        List<String> pieces = new ArrayList<>();
        ChatCompletionAccumulator all = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> stream = stream(chat(provider + "/sdk-text")
                .streamOptions(ChatCompletionStreamOptions.builder().includeUsage(true).build()))) {
            stream.stream().forEach(chunk -> {
                all.accumulate(chunk.validate());
                chunk.choices().forEach(c -> c.delta().content().filter(t -> !t.isEmpty()).ifPresent(pieces::add));
            });
        }
        assertEquals(List.of("Hello", " there"), pieces);
        assertEquals("Hello there", text(all.chatCompletion()));
        assertEquals(5, all.chatCompletion().usage().orElseThrow().totalTokens());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aToolIsCalledAndItsResultIsTaken(String provider) {
        ChatCompletion asked = create(chat(provider + "/sdk-tool").addFunctionTool(weather()));
        assertEquals("tool_calls", asked.choices().get(0).finishReason().asString());
        ChatCompletionMessage message = asked.choices().get(0).message();
        ChatCompletionMessageFunctionToolCall call = message.toolCalls().orElseThrow().get(0).asFunction();
        assertEquals("weather", call.function().name());
        assertEquals("Oslo", call.function().arguments(City.class).city);

        ChatCompletion answered = create(chat(provider + "/sdk-tool").addFunctionTool(weather()).addMessage(message)
                .addMessage(ChatCompletionToolMessageParam.builder().toolCallId(call.id()).content("rain").build()));
        assertEquals("call-1: rain", text(answered));
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void twoToolsAreCalledInOneStreamAfterSomeWords(String provider) {
        ChatCompletionAccumulator all = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> stream = stream(chat(provider + "/sdk-two-tools").addFunctionTool(weather()))) {
            stream.stream().forEach(all::accumulate);
        }
        assertEquals("Let me look", text(all.chatCompletion()));
        assertEquals(List.of("call-1 Oslo", "call-2 Rome"),
                all.chatCompletion().choices().get(0).message().toolCalls().orElseThrow().stream()
                        .map(call -> call.asFunction().id() + " " + call.asFunction().function().arguments(City.class).city).toList());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void anImageReachesTheProviderAsItWasSent(String provider) {
        String url = "data:image/png;base64,iVBORw0KGgo=";
        ChatCompletion completion = create(ChatCompletionCreateParams.builder().model(provider + "/sdk-image")
                .addUserMessageOfArrayOfContentParts(List.of(
                        ChatCompletionContentPart.ofText(ChatCompletionContentPartText.builder().text("What is this?").build()),
                        ChatCompletionContentPart.ofImageUrl(ChatCompletionContentPartImage.builder()
                                .imageUrl(ChatCompletionContentPartImage.ImageUrl.builder().url(url).build()).build()))));
        assertEquals(url, text(completion));
    }

    @Test
    void textsBecomeEmbeddings() {
        var made = client.embeddings().create(EmbeddingCreateParams.builder().model("openai/sdk-embedding")
                .inputOfArrayOfStrings(List.of("One", "Two")).build());
        assertEquals(List.of(List.of(0.5f, -0.25f), List.of(0.5f, -0.25f)), made.data().stream().map(e -> e.embedding()).toList());
    }

    @Test
    void aWrongKeyIsAnUnauthorizedException() {
        OpenAIClient stranger = OpenAIOkHttpClient.builder().baseUrl(gateway.url() + "/v1").apiKey("wrong").maxRetries(0).build();
        assertThrows(UnauthorizedException.class, () -> stranger.chat().completions().create(chat("openai/sdk-text").build()));
        stranger.close();
    }

    @Test
    void anUnknownModelIsANotFoundException() {
        NotFoundException error = assertThrows(NotFoundException.class, () -> create(chat("sdk-nobody")));
        assertEquals("model_not_found", error.code().orElseThrow());
        assertEquals("invalid_request_error", error.type().orElseThrow());
        // a stream that cannot begin is told in the same way
        assertThrows(NotFoundException.class, () -> stream(chat("sdk-nobody")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void whatGoesWrongIsAnExceptionOfItsKind(String provider) {
        assertTrue(assertThrows(BadRequestException.class, () -> create(chat(provider + "/sdk-refused")))
                .getMessage().contains("the provider says 400"));
        RateLimitException limited = assertThrows(RateLimitException.class, () -> create(chat(provider + "/sdk-limited")));
        assertEquals("rate_limit_exceeded", limited.code().orElseThrow());
        assertTrue(limited.headers().values("Retry-After").get(0).matches("[1-7]"));
        assertEquals(502, assertThrows(InternalServerException.class, () -> create(chat(provider + "/sdk-failing"))).statusCode());
        assertEquals(502, assertThrows(InternalServerException.class, () -> stream(chat(provider + "/sdk-hanging-up"))).statusCode());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aProviderThatIsCutOffInAStreamIsAnExceptionAfterWhatItSaid(String provider) {
        StringBuilder said = new StringBuilder();
        OpenAIServiceException error = assertThrows(OpenAIServiceException.class, () -> {
            try (StreamResponse<ChatCompletionChunk> stream = stream(chat(provider + "/sdk-cut"))) {
                stream.stream().forEach(chunk -> chunk.choices().get(0).delta().content().ifPresent(said::append));
            }
        });
        assertEquals("Half an", said.toString());
        assertEquals("api_error", error.type().orElseThrow());
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic"})
    void aStreamThatIsClosedClosesTheProvidersConnection(String provider) throws Exception {
        int before = gateway.provider().calls("sdk-left").size();
        try (StreamResponse<ChatCompletionChunk> stream = stream(chat(provider + "/sdk-left"))) {
            assertEquals("One", stream.stream().map(chunk -> chunk.choices().get(0).delta().content().orElse(""))
                    .filter(text -> !text.isEmpty()).findFirst().orElseThrow());
        }
        assertTrue(gateway.provider().calls("sdk-left").get(before).leftWithin(10_000));
    }

    /** The arguments of the tool. */
    static final class City {
        public String city;
    }

    private static FunctionDefinition weather() {
        return FunctionDefinition.builder().name("weather").description("The weather in a city")
                .parameters(FunctionParameters.builder()
                        .putAdditionalProperty("type", JsonValue.from("object"))
                        .putAdditionalProperty("properties", JsonValue.from(Map.of("city", Map.of("type", "string"))))
                        .putAdditionalProperty("required", JsonValue.from(List.of("city"))).build())
                .build();
    }

    private static ChatCompletionCreateParams.Builder chat(String model) {
        return ChatCompletionCreateParams.builder().model(model).addUserMessage("Hi");
    }

    private static ChatCompletion create(ChatCompletionCreateParams.Builder params) {
        return client.chat().completions().create(params.build());
    }

    private static StreamResponse<ChatCompletionChunk> stream(ChatCompletionCreateParams.Builder params) {
        return client.chat().completions().createStreaming(params.build());
    }

    private static String text(ChatCompletion completion) {
        return completion.choices().get(0).message().content().orElseThrow();
    }
}
