package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.http.ClientStream;
import io.vertx.core.buffer.Buffer;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.DefaultMessage;

/** Reads the request body in the caller's dialect and starts the {@link Chat}. */
public final class ReadChat implements Processor {

    @Override
    public void process(Exchange exchange) {
        ClientStream client = ClientStream.of(exchange);
        Chat chat = new Chat(client);
        exchange.setProperty(Chat.PROPERTY, chat);
        if (!(exchange.getMessage().getBody() instanceof Buffer body) || body.length() == 0) {
            throw ChatException.invalid("body", "The request body is missing: send a JSON object.");
        }
        ChatRequest request = client.dialect().read(body.getBytes());
        chat.request(request, client.dialect().writer(request, client.requestId()));
        // the EIPs below copy the exchange: without the HTTP message and its headers that costs little
        exchange.setMessage(new DefaultMessage(exchange.getContext()));
    }
}
