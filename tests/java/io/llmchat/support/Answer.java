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
            if (!event.data().equals("[DONE]")) {
                JsonNode json = event.json();
                text.append(json.path("choices").path(0).path("delta").path("content").asText(""));
                text.append(json.path("delta").path("text").asText(""));
                text.append("chunk".equals(event.name()) ? json.path("content").asText() : "");
            }
        }
        return text.toString();
    }

    /** How many of the events are errors. */
    public long errors() {
        return events().stream().filter(e -> "error".equals(e.name()) || e.data().startsWith("{\"error\"")).count();
    }

    /** How many of the events say that the answer is whole. */
    public long ends() {
        return events().stream().filter(e -> e.data().equals("[DONE]") || "message_stop".equals(e.name()) || "end".equals(e.name())).count();
    }
}
