package io.llmchat.dialect;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.chat.Operation;
import io.llmchat.http.ErrorTable;
import io.llmchat.wire.ResponsesRequests;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * The dialect of OpenAI's responses (API reference, "Create a model response"). No provider is spoken to in it: every
 * request goes through the neutral form. Nothing is stored, so that the input has to hold the whole conversation.
 */
public final class ResponsesDialect implements Dialect {

    public static final ResponsesDialect INSTANCE = new ResponsesDialect();

    private ResponsesDialect() {
    }

    @Override
    public ChatRequest read(byte[] body, UnaryOperator<String> header) {
        Reader r = new Reader();
        var members = Requests.members(body, true, r);
        // no provider gets a member as it is; some are there for the answer, which repeats them
        ChatRequest request = new ChatRequest(Operation.CHAT, null, body, r.model, r.stream, true, false, null, members, Map.of(), Map.of(),
                json -> ResponsesRequests.read((ObjectNode) json.removeNulls()));
        // what cannot be used is told now; it is read anew for whoever is asked, because it takes many times what the body does
        request.prompt();
        return request;
    }

    private static final class Reader implements Requests.Member {
        private String model;
        private boolean stream;

        @Override
        public void read(String name, JsonParser p) throws IOException {
            switch (name) {
                case "model" -> model = Requests.model(name, p);
                case "stream" -> stream = Requests.bool(name, p);
                case "instructions", "user", "prompt_cache_key", "safety_identifier", "service_tier" -> Requests.string(name, p);
                case "temperature", "top_p" -> Requests.number(name, p);
                case "max_output_tokens", "top_logprobs" -> Requests.integer(name, p);
                case "parallel_tool_calls", "store" -> Requests.bool(name, p);
                case "tools", "include" -> Requests.array(name, p);
                case "text", "reasoning", "metadata" -> Requests.object(name, p);
                case "previous_response_id", "conversation" -> refuse(name, p.currentToken() != JsonToken.VALUE_NULL,
                        "There is no store of responses yet: the input has to hold the whole conversation.");
                case "background" -> refuse(name, Requests.bool(name, p),
                        "There is no store of responses yet: an answer cannot be made in the background.");
                case "prompt" -> refuse(name, p.currentToken() != JsonToken.VALUE_NULL,
                        "There is no store of prompts: instructions and input have to hold what is asked.");
                // OpenAI refuses them too
                case "messages", "functions", "function_call", "max_tokens", "max_completion_tokens", "n", "stop", "seed", "response_format",
                        "reasoning_effort", "verbosity", "logprobs" -> refuse(name, p.currentToken() != JsonToken.VALUE_NULL,
                                name + " is a member of chat completions, and not of responses.");
                default -> { }
            }
        }

        private static void refuse(String name, boolean said, String why) {
            if (said) {
                throw ChatException.invalid(name, why);
            }
        }
    }

    @Override
    public AnswerWriter writer(ChatRequest request, Names names) {
        return new ResponsesWriter(request, names.answerId());
    }

    @Override
    public Buffer error(ChatException error, ErrorTable.Entry entry, String requestId) {
        return OpenAiDialect.CHAT.error(error, entry, requestId);
    }
}
