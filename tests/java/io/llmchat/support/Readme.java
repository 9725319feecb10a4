package io.llmchat.support;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;

/** What README.md shows, to be tried. */
public final class Readme {

    private static final Pattern BLOCK = Pattern.compile("(?s)\\n```\\w+\\n(.*?)\\n```");

    private Readme() {
    }

    /** The block of code that has this text in it. */
    public static String block(String text) throws IOException {
        return BLOCK.matcher(Files.readString(Path.of("README.md"))).results().map(m -> m.group(1) + "\n").filter(b -> b.contains(text))
                .findFirst().orElseThrow(() -> new AssertionError("README.md shows nothing with " + text));
    }
}
