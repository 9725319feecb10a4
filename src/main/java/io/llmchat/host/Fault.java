package io.llmchat.host;

/**
 * What is wrong with the route files.
 *
 * @param file as its editor knows it; null: none in particular
 * @param line the first is 1; 0: none in particular
 */
public record Fault(String file, int line, String reason) {

    /** Camel's reasons may show an address with a provider's key in it. */
    public Fault {
        reason = reason.replaceAll("(?s)RAW[({](.*[)}]|.*)", "RAW(***)");
    }

    /** {@code file:line: reason}, as compilers say it. */
    @Override
    public String toString() {
        return (file == null ? "" : file + ":" + (line == 0 ? "" : line + ":") + " ") + reason;
    }
}
