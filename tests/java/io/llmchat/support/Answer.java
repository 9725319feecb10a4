package io.llmchat.support;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;

/** What a caller got, in whichever dialect: its text, and how it ends. */
public final class Answer {

    /** An event of a stream. */
    public record Event(String name, String data) {
        public JsonNode json() {
            return TestGateway.json(data);
        }

        /** The text that it adds to the answer. */
        public String text() {
            if (data.equals("[DONE]")) {
                return "";
            }
            JsonNode json = json();
            return json.path("choices").path(0).path("delta").path("content").asText("") + json.path("delta").path("text").asText("")
                    + ("chunk".equals(name) ? json.path("content").asText() : "");
        }

        /** Whether it says that the answer failed. */
        public boolean isError() {
            return "error".equals(name) || data.startsWith("{\"error\"");
        }

        /** Whether it says that the answer is whole. */
        public boolean isEnd() {
            return data.equals("[DONE]") || "message_stop".equals(name) || "end".equals(name);
        }
    }

    private final HttpResponse<String> response;

    public Answer(HttpResponse<String> response) {
        this.response = response;
    }

    public int status() {
        return response.statusCode();
    }

    public String body() {
        return response.body();
    }

    public String header(String name) {
        return response.headers().firstValue(name).orElse("");
    }

    public boolean streamed() {
        return header("content-type").startsWith("text/event-stream");
    }

    /** The events of a stream, in order. */
    public List<Event> events() {
        List<Event> events = new ArrayList<>();
        for (String block : body().split("\n\n")) {
            String name = null;
            String data = null;
            for (String line : block.split("\n")) {
                if (line.startsWith("event: ")) {
                    name = line.substring(7);
                } else if (line.startsWith("data: ")) {
                    data = line.substring(6);
                }
            }
            if (data != null) {
                events.add(new Event(name, data));
            }
        }
        return events;
    }

    /** All text of the answer. */
    public String text() {
        if (!streamed()) {
            JsonNode json = TestGateway.json(body());
            JsonNode of = json.has("data") ? json.path("data") : json;
            return of.has("choices") ? of.path("choices").path(0).path("message").path("content").asText()
                    : of.path("content").path(0).path("text").asText();
        }
        StringBuilder text = new StringBuilder();
        for (Event event : events()) {
            text.append(event.text());
        }
        return text.toString();
    }

    /** How many of the events are errors. */
    public long errors() {
        return events().stream().filter(Event::isError).count();
    }

    /** How many of the events say that the answer is whole. */
    public long ends() {
        return events().stream().filter(Event::isEnd).count();
    }
}
