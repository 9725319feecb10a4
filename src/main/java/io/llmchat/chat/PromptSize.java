package io.llmchat.chat;

import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

/** How much text a request is for a model. */
public final class PromptSize {

    /** An image of any size is some thousand tokens: as many as a text of so many bytes. */
    private static final int FILE = 4_000;
    /** What stands before the base64 of a file: a member that only files have. In a text its quotation marks are escaped. */
    private static final Pattern MEMBER = Pattern.compile("\"(?:url|image_url|file_data|data)\"\\s*:\\s*\"(?:data:[^\"]*,)?\\z");
    private static final int MEMBER_LENGTH = 200;

    private PromptSize() {
    }

    /**
     * The bytes of a request in JSON, where a file that it holds in base64 counts as 4,000. Of what is no base64 it looks at
     * few bytes only.
     */
    public static long of(byte[] json) {
        long size = json.length;
        int from = 0;
        while (from + FILE < json.length) {
            // from the end, because the first byte that is not of a file tells that none is before it
            int at = from + FILE;
            while (at >= from && isBase64(json, at)) {
                at--;
            }
            if (at >= from) {
                from = at + 1;
                continue;
            }
            int to = from + FILE + 1;
            while (to < json.length && isBase64(json, to)) {
                to++;
            }
            if (isFile(json, from)) {
                size -= to - from - FILE;
            }
            from = to;
        }
        return size;
    }

    /** By the alphabets of RFC 4648, sections 4 and 5; some write a slash with a backslash before it. */
    private static boolean isBase64(byte[] json, int at) {
        byte b = json[at];
        return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '/' && b <= '9' || b == '+' || b == '-' || b == '_' || b == '='
                || b == '\\' && at + 1 < json.length && json[at + 1] == '/';
    }

    private static boolean isFile(byte[] json, int from) {
        int before = Math.max(0, from - MEMBER_LENGTH);
        return MEMBER.matcher(new String(json, before, from - before, StandardCharsets.ISO_8859_1)).find();
    }
}
