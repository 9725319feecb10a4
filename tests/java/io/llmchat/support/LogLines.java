package io.llmchat.support;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.Layout;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.OutputStreamAppender;
import org.apache.logging.log4j.core.config.Configurator;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.layout.PatternLayout;
import org.apache.logging.log4j.layout.template.json.JsonTemplateLayout;

/** What is logged while this is open, in the text of the message or in the JSON of {@code LOG_FORMAT=json}. */
public final class LogLines implements AutoCloseable {

    private final LoggerContext context = (LoggerContext) LogManager.getContext(false);
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final LoggerConfig root = context.getConfiguration().getRootLogger();
    private final Map<LoggerConfig, Level> before = new HashMap<>();
    private final OutputStreamAppender appender;

    private LogLines(String name, Layout<?> layout) {
        appender = OutputStreamAppender.newBuilder().setName(name).setLayout(layout).setTarget(out).setImmediateFlush(true).build();
        appender.start();
        root.addAppender(appender, null, null);
    }

    public static LogLines text() {
        return new LogLines("text-of-a-test", PatternLayout.newBuilder().withPattern("%p %c - %m%n").build());
    }

    /** The same, of anybody, down to the finest level. */
    public static LogLines all() {
        LogLines all = text();
        all.context.getConfiguration().getLoggers().values().forEach(logger -> {
            all.before.put(logger, logger.getLevel());
            logger.setLevel(Level.ALL);
        });
        all.context.updateLoggers();
        return all;
    }

    public static LogLines json() {
        LoggerContext context = (LoggerContext) LogManager.getContext(false);
        return new LogLines("json-of-a-test", JsonTemplateLayout.newBuilder().setConfiguration(context.getConfiguration())
                .setEventTemplateUri("classpath:log-ecs.json").build());
    }

    /** All lines that contain this. */
    public List<String> with(String text) {
        return out.toString(StandardCharsets.UTF_8).lines().filter(l -> l.contains(text)).toList();
    }

    /** Everything of the gateway is logged at this level again. */
    public static void reset() {
        Configurator.setLevel("io.llmchat.requests", (Level) null);
        Configurator.setLevel("io.llmchat", Level.INFO);
    }

    @Override
    public void close() {
        root.removeAppender(appender.getName());
        appender.stop();
        before.forEach(LoggerConfig::setLevel);
        context.updateLoggers();
    }
}
