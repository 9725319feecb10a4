package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The wire of FastGPT's apps (FastGPT, "Chat API"): OpenAI's, with {@code chatId}, {@code variables}, {@code detail} and
 * {@code responseChatItemId} in the request and named events in the stream. Where FastGPT remembers the conversation it
 * puts what it remembers before the messages that it gets: then it gets the new ones only.
 */
public final class FastGptWire extends OpenAiWire {

    /** What it says where it counts nothing. */
    private static final Usage NO_USAGE = new Usage(1, 1, 1, 0, 0, 0, false);

    /** What says whose the conversation is, and of which app: all callers show FastGPT the same key, and it asks for no other proof. */
    private static final Set<String> WHOSE = Set.of("chatId", "appId", "customUid", "shareId", "outLinkUid", "teamId", "teamToken");
    /** What the gateway says itself. */
    private static final Set<String> OURS = Set.of("detail", "responseChatItemId");

    private final boolean detail;

    /** @param detail whether it tells what its workflow is at */
    public FastGptWire(boolean detail) {
        super(false, MAX_TOKENS, NO_THOUGHTS, true);
        this.detail = detail;
    }

    @Override
    String path() {
        return "/v1/chat/completions";
    }

    @Override
    public Call call(Asked asked) {
        Map<String, JsonNode> own = new LinkedHashMap<>();
        asked.request().members().keySet().stream().filter(name -> WHOSE.contains(name) || OURS.contains(name))
                .forEach(name -> own.put(name, asked.request().member(name)));
        List<String> warnings = new ArrayList<>();
        Unsayable.options(own, Set.of(), WHOSE, warnings);
        ChatRequest request = asked.request().without(own.keySet());
        if (asked.conversation() != null && request.has("messages")) {
            request = request.withMessages(news(request.member("messages")));
        }
        Call call = super.call(new Asked(request, asked.agent(), asked.model(), asked.answerId(), asked.conversation(), asked.begun()));
        warnings.addAll(call.warnings());
        return new Call(call.path(), call.body(), call.headers(), call.streamed(), warnings);
    }

    /** What the system says, and what has been said since the last answer; all where nothing has. */
    private static JsonNode news(JsonNode messages) {
        ArrayNode news = Json.MAPPER.createArrayNode();
        boolean fresh = false;
        for (JsonNode message : messages) {
            boolean answer = message.path("role").asText().equals("assistant");
            if (answer) {
                news.removeIf(m -> !ChatRequest.isSystem(m));
            } else {
                news.add(message);
            }
            fresh = !answer && (fresh || !ChatRequest.isSystem(message));
        }
        return fresh ? news : messages;
    }

    @Override
    void more(ObjectNode json, Asked asked) {
        if (asked.conversation() != null) {
            json.put("chatId", asked.conversation());
        }
        JsonNode variables = asked.request().extra("variables");
        if (variables != null) {
            json.set("variables", variables);
        }
        json.put("responseChatItemId", asked.answerId());
        // an answer in one piece is OpenAI's only without the details
        json.put("detail", detail && asked.request().stream());
    }

    @Override
    public AnswerReader reader(boolean raw) {
        return new OpenAiAnswers(raw) {
            @Override
            public boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink) {
                switch (type == null ? "answer" : type) {
                    case "answer", "fastAnswer" -> {
                        return super.event(null, bytes, from, to, sink);
                    }
                    case "error" -> throw ProviderErrors.reported(ProviderErrors.event(bytes, from, to));
                    case "flowNodeStatus" -> {
                        JsonNode json = ProviderErrors.event(bytes, from, to);
                        sink.accept(ChatEvent.of(List.of(new AnswerPart.Status("flowNodeStatus",
                                json.path("status").asText("running"), json.path("name").asText(null), null)), null));
                    }
                    // it waits for a choice or a form of the user's, who answers with the next message
                    case "interactive" -> sink.accept(ChatEvent.of(List.of(new AnswerPart.Status("interactive", "paused", null, null)), null));
                    case "flowResponses" -> sink.accept(ChatEvent.of(
                            List.of(new AnswerPart.Status("flowResponses", "finished", null, null)), null));
                    // what its tools do, and other news: it is still there
                    default -> sink.accept(ChatEvent.of(List.of(), null));
                }
                return true;
            }

            /** What it says of the error of its last step is not of the answer, where there is one: its streams do not tell it. */
            private byte[] withoutError(byte[] body) {
                JsonNode json = ProviderErrors.json(body);
                return json.hasNonNull("error") && !json.at("/choices/0/message/content").asText().isEmpty()
                        ? Json.write(((ObjectNode) json).without("error")) : body;
            }

            @Override
            public WholeAnswer answer(byte[] body) {
                WholeAnswer all = super.answer(withoutError(body));
                return NO_USAGE.equals(all.usage()) ? new WholeAnswer(all.json(), all.parts(), all.textLength(), all.finishReason(), null) : all;
            }
        };
    }
}
