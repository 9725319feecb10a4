package io.llmchat.eip;

import io.llmchat.store.MustWait;
import io.vertx.core.Context;
import java.util.List;
import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.CamelContext;
import org.apache.camel.DisabledAware;
import org.apache.camel.Exchange;
import org.apache.camel.ExchangeExtension;
import org.apache.camel.Processor;
import org.apache.camel.RuntimeCamelException;
import org.apache.camel.component.bean.BeanProcessor;
import org.apache.camel.impl.engine.DefaultChannel;
import org.apache.camel.processor.DelayProcessorSupport;
import org.apache.camel.processor.Enricher;
import org.apache.camel.processor.Pipeline;
import org.apache.camel.processor.PollEnricher;
import org.apache.camel.processor.RecipientList;
import org.apache.camel.processor.RoutingSlip;
import org.apache.camel.processor.SendDynamicProcessor;
import org.apache.camel.processor.SendProcessor;
import org.apache.camel.processor.Throttler;
import org.apache.camel.processor.errorhandler.NoErrorHandler;
import org.apache.camel.processor.errorhandler.RedeliveryErrorHandler;
import org.apache.camel.spi.CamelInternalProcessorAdvice;
import org.apache.camel.spi.ShutdownStrategy;
import org.apache.camel.support.AsyncProcessorConverterHelper;
import org.apache.camel.support.ExchangeHelper;
import org.apache.camel.support.processor.DelegateAsyncProcessor;
import org.apache.camel.support.processor.DelegateSyncProcessor;

/**
 * What a step of a route is wrapped in. Camel's does the same for every step, whatever is asked for; this one goes on to
 * the step where nothing is woven around it (no tracer, debugger, message history, interceptor, delayer, stream cache),
 * and notes which step it is. What fails names it still when it is over: Camel's forgets it. An error handler that does
 * not redeliver is called for what has failed, not around what may.
 *
 * <p>An event loop must not wait. A step that ends there with {@link MustWait}, a throttle or delay that keeps waiting, one
 * that polls, that calls a bean or what is none of ours, or one that may be redelivered, is run on a virtual thread, and what
 * follows goes on there.
 */
final class StepChannel extends DefaultChannel {

    /** What calls of these wait for they say by {@link MustWait}, or wait for nobody. */
    private static final List<String> OURS = List.of("direct:", "kamelet:", "llm:", "sql:", "jdbc:");

    private final ShutdownStrategy shutdown;
    private boolean woven;
    /** Notes which step it is: its id, what it says, and where it stands. */
    private NodeHistoryAdvice which;
    /** Null: Camel's way. */
    private AsyncProcessor step;
    /** What the step does, if it has done it when it returns; else null. */
    private Processor plain;
    /** Who is called for what has failed; null: nobody, or it is around the step. */
    private AsyncProcessor handler;
    /** Null: it is never left out. */
    private DisabledAware optional;
    /** Whether it is never run on an event loop. */
    private boolean waits;

    StepChannel(CamelContext context) {
        super(context);
        shutdown = context.getShutdownStrategy();
    }

    @Override
    public void addAdvice(CamelInternalProcessorAdvice<?> advice) {
        if (advice instanceof NodeHistoryAdvice history) {
            which = history;
        } else {
            woven = true;
        }
        super.addAdvice(advice);
    }

    @Override
    protected void doStart() throws Exception {
        super.doStart();
        Processor inner = getOutput();
        RedeliveryErrorHandler around = inner instanceof RedeliveryErrorHandler redelivering ? redelivering : null;
        boolean again = around != null && around.determineIfRedeliveryIsEnabled();
        if (again) {
            around.changeOutput(new Tried(around.getOutput()));
        }
        if (woven) {
            return;
        }
        if (around != null && !again) {
            handler = around;
            inner = around.getOutput();
        } else if (inner instanceof NoErrorHandler none && none.getOutput() instanceof DelegateSyncProcessor plain) {
            // it leads to no other error handler, whose traces would be removed
            inner = plain;
        }
        optional = getNextProcessor() instanceof DisabledAware may ? may : null;
        step = AsyncProcessorConverterHelper.convert(inner);
        plain = inner.getClass() == DelegateSyncProcessor.class ? ((DelegateSyncProcessor) inner).getProcessor() : null;
        waits = again || mayWait(getNextProcessor());
    }

    private static boolean mayWait(Processor step) {
        return switch (step) {
            case Throttler throttle -> !throttle.isRejectExecution() && !throttle.isAsyncDelayed();
            case DelayProcessorSupport delay -> !delay.isAsyncDelayed();
            case SendProcessor call -> OURS.stream().noneMatch(call.getDestination().getEndpointUri()::startsWith);
            case DirectCall direct -> false;
            // whom these call is not known before there is a request
            case SendDynamicProcessor call -> true;
            case RecipientList call -> true;
            case RoutingSlip call -> true;
            // such as the reading of a list of recipients, and their calls
            case Pipeline steps -> steps.next().stream().anyMatch(StepChannel::mayWait);
            case Enricher call -> true;
            case PollEnricher call -> true;
            case BeanProcessor call -> true;
            default -> false;
        };
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        // what begins with a failure is for the error handler alone
        if (step == null || handler != null && exchange.getException() != null || shutdown.isForceShutdown() || UnitsOfWork.askForCamels(exchange)) {
            return super.process(exchange, callback);
        }
        if (exchange.isRouteStop() || optional != null && optional.isDisabled()) {
            callback.done(true);
            return true;
        }
        if (waits && Context.isOnEventLoopThread()) {
            processOffLoop(exchange, callback);
            return false;
        }
        try {
            which.before(exchange);
        } catch (Exception e) {
            throw RuntimeCamelException.wrapRuntimeException(e);
        }
        if (plain != null) {
            try {
                plain.process(exchange);
            } catch (Throwable e) {
                // an error too, as of a text that is too long for a regular expression: it would leave the request without an end
                exchange.setException(e);
            } finally {
                // after an error too, as Camel's
                if (handler == null && callback instanceof Steps.Run) {
                    callback.done(true);
                } else {
                    ended(exchange, callback, true);
                }
            }
            return true;
        }
        try {
            // a run of steps looks itself at what each has ended with
            return step.process(exchange, handler == null && callback instanceof Steps.Run ? callback : sync -> ended(exchange, callback, sync));
        } catch (MustWait e) {
            processOffLoop(exchange, callback);
            return false;
        } catch (Throwable e) {
            // Camel's pipeline would not go on, and no handler would be asked
            exchange.setException(e);
            ended(exchange, callback, true);
            return true;
        }
    }

    private void ended(Exchange exchange, AsyncCallback callback, boolean sync) {
        if (mustWait(exchange)) {
            exchange.setException(null);
            processOffLoop(exchange, callback);
            return;
        }
        ExchangeExtension extension = exchange.getExchangeExtension();
        if (handler == null) {
            callback.done(sync);
        } else if (extension.isInterrupted()) {
            exchange.setRouteStop(true);
            callback.done(sync);
        } else if (exchange.getException() == null || extension.isRedeliveryExhausted() || ExchangeHelper.isFailureHandled(exchange)) {
            callback.done(sync);
        } else {
            // it begins with the failure that it finds
            handler.process(exchange, callback);
        }
    }

    /** Whether a step has ended, before it had begun anything, because an event loop must not wait for what it needs. */
    static boolean mustWait(Exchange exchange) {
        return exchange.getException() != null && exchange.getException(MustWait.class) != null && Context.isOnEventLoopThread();
    }

    private void processOffLoop(Exchange exchange, AsyncCallback callback) {
        Thread.startVirtualThread(() -> process(exchange, sync -> callback.done(false)));
    }

    /** What may be tried again. It may end on an event loop, where Camel would sleep until then. */
    private static final class Tried extends DelegateAsyncProcessor {

        Tried(Processor step) {
            super(step);
        }

        @Override
        public boolean process(Exchange exchange, AsyncCallback callback) {
            return super.process(exchange, sync -> {
                if (exchange.getException() != null && Context.isOnEventLoopThread()) {
                    Thread.startVirtualThread(() -> callback.done(false));
                } else {
                    callback.done(sync);
                }
            });
        }
    }
}
