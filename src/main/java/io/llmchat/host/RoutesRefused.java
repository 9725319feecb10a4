package io.llmchat.host;

/** The route files cannot be used. */
public final class RoutesRefused extends Exception {

    private final transient Fault fault;

    RoutesRefused(Fault fault, Throwable cause) {
        super(fault.toString(), cause);
        this.fault = fault;
    }

    public Fault fault() {
        return fault;
    }
}
