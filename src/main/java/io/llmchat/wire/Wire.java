package io.llmchat.wire;

import io.llmchat.chat.Agent;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Message;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.UnsupportedParameter;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import io.vertx.core.buffer.Buffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * How a provider is spoken with: requests into bytes, bytes into events. No HTTP, no Camel. A wire itself has no state
 * and is safe for all threads; its readers have the state of one answer.
 */
public interface Wire {

    /** Its name, by which a dialect knows whether bytes can pass as they are: {@code openai}, {@code anthropic}, … */
    String name();

    /**
     * Puts a request in the provider's words.
     *
     * @throws UnsupportedParameter if that would change what the caller means
     * @throws RequestRejected if it makes no sense whoever is asked
     */
    Call call(Asked asked);

    /**
     * Begins to read an answer.
     *
     * @param raw whether the caller speaks this wire: its events are handed on as bytes, and only parsed lightly
     */
    AnswerReader reader(boolean raw);

    /** Whether this model, for all that its name tells, goes on from an assistant's message at the end. */
    default boolean goesOn(String model) {
        return true;
    }

    /** Splits the bytes of a stream into events of at most {@code maxEvent} bytes. */
    default Framing framing(int maxEvent, Framing.Sink sink) {
        return new SseReader(maxEvent, sink);
    }

    /** Whether a response of this media type is a stream; {@code contentType} may be null. */
    default boolean streamType(String contentType) {
        return contentType != null && contentType.regionMatches(true, 0, "text/event-stream", 0, 17);
    }

    /** What a response that is no success means: a failure or a refusal of the named provider. */
    default ChatException failure(String provider, int status, String retryAfter, byte[] body) {
        return ProviderErrors.of(provider, status, retryAfter, ProviderErrors.json(body));
    }

    /** Whether the provider no longer knows the conversation that it was to go on with: then it can begin another. */
    default boolean forgot(ChatException failure) {
        return false;
    }

    /** The request without what this provider has just refused, where it can be understood without it; null if it cannot. */
    default ChatRequest without(ChatRequest request, ChatException refused) {
        return null;
    }

    /** The request headers that show our key; none if {@code apiKey} is null or blank. */
    default Map<String, String> headers(String apiKey) {
        return apiKey == null || apiKey.isBlank() ? Map.of() : Map.of("Authorization", "Bearer " + apiKey);
    }

    /**
     * What is to be asked, of whom, and on whose behalf.
     *
     * @param agent or null
     * @param model the provider's own name for it
     * @param answerId our name for the answer
     * @param conversation the provider's own name for the conversation that this continues, or null
     * @param begun how the answer begins: the provider is to go on from there; null: it begins itself
     */
    record Asked(ChatRequest request, Agent agent, String model, String answerId, String conversation, String begun) {

        /**
         * The whole of it in neutral form: the request, what the agent adds, and how the answer begins.
         *
         * @throws RequestRejected if it demands a tool and has none
         */
        Prompt prompt() {
            Prompt prompt = request.prompt().of(agent).settled();
            if (begun != null) {
                List<Message> messages = new ArrayList<>(prompt.messages());
                messages.add(new Message(Message.Role.ASSISTANT, new Part.Text(begun)));
                prompt = new Prompt(messages, prompt.tools(), prompt.toolChoice(), prompt.options());
            }
            return prompt;
        }

        /** Adds the bytes of {@code messages}, an array in the caller's words, and how the answer begins. */
        Buffer messages(Buffer out, byte[] json, ChatRequest.Slice array) {
            if (begun == null) {
                return out.appendBytes(json, array.start(), array.end() - array.start());
            }
            out.appendBytes(json, array.start(), array.end() - array.start() - 1);
            return Json.quote(out.appendString(",{\"role\":\"assistant\",\"content\":"), begun).appendString("}]");
        }
    }

    /**
     * A request in the provider's words.
     *
     * @param path below the provider's base URL
     * @param headers more than the provider's usual ones
     * @param streamed whether the provider will answer with a stream: some do so always
     * @param warnings what was left out because the provider does not know it
     */
    record Call(String path, byte[] body, Map<String, String> headers, boolean streamed, List<String> warnings) {
    }

    /** Reads one answer. Used by one thread at a time. */
    interface AnswerReader {

        /**
         * Reads one event of a stream.
         *
         * @param type the event's name, or null
         * @return false if this event is the end of the stream
         * @throws ChatException if the provider says that it failed
         * @throws MalformedAnswer if it cannot be read
         */
        boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink);

        /**
         * Reads an answer that is not streamed.
         *
         * @throws ChatException if the provider says that it failed
         * @throws MalformedAnswer if it cannot be read
         */
        WholeAnswer answer(byte[] body);

        /** The provider's own name for the conversation, where it has told one, or null. */
        default String conversation() {
            return null;
        }
    }

    /** Bytes of a provider that are not what its wire says. */
    final class MalformedAnswer extends RuntimeException {
        public MalformedAnswer(String message) {
            super(message, null, false, false);
        }
    }
}
