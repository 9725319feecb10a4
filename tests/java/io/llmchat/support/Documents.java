package io.llmchat.support;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** What README.md and the documents show, to be tried. */
public final class Documents {

    private static final Pattern BLOCK = Pattern.compile("(?s)\\n```\\w+\\n(.*?)\\n```");

    private Documents() {
    }

    /** The block of code that has this text in it. */
    public static String block(String text) throws IOException {
        for (String file : List.of("README.md", "docs/limits.md")) {
            Optional<String> block = BLOCK.matcher(Files.readString(Path.of(file))).results().map(m -> m.group(1) + "\n").filter(b -> b.contains(text))
                    .findFirst();
            if (block.isPresent()) {
                return block.get();
            }
        }
        throw new AssertionError("The documents show nothing with " + text);
    }
}
