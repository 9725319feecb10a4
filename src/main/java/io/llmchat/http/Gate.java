package io.llmchat.http;

import io.llmchat.chat.ChatException;
import io.llmchat.dialect.Dialect;
import io.llmchat.ops.ChatMeters;
import io.llmchat.ops.RequestLog;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.TooLongHttpHeaderException;
import io.netty.handler.codec.http.TooLongHttpLineException;
import io.vertx.core.Handler;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpServerResponse;
import io.vertx.ext.web.Router;
import io.vertx.ext.web.RoutingContext;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What happens to every HTTP request before and after the routes: its id, its metrics, and the errors that no route
 * sees because none was reached. Runs on the event loops.
 */
public final class Gate {

    private static final Pattern REQUEST_ID = Pattern.compile("[A-Za-z0-9._-]{1,128}");
    /** A chat among what only reads: it takes as long as its answer. */
    private static final String RETRY = "/api/chat/history/{chatId}/retry";
    /** The paths of the contract; metrics know no others, so that their number stays bounded. */
    private static final List<String> PATHS = List.of("/v1/chat/completions", "/v1/models", "/v1/messages", "/v1/responses", "/v1/embeddings",
            "/api/chat/completions", RETRY, "/api/chat/history", "/api/chat/feedback", "/api/agents", "/api/keys", "/api/users", "/api/audit", "/api/loglevel", "/health", "/metrics", "other");
    private static final List<String> METHODS = List.of("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "other");

    /** Where a POST is a chat: its line in the log is written by its route. */
    static final Set<String> CHATS = Set.of("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses",
            "/v1/embeddings", "/api/chat/completions");

    /** So few, because each method, path and status has all of them, and callers choose what of it there is. */
    private static final Duration[] DURATIONS = ChatMeters.seconds(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300);

    private record Meters(Timer duration, Counter requests, Counter errors) {
    }

    private final MeterRegistry registry;
    private final Cors cors;
    private final Drain drain;
    private final RequestLog log;
    private final Map<Integer, Meters> meters = new ConcurrentHashMap<>();

    public Gate(MeterRegistry registry, Cors cors, Drain drain, RequestLog log) {
        this.registry = registry;
        this.cors = cors;
        this.drain = drain;
        this.log = log;
    }

    /** Puts the gate before a router: {@code next} is asked for it on each request, {@code errors} for its table. */
    public Handler<HttpServerRequest> before(Supplier<Router> next, Supplier<ErrorTable> errors) {
        return request -> {
            if (!isTooLate(request) && enter(request, errors)) {
                next.get().handle(request);
            }
        };
    }

    /** Whether it stood behind the last one of its connection, or its caller has left: nobody will get another answer, so nothing is done. */
    private boolean isTooLate(HttpServerRequest request) {
        return Connection.isClosed(request.connection()) || drain.isClosing() && Connection.isClosing(request.connection());
    }

    /** What is done with each request first; false if it is answered with that. */
    boolean enter(HttpServerRequest request, Supplier<ErrorTable> errors) {
        ClientStream.reused(request.connection());
        open(request);
        boolean asksOnly = cors.answers(request);
        ChatException fault = RequestHead.fault(request);
        if (asksOnly && fault == null) {
            SecurityHeaders.addTo(request.response().headers());
            request.response().setStatusCode(204).end();
            return false;
        }
        if (fault == null && !cors.refuses(request)) {
            return true;
        }
        if (fault == null) {
            fail(request, errors.get(), new ChatException("FORBIDDEN", "Pages of this origin may not call; FRONTEND_URL names those that may."));
        } else if (fault.code().equals("HEADERS_TOO_LARGE")) {
            fail(request, errors.get(), fault);
        } else {
            refuse(request, errors.get(), fault);
        }
        return false;
    }

    /** Answers what is not HTTP, and ends the connection: where the next request on it would begin nobody knows. */
    public Handler<HttpServerRequest> invalid(Supplier<ErrorTable> errors) {
        return request -> {
            if (isTooLate(request)) {
                return;
            }
            open(request);
            Throwable cause = request.decoderResult().cause();
            refuse(request, errors.get(), cause instanceof TooLongHttpLineException
                    ? new ChatException("URI_TOO_LONG", "The request line is too long.")
                    : cause instanceof TooLongHttpHeaderException
                    ? new ChatException("HEADERS_TOO_LARGE", "The request headers have more than " + RequestHead.MAX_BYTES + " bytes.")
                    : new ChatException("VALIDATION_ERROR", "The request is not valid HTTP."));
        };
    }

    /** The request gets its id, and is counted when it is answered, or left. */
    private void open(HttpServerRequest request) {
        HttpServerResponse response = request.response();
        String id = requestId(request.headers().get(ClientStream.REQUEST_ID));
        response.headers().set(ClientStream.REQUEST_ID, id);
        String name = dialect(request).requestIdHeader();
        if (name != null) {
            response.headers().set(name, id);
        }
        long started = System.nanoTime();
        response.headersEndHandler(v -> {
            if (drain.isClosing()) {
                response.headers().set("Connection", "close");
                Connection.closeAfterAnswer(request.connection());
            }
        });
        // also when the connection closes before the response is complete, which then may be ended all the same
        response.endHandler(v -> {
            HttpResponse told = response.closed() ? Connection.told(request.connection()) : null;
            if (told != null) {
                // its line goes by the id that the caller knows
                response.headers().set(ClientStream.REQUEST_ID, told.headers().get(ClientStream.REQUEST_ID));
            }
            count(request, !response.closed() ? response.getStatusCode() : told != null ? told.status().code() : RequestLog.CALLER_LEFT,
                    System.nanoTime() - started);
        });
    }

    /** The caller's id of the request, if it is one, else ours. */
    static String requestId(String given) {
        return given != null && REQUEST_ID.matcher(given).matches() ? given : Ids.next();
    }

    /** Who sends this may mean something else by what follows: it is not read. */
    private void refuse(HttpServerRequest request, ErrorTable errors, ChatException error) {
        Connection.readNoMore(request.connection());
        request.response().putHeader("Connection", "close");
        fail(request, errors, error);
        request.connection().close();
    }

    /** Answers on this router what no route answers: unknown path, wrong method, body too large, and the like. */
    public void catchErrors(Router router, Supplier<ErrorTable> errors, long maxBody) {
        on(router, errors, 404, "NOT_FOUND", "There is nothing at this path.");
        on(router, errors, 405, "METHOD_NOT_ALLOWED", "This path does not take this method.");
        on(router, errors, 413, "PAYLOAD_TOO_LARGE", "The request body has more than " + maxBody + " bytes.");
        on(router, errors, 503, "OVERLOADED", "The bodies of the requests in progress leave no memory for another one.");
        on(router, errors, 400, "VALIDATION_ERROR", "The request is not valid HTTP.");
        on(router, errors, 500, "INTERNAL_ERROR", "The gateway failed to handle this request.");
    }

    private void on(Router router, Supplier<ErrorTable> errors, int status, String code, String message) {
        router.errorHandler(status, (RoutingContext ctx) -> {
            if (status == 405) {
                ctx.response().putHeader("Allow", allowed(router, ctx.normalizedPath()));
            }
            fail(ctx.request(), errors.get(), status == 503 ? new ChatException(code, message).retryAfter(1) : new ChatException(code, message));
        });
    }

    /** The methods that a path takes (RFC 9110, section 15.5.6). */
    private static String allowed(Router router, String path) {
        return router.getRoutes().stream()
                .filter(route -> route.methods() != null && route.getPath() != null && isOne(path.split("/", -1), route.getPath().split("/", -1)))
                .flatMap(route -> route.methods().stream()).map(HttpMethod::name).distinct().sorted().collect(Collectors.joining(", "));
    }

    private static boolean isOne(String[] path, String[] pattern) {
        return Arrays.equals(path, pattern, (part, of) -> of.startsWith(":") ? 0 : part.compareTo(of));
    }

    private void fail(HttpServerRequest request, ErrorTable errors, ChatException error) {
        HttpServerResponse response = request.response();
        if (response.headWritten() || response.ended()) {
            return;
        }
        ErrorTable.Entry entry = errors.of(error.code());
        Buffer body = dialect(request).error(error, entry, response.headers().get(ClientStream.REQUEST_ID));
        SecurityHeaders.addTo(response.headers());
        if (error.retryAfterSeconds() >= 0) {
            response.putHeader("Retry-After", Integer.toString(error.retryAfterSeconds()));
        }
        response.setStatusCode(entry.status()).putHeader("Content-Type", "application/json").end(body);
        if (isChat(request)) {
            // it did not come to its route, or not to its end
            log.answered(request, entry.status(), null);
        }
    }

    static Dialect dialect(HttpServerRequest request) {
        return Dialect.of(path(request), request::getHeader);
    }

    private static String path(HttpServerRequest request) {
        return request.path() == null ? "" : RequestHead.route(request.path());
    }

    static boolean isChat(HttpServerRequest request) {
        return request.method() == HttpMethod.POST && (CHATS.contains(path(request)) || path(request).endsWith("/retry"));
    }

    private void count(HttpServerRequest request, int status, long nanos) {
        // a chat that was left while it was being sent has not come to its route
        if (!isChat(request) || request.response().closed() && !request.isEnded()) {
            log.answered(request, status, nanos);
        }
        int path = number(path(request));
        int method = METHODS.indexOf(request.method().name());
        int known = method < 0 ? METHODS.size() - 1 : method;
        Integer key = (path * METHODS.size() + known) * 1_000 + status;
        Meters m = meters.get(key);
        if (m == null) {
            m = meters.computeIfAbsent(key, k -> meters(METHODS.get(known), PATHS.get(path), status));
        }
        m.requests.increment();
        m.duration.record(Duration.ofNanos(nanos));
        if (m.errors != null) {
            m.errors.increment();
        }
    }

    private static int number(String path) {
        int last = PATHS.size() - 1;
        if (path.startsWith("/api/chat/history/") && path.endsWith("/retry")) {
            return PATHS.indexOf(RETRY);
        }
        for (int i = 0; i < last; i++) {
            if (path.startsWith(PATHS.get(i))) {
                return i;
            }
        }
        return last;
    }

    private Meters meters(String method, String path, int status) {
        String[] tags = {"method", method, "path", path, "status", Integer.toString(status)};
        return new Meters(
                Timer.builder("http.request.duration").tags(tags).serviceLevelObjectives(DURATIONS).register(registry),
                Counter.builder("http.requests").tags(tags).register(registry),
                status < 400 ? null : Counter.builder("http.request.errors").tags(tags).register(registry));
    }
}
