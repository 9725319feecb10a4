package io.llmchat.eip;

import org.apache.camel.AsyncCallback;
import org.apache.camel.AsyncProcessor;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.processor.PipelineHelper;
import org.apache.camel.processor.RoutePipeline;
import org.apache.camel.support.ExchangeHelper;
import org.slf4j.helpers.NOPLogger;

/**
 * The steps of a route, one after the other. Camel's puts each of them into a queue of its thread, so that a step that
 * ends at once does not deepen the stack; here such a step is followed by the next one in a loop, and the stack is as
 * deep as the routes are nested, up to where Camel's way begins ({@link UnitsOfWork}).
 */
final class Steps extends RoutePipeline {

    private final AsyncProcessor[] steps;

    Steps(CamelContext context, RoutePipeline of) {
        super(context, of.next());
        steps = next().toArray(AsyncProcessor[]::new);
    }

    @Override
    public boolean process(Exchange exchange, AsyncCallback callback) {
        if (UnitsOfWork.askForCamels(exchange)) {
            return super.process(exchange, callback);
        }
        new Run(steps, 0, exchange, callback).go();
        return false;
    }

    /** An exchange on its way, as long as one thread goes on with it. */
    static final class Run implements AsyncCallback {
        private final Thread thread = Thread.currentThread();
        private final AsyncProcessor[] steps;
        private final Exchange exchange;
        private final AsyncCallback callback;
        private int next;
        private boolean inStep;

        Run(AsyncProcessor[] steps, int next, Exchange exchange, AsyncCallback callback) {
            this.steps = steps;
            this.next = next;
            this.exchange = exchange;
            this.callback = callback;
        }

        void go() {
            while (next < steps.length && !exchange.isRouteStop()
                    // it would log what a provider has said, and in it what it quotes of the request
                    && (next == 0 || PipelineHelper.continueProcessing(exchange, "so breaking out of pipeline", NOPLogger.NOP_LOGGER))) {
                ExchangeHelper.prepareOutToIn(exchange);
                inStep = true;
                try {
                    steps[next++].process(exchange, this);
                } catch (Throwable e) {
                    exchange.setException(e);
                    inStep = false;
                }
                if (inStep) {
                    // who ends the step goes on
                    inStep = false;
                    return;
                }
            }
            if (StepChannel.mustWait(exchange)) {
                exchange.setException(null);
                // made there: it goes by its thread
                Thread.startVirtualThread(() -> new Run(steps, next - 1, exchange, callback).go());
                return;
            }
            ExchangeHelper.copyResults(exchange, exchange);
            callback.done(false);
        }

        @Override
        public void done(boolean sync) {
            if (Thread.currentThread() == thread && inStep) {
                inStep = false;
            } else {
                new Run(steps, next, exchange, callback).go();
            }
        }
    }
}
