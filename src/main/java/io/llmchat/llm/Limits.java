package io.llmchat.llm;

/**
 * How long and how large an answer may be. Times in milliseconds, sizes in bytes.
 *
 * @param firstToken from the call to the first token of a stream
 * @param idle between two tokens
 * @param stream for a whole stream
 * @param heartbeat silence towards the client after which it gets a comment line
 */
record Limits(long firstToken, long idle, long stream, long heartbeat, int maxAnswer, int maxEvent) {
}
