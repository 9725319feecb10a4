package io.llmchat.eip;

import io.github.resilience4j.bulkhead.Bulkhead;
import io.github.resilience4j.bulkhead.BulkheadConfig;
import io.github.resilience4j.bulkhead.BulkheadFullException;
import io.github.resilience4j.circuitbreaker.CallNotPermittedException;
import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.llmchat.chat.Chat;
import io.llmchat.chat.ClientGone;
import io.llmchat.chat.ProviderRefusal;
import io.llmchat.chat.RequestRejected;
import io.llmchat.chat.Target;
import io.llmchat.llm.Breakers;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.CamelContext;
import org.apache.camel.CamelContextAware;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangePropertyKey;
import org.apache.camel.Navigate;
import org.apache.camel.Processor;
import org.apache.camel.component.resilience4j.ResilienceProcessor;
import org.apache.camel.model.CircuitBreakerDefinition;
import org.apache.camel.model.KameletDefinition;
import org.apache.camel.model.ProcessorDefinition;
import org.apache.camel.model.ProcessorDefinitionHelper;
import org.apache.camel.model.Resilience4jConfigurationDefinition;
import org.apache.camel.model.SendDefinition;
import org.apache.camel.model.ToDynamicDefinition;
import org.apache.camel.processor.BaseProcessorSupport;
import org.apache.camel.spi.IdAware;
import org.apache.camel.spi.RouteIdAware;
import org.apache.camel.support.AsyncProcessorConverterHelper;
import org.apache.camel.support.CamelContextHelper;
import org.apache.camel.support.service.ServiceHelper;
import org.apache.camel.util.ObjectHelper;

/**
 * The {@code circuitBreaker} EIP around a call of a model, for which nobody waits. Camel's own keeps a thread while what it
 * guards works, and makes a copy of the exchange; this one judges the call when it has ended. A chat has the breaker of the
 * model that it asks, so that the outage of one model does not shut its provider's others; one failure of a probe opens it
 * again, and what is not the provider's fault does not count. What is raised passes, also what the breaker does not count;
 * a full bulkhead is a {@link ProviderRefusal}.
 *
 * <p>A breaker that guards something else, or has {@code onFallback} or a bulkhead that is waited for, is left to Camel's, on
 * a thread of its own.
 */
final class BreakerProcessor extends BaseProcessorSupport implements Navigate<Processor>, CamelContextAware, IdAware, RouteIdAware {

    /** The kamelets of providers, by what their names end with, and what is in them. */
    private static final Pattern MODEL = Pattern.compile("kamelet:(//)?[^/?]+-chat-action([/?].*)?|llm:.*", Pattern.DOTALL);
    /** The routes that lead there. */
    private static final Pattern TO_MODEL = Pattern.compile("direct:(//)?(provider-.*|complete([?].*)?)", Pattern.DOTALL);
    /** What is guarded with a time limit: in the pool that Java has for all, one that waits keeps the others waiting. */
    private static final ExecutorService LIMITED = Executors.newVirtualThreadPerTaskExecutor();
    /** What is not a provider's fault, whatever its route says. */
    private static final List<Class<? extends Exception>> NOT_ITS_FAULT =
            List.of(ProviderRefusal.class, RequestRejected.class, ClientGone.class, BulkheadFullException.class);

    private final ResilienceProcessor configured;
    private final CircuitBreakerDefinition definition;
    private final Breakers breakers;
    /** Whose route it stands in; null: no provider's. */
    private final String provider;
    private final AsyncProcessor guarded;
    /** Whether it is left to Camel's. */
    private final boolean waits;
    /** Which failures count. */
    private CircuitBreakerConfig counts;
    /** What the breakers of models go by. */
    private CircuitBreakerConfig rules;
    private Bulkhead bulkhead;

    /**
     * @param configured as Camel has made it of the route's definition
     * @param breakers of all models
     * @param provider whose route it stands in, which may be called where it is not its turn; null: no provider's
     */
    BreakerProcessor(ResilienceProcessor configured, CircuitBreakerDefinition definition, Breakers breakers, String provider) {
        this.configured = configured;
        this.definition = definition;
        this.breakers = breakers;
        this.provider = provider;
        boolean ofModel = calls(definition, MODEL);
        List<Processor> children = configured.next();
        this.guarded = AsyncProcessorConverterHelper.convert(children.get(0));
        this.waits = !ofModel || children.size() > 1 || configured.getBulkheadMaxWaitDuration() > 0;
        setDisabled(configured.isDisabled());
        if (configured.isTimeoutEnabled() && (ofModel || calls(definition, TO_MODEL))) {
            throw new IllegalArgumentException("a breaker of a model takes no timeoutEnabled, which would not end the call: a provider's"
                    + " time limits are firstTokenTimeout, idleTimeout and streamTimeout of its kamelet.");
        }
        if (configured.getExecutorService() == null) {
            configured.setExecutorService(LIMITED);
        }
    }

    private static boolean calls(CircuitBreakerDefinition guard, Pattern what) {
        return ProcessorDefinitionHelper.filterTypeInOutputs(guard.getOutputs(), ProcessorDefinition.class).stream().anyMatch(step -> {
            String uri = step instanceof SendDefinition<?> to ? to.getUri() : step instanceof ToDynamicDefinition to ? to.getUri()
                    : step instanceof KameletDefinition kamelet ? "kamelet:" + kamelet.getName() : null;
            return uri != null && what.matcher(uri).matches();
        });
    }

    @Override
    public void setCamelContext(CamelContext context) {
        configured.setCamelContext(context);
    }

    @Override
    public CamelContext getCamelContext() {
        return configured.getCamelContext();
    }

    @Override
    public void setId(String id) {
        configured.setId(id);
    }

    @Override
    public String getId() {
        return configured.getId();
    }

    @Override
    public void setRouteId(String routeId) {
        configured.setRouteId(routeId);
    }

    @Override
    public String getRouteId() {
        return configured.getRouteId();
    }

    @Override
    protected void doStart() throws Exception {
        ServiceHelper.startService(configured);
        counts = configured.getCircuitBreaker().getCircuitBreakerConfig();
        if (!waits) {
            rules = breakers.rules(counts, saysHowLong());
        }
        bulkhead = waits || !configured.isBulkheadEnabled() ? null : Bulkhead.of(configured.getId(), BulkheadConfig.custom()
                .maxConcurrentCalls(configured.getBulkheadMaxConcurrentCalls()).maxWaitDuration(Duration.ZERO).build());
    }

    /** Whether the definition, or a configuration that it names, says how long it stays open. */
    private boolean saysHowLong() {
        String named = definition.getConfiguration();
        return Stream.of(definition.getResilience4jConfiguration(), named == null ? null : CamelContextHelper.lookup(getCamelContext(),
                getCamelContext().resolvePropertyPlaceholders(named), Resilience4jConfigurationDefinition.class))
                .anyMatch(said -> said != null && said.getWaitDurationInOpenState() != null);
    }

    @Override
    protected void doStop() {
        ServiceHelper.stopService(configured);
    }

    @Override
    protected void doShutdown() {
        ServiceHelper.stopAndShutdownService(configured);
    }

    @Override
    public List<Processor> next() {
        return configured.next();
    }

    @Override
    public boolean hasNext() {
        return configured.hasNext();
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        if (waits) {
            Thread.startVirtualThread(() -> configured.process(exchange, sync -> callback.done(false)));
            return false;
        }
        Chat chat = Chat.orNull(exchange);
        if (chat != null && provider != null) {
            chat.turnTo(provider);
        }
        Target model = chat == null ? null : chat.target();
        CircuitBreaker breaker = model == null ? configured.getCircuitBreaker() : breakers.of(model, rules);
        if (!breaker.tryAcquirePermission()) {
            exchange.setProperty(Breakers.OPEN_MILLIS, breaker.getCircuitBreakerConfig().getWaitIntervalFunctionInOpenState().apply(1));
            exchange.setException(CallNotPermittedException.createCallNotPermittedException(breaker));
        } else if (bulkhead != null && !bulkhead.tryAcquirePermission()) {
            breaker.releasePermission();
            exchange.setException(model == null ? BulkheadFullException.createBulkheadFullException(bulkhead)
                    : ProviderRefusal.full(model.provider()));
        } else {
            long started = breaker.getCurrentTimestamp();
            boolean probe = model != null && breaker.getState() == CircuitBreaker.State.HALF_OPEN;
            // an EIP within that has branches leaves their failures to the breaker, as in a doTry
            exchange.setProperty(ExchangePropertyKey.TRY_ROUTE_BLOCK, true);
            return guarded.process(exchange, sync -> {
                exchange.removeProperty(ExchangePropertyKey.TRY_ROUTE_BLOCK);
                judge(exchange, breaker, breaker.getCurrentTimestamp() - started, probe, model != null);
                callback.done(sync);
            });
        }
        callback.done(true);
        return true;
    }

    private void judge(Exchange exchange, CircuitBreaker breaker, long took, boolean probe, boolean ofModel) {
        Exception failure = exchange.getException();
        boolean unasked = exchange.removeProperty(Breakers.NOT_ASKED) != null;
        if (bulkhead != null) {
            bulkhead.onComplete();
        }
        if (ofModel && !probe && breaker.getState() == CircuitBreaker.State.HALF_OPEN) {
            // it began before the breaker opened, and says nothing of how the model is now
            return;
        }
        TimeUnit unit = breaker.getTimestampUnit();
        if (failure != null && (unasked || NOT_ITS_FAULT.stream().anyMatch(type -> ObjectHelper.getException(type, failure) != null)
                || counts.getIgnoreExceptionPredicate().test(failure))) {
            breaker.releasePermission();
        } else if (failure == null || !counts.getRecordExceptionPredicate().test(failure)) {
            breaker.onSuccess(took, unit);
        } else if (probe && breaker.getState() == CircuitBreaker.State.HALF_OPEN) {
            breaker.transitionToOpenState();
        } else {
            breaker.onError(took, unit, failure);
        }
    }
}
