package io.llmchat.support;

import java.lang.management.ManagementFactory;
import javax.management.JMException;
import javax.management.ObjectName;

/** Counts the objects that live in a process. */
public final class Living {

    private Living() {
    }

    /** How many of this class are left in this process after a full collection of garbage. */
    public static int objects(Class<?> type) throws JMException {
        String histogram = (String) ManagementFactory.getPlatformMBeanServer().invoke(
                new ObjectName("com.sun.management:type=DiagnosticCommand"), "gcClassHistogram", new Object[] {new String[0]},
                new String[] {String[].class.getName()});
        return objects(type, histogram);
    }

    /** How many of this class are in a histogram of a process. */
    public static int objects(Class<?> type, String histogram) {
        return histogram.lines().map(l -> l.trim().split("\\s+")).filter(l -> l.length > 3 && l[3].equals(type.getName()))
                .mapToInt(l -> Integer.parseInt(l[1])).findFirst().orElse(0);
    }
}
