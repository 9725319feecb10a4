package io.llmchat.llm;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.http.Ids;
import io.llmchat.json.Json;
import io.netty.handler.codec.http.DefaultHttpHeaders;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.vertx.core.Context;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;

/**
 * The provider {@code demo}: answers locally, without a key and without a network, on OpenAI's wire. It says so in
 * its answer, and counts words as tokens.
 */
final class DemoUpstream implements Upstream {

    private static final long GAP_MILLIS = 30;
    /** Characters: more of what was said is not repeated. */
    private static final int MOST_REPEATED = 2_000;

    private final String model;
    private final boolean streams;
    private final String id = "chatcmpl-demo-" + Ids.next();
    private final String[] words;
    private final long promptWords;
    private Receiver receiver;
    private Context context;
    private int next;
    private boolean paused;
    private boolean waiting;

    DemoUpstream(byte[] body) {
        JsonNode request;
        try {
            request = Json.read(body);
        } catch (Json.NumberTooLarge e) {
            throw ChatException.unreadable(e);
        } catch (IOException e) {
            throw new IllegalStateException("a request of our own cannot be read", e);
        }
        model = request.path("model").asText();
        streams = request.path("stream").asBoolean();
        JsonNode messages = request.path("messages");
        String question = text(messages.path(messages.size() - 1).path("content"));
        words = ("This is the built-in demo provider: no model has seen your message. You said: \"" + beginning(question)
                + "\" Set OPENAI_API_KEY, or add a provider file, and ask a real one.").split("(?<=\\s)");
        long count = 0;
        for (JsonNode message : messages) {
            count += text(message.path("content")).split("\\s+").length;
        }
        promptWords = count;
    }

    private static String beginning(String text) {
        return text.length() <= MOST_REPEATED ? text : text.substring(0, text.offsetByCodePoints(MOST_REPEATED - 1, 1)) + " …";
    }

    private static String text(JsonNode content) {
        if (content.isTextual()) {
            return content.asText();
        }
        StringBuilder text = new StringBuilder();
        content.forEach(part -> text.append(part.path("text").asText("")));
        return text.toString();
    }

    @Override
    public void start(Receiver to) {
        receiver = to;
        context = Vertx.currentContext();
        to.head(200, new DefaultHttpHeaders()
                .set(HttpHeaderNames.CONTENT_TYPE, streams ? "text/event-stream" : "application/json"));
        if (streams) {
            chunk(delta("role", "assistant"), null);
            word();
        } else {
            data(Json.write(completion()));
            end();
        }
    }

    private void word() {
        waiting = false;
        if (receiver == null) {
            return;
        }
        if (paused) {
            waiting = true;
        } else if (next < words.length) {
            chunk(delta("content", words[next++]), null);
            context.owner().setTimer(GAP_MILLIS, t -> word());
        } else {
            chunk(Json.MAPPER.createObjectNode(), "stop");
            ObjectNode last = answer("chat.completion.chunk");
            last.putArray("choices");
            last.set("usage", usage());
            event(Json.write(last));
            data(Json.utf8("data: [DONE]\n\n"));
            end();
        }
    }

    private static ObjectNode delta(String name, String value) {
        return Json.MAPPER.createObjectNode().put(name, value);
    }

    private void chunk(ObjectNode delta, String finishReason) {
        ObjectNode chunk = answer("chat.completion.chunk");
        chunk.putArray("choices").addObject().put("index", 0).put("finish_reason", finishReason).set("delta", delta);
        event(Json.write(chunk));
    }

    private ObjectNode completion() {
        ObjectNode whole = answer("chat.completion");
        whole.putArray("choices").addObject().put("index", 0).put("finish_reason", "stop")
                .putObject("message").put("role", "assistant").put("content", String.join("", words));
        whole.set("usage", usage());
        return whole;
    }

    private ObjectNode answer(String object) {
        return Json.MAPPER.createObjectNode().put("id", id).put("object", object)
                .put("created", System.currentTimeMillis() / 1000).put("model", model);
    }

    private ObjectNode usage() {
        return Json.MAPPER.createObjectNode().put("prompt_tokens", promptWords).put("completion_tokens", words.length)
                .put("total_tokens", promptWords + words.length);
    }

    private void event(byte[] json) {
        data(Buffer.buffer("data: ").appendBytes(json).appendString("\n\n").getBytes());
    }

    private void data(byte[] bytes) {
        if (receiver != null) {
            receiver.data(bytes);
        }
    }

    private void end() {
        Receiver to = receiver;
        receiver = null;
        if (to != null) {
            to.end();
        }
    }

    @Override
    public boolean sent() {
        return receiver != null;
    }

    @Override
    public void pause() {
        paused = true;
    }

    @Override
    public void resume() {
        paused = false;
        if (waiting) {
            word();
        }
    }

    @Override
    public void release() {
        receiver = null;
    }

    @Override
    public void abort() {
        receiver = null;
    }
}
