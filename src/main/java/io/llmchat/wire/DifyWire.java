package io.llmchat.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.AnswerPart;
import io.llmchat.chat.ChatEvent;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.Message;
import io.llmchat.chat.Message.Role;
import io.llmchat.chat.Operation;
import io.llmchat.chat.Part;
import io.llmchat.chat.Prompt;
import io.llmchat.chat.Usage;
import io.llmchat.chat.WholeAnswer;
import io.llmchat.json.Json;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.StringJoiner;
import java.util.function.Consumer;

/**
 * The wire of Dify's chat apps (Dify API, "Send Chat Message"). An app has its own prompt, model and memory: it gets
 * what the user has said since the last answer, and its own name for the conversation where it has told one. It is always asked for a
 * stream: agent apps know nothing else.
 */
public final class DifyWire implements Wire {

    private static final Set<String> KNOWN = Set.of("variables", "user");
    private static final Set<String> NEEDED = Set.of("n", "response_format", "logprobs", "modalities");

    @Override
    public String name() {
        return "dify";
    }

    @Override
    public Call call(Asked asked) {
        if (asked.request().operation() != Operation.CHAT) {
            throw Unsayable.operation("do anything but chat");
        }
        Prompt prompt = asked.request().prompt().settled();
        List<String> warnings = new ArrayList<>();
        Unsayable.options(prompt.options(), KNOWN, NEEDED, warnings);
        Unsayable.names(prompt, warnings);
        if (!prompt.tools().isEmpty()) {
            throw Unsayable.field("tools");
        }
        if (prompt.system() != null || asked.agent() != null && asked.agent().systemPrompt() != null) {
            warnings.add("messages (system)");
        }
        ObjectNode json = Json.MAPPER.createObjectNode();
        json.set("inputs", prompt.options().containsKey("variables") ? prompt.options().get("variables") : Json.MAPPER.createObjectNode());
        boolean more = said(json, prompt.messages());
        if (more && asked.conversation() == null) {
            // the app has not seen what was said before, and there is no way to tell it
            warnings.add("messages (all but the last)");
        }
        json.put("response_mode", "streaming");
        json.put("user", prompt.options().containsKey("user") ? prompt.options().get("user").asText() : "llmchat");
        if (asked.conversation() != null) {
            json.put("conversation_id", asked.conversation());
        }
        return new Call("/chat-messages", Json.write(json), Map.of(), true, warnings);
    }

    /** Puts in what the user has said since the last answer; true if there is more before that. */
    private static boolean said(ObjectNode json, List<Message> messages) {
        StringJoiner query = new StringJoiner("\n\n");
        int from = messages.size();
        while (from > 0 && (messages.get(from - 1).role() == Role.USER || messages.get(from - 1).role() == Role.SYSTEM)) {
            from--;
        }
        if (messages.subList(from, messages.size()).stream().noneMatch(m -> m.role() == Role.USER)) {
            throw Unsayable.field("messages[" + (messages.size() - 1) + "]");
        }
        for (int i = from; i < messages.size(); i++) {
            if (messages.get(i).role() == Role.USER) {
                String text = messages.get(i).text();
                if (!text.isEmpty()) {
                    query.add(text);
                }
                files(json, messages.get(i), "messages[" + i + "]");
            }
        }
        json.put("query", query.toString());
        return from > 0;
    }

    private static void files(ObjectNode json, Message message, String at) {
        int i = 0;
        for (Part part : message.parts()) {
            String here = at + ".content[" + i++ + "]";
            switch (part) {
                case Part.Text t -> { }
                case Part.Image image when image.url() != null -> file(json, "image", image.url());
                case Part.Document d when d.url() != null -> file(json, "document", d.url());
                default -> throw Unsayable.field(here);
            }
        }
    }

    private static void file(ObjectNode json, String type, String url) {
        json.withArray("files").addObject().put("type", type).put("transfer_method", "remote_url").put("url", url);
    }

    /** Its pings have a name and no data. */
    @Override
    public Framing framing(int maxEvent, Framing.Sink sink) {
        return new SseReader(maxEvent, sink, true);
    }

    @Override
    public AnswerReader reader(boolean raw) {
        return new Reader();
    }

    @Override
    public boolean forgot(ChatException failure) {
        return failure.status() == 404 && failure.getMessage().startsWith("Conversation Not Exists");
    }

    /** Reads the events of one answer (Dify API, "ChunkChatCompletionResponse"). */
    private static final class Reader implements AnswerReader {
        private String conversation;
        private boolean told;
        private boolean agent;
        /** Whether an agent has said something since its last thought. */
        private boolean said;
        private String thoughtId;
        private String thought = "";

        @Override
        public boolean event(String type, byte[] bytes, int from, int to, Consumer<ChatEvent> sink) {
            JsonNode json = ProviderErrors.event(bytes, from, to);
            if (!json.isObject() && !json.isMissingNode()) {
                throw new MalformedAnswer("an event that is not a JSON object");
            }
            if (json.path("conversation_id").isTextual() && !json.path("conversation_id").asText().isEmpty()) {
                conversation = json.path("conversation_id").asText();
            }
            List<AnswerPart> parts = new ArrayList<>(1);
            Usage usage = null;
            String event = json.path("event").asText(type == null ? "" : type);
            switch (event) {
                case "agent_message" -> {
                    agent = true;
                    text(json.path("answer").asText(), parts);
                    said |= !parts.isEmpty();
                }
                // once there is a file it says its text under that name too; an agent says all of its answer once more at the end
                case "message", "message_file" -> {
                    text(agent ? "" : json.path("answer").asText(), parts);
                    file(json, parts);
                }
                // content that moderation puts in place of all before it
                case "message_replace" -> {
                    if (told) {
                        parts.add(new AnswerPart.Status(event, "replaced", null, json.path("answer").asText()));
                    } else {
                        text(json.path("answer").asText(), parts);
                    }
                }
                case "agent_thought" -> thought(json.path("id").asText(), json.path("thought").asText(), parts);
                case "reasoning_chunk" -> reasoning(json.path("data").path("reasoning").asText(), parts);
                case "message_end" -> {
                    usage = usage(json.path("metadata").path("usage"));
                    parts.add(new AnswerPart.Finish(0, "stop"));
                }
                // it waits for a human, for days if need be, and says the rest to whoever asks for it then
                case "workflow_paused" -> {
                    usage = usage(json.path("data"));
                    parts.add(status(event, "paused", json));
                    parts.add(new AnswerPart.Finish(0, "stop"));
                }
                case "error" -> throw ProviderErrors.reported(json);
                case "workflow_started", "node_started" -> parts.add(status(event, "running", json));
                case "workflow_finished", "node_finished" -> parts.add(status(event, json.path("data").path("status").asText("succeeded"), json));
                default -> { }
            }
            // those that say nothing, such as pings, say that it is still there
            sink.accept(ChatEvent.of(parts, usage));
            return !event.equals("message_end") && !event.equals("workflow_paused");
        }

        /** A thought is told again as it grows, and when its tool has answered; what the agent says is told as one behind it. */
        private void thought(String id, String all, List<AnswerPart> parts) {
            if (!said) {
                reasoning(id.equals(thoughtId) && all.startsWith(thought) ? all.substring(thought.length()) : all, parts);
            }
            said = false;
            thoughtId = id;
            thought = all;
        }

        private static void reasoning(String text, List<AnswerPart> parts) {
            if (!text.isEmpty()) {
                parts.add(new AnswerPart.Reasoning(0, text));
            }
        }

        /** A file that the app has made: a link, as Dify's own answer nodes write it. */
        private void file(JsonNode json, List<AnswerPart> parts) {
            String url = json.path("url").asText();
            if (!url.isEmpty() && json.path("belongs_to").asText().equals("assistant")) {
                String type = json.path("type").asText();
                text((told ? "\n\n" : "") + (type.equals("image") ? "![]" : "[" + type + "]") + "(" + url + ")\n\n", parts);
            }
        }

        private void text(String text, List<AnswerPart> parts) {
            if (!text.isEmpty()) {
                told = true;
                parts.add(new AnswerPart.Text(0, text));
            }
        }

        private static AnswerPart.Status status(String event, String status, JsonNode json) {
            return new AnswerPart.Status(event, status, json.path("data").path("title").textValue(), null);
        }

        private static Usage usage(JsonNode json) {
            if (!json.path("total_tokens").isNumber()) {
                return null;
            }
            return new Usage(json.path("prompt_tokens").asLong(), json.path("completion_tokens").asLong(),
                    json.path("total_tokens").asLong(), 0, 0, 0, false);
        }

        @Override
        public WholeAnswer answer(byte[] body) {
            JsonNode json = ProviderErrors.json(body);
            if (!json.path("answer").isTextual()) {
                throw ProviderErrors.reported(json);
            }
            conversation = json.path("conversation_id").asText(null);
            String text = json.path("answer").asText();
            return new WholeAnswer(null, List.of(new AnswerPart.Text(0, text), new AnswerPart.Finish(0, "stop")), text.length(),
                    "stop", usage(json.path("metadata").path("usage")));
        }

        @Override
        public String conversation() {
            return conversation;
        }
    }
}
