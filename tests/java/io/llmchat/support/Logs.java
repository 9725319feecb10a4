package io.llmchat.support;

import java.util.HashMap;
import java.util.Map;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.config.Property;

/** Everything that is logged by anybody, down to the finest level, from now until this is closed. */
public final class Logs implements AutoCloseable {

    private final StringBuffer text = new StringBuffer();
    private final LoggerContext context = (LoggerContext) LogManager.getContext(false);
    private final Map<LoggerConfig, Level> before = new HashMap<>();
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
        appender.start();
        context.getConfiguration().getRootLogger().addAppender(appender, Level.ALL, null);
        context.getConfiguration().getLoggers().values().forEach(logger -> {
            before.put(logger, logger.getLevel());
            logger.setLevel(Level.ALL);
        });
        context.updateLoggers();
    }

    public String text() {
        return text.toString();
    }

    @Override
    public void close() {
        context.getConfiguration().getRootLogger().removeAppender("test");
        before.forEach(LoggerConfig::setLevel);
        context.updateLoggers();
    }
}
