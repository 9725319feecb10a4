package io.llmchat.wire;

/** URLs that hold their data (RFC 2397), in base64. */
final class DataUrl {

    private DataUrl() {
    }

    static String of(String mediaType, String base64) {
        return "data:" + mediaType + ";base64," + base64;
    }

    /** Media type and base64 text; null if it is another URL. */
    static String[] split(String url) {
        int comma = url.indexOf(',');
        if (!url.startsWith("data:") || comma < 0 || !url.substring(0, comma).endsWith(";base64")) {
            return null;
        }
        return new String[] {url.substring(5, comma - ";base64".length()).replaceFirst(";.*", ""), url.substring(comma + 1)};
    }
}
