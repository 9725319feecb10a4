package io.llmchat.chat;

/**
 * Somebody who may be asked.
 *
 * @param weight among neighbours that have one: how likely it is asked before them; 0: it keeps its place
 * @param larger whether it takes longer prompts than those before it
 */
public record Candidate(Target target, double weight, boolean larger) {
}
