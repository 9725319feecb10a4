package io.llmchat.step;

import io.llmchat.http.ClientStream;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** The first step of every HTTP route: takes hold of the caller, so that it can be answered from anywhere. */
public final class OpenClient implements Processor {

    @Override
    public void process(Exchange exchange) {
        // our own HTTP consumer has done it already; Camel's has not
        if (ClientStream.of(exchange) == null) {
            ClientStream.open(exchange);
        }
    }
}
