package io.llmchat.llm;

import io.llmchat.chat.ChatException;
import io.llmchat.ops.Cause;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.Tracing;
import io.llmchat.wire.Wire;
import io.micrometer.core.instrument.Counter;
import java.net.URI;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.camel.Category;
import org.apache.camel.Consumer;
import org.apache.camel.Processor;
import org.apache.camel.Producer;
import org.apache.camel.spi.UriEndpoint;
import org.apache.camel.spi.UriParam;
import org.apache.camel.spi.UriPath;
import org.apache.camel.support.DefaultEndpoint;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One provider: where it is, how it is spoken with, and our key for it. */
@UriEndpoint(firstVersion = "0.1.0", scheme = "llm", title = "LLM", syntax = "llm:wire", producerOnly = true,
        category = {Category.AI})
public final class LlmEndpoint extends DefaultEndpoint {

    private static final Logger LOG = LoggerFactory.getLogger(LlmEndpoint.class);
    private static final Pattern AUTHORITY = Pattern.compile("([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+])(?::(\\d{1,5}))?");

    private final Wire wire;
    private final LlmComponent component;

    @UriPath(description = "The wire that the provider speaks: openai, anthropic, dify, fastgpt, mapped, or demo, which answers locally")
    private final String wireName;
    @UriParam(description = "The provider's name, as in <provider>/<model>")
    private String provider;
    @UriParam(description = "Where the API is, version included; a closing slash does not matter")
    private String baseUrl;
    @UriParam(description = "Our key for it", label = "security")
    private String apiKey;
    @UriParam(description = "Whether it cannot be used without a key", defaultValue = "true")
    private boolean keyRequired = true;
    @UriParam(description = "Milliseconds to the first token of a stream")
    private long firstTokenTimeout;
    @UriParam(description = "Milliseconds between two tokens")
    private long idleTimeout;
    @UriParam(description = "Milliseconds for a whole stream")
    private long streamTimeout;

    @UriParam(description = "Whether a model goes on from an assistant's message at the end, so that it can continue an answer that broke off elsewhere")
    private boolean prefill;

    private ProviderAddress address;
    /** Of all calls. */
    private final SortedMap<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
    /** Those of calls that have no headers of their own, by path: a wire has a few. */
    private final Map<String, byte[]> heads = new ConcurrentHashMap<>();
    private String basePath;
    private String query;
    private volatile long told = System.nanoTime() - TimeUnit.HOURS.toNanos(1);
    private Limits limits;
    private Counter malformed;
    /** Bytes that streams send in one piece, on an average of the last eight or so; several loops write it, none minds. */
    private int piece = 512;

    LlmEndpoint(String uri, LlmComponent component, String wireName, Wire wire) {
        super(uri, component);
        this.component = component;
        this.wireName = wireName;
        this.wire = wire;
        this.firstTokenTimeout = component.getFirstTokenTimeout();
        this.idleTimeout = component.getIdleTimeout();
        this.streamTimeout = component.getStreamTimeout();
    }

    @Override
    protected void doStart() throws Exception {
        super.doStart();
        if (provider == null || provider.isBlank()) {
            throw new IllegalArgumentException(getEndpointBaseUri() + " needs a provider name");
        }
        atLeastOne("firstTokenTimeout", firstTokenTimeout);
        atLeastOne("idleTimeout", idleTimeout);
        atLeastOne("streamTimeout", streamTimeout);
        limits = new Limits(firstTokenTimeout, idleTimeout, streamTimeout, component.getHeartbeat(),
                component.getMaxAnswer(), component.getMaxEvent());
        if (!isDemo()) {
            if (baseUrl == null) {
                throw new IllegalArgumentException(getEndpointBaseUri() + " needs a baseUrl");
            }
            locate();
        }
        malformed = component.malformed(provider);
        component.started(this);
    }

    @Override
    protected void doStop() throws Exception {
        component.stopped(this);
        super.doStop();
    }

    private void atLeastOne(String name, long millis) {
        if (millis < 1) {
            throw new IllegalArgumentException(name + " of provider '" + provider + "' is " + millis + "; it takes milliseconds, 1 at least");
        }
    }

    private void locate() {
        URI url = URI.create(baseUrl);
        boolean ssl = "https".equalsIgnoreCase(url.getScheme());
        // not URI's own: it knows no host with an underscore, which names of containers have
        Matcher authority = AUTHORITY.matcher(url.getRawAuthority() == null ? "" : url.getRawAuthority());
        int port = authority.matches() && authority.group(2) != null ? Integer.parseInt(authority.group(2)) : ssl ? 443 : 80;
        if (!authority.matches() || port > 65_535 || !ssl && !"http".equalsIgnoreCase(url.getScheme())) {
            throw new IllegalArgumentException("the base URL of provider '" + provider + "' is not an http(s) URL, or names a user");
        }
        basePath = url.getRawPath().replaceFirst("/+$", "");
        query = url.getRawQuery() == null ? "" : "?" + url.getRawQuery();
        address = new ProviderAddress(ssl, authority.group(1), port);
        headers.putAll(Map.of("Content-Type", "application/json", "User-Agent", "llmchat"));
        headers.putAll(wire.headers(apiKey));
        // it says at the start what cannot be sent
        head("", headers);
    }

    private byte[] head(String path, Map<String, String> all) {
        return address.post(basePath + path + query, all);
    }

    private boolean isDemo() {
        return wireName.equals("demo");
    }

    private boolean hasKey() {
        return apiKey != null && !apiKey.isBlank();
    }

    /** Takes our key out of what a failure says. */
    void hideKey(ChatException failure) {
        if (hasKey()) {
            failure.without(apiKey);
        }
    }

    /** Whether it can be asked: it has its key, or needs none. */
    public boolean isConfigured() {
        return isDemo() || !keyRequired || hasKey();
    }

    Upstream upstream(Wire.Call asked) {
        if (isDemo()) {
            return new DemoUpstream(asked.body());
        }
        byte[] head;
        if (asked.headers().isEmpty()) {
            head = heads.computeIfAbsent(asked.path(), path -> head(path, headers));
        } else {
            SortedMap<String, String> all = new TreeMap<>(headers);
            all.putAll(asked.headers());
            head = head(asked.path(), all);
        }
        return new HttpUpstream(component.connections(), address, head, asked.body(), asked.streamed());
    }

    /** A call of it broke, and somebody should look: why is in the log, once a minute, because callers are not told. */
    void tell(String what, Throwable cause) {
        long now = System.nanoTime();
        if (now - told > TimeUnit.MINUTES.toNanos(1)) {
            told = now;
            LOG.warn("The provider '{}' {}: {}", provider, what, Cause.of(cause));
        }
    }

    /** An event could not be read. */
    void malformed() {
        malformed.increment();
    }

    /** So many bytes of a stream have gone to a caller in one piece. */
    void sent(int bytes) {
        piece += (bytes - piece) / 8;
    }

    /** Bytes that are likely to be enough for the next piece of a stream. */
    int room() {
        return 128 + piece + piece / 4;
    }

    /** Counts what came of a call. */
    void attempted(String outcome) {
        component.attempted(provider, outcome);
    }

    /** Counts a limit of time that was over: connect, first_token, idle or total. */
    void timedOut(String kind) {
        component.timedOut(provider, kind);
    }

    ChatMeters chatMeters() {
        return component.chatMeters();
    }

    Tracing tracing() {
        return component.tracing();
    }

    /** Whether the gateway ends: nobody is asked any more. */
    boolean isEnding() {
        return component.isEnding();
    }

    Wire wire() {
        return wire;
    }

    Limits limits() {
        return limits;
    }

    @Override
    public Producer createProducer() {
        return new LlmProducer(this);
    }

    @Override
    public Consumer createConsumer(Processor processor) {
        throw new UnsupportedOperationException("llm: only calls providers");
    }

    public String getProvider() {
        return provider;
    }

    public void setProvider(String provider) {
        this.provider = provider;
    }

    public void setBaseUrl(String baseUrl) {
        this.baseUrl = baseUrl;
    }

    public void setApiKey(String apiKey) {
        this.apiKey = apiKey;
    }

    public void setKeyRequired(boolean keyRequired) {
        this.keyRequired = keyRequired;
    }

    public boolean isPrefill() {
        return prefill;
    }

    public void setPrefill(boolean prefill) {
        this.prefill = prefill;
    }

    public void setFirstTokenTimeout(long firstTokenTimeout) {
        this.firstTokenTimeout = firstTokenTimeout;
    }

    public void setIdleTimeout(long idleTimeout) {
        this.idleTimeout = idleTimeout;
    }

    public void setStreamTimeout(long streamTimeout) {
        this.streamTimeout = streamTimeout;
    }
}
