package io.llmchat.support;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.Property;

/** Everything that is logged by anybody, down to the finest level, from now until this is closed. */
public final class Logs implements AutoCloseable {

    private final StringBuffer text = new StringBuffer();
    private final LoggerContext context = (LoggerContext) LogManager.getContext(false);
    private final Level before;
    private final AbstractAppender appender = new AbstractAppender("test", null, null, true, Property.EMPTY_ARRAY) {
        @Override
        public void append(LogEvent event) {
            text.append(event.getLoggerName()).append(' ').append(event.getMessage().getFormattedMessage()).append('\n');
            for (Throwable e = event.getThrown(); e != null; e = e.getCause()) {
                text.append(e).append('\n');
            }
        }
    };

    public Logs() {
        var root = context.getConfiguration().getRootLogger();
        before = root.getLevel();
        appender.start();
        root.addAppender(appender, Level.ALL, null);
        root.setLevel(Level.ALL);
        context.updateLoggers();
    }

    public String text() {
        return text.toString();
    }

    @Override
    public void close() {
        var root = context.getConfiguration().getRootLogger();
        root.removeAppender("test");
        root.setLevel(before);
        context.updateLoggers();
    }
}
