package io.llmchat.step;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.http.Ids;
import io.llmchat.json.Json;
import io.llmchat.store.Postgres;
import java.time.Duration;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.StringJoiner;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.SynchronizationAdapter;

/** The steps of a chat that is part of a session: what of it is kept, and what of the session goes with it. */
public final class Sessions {

    private static final String OWN_HISTORY = "ownHistory";
    /** The exchange property with what PostgreSQL's clock is ahead of {@link System#nanoTime}, in seconds. */
    private static final String CLOCK = "clock";
    /** The exchange properties with the id of the question's message, and with when it was stored, by {@link System#nanoTime}. */
    private static final String STORED_ID = "storedId";
    private static final String STORED_AT = "storedAt";
    /** Characters of answers under way that are stored in one statement, and one answer more. */
    private static final int MAX_TOGETHER = 1 << 19;
    /** In so many characters there is all that a title takes of a text; the whole of it would go to the database once more. */
    private static final int TITLE = 160;
    private static final Given NOTHING = new Given(0, false);

    /** How many characters of an answer were given to be stored, and whether it has become a message. */
    private record Given(int characters, boolean stored) {
    }

    /** Streams whose answers will be messages of sessions. */
    private final Map<Chat, Given> open = new ConcurrentHashMap<>();

    private final boolean texts;
    private final Postgres postgres;

    /** @param texts whether what is said is kept; if not, messages are empty */
    public Sessions(boolean texts, Postgres postgres) {
        this.texts = texts;
        this.postgres = postgres;
    }

    /** A step that notes what the user says here, and that the end waits until the answer is kept. */
    public Processor read() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            chat.hold();
            JsonNode messages = chat.request().member("messages");
            exchange.setProperty("sessionAgent", storable(chat.agent() != null ? chat.agent().id() : chat.name()));
            String said = kept(first(messages));
            exchange.setProperty("title", said.substring(0, Math.min(TITLE, said.length())));
            exchange.setProperty("question", kept(last(messages)));
            exchange.setProperty("questionId", Ids.next());
            boolean own = false;
            for (JsonNode message : messages) {
                own |= message.path("role").asText().equals("assistant");
            }
            exchange.setProperty(OWN_HISTORY, own);
        };
    }

    private String kept(String text) {
        return texts || text == null ? text : "";
    }

    private static String first(JsonNode messages) {
        for (JsonNode message : messages) {
            if (isUser(message)) {
                return text(message.path("content"));
            }
        }
        return "";
    }

    /** What the user has said since the last answer, with or without words of the system among it; null: nothing. */
    private static String last(JsonNode messages) {
        int first = messages.size();
        while (first > 0 && (isUser(messages.get(first - 1)) || ChatRequest.isSystem(messages.get(first - 1)))) {
            first--;
        }
        boolean asked = false;
        StringJoiner said = new StringJoiner("\n\n");
        for (int i = first; i < messages.size(); i++) {
            if (isUser(messages.get(i))) {
                said.add(text(messages.get(i).path("content")));
                asked = true;
            }
        }
        return asked ? said.toString() : null;
    }

    private static boolean isUser(JsonNode message) {
        return message.path("role").asText().equals("user");
    }

    private static String text(JsonNode content) {
        if (content.isTextual()) {
            return storable(content.asText());
        }
        StringBuilder text = new StringBuilder();
        content.forEach(part -> {
            if (part.path("text").isTextual()) {
                text.append(text.isEmpty() ? "" : "\n\n").append(part.path("text").asText());
            }
        });
        return storable(text.toString());
    }

    /** PostgreSQL keeps every text but one with a NUL in it. */
    static String storable(String text) {
        return text.replace('\0', '\uFFFD');
    }

    /** A step: the body is what the database found; nothing, or somebody else's, is an error. */
    public Processor mustBeTheirs() {
        return exchange -> {
            if (exchange.getMessage().getBody() == null) {
                throw new ChatException("NOT_FOUND", "There is no such chat, or no such message in it.");
            }
        };
    }

    /** A step: the body is the session's id, PostgreSQL's time and what was said before; puts it before what is said now. No body is left: that would be an answer. */
    public Processor putHistory() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            JsonNode session = Json.MAPPER.readTree(exchange.getMessage().getBody(String.class));
            exchange.getMessage().setBody(null);
            ArrayNode history = (ArrayNode) session.path("history");
            String id = session.path("id").asText();
            exchange.setProperty(ReadChat.CHAT_ID, id);
            exchange.setProperty(CLOCK, session.path("at").asDouble(System.currentTimeMillis() / 1_000.0) - seconds());
            exchange.setProperty(STORED_ID, session.path("question").textValue());
            exchange.setProperty(STORED_AT, System.nanoTime());
            chat.setRequest(chat.request().in(id), chat.writer());
            while (!history.isEmpty() && history.get(0).path("role").asText().equals("assistant")) {
                // the question to this answer is too long ago, and some providers take no conversation that begins so
                history.remove(0);
            }
            if (chat.request().stream() && texts) {
                open.put(chat, NOTHING);
                exchange.getExchangeExtension().addOnCompletion(new SynchronizationAdapter() {
                    @Override
                    public void onDone(Exchange done) {
                        open.remove(chat);
                    }
                });
            }
            if (!history.isEmpty() && !exchange.getProperty(OWN_HISTORY, Boolean.class)) {
                chat.setRequest(chat.request().withHistory(history), chat.writer());
            }
        };
    }

    /**
     * A step: the body is the answers that are being made and have grown since this was last asked, some at a time: those of
     * a thousand long streams together would be most of the memory. They are looked at as they are asked for.
     */
    public Processor partial() {
        return exchange -> exchange.getMessage().setBody(new Iterator<String>() {
            private final Iterator<Map.Entry<Chat, Given>> all = open.entrySet().iterator();
            private ArrayNode next = grown(all);

            @Override
            public boolean hasNext() {
                return !next.isEmpty();
            }

            @Override
            public String next() {
                if (next.isEmpty()) {
                    throw new NoSuchElementException();
                }
                String some = next.toString();
                next = grown(all);
                return some;
            }
        });
    }

    /** A step: the body is the rows of the answers of which a part was stored. */
    public Processor partialStored() {
        return exchange -> {
            Set<Object> ids = new HashSet<>();
            exchange.getMessage().getBody(List.class).forEach(row -> ids.add(((Map<?, ?>) row).get("id")));
            open.replaceAll((chat, given) -> ids.contains(chat.answerId()) ? new Given(given.characters, true) : given);
        };
    }

    private ArrayNode grown(Iterator<Map.Entry<Chat, Given>> all) {
        ArrayNode grown = Json.MAPPER.createArrayNode();
        int characters = 0;
        while (characters < MAX_TOGETHER && all.hasNext()) {
            Map.Entry<Chat, Given> one = all.next();
            Chat chat = one.getKey();
            Given before = one.getValue();
            String text = chat.outcome() == null ? chat.said() : "";
            if (text.length() > before.characters) {
                grown.addObject().put("id", chat.answerId()).put("session", chat.request().chatId()).put("user", chat.userId())
                        .put("text", storable(text)).put("again", before.stored);
                open.replace(chat, new Given(text.length(), before.stored));
                characters += text.length();
            }
        }
        return grown;
    }

    /** A step that makes the answer, or what there is of it, a message of the session: the body has all that is stored. */
    public Processor readAnswer() {
        return exchange -> {
            Chat chat = Chat.of(exchange);
            String asked = exchange.getProperty("askedId", String.class);
            // who has waited for all of it finds it there, also where his question was asked once more meanwhile
            boolean awaited = asked == null && chat.isAnswered() && !chat.client().hasLeft();
            ObjectNode answer = Json.MAPPER.createObjectNode().put("id", chat.answerId())
                    .put("session", exchange.getProperty(ReadChat.CHAT_ID, String.class)).put("user", chat.userId())
                    .put("text", kept(storable(chat.text())))
                    .put("status", chat.isAnswered() && chat.isTextWhole() ? "complete" : "interrupted")
                    .put("keyed", chat.isAnswered() && chat.idempotencyKey() != null)
                    .put("again", !awaited && open.getOrDefault(chat, NOTHING).stored)
                    .put("asked", asked)
                    .put("ended", exchange.getProperty(CLOCK, Double.class) + seconds());
            String question = exchange.getProperty(STORED_ID, String.class);
            long storedAt = exchange.getProperty(STORED_AT, Long.class);
            if (question != null && postgres.wasAwayWithin(Duration.ofNanos(System.nanoTime() - storedAt))) {
                // nobody waited until it was on disk: it may be lost
                answer.putObject("question").put("id", question).put("text", exchange.getProperty("question", String.class))
                        .put("at", exchange.getProperty(CLOCK, Double.class) + storedAt / 1e9);
            }
            exchange.getMessage().setBody(answer.toString());
        };
    }

    private static double seconds() {
        return System.nanoTime() / 1e9;
    }
}
