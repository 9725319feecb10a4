package io.llmchat.llm;

import io.netty.handler.codec.http.HttpHeaderValidationUtil;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Where a provider is, and how requests to it begin.
 *
 * @param host a name or an address, one of IPv6 in brackets
 */
record ProviderAddress(boolean ssl, String host, int port) {

    /**
     * The bytes of a POST up to its length, which follows, then an empty line and the body.
     *
     * @param target path and query, encoded
     * @throws IllegalArgumentException if one of these cannot be said in a request, or would say something else
     */
    byte[] post(String target, Map<String, String> headers) {
        if (target.chars().anyMatch(c -> c <= ' ' || c == 127)) {
            throw new IllegalArgumentException("'" + target + "' is no path of a URL");
        }
        StringBuilder head = new StringBuilder("POST ").append(target.startsWith("/") ? "" : "/")
                // as bytes of UTF-8, one character each
                .append(new String(target.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1)).append(" HTTP/1.1\r\nHost: ").append(host);
        if (port != (ssl ? 443 : 80)) {
            head.append(':').append(port);
        }
        head.append("\r\n");
        headers.forEach((name, value) -> {
            if (name.isEmpty() || HttpHeaderValidationUtil.validateToken(name) >= 0
                    || value.chars().anyMatch(c -> c < ' ' && c != '\t' || c == 127 || c > 255)) {
                // the value may be a key
                throw new IllegalArgumentException("a header cannot be named '" + name + "', or cannot have that value");
            }
            head.append(name).append(": ").append(value).append("\r\n");
        });
        return head.append("Content-Length: ").toString().getBytes(StandardCharsets.ISO_8859_1);
    }
}
