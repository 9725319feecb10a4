package io.llmchat.llm;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonStreamContext;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.ChatRequest.Slice;
import io.llmchat.chat.ProviderFailure;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.Map;
import java.util.function.Consumer;

/** The wire of OpenAI's chat completions, spoken by many others too. Same wire as the OpenAI dialect: bytes pass. */
public final class OpenAiWire implements Wire {

    private static final byte[] DONE = Json.utf8("[DONE]");

    @Override
    public String path() {
        return "/chat/completions";
    }

    @Override
    public Buffer request(ChatRequest request, Agent agent, String model) {
        Buffer out = Buffer.buffer(request.body().length + 256).appendString("{\"model\":");
        Json.quote(out, model);
        for (Map.Entry<String, Slice> member : request.members().entrySet()) {
            String name = member.getKey();
            Slice value = member.getValue();
            if (name.equals("model") || name.equals("stream_options")) {
                continue;
            }
            Json.quote(out.appendString(","), name).appendString(":");
            if (name.equals("messages") && agent != null && agent.systemPrompt() != null) {
                Json.quote(out.appendString("[{\"role\":\"system\",\"content\":"), agent.systemPrompt()).appendString("},")
                        .appendBytes(request.body(), value.start() + 1, value.end() - value.start() - 1);
            } else {
                out.appendBytes(request.body(), value.start(), value.end() - value.start());
            }
        }
        if (agent != null && agent.temperature() != null && !request.has("temperature")) {
            out.appendString(",\"temperature\":" + agent.temperature());
        }
        if (agent != null && agent.maxTokens() != null && !request.has("max_tokens")
                && !request.has("max_completion_tokens")) {
            out.appendString(",\"max_tokens\":" + agent.maxTokens());
        }
        if (request.stream()) {
            out.appendString(",\"stream_options\":").appendBytes(streamOptions(request));
        } else if (request.has("stream_options")) {
            Slice given = request.members().get("stream_options");
            out.appendString(",\"stream_options\":").appendBytes(request.body(), given.start(), given.end() - given.start());
        }
        return out.appendString("}");
    }

    /** What the caller said, and that we want to know the usage. */
    private static byte[] streamOptions(ChatRequest request) {
        ObjectNode options = Json.MAPPER.createObjectNode();
        Slice given = request.members().get("stream_options");
        if (given != null) {
            try (JsonParser p = Json.MAPPER.createParser(request.body(), given.start(), given.end() - given.start())) {
                if (p.readValueAsTree() instanceof ObjectNode said) {
                    options = said;
                }
            } catch (IOException e) {
                throw new IllegalStateException("a member that was read before cannot be read again", e);
            }
        }
        return Json.write(options.put("include_usage", true));
    }

    @Override
    public boolean event(String type, byte[] bytes, int from, int to, boolean text, Consumer<ChatEvent> sink) {
        if (isDone(bytes, from, to)) {
            return false;
        }
        Parts parts = new Parts(text);
        try (JsonParser p = Json.FACTORY.createParser(bytes, from, to - from)) {
            parts.read(p, "delta");
        } catch (IOException e) {
            throw new MalformedAnswer("an event that is not JSON");
        }
        sink.accept(new ChatEvent(bytes, from, to, parts.content, parts.reasoning, parts.token, parts.finishReason,
                parts.usage, parts.usage != null && parts.choices == 0));
        return true;
    }

    private static boolean isDone(byte[] bytes, int from, int to) {
        if (to - from != DONE.length) {
            return false;
        }
        for (int i = 0; i < DONE.length; i++) {
            if (bytes[from + i] != DONE[i]) {
                return false;
            }
        }
        return true;
    }

    @Override
    public WholeAnswer answer(byte[] body) {
        Parts parts = new Parts(false);
        try (JsonParser p = Json.FACTORY.createParser(body)) {
            parts.read(p, "message");
        } catch (IOException e) {
            throw new MalformedAnswer("an answer that is not JSON");
        }
        if (parts.choices == 0) {
            throw new MalformedAnswer("an answer without choices");
        }
        return new WholeAnswer(body, parts.finishReason, parts.usage);
    }

    @Override
    public ChatException failure(String provider, int status, String retryAfter, byte[] body) {
        JsonNode error = error(body);
        String said = error.path("message").isTextual() ? ": " + error.path("message").asText() : "";
        return switch (status) {
            case 401, 403 -> new ProviderRefusal("UPSTREAM_UNAUTHORIZED",
                    "The provider '" + provider + "' does not accept the gateway's key.");
            case 400, 404, 413, 422 -> new RequestRejected("UPSTREAM_REJECTED",
                    said.isEmpty() ? "The provider '" + provider + "' refused the request." : said.substring(2))
                    .as(status, text(error, "type"), text(error, "code"));
            case 429 -> new ProviderRefusal("UPSTREAM_RATE_LIMITED",
                    "The provider '" + provider + "' limits our requests" + said).retryAfter(seconds(retryAfter));
            default -> status == 408 || status == 409 || status >= 500
                    ? new ProviderFailure("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".")
                    : new ProviderRefusal("UPSTREAM_ERROR", "The provider '" + provider + "' answered " + status + ".");
        };
    }

    private static JsonNode error(byte[] body) {
        try {
            JsonNode json = Json.read(body);
            return json == null ? Json.MAPPER.missingNode() : json.path("error");
        } catch (IOException e) {
            return Json.MAPPER.missingNode();
        }
    }

    private static String text(JsonNode object, String name) {
        return object.path(name).isTextual() ? object.path(name).asText() : null;
    }

    private static int seconds(String retryAfter) {
        return retryAfter != null && retryAfter.matches("\\d{1,6}") ? Integer.parseInt(retryAfter) : 1;
    }

    /** What one pass over a chunk or a completion finds. */
    private static final class Parts {
        private final boolean wantText;
        private String content;
        private String reasoning;
        private String finishReason;
        private Usage usage;
        private boolean token;
        private int choices;

        Parts(boolean wantText) {
            this.wantText = wantText;
        }

        void read(JsonParser p, String message) throws IOException {
            if (p.nextToken() != JsonToken.START_OBJECT) {
                throw new MalformedAnswer("not a JSON object");
            }
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (name.equals("choices") && value == JsonToken.START_ARRAY) {
                    while (p.nextToken() == JsonToken.START_OBJECT) {
                        choices++;
                        choice(p, message);
                    }
                } else if (name.equals("usage") && value == JsonToken.START_OBJECT) {
                    usage(p);
                } else if (name.equals("error") && value != JsonToken.VALUE_NULL) {
                    throw failure(p);
                } else {
                    p.skipChildren();
                }
            }
            if (p.nextToken() != null) {
                throw new MalformedAnswer("something after the JSON object");
            }
        }

        private void choice(JsonParser p, String message) throws IOException {
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (name.equals(message) && value == JsonToken.START_OBJECT) {
                    message(p);
                } else if (name.equals("finish_reason") && value == JsonToken.VALUE_STRING) {
                    finishReason = p.getText();
                    token = true;
                } else {
                    p.skipChildren();
                }
            }
        }

        private void message(JsonParser p) throws IOException {
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                JsonToken value = p.nextToken();
                if (value == JsonToken.VALUE_STRING && !name.equals("role")) {
                    boolean some = p.getTextLength() > 0;
                    token |= some;
                    if (some && wantText && name.equals("content")) {
                        content = p.getText();
                    } else if (some && wantText && (name.equals("reasoning_content") || name.equals("reasoning"))) {
                        reasoning = p.getText();
                    }
                } else if (value == JsonToken.START_ARRAY || value == JsonToken.START_OBJECT) {
                    // an empty list of tool calls is no more of the answer than an empty text
                    JsonStreamContext children = p.getParsingContext();
                    p.skipChildren();
                    token |= children.hasCurrentIndex();
                }
            }
        }

        private void usage(JsonParser p) throws IOException {
            long prompt = 0;
            long completion = 0;
            long total = 0;
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                String name = p.currentName();
                if (p.nextToken() != JsonToken.VALUE_NUMBER_INT) {
                    p.skipChildren();
                } else if (name.equals("prompt_tokens")) {
                    prompt = p.getLongValue();
                } else if (name.equals("completion_tokens")) {
                    completion = p.getLongValue();
                } else if (name.equals("total_tokens")) {
                    total = p.getLongValue();
                }
            }
            usage = new Usage(prompt, completion, total);
        }

        private static ProviderFailure failure(JsonParser p) throws IOException {
            JsonNode error = Json.MAPPER.readTree(p);
            String message = error.isTextual() ? error.asText() : error.path("message").asText("");
            return new ProviderFailure("UPSTREAM_ERROR",
                    "The provider reported an error" + (message.isEmpty() ? "." : ": " + message));
        }
    }
}
