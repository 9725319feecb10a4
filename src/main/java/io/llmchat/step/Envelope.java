package io.llmchat.step;

import io.llmchat.dialect.NativeDialect;
import io.llmchat.http.ClientStream;
import io.llmchat.json.Json;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;

/** Puts the message body, which is JSON text or nothing, into the envelope of the native dialect. */
public final class Envelope implements Processor {

    private final String code;
    private final int status;

    /** @param code what the envelope says: OK or CREATED */
    public Envelope(String code) {
        this.code = code;
        this.status = code.equals("CREATED") ? 201 : 200;
    }

    @Override
    public void process(Exchange exchange) {
        String data = exchange.getMessage().getBody(String.class);
        exchange.getMessage().setBody(NativeDialect.envelope(code, Json.utf8(data == null ? "null" : data),
                ClientStream.of(exchange).requestId()).getBytes());
        exchange.getMessage().setHeader(Exchange.HTTP_RESPONSE_CODE, status);
        exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
    }
}
