package io.llmchat.http;

import io.llmchat.chat.ChatException;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.util.AsciiString;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpVersion;
import java.util.regex.Pattern;

/**
 * What is refused in a request head though the parser lets it pass, because somebody before us could read it in
 * another way: paths that say the same as another path (RFC 3986 section 6.2.2), a body in any coding but
 * {@code chunked} (RFC 9112 section 6.1), one that is compressed, one that has no length (of drafts of WebSocket before RFC 6455,
 * by which the codec goes: eight bytes of what follows), a second {@code Host}, or none (section 3.2), a header without a name.
 */
final class RequestHead {

    static final int MAX_BYTES = 16_384;
    /** What somebody before us could unpack; who says {@code utf-8} there means something else. */
    private static final Pattern COMPRESSED = Pattern.compile("gzip|deflate|compress|zstd|\\bbr\\b", Pattern.CASE_INSENSITIVE);

    private RequestHead() {
    }

    /** Why the request is refused, or null. Length and content of the body are no part of this. */
    static ChatException fault(HttpServerRequest request) {
        String path = path(request.uri());
        if (path != null) {
            return new ChatException("VALIDATION_ERROR", path);
        }
        String coding = request.headers().get(io.vertx.core.http.HttpHeaders.TRANSFER_ENCODING);
        if (coding != null && !coding.equalsIgnoreCase("chunked")) {
            return new ChatException("VALIDATION_ERROR", "Transfer-Encoding takes chunked only.");
        }
        String content = request.headers().get(io.vertx.core.http.HttpHeaders.CONTENT_ENCODING);
        if (content != null && COMPRESSED.matcher(content).find()) {
            return new ChatException("VALIDATION_ERROR", "Content-Encoding takes identity only: bodies are sent as they are, and not compressed.");
        }
        if (request.headers().contains(HttpHeaderNames.SEC_WEBSOCKET_KEY1)) {
            return new ChatException("VALIDATION_ERROR", "Sec-WebSocket-Key1 is of a protocol that is not spoken here.");
        }
        return headers(request);
    }

    /** The path of a request target as routes go by it: without its query, and without a slash at its end. */
    static String route(String target) {
        int end = target.indexOf('?') < 0 ? target.length() : target.indexOf('?');
        return target.substring(0, end > 0 && target.charAt(end - 1) == '/' ? end - 1 : end);
    }

    private static ChatException headers(HttpServerRequest request) {
        int bytes = 0;
        int hosts = 0;
        boolean nameless = false;
        // as they came, without a text made of each
        var each = ((HttpHeaders) request.headers()).iteratorCharSequence();
        while (each.hasNext()) {
            var header = each.next();
            CharSequence name = header.getKey();
            bytes += name.length() + header.getValue().length();
            nameless |= name.isEmpty();
            hosts += name.length() == 4 && AsciiString.contentEqualsIgnoreCase(name, "host") ? 1 : 0;
        }
        if (bytes > MAX_BYTES) {
            return new ChatException("HEADERS_TOO_LARGE", "The request headers have more than " + MAX_BYTES + " bytes.");
        }
        return nameless ? new ChatException("VALIDATION_ERROR", "A request header has no name.")
                : hosts > 1 ? new ChatException("VALIDATION_ERROR", "The request has more than one Host.")
                : hosts == 0 && request.version() == HttpVersion.HTTP_1_1 ? new ChatException("VALIDATION_ERROR", "The request has no Host.") : null;
    }

    /** What is wrong with the path of a request target, or null. */
    static String path(String target) {
        int n = target.length();
        if (n == 0 || target.charAt(0) != '/') {
            return "The request target must be a path.";
        }
        int segment = 1;
        int i = 1;
        for (; i < n && target.charAt(i) != '?'; i++) {
            char c = target.charAt(i);
            if (c <= ' ' || c >= 0x7f || c == '\\' || c == '#') {
                return "The path has a character that must be percent-encoded.";
            }
            if (c == '%' && !harmless(target, i + 1)) {
                return "The path has a percent-encoding that is none, or of a control character, or of a character that needs none.";
            }
            if (c == '/') {
                if (dots(target, segment, i) || segment == i) {
                    return "The path has an empty segment, or one of dots only.";
                }
                segment = i + 1;
            }
        }
        return dots(target, segment, i) ? "The path has an empty segment, or one of dots only." : null;
    }

    private static boolean harmless(String path, int at) {
        int code = at + 2 > path.length() ? -1 : Character.digit(path.charAt(at), 16) << 4 | Character.digit(path.charAt(at + 1), 16);
        // RFC 3986, section 6.2.2.2: an unreserved character that is encoded is the character itself
        return code >= ' ' && code != 0x7f && !(code < 0x7f && Character.isLetterOrDigit(code)) && "-._~".indexOf(code) < 0;
    }

    private static boolean dots(String path, int from, int to) {
        return to - from == 1 && path.charAt(from) == '.'
                || to - from == 2 && path.charAt(from) == '.' && path.charAt(from + 1) == '.';
    }
}
