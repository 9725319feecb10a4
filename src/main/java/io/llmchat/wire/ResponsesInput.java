package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Part;
import java.util.ArrayList;
import java.util.List;

/**
 * The input of OpenAI's responses (API reference, "Create a model response", {@code input}): a text or a list of items.
 * What the model said in one turn is several items there and one message in the neutral form.
 */
final class ResponsesInput {

    private final List<Message> messages = new ArrayList<>();
    /** What the model says in the turn being read; null: it is not the model's. */
    private List<Part> turn;

    private ResponsesInput() {
    }

    /** The messages of a request. */
    static List<Message> messages(JsonNode instructions, JsonNode input) {
        ResponsesInput reader = new ResponsesInput();
        if (instructions.isTextual()) {
            reader.messages.add(new Message(Role.SYSTEM, new Part.Text(instructions.textValue())));
        }
        if (input.isMissingNode()) {
            throw ChatException.invalid("input", "input is missing.");
        }
        if (input.isTextual() && !input.textValue().isEmpty()) {
            reader.messages.add(new Message(Role.USER, new Part.Text(input.textValue())));
        } else if (input.isArray() && !input.isEmpty()) {
            for (int i = 0; i < input.size(); i++) {
                reader.item(input.get(i), "input[" + i + "]");
            }
        } else {
            throw ChatException.invalid("input", "input must be a string or an array of items, and not empty.");
        }
        return reader.messages;
    }

    private void item(JsonNode item, String at) {
        if (!item.isObject()) {
            throw ChatException.invalid(at, "An item of the input must be an object.");
        }
        // the short form of a message has no type
        String type = item.path("type").asText(item.has("role") ? "message" : "");
        switch (type) {
            case "message" -> message(item, at);
            case "function_call" -> call(item, ResponsesRequests.string(item, "arguments", at), at);
            case "custom_tool_call" -> call(item, ResponseTools.arguments(ResponsesRequests.string(item, "input", at)), at);
            // they are read with the other tools
            case "additional_tools" -> { }
            case "reasoning" -> reasoning(item);
            case "function_call_output", "custom_tool_call_output" -> add(new Message(Role.TOOL, new Part.ToolResult(
                    ResponsesRequests.string(item, "call_id", at), content(item.path("output"), at + ".output"), false)));
            case "item_reference" -> throw ChatException.invalid(at + ".type",
                    "No item of an earlier response is stored here: the input must hold the item itself (with store: false SDKs send it).");
            default -> throw ChatException.invalid(at + ".type",
                    "type must be one of message, function_call, function_call_output, custom_tool_call, custom_tool_call_output,"
                            + " additional_tools, reasoning.");
        }
    }

    private void call(JsonNode item, String arguments, String at) {
        turn().add(new Part.ToolCall(ResponsesRequests.string(item, "call_id", at),
                ResponseTools.elsewhere(item.path("namespace").textValue(), ResponsesRequests.string(item, "name", at)), arguments));
    }

    private void message(JsonNode item, String at) {
        String role = item.path("role").asText();
        List<Part> parts = content(item.path("content"), at + ".content");
        switch (role) {
            case "user" -> add(new Message(Role.USER, parts, null));
            case "system", "developer" -> add(new Message(Role.SYSTEM, parts, null));
            case "assistant" -> {
                // calls and their results must not be torn apart, two messages in a row stay two
                if (turn != null && turn.stream().anyMatch(Part.Text.class::isInstance)
                        && turn.stream().noneMatch(Part.ToolCall.class::isInstance)) {
                    turn = null;
                }
                turn().addAll(parts);
            }
            default -> throw ChatException.invalid(at + ".role", "role must be one of user, assistant, system, developer.");
        }
    }

    private void add(Message message) {
        turn = null;
        messages.add(message);
    }

    private List<Part> turn() {
        if (turn == null) {
            turn = new ArrayList<>();
            messages.add(new Message(Role.ASSISTANT, turn, null));
        }
        return turn;
    }

    /** Thoughts in plain text, with a signature if they have one, or sealed; a signature alone is nothing. */
    private void reasoning(JsonNode item) {
        String sealed = item.path("encrypted_content").textValue();
        boolean signed = sealed != null && sealed.startsWith(ResponsesRequests.SIGNATURE);
        if (item.path("content").isEmpty() && sealed != null) {
            if (!signed) {
                turn().add(new Part.SealedReasoning(sealed));
            }
            return;
        }
        sealed = signed ? sealed.substring(ResponsesRequests.SIGNATURE.length()) : sealed;
        StringBuilder text = new StringBuilder();
        for (JsonNode part : item.path("content").isEmpty() ? item.path("summary") : item.path("content")) {
            text.append(text.isEmpty() ? "" : "\n").append(part.path("text").asText());
        }
        if (sealed != null || !text.isEmpty()) {
            turn().add(new Part.Reasoning(text.toString(), sealed));
        }
    }

    private static List<Part> content(JsonNode content, String at) {
        if (content.isTextual()) {
            return List.of(new Part.Text(content.textValue()));
        }
        if (!content.isArray()) {
            throw ChatException.invalid(at, "It must be a string or an array of content parts.");
        }
        List<Part> parts = new ArrayList<>();
        for (JsonNode part : content) {
            parts.add(part(part, at + "[" + parts.size() + "]"));
        }
        return parts;
    }

    private static Part part(JsonNode part, String at) {
        return switch (part.path("type").asText()) {
            case "input_text", "output_text" -> new Part.Text(ResponsesRequests.string(part, "text", at));
            case "refusal" -> new Part.Refusal(ResponsesRequests.string(part, "refusal", at));
            case "input_image" -> image(part, at);
            case "input_file" -> file(part, at);
            case "input_audio" -> new Part.Other("input_audio", part);
            default -> throw ChatException.invalid(at + ".type",
                    "type must be one of input_text, input_image, input_file, input_audio, output_text, refusal.");
        };
    }

    private static Part image(JsonNode part, String at) {
        if (part.hasNonNull("file_id")) {
            throw Unsayable.field(at + ".file_id");
        }
        String url = ResponsesRequests.string(part, "image_url", at);
        String detail = part.path("detail").textValue();
        String[] data = DataUrl.split(url);
        return data == null ? new Part.Image(url, null, null, detail) : new Part.Image(null, data[0], data[1], detail);
    }

    private static Part file(JsonNode part, String at) {
        if (part.hasNonNull("file_id")) {
            throw Unsayable.field(at + ".file_id");
        }
        String name = part.path("filename").textValue();
        if (part.hasNonNull("file_url")) {
            return new Part.Document(name, ResponsesRequests.string(part, "file_url", at), null, null);
        }
        String[] data = DataUrl.split(ResponsesRequests.string(part, "file_data", at));
        if (data == null) {
            throw ChatException.invalid(at + ".file_data", "file_data must be a data URL in base64.");
        }
        return DataUrl.file(name, data);
    }
}
