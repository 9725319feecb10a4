package io.llmchat.wire;

import io.llmchat.chat.Part;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

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

    /**
     * A file of a caller. Of those in base64 both OpenAI's chat completions and Anthropic take PDF alone (OpenAI, "File inputs";
     * Anthropic, "PDF support"): a text is told as one, behind its name.
     *
     * @param name or null
     * @param data media type and base64 text
     */
    static Part file(String name, String[] data) {
        if (data[0].startsWith("text/") || data[0].equals("application/json")) {
            try {
                String text = new String(Base64.getDecoder().decode(data[1]), StandardCharsets.UTF_8);
                return new Part.Text(name == null ? text : name + ":\n" + text);
            } catch (IllegalArgumentException e) {
                // whoever is asked says what is wrong with it
            }
        }
        return new Part.Document(name, null, data[0], data[1]);
    }
}
