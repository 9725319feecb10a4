package io.llmchat.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import org.junit.jupiter.api.Test;

class CauseTest {

    @Test
    void theInnermostCauseIsToldInOneLine() {
        assertEquals("why", Cause.of(new IllegalStateException("that", new IOException("why"))));
        assertEquals("IllegalStateException", Cause.of(new IllegalStateException()));
    }

    @Test
    void ofAFileIsToldWhatIsWrongWithIt() {
        assertEquals("NoSuchFileException: /keys.yaml", Cause.of(new NoSuchFileException("/keys.yaml")));
        assertEquals("/keys.yaml: Is a directory", Cause.of(new FileSystemException("/keys.yaml", null, "Is a directory")));
    }
}
