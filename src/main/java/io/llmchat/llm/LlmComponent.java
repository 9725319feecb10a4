package io.llmchat.llm;

import io.llmchat.http.Drain;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.Tracing;
import io.llmchat.wire.Wires;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.vertx.core.Vertx;
import java.util.Collection;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.camel.CamelContext;
import org.apache.camel.Endpoint;
import org.apache.camel.support.CamelContextHelper;
import org.apache.camel.support.DefaultComponent;
import org.apache.camel.util.PropertiesHelper;

/**
 * The component {@code llm:}, which calls a chat provider and relays its answer to the client of the exchange. Its
 * properties are the defaults of all endpoints; times in milliseconds, sizes in bytes.
 */
public final class LlmComponent extends DefaultComponent {

    /** The exchange property with the provider's own name for the conversation, before and after the call. */
    public static final String CONVERSATION = "conversation";

    private final Map<String, LlmEndpoint> providers = new ConcurrentHashMap<>();
    private final Map<String, Counter> counters = new ConcurrentHashMap<>();
    private ProviderConnections connections;
    private MeterRegistry meters;
    private ChatMeters chatMeters;
    private Tracing tracing;
    private Drain drain;

    private int connectTimeout = 2_000;
    private long firstTokenTimeout = 10_000;
    private long idleTimeout = 30_000;
    private long streamTimeout = 300_000;
    private long heartbeat = 15_000;
    private int maxAnswer = 16_777_216;
    private int maxEvent = 1_048_576;

    /** That of a version of the routes. */
    public static LlmComponent of(CamelContext context) {
        return context.getComponent("llm", LlmComponent.class);
    }

    @Override
    protected Endpoint createEndpoint(String uri, String remaining, Map<String, Object> parameters) throws Exception {
        Map<String, Object> options = PropertiesHelper.extractProperties(parameters, "wire.");
        LlmEndpoint endpoint = new LlmEndpoint(uri, this, remaining, Wires.of(remaining, options));
        setProperties(endpoint, parameters);
        return endpoint;
    }

    @Override
    protected void doStart() throws Exception {
        super.doStart();
        meters = CamelContextHelper.findSingleByType(getCamelContext(), MeterRegistry.class);
        chatMeters = CamelContextHelper.findSingleByType(getCamelContext(), ChatMeters.class);
        tracing = CamelContextHelper.findSingleByType(getCamelContext(), Tracing.class);
        drain = CamelContextHelper.findSingleByType(getCamelContext(), Drain.class);
        connections = ProviderConnections.of(CamelContextHelper.findSingleByType(getCamelContext(), Vertx.class), connectTimeout);
    }

    boolean isEnding() {
        return drain.isEnding();
    }

    ProviderConnections connections() {
        return connections;
    }

    ChatMeters chatMeters() {
        return chatMeters;
    }

    Tracing tracing() {
        return tracing;
    }

    /** Counts the events of a provider that could not be read. */
    Counter malformed(String provider) {
        return Counter.builder("llmchat.provider.events.malformed")
                .description("Stream events that could not be read; each ends its answer, unless that has said before why it ends")
                .tag("provider", provider).register(meters);
    }

    void attempted(String provider, String outcome) {
        count("llmchat.provider.attempts", "Calls of a provider by what came of them", provider, "outcome", outcome);
    }

    void timedOut(String provider, String kind) {
        count("llmchat.provider.timeouts", "Limits of time that were over", provider, "kind", kind);
    }

    private void count(String name, String description, String provider, String tag, String value) {
        counters.computeIfAbsent(name + " " + provider + " " + value, key -> Counter.builder(name).description(description)
                .tag("provider", provider).tag(tag, value).register(meters)).increment();
    }

    /** An endpoint has started: from now on its provider can be asked. */
    void started(LlmEndpoint endpoint) {
        providers.put(endpoint.getProvider(), endpoint);
    }

    void stopped(LlmEndpoint endpoint) {
        providers.remove(endpoint.getProvider(), endpoint);
    }

    /** The endpoint of a provider, or null if no route has one of that name. */
    public LlmEndpoint provider(String name) {
        return providers.get(name);
    }

    /** All providers that routes have, by name. */
    public Collection<LlmEndpoint> providers() {
        return providers.entrySet().stream().sorted(Map.Entry.comparingByKey()).map(Map.Entry::getValue).toList();
    }

    public void setConnectTimeout(int connectTimeout) {
        this.connectTimeout = connectTimeout;
    }

    public long getFirstTokenTimeout() {
        return firstTokenTimeout;
    }

    public void setFirstTokenTimeout(long firstTokenTimeout) {
        this.firstTokenTimeout = firstTokenTimeout;
    }

    public long getIdleTimeout() {
        return idleTimeout;
    }

    public void setIdleTimeout(long idleTimeout) {
        this.idleTimeout = idleTimeout;
    }

    public long getStreamTimeout() {
        return streamTimeout;
    }

    public void setStreamTimeout(long streamTimeout) {
        this.streamTimeout = streamTimeout;
    }

    public long getHeartbeat() {
        return heartbeat;
    }

    public void setHeartbeat(long heartbeat) {
        this.heartbeat = heartbeat;
    }

    public int getMaxAnswer() {
        return maxAnswer;
    }

    public void setMaxAnswer(int maxAnswer) {
        this.maxAnswer = maxAnswer;
    }

    public int getMaxEvent() {
        return maxEvent;
    }

    public void setMaxEvent(int maxEvent) {
        this.maxEvent = maxEvent;
    }
}
