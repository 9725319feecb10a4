package io.llmchat.llm;

import io.netty.handler.codec.http.HttpHeaders;

/** One call of a provider, seen from the relay. All calls, in both directions, are made on the client's context. */
public interface Upstream {

    /** Takes what comes of the call, in this order, until its end or failure. */
    interface Receiver {
        /** The headers are gone after this call. */
        void head(int status, HttpHeaders headers);

        /** The next bytes of the body, which are the receiver's from now on. */
        void data(byte[] bytes);

        void end();

        /** The call broke: it could not connect, or was reset or cut. */
        void broken(Throwable cause);
    }

    void start(Receiver receiver);

    /** Whether the provider was told the request: what comes of it is paid for. */
    boolean sent();

    /** Asks for no more data until {@link #resume()}. */
    void pause();

    void resume();

    /** All that matters was received: the connection may be used again as soon as the response ends. */
    void release();

    /** Ends the call and closes its connection; nothing is received any more. Harmless after the end. */
    void abort();
}
