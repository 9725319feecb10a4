package io.llmchat.bench;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;

/**
 * What is sent, and how often. A closed loop ({@code rate} 0) keeps that many connections busy, each sends when it has
 * its answer; an open one sends when a request is due, whatever became of the ones before.
 *
 * @param requests whole HTTP requests, sent in turn
 * @param connections of an open loop: at most so many; what is due beyond waits, and the waiting counts
 * @param rate requests a second; 0: a closed loop
 * @param warmUp at the beginning, not measured
 * @param length how long requests are sent after that
 * @param grace how long answers may still take then
 * @param events that an answer must have, {@code [DONE]} included; 0: answers in one piece
 */
record Load(InetSocketAddress to, List<byte[]> requests, int connections, double rate, Duration warmUp, Duration length, Duration grace, int events) {
}
