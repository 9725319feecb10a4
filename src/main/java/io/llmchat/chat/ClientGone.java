package io.llmchat.chat;

/** The caller left before its answer was complete: nobody is there to be told, and it is no provider's fault. */
public class ClientGone extends ChatException {

    public ClientGone() {
        super("CLIENT_CLOSED", "The client closed the connection before the answer was complete.");
    }
}
