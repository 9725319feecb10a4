package io.llmchat.step;

import io.llmchat.chat.Chat;
import io.llmchat.chat.ChatException;
import io.llmchat.chat.ChatRequest;
import io.llmchat.dialect.Dialect;
import io.llmchat.http.ClientStream;
import io.llmchat.http.Ids;
import io.llmchat.json.Bytes;
import io.vertx.core.buffer.Buffer;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.support.DefaultMessage;

/** Reads the request body in the caller's dialect and starts the {@link Chat}, or goes on with one that has started. */
public final class ReadChat implements Processor {

    /** The exchange property with the session of this chat: what its owner calls it, then its id; absent: it has none. */
    public static final String CHAT_ID = "chatId";

    /** The exchange property with what the caller has sent, where the request is made of it; absent: the request itself. */
    static final String FINGERPRINT_OF = "fingerprintOf";

    /** The exchange property that says whether this session may begin with this chat. */
    private static final String MAY_BEGIN = "mayBegin";

    /** The exchange property with the id that this session has if it begins with this chat. */
    private static final String NEW_ID = "newId";

    @Override
    public void process(Exchange exchange) {
        ClientStream client = ClientStream.of(exchange);
        Chat chat = Chat.orNull(exchange);
        if (chat == null) {
            chat = new Chat(client);
            exchange.setProperty(Chat.PROPERTY, chat);
            chat.setUserId(exchange.getProperty(Authenticate.USER_ID, "anonymous", String.class));
            if (exchange.getProperty(FINGERPRINT_OF) instanceof Buffer sent) {
                chat.setFingerprint(sent.getBytes());
            }
        }
        // a step before this one may have put another body in the place of what was sent
        byte[] body = exchange.getMessage().getBody() instanceof Buffer sent ? Bytes.of(sent) : exchange.getMessage().getBody(byte[].class);
        if (body == null || body.length == 0) {
            throw ChatException.invalid("body", "The request body is missing: send a JSON object.");
        }
        Dialect dialect = client.dialect();
        ChatRequest request = dialect.read(body, name -> header(client, name));
        String named = request.chatId();
        String chatId = named == null && dialect.sessions() ? Ids.next() : named;
        chat.setRequest(request.in(chatId), dialect.writer(request, new Dialect.Names(client.requestId(), chat.answerId(), chatId)));
        if (chatId != null) {
            exchange.setProperty(CHAT_ID, chatId);
            // where every chat is in a session, we name them; elsewhere the caller does
            exchange.setProperty(MAY_BEGIN, named == null || !dialect.sessions());
            exchange.setProperty(NEW_ID, named == null ? chatId : Ids.next());
        }
        // what was read is in the chat: whoever copies the exchange from here on has little to copy
        exchange.setMessage(new DefaultMessage(exchange.getContext()));
    }

    /** A header; several lines of a list are the same as one with commas (RFC 9110, 5.3). */
    private static String header(ClientStream client, String name) {
        return name.equals("anthropic-beta") && client.requestHeader(name) != null
                ? String.join(", ", client.request().headers().getAll(name)) : client.requestHeader(name);
    }
}
