package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.json.Json;
import java.io.IOException;
import java.util.List;
import java.util.function.Consumer;

/**
 * The wire of FastGPT's apps (FastGPT, "Chat API"): OpenAI's, with {@code chatId}, {@code variables}, {@code detail} and
 * {@code responseChatItemId} in the request and named events in the stream.
 */
public final class FastGptWire extends OpenAiWire {

    private final boolean detail;

    /** @param detail whether it tells what its workflow is at */
    public FastGptWire(boolean detail) {
        super(false, MAX_TOKENS, NO_THOUGHTS);
        this.detail = detail;
    }

    @Override
    String path() {
        return "/v1/chat/completions";
    }

    @Override
    void more(ObjectNode json, Asked asked) {
        if (asked.request().chatId() != null) {
            json.put("chatId", asked.request().chatId());
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
                    case "error" -> throw ProviderErrors.reported(json(bytes, from, to));
                    case "flowNodeStatus" -> {
                        JsonNode json = json(bytes, from, to);
                        sink.accept(ChatEvent.of(List.of(new AnswerPart.Status("flowNodeStatus",
                                json.path("status").asText("running"), json.path("name").asText(null))), null));
                    }
                    case "flowResponses" -> sink.accept(ChatEvent.of(
                            List.of(new AnswerPart.Status("flowResponses", "finished", null)), null));
                    default -> { }
                }
                return true;
            }
        };
    }

    private static JsonNode json(byte[] bytes, int from, int to) {
        try {
            return Json.MAPPER.readTree(bytes, from, to - from);
        } catch (IOException e) {
            throw new MalformedAnswer("an event that is not JSON");
        }
    }
}
