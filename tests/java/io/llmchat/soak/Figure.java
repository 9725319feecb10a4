package io.llmchat.soak;

/** What of the gateway is measured: each must stay as it is while the load does. */
enum Figure {

    HEAP("heap after collection, MB", 3),
    METASPACE("metaspace, MB", 2),
    /** Of some 11,000; what fails rarely brings its classes when it first does. A version of the routes that stays has hundreds. */
    CLASSES("classes", 150),
    CONTEXTS("Camel contexts", 1),
    THREADS("platform threads", 6),
    FILES("file descriptors", 25),
    /** Netty's buffers are in it: it makes them by {@code ByteBuffer.allocateDirect}, in chunks of 4 MB. */
    DIRECT("direct memory, MB", 8),
    RESIDENT("resident memory, MB", 16),
    STREAMS("streams in progress", 20),
    CALLERS("connections of callers", 25),
    PROVIDERS("connections to providers", 25);

    private final String title;
    private final double tolerance;

    /** @param tolerance growth from the first measurement after the warm-up to the last that is not worth a thought */
    Figure(String title, double tolerance) {
        this.title = title;
        this.tolerance = tolerance;
    }

    String title() {
        return title;
    }

    double tolerance() {
        return tolerance;
    }
}
