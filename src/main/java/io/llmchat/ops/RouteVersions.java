package io.llmchat.ops;

import io.llmchat.json.Json;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.LinkedHashMap;
import java.util.Map;

/** Which version of the routes serves, and what became of the last change; as metrics and for the health report. */
public final class RouteVersions {

    private final MeterRegistry meters;
    private volatile int generation;
    private volatile String loadedAt;
    private volatile int files;
    private volatile Map<String, Object> lastError;

    public RouteVersions(MeterRegistry meters) {
        this.meters = meters;
        Gauge.builder("llmchat.routes.generation", this, v -> v.generation)
                .description("The version of the routes that serves; the first is 1").register(meters);
        Gauge.builder("llmchat.routes.refused", this, v -> v.lastError == null ? 0 : 1)
                .description("Whether the routes as they are saved are refused, and those before serve").register(meters);
        // there from the first moment
        count("loaded", 0);
        count("refused", 0);
    }

    private void count(String result, int times) {
        meters.counter("llmchat.routes.reloads", "result", result).increment(times);
    }

    /** A version serves, of so many files. */
    public void loaded(int ofFiles) {
        generation++;
        loadedAt = Json.now();
        files = ofFiles;
        lastError = null;
        count("loaded", generation == 1 ? 0 : 1);
    }

    /** A changed file cannot be used; the version before goes on. {@code file} may be null, {@code line} 0: not known. */
    public void refused(String file, int line, String reason) {
        Map<String, Object> error = new LinkedHashMap<>();
        error.put("at", Json.now());
        error.put("file", file);
        error.put("line", line == 0 ? null : line);
        error.put("reason", reason);
        lastError = error;
        count("refused", 1);
    }

    /** The number of the version that serves. */
    public int generation() {
        return generation;
    }

    Map<String, Object> report() {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("generation", generation);
        report.put("loadedAt", loadedAt);
        report.put("files", files);
        report.put("lastError", lastError);
        return report;
    }
}
