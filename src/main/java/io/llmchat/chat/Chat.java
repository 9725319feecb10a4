package io.llmchat.chat;

import io.llmchat.dialect.AnswerWriter;
import io.llmchat.http.AnswerLog;
import io.llmchat.http.ClientStream;
import io.llmchat.http.Ids;
import io.llmchat.http.Memory;
import io.llmchat.json.Bytes;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.camel.Exchange;

/**
 * One chat on its way through the routes: what was asked, whom we ask, what came of it. It is the exchange property
 * {@code chat}, shared by every copy that an EIP makes of the exchange.
 *
 * <p>Changed by one thread at a time: the event loop of its client, or, where its route has to wait, one of its own. The
 * one that stores what there is of answers reads {@link #said}, {@link #outcome} and {@link #request} meanwhile.
 *
 * <p>What writes has a name of its own: of two that have one name an expression of a route would call the one that takes something.
 */
public final class Chat {

    public static final String PROPERTY = "chat";

    /** Characters; of a longer answer no more is kept, and if it breaks off, nobody is asked to repeat the beginning. */
    private static final int MAX_SAID = 1_000_000;

    private final ClientStream client;
    private final String answerId = Ids.next();
    private final long startedNanos = System.nanoTime();
    /** From when on its limits of time count. */
    private long begunNanos = startedNanos;
    private ChatRequest request;
    private AnswerWriter writer;
    private String name;
    private Target named;
    private Agent agent;
    private final Deque<Candidate> candidates = new ArrayDeque<>();
    private Target target;
    private int asked;
    private final StringBuilder attempts = new StringBuilder();
    /** Of the call at hand, and whom it asks. */
    private Usage usage;
    private Target called;
    /** Of those that began the stream which it goes on with; null: nobody did. */
    private Usage before;
    /** Of all calls before the one at hand. */
    private List<Charge> charges = List.of();
    private String finishReason;
    private String outcome;
    private ChatException failure;
    private ChatException earlierFailure;
    private String idempotencyKey;
    private byte[] heldAnswer;
    private String userId;
    private byte[] fingerprint;
    private AnswerLog log;
    private List<String> leftOut = List.of();
    private long firstTokenNanos;
    private long deadlineMillis;
    private final StringBuilder said = new StringBuilder();
    private boolean saidMore;
    private WholeAnswer whole;
    private boolean continuable = true;
    /** Whether the caller was sent a token of the call at hand. */
    private boolean begun;
    private boolean answered;
    /** Whether somebody is asked now. */
    private final AtomicBoolean asking = new AtomicBoolean();
    private boolean holds;
    private int calls;
    private long calledNanos;

    public Chat(ClientStream client) {
        this.client = client;
    }

    /**
     * The chat of this exchange.
     *
     * @throws IllegalStateException if there is none, which names the step at hand: an edited route runs it too early
     */
    public static Chat of(Exchange exchange) {
        Chat chat = orNull(exchange);
        if (chat == null) {
            throw new IllegalStateException("The step at " + exchange.getExchangeExtension().getHistoryNodeSource()
                    + " needs the chat, and nothing has read it: in the route of the request 'process: {ref: readChat}' has to come before it.");
        }
        return chat;
    }

    /** The chat of this exchange, or null: its request was not read, or is none. */
    public static Chat orNull(Exchange exchange) {
        return exchange.getProperty(PROPERTY, Chat.class);
    }

    public ClientStream client() {
        return client;
    }

    /** Our name for the answer. */
    public String answerId() {
        return answerId;
    }

    /** What of the request the provider was not told because it does not know it. */
    public List<String> leftOut() {
        return leftOut;
    }

    public void setLeftOut(List<String> names) {
        this.leftOut = names;
    }

    /** Null until it was read. */
    public ChatRequest request() {
        return request;
    }

    public void setRequest(ChatRequest request, AnswerWriter writer) {
        this.request = request;
        this.writer = writer;
    }

    /** Null until the request was read. */
    public AnswerWriter writer() {
        return writer;
    }

    /** What is asked for: an agent's id or {@code <provider>/<model>}; the request's, or the default. */
    public String name() {
        return name;
    }

    /** The model that is asked for; null: it is an agent. */
    public Target named() {
        return named;
    }

    public void setName(String name) {
        this.name = name;
        this.named = Target.parse(name);
    }

    /** The agent that is asked for; null: it is a model, or was not found yet. */
    public Agent agent() {
        return agent;
    }

    public void setAgent(Agent agent) {
        this.agent = agent;
    }

    /** Whom to ask, the first first. */
    public void candidates(List<Candidate> targets) {
        candidates.clear();
        candidates.addAll(targets);
    }

    /** Takes the next candidate as the one to ask now; it is not asked a second time, however often it is a candidate. */
    public boolean nextCandidate() {
        if (candidates.isEmpty()) {
            return false;
        }
        earlierFailure = failure != null ? failure : earlierFailure;
        failure = null;
        target = candidates.poll().target();
        candidates.removeIf(c -> c.target().equals(target));
        asked = 0;
        return true;
    }

    /** Whom the next candidate is; null if there is none, or it is not known yet. */
    public Target nextTarget() {
        return candidates.isEmpty() ? null : candidates.peek().target();
    }

    /** How many are left to ask. */
    public int candidatesLeft() {
        return candidates.size();
    }

    /** Of those left, only the ones for longer prompts are asked. */
    public void onlyLarger() {
        candidates.removeIf(c -> !c.larger());
    }

    /** How often the target was asked. */
    public int asked() {
        return asked;
    }

    public void setAsked(int times) {
        this.asked = times;
    }

    /**
     * A call of the target begins: what an earlier one has told of its end is over, and of its usage what the caller is
     * told, if the caller got nothing of it.
     */
    public void calling() {
        finishReason = null;
        charges = charges();
        if (begun && client.committed()) {
            before = usage();
        }
        begun = false;
        called = target;
        usage = null;
    }

    /**
     * A route asks this provider. Where it is another one's turn, or nobody's yet, it is asked for the model of the same
     * name. Nothing changes while somebody is asked, or behind an answer.
     */
    public void turnTo(String provider) {
        if (!answered && !asking.get()) {
            turn(provider);
        }
    }

    private void turn(String provider) {
        Target other = target != null ? target : agent != null ? agent.target() : named;
        if (other == null) {
            throw new IllegalStateException("The provider '" + provider + "' is asked before it is known for which model (direct:enrich).");
        }
        target = other.provider().equals(provider) ? other : new Target(provider, other.model());
    }

    /** This provider is to be asked; false: it is not, as there is an answer, or somebody else is asked now. Safe for all threads. */
    public boolean beginAsking(String provider) {
        if (answered || !asking.compareAndSet(false, true)) {
            return false;
        }
        turn(provider);
        return true;
    }

    /** Whoever was asked has brought an answer, or none. */
    public void endAsking() {
        asking.set(false);
    }

    /** A call is over, which took so long. */
    public void called(long nanos) {
        calls++;
        calledNanos += nanos;
    }

    /** How many calls of providers there were. */
    public int calls() {
        return calls;
    }

    /** How long all of them took. */
    public long calledNanos() {
        return calledNanos;
    }

    /** Whom we ask now, or asked last; null before the first. */
    public Target target() {
        return target;
    }

    /** Notes what came of one call, for {@code X-LLMChat-Attempts}. */
    public void attempted(String result) {
        if (attempts.length() > 0) {
            attempts.append(',');
        }
        attempts.append(target.provider()).append('=').append(result);
    }

    /** Whose chat it is. */
    public String userId() {
        return userId;
    }

    public void setUserId(String user) {
        this.userId = user;
    }

    /** SHA-256 of the request body: what makes two requests the same. */
    public byte[] fingerprint() {
        if (fingerprint == null) {
            setFingerprint(request.body());
        }
        return fingerprint;
    }

    /** The caller has sent this, and the request is made of it. */
    public void setFingerprint(byte[] sent) {
        fingerprint = Bytes.sha256(sent);
    }

    /** Whether its route waits for a store before the answer or after it, so that it must not run on an event loop. */
    public boolean waits() {
        return idempotencyKey != null || request.chatId() != null || request.resumable();
    }

    /** Where the answer is kept while it is made; null: nowhere, nobody else can want it. */
    public AnswerLog log() {
        return log;
    }

    public void setLog(AnswerLog answer) {
        this.log = answer;
        client.record(answer);
    }

    public String attempts() {
        return attempts.toString();
    }

    /** A provider has answered: nobody else is asked. */
    public void answered() {
        candidates.clear();
        failure = null;
        answered = true;
        outcome = "completed";
    }

    /** Whether a provider has answered in full. */
    public boolean isAnswered() {
        return answered;
    }

    /** It has waited for an answer that nobody made: what it waited leaves its own answer no less time. */
    public void beginAgain() {
        begunNanos = System.nanoTime();
    }

    /** How long the caller waits, from when on he is answered: for the first token of a stream, or for the whole answer. */
    public void deadline(long millis) {
        deadlineMillis = millis;
    }

    /** How much of that is left; for ever once a stream has begun. */
    public long millisLeft() {
        return client.committed() ? Long.MAX_VALUE : deadlineMillis - answeringNanos() / 1_000_000;
    }

    /** Notes what of an answer the caller was sent. */
    public void sent(ChatEvent event) {
        begun |= event.token();
        if (event.toolCall() || event.otherChoice() || said.length() > MAX_SAID) {
            continuable = false;
        }
        if (event.content() != null && !event.otherChoice()) {
            say(event.content());
        }
        for (AnswerPart part : event.parts()) {
            if (part instanceof AnswerPart.Refusal refusal && refusal.choice() == 0) {
                say(refusal.text());
            }
        }
    }

    private void say(String text) {
        if (said.length() > MAX_SAID) {
            saidMore = true;
            return;
        }
        // what there is of it is stored now and then by another thread
        synchronized (said) {
            said.append(text);
        }
    }

    /** The text that the caller has got of a stream. */
    public String said() {
        synchronized (said) {
            return said.toString();
        }
    }

    /** Notes an answer in one piece. */
    public void whole(WholeAnswer answer) {
        whole = answer;
    }

    /** The text of the answer, streamed or not. */
    public String text() {
        return whole == null ? said() : whole.text();
    }

    /** Whether that is all of it: of a stream without end only the beginning is kept. */
    public boolean isTextWhole() {
        return whole != null || !saidMore;
    }

    /** Whether somebody else can go on where a provider broke off: there is text, and text only, of the one answer that is asked for, and time. */
    public boolean isContinuable() {
        return continuable && request.choices() == 1;
    }

    /** The time for the whole of it is over, or it is as long as it may be: nobody else goes on. */
    public void tooLate() {
        continuable = false;
    }

    /** Why the last call brought no answer, or null if it brought one. */
    public ChatException failure() {
        return failure;
    }

    public void setFailure(ChatException failure) {
        this.failure = failure;
    }

    /** Why the candidates before this one brought no answer: the last of the reasons, or null. */
    public ChatException earlierFailure() {
        return earlierFailure;
    }

    /** What all calls have used whose answers the caller got, or null. */
    public Usage usage() {
        return before == null ? usage : usage == null ? before : before.plus(usage);
    }

    /** What each of all calls has used of whom, the first first, as far as that is known. */
    public List<Charge> charges() {
        // nobody is paid for counting
        if (usage == null || request.operation() == Operation.COUNT_TOKENS) {
            return charges;
        }
        Charge last = new Charge(called, usage);
        if (charges.isEmpty()) {
            return List.of(last);
        }
        List<Charge> all = new ArrayList<>(charges);
        all.add(last);
        return all;
    }

    /** Whose tokens the last ones are: who has answered, or was to; where nobody has used any, whom we asked last. Null before the first. */
    public Target usedLast() {
        List<Charge> all = charges();
        return all.isEmpty() ? target : all.getLast().target();
    }

    /** What the call at hand has used, or null. */
    public Usage callUsage() {
        return usage;
    }

    /** Notes what the call at hand has used; null: nothing new is known. */
    public void setUsage(Usage usage) {
        if (usage != null) {
            this.usage = usage;
        }
    }

    public String finishReason() {
        return finishReason;
    }

    public void setFinishReason(String finishReason) {
        this.finishReason = finishReason;
    }

    /** How it ended: {@code completed}, or the code of the error. */
    public String outcome() {
        return outcome;
    }

    public void setOutcome(String outcome) {
        this.outcome = outcome;
    }

    /** Under which key the answer is kept for a repeated request; null: it is not. */
    public String idempotencyKey() {
        return idempotencyKey;
    }

    public void setIdempotencyKey(String key) {
        this.idempotencyKey = key;
        this.holds = true;
    }

    /**
     * Something must be stored before the client sees the end: the relay leaves the whole answer, or the end of a stream,
     * in {@link #heldAnswer()}.
     */
    public void hold() {
        holds = true;
    }

    /** Whether something must be stored before the client sees the end. */
    public boolean holds() {
        return holds;
    }

    /** What the client gets once it is stored; null: nothing. */
    public byte[] heldAnswer() {
        return heldAnswer;
    }

    /** Has it, and its place in memory; null: it waits no longer. */
    public void setHeldAnswer(byte[] answer) {
        if (answer != null) {
            Memory.holdAnswer(answer.length);
        }
        if (heldAnswer != null) {
            Memory.giveAnswer(heldAnswer.length);
        }
        heldAnswer = answer;
    }

    /** The call at hand has brought its first token. */
    public void firstToken() {
        if (firstTokenNanos == 0) {
            firstTokenNanos = System.nanoTime();
        }
    }

    /** Milliseconds to the first token, or null if there was none. */
    public Long firstTokenMillis() {
        return firstTokenNanos == 0 ? null : (firstTokenNanos - begunNanos) / 1_000_000;
    }

    public long durationMillis() {
        return durationNanos() / 1_000_000;
    }

    public long durationNanos() {
        return System.nanoTime() - startedNanos;
    }

    /** The same without what it has waited for an answer that nobody made. */
    public long answeringNanos() {
        return System.nanoTime() - begunNanos;
    }
}
