package io.llmchat.dialect;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.json.Json;
import java.io.IOException;

/** Puts the content of an Anthropic stream together as a client does, and insists on the order of its events. */
final class AnthropicBlocks {

    private AnthropicBlocks() {
    }

    static ArrayNode of(String stream) throws IOException {
        ArrayNode blocks = Json.MAPPER.createArrayNode();
        ObjectNode open = null;
        StringBuilder input = new StringBuilder();
        for (String line : stream.split("\n")) {
            if (!line.startsWith("data: ")) {
                continue;
            }
            JsonNode event = Json.read(Json.utf8(line.substring(6)));
            switch (event.path("type").asText()) {
                case "content_block_start" -> {
                    check(open == null && event.path("index").asInt() == blocks.size(), line);
                    open = (ObjectNode) event.get("content_block");
                    input.setLength(0);
                }
                case "content_block_delta" -> {
                    check(open != null && event.path("index").asInt() == blocks.size(), line);
                    JsonNode delta = event.get("delta");
                    switch (delta.path("type").asText()) {
                        case "text_delta" -> grow(open, "text", delta);
                        case "thinking_delta" -> {
                            check(open.path("signature").asText().isEmpty(), "more thoughts after their signature: " + line);
                            grow(open, "thinking", delta);
                        }
                        case "signature_delta" -> open.set("signature", delta.get("signature"));
                        case "input_json_delta" -> input.append(delta.path("partial_json").asText());
                        default -> check(false, line);
                    }
                }
                case "content_block_stop" -> {
                    check(open != null && event.path("index").asInt() == blocks.size(), line);
                    if (!input.isEmpty()) {
                        open.set("input", Json.read(Json.utf8(input.toString())));
                    }
                    blocks.add(open);
                    open = null;
                }
                default -> { }
            }
        }
        check(open == null, "a block that is not ended");
        return blocks;
    }

    private static void grow(ObjectNode block, String name, JsonNode delta) {
        check(block.has(name), "a delta of another kind: " + delta);
        block.put(name, block.path(name).asText() + delta.path(name).asText());
    }

    private static void check(boolean right, String what) {
        if (!right) {
            throw new AssertionError(what);
        }
    }
}
