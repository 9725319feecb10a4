package io.llmchat.json;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonStreamContext;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.TreeNode;
import com.fasterxml.jackson.core.io.JsonStringEncoder;
import com.fasterxml.jackson.core.util.JsonRecyclerPools;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.vertx.core.buffer.Buffer;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;

/** The one JSON reader and writer: UTF-8 only, at most 64 levels deep, numbers kept as they are written. */
public final class Json {

    private static final int MAX_DEPTH = 64;

    /** Names, values and brackets of which a tree is made at most: each can take some 60 bytes, whatever it takes as text. */
    public static final int MAX_TOKENS = 300_000;

    /** What is read, for those who have sent more. */
    public static final String BOUNDS = "at most " + MAX_DEPTH + " levels, " + MAX_TOKENS
            + " names, values and brackets, numbers of 1000 and names of 50000 characters";

    /** Makes parsers over byte arrays for those who only look; always UTF-8, as RFC 8259 section 8.1 asks. */
    public static final JsonFactory FACTORY = factory(Long.MAX_VALUE);

    /** Its own parsers end at {@link #MAX_TOKENS}. */
    public static final ObjectMapper MAPPER = new JsonMapper.Builder(new Trees(factory(MAX_TOKENS)))
            .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES)
            .findAndAddModules()
            .build();

    private static final DateTimeFormatter TIME = new DateTimeFormatterBuilder().appendInstant(3).toFormatter();

    private Json() {
    }

    /** A number whose exponent is too large: what is JSON all the same, but nothing that Java has room for. */
    public static final class NumberTooLarge extends JsonProcessingException {
        private static final long serialVersionUID = 1L;

        private NumberTooLarge(NumberFormatException cause) {
            super(cause.getMessage(), cause);
        }
    }

    /** Fails at such a number as at all else that it cannot read; Jackson lets Java's own exception through. */
    private static final class Trees extends JsonMapper {
        private static final long serialVersionUID = 1L;

        private Trees(JsonFactory factory) {
            super(factory);
        }

        @Override
        public <T extends TreeNode> T readTree(JsonParser p) throws IOException {
            try {
                return super.readTree(p);
            } catch (NumberFormatException e) {
                throw new NumberTooLarge(e);
            }
        }

        @Override
        protected JsonNode _readTreeAndClose(JsonParser p) throws IOException {
            try {
                return super._readTreeAndClose(p);
            } catch (NumberFormatException e) {
                throw new NumberTooLarge(e);
            }
        }
    }

    private static JsonFactory factory(long maxTokens) {
        return JsonFactory.builder()
                .disable(JsonFactory.Feature.CHARSET_DETECTION)
                .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                // whoever has to wait has a thread of his own, which ends with his request: buffers kept per thread would be used once
                .recyclerPool(JsonRecyclerPools.sharedConcurrentDequePool())
                .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH)
                        .maxStringLength(Integer.MAX_VALUE).maxTokenCount(maxTokens).build())
                .build();
    }

    /**
     * Reads a whole document.
     *
     * @throws IOException if it is not JSON, or has too many tokens
     */
    public static JsonNode read(byte[] bytes) throws IOException {
        return MAPPER.readTree(bytes);
    }

    /** Reads a document, or a part of one, that has been read before: of any number of tokens. */
    public static JsonNode readAgain(byte[] bytes, int from, int to) throws IOException {
        try (JsonParser p = FACTORY.createParser(bytes, from, to - from)) {
            return MAPPER.readTree(p);
        }
    }

    /**
     * A parser that refuses an object in which a name stands twice; {@link #duplicate} tells which.
     *
     * @param tree whether a tree may be made of it, or of a part: it ends at {@link #MAX_TOKENS}
     * @throws CharacterCodingException if it is not UTF-8: Jackson reads characters that are longer than they need be, and
     *         halves of characters, which others read in another way, or not at all
     */
    public static JsonParser strict(byte[] bytes, boolean tree) throws IOException {
        if (!Bytes.areUtf8(bytes)) {
            throw new CharacterCodingException();
        }
        return (tree ? MAPPER.getFactory() : FACTORY).createParser(bytes).enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);
    }

    /** The path of the name that a {@link #strict} parser found twice, such as {@code messages[0].role}; null: it was something else. */
    public static String duplicate(JsonProcessingException e) {
        if (!e.getOriginalMessage().startsWith("Duplicate field") || !(e.getProcessor() instanceof JsonParser p)) {
            return null;
        }
        StringBuilder path = new StringBuilder();
        for (JsonStreamContext at = p.getParsingContext(); at != null && !at.inRoot(); at = at.getParent()) {
            path.insert(0, at.inArray() ? "[" + at.getCurrentIndex() + "]" : "." + at.getCurrentName());
        }
        return path.substring(1);
    }

    /** Writes any value that Jackson knows. */
    public static byte[] write(Object value) {
        try {
            return MAPPER.writeValueAsBytes(value);
        } catch (IOException e) {
            throw new IllegalArgumentException("not expressible in JSON: " + value.getClass(), e);
        }
    }

    /** Appends {@code text} as a JSON string, quotes included. */
    public static Buffer quote(Buffer out, String text) {
        if (isPlain(text)) {
            int n = text.length();
            byte[] quoted = new byte[n + 2];
            quoted[0] = '"';
            quoted[n + 1] = '"';
            for (int i = 0; i < n; i++) {
                quoted[i + 1] = (byte) text.charAt(i);
            }
            return out.appendBytes(quoted);
        }
        return out.appendBytes(write(text));
    }

    /** The same for text that is built. */
    public static void quote(StringBuilder out, String text) {
        out.append('"');
        if (isPlain(text)) {
            out.append(text);
        } else {
            JsonStringEncoder.getInstance().quoteAsString(text, out);
        }
        out.append('"');
    }

    private static boolean isPlain(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
                return false;
            }
        }
        return true;
    }

    /** The time of day in UTC, always with milliseconds, as PostgreSQL tells those that it keeps: {@code 2026-01-31T12:00:00.123Z}. */
    public static String now() {
        return TIME.format(Instant.now());
    }

    /** The bytes of ASCII or other text. */
    public static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
