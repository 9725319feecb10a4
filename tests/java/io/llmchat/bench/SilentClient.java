package io.llmchat.bench;

import io.llmchat.http.ClientStream;
import io.vertx.core.Future;
import io.vertx.core.MultiMap;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpServerResponse;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import org.apache.camel.CamelContext;
import org.apache.camel.Exchange;
import org.apache.camel.component.platform.http.vertx.HttpMessage;
import org.apache.camel.support.DefaultExchange;

/** The caller's end of a request without a connection: it takes everything, at once, and keeps its headers only. */
public final class SilentClient {

    private SilentClient() {
    }

    /** To be called on the event loop that it is to be on, or, where nothing is streamed, anywhere. */
    public static ClientStream open(CamelContext camel, String path) {
        MultiMap headers = MultiMap.caseInsensitiveMultiMap();
        HttpServerRequest request = of(HttpServerRequest.class, (self, method, args) -> method.getName().equals("path") ? path : null);
        HttpServerResponse response = of(HttpServerResponse.class, (self, method, args) -> switch (method.getName()) {
            case "headers" -> headers;
            case "putHeader" -> {
                headers.set((CharSequence) args[0], (CharSequence) args[1]);
                yield self;
            }
            case "write", "end" -> Future.succeededFuture();
            case "closed", "ended", "headWritten", "writeQueueFull" -> false;
            default -> self;
        });
        Exchange exchange = new DefaultExchange(camel);
        exchange.setIn(new HttpMessage(exchange, request, response));
        return ClientStream.open(exchange);
    }

    private static <T> T of(Class<T> type, InvocationHandler calls) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, calls));
    }
}
