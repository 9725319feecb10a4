package io.llmchat.ops;

import org.apache.camel.CamelContext;
import org.apache.camel.CamelContextAware;
import org.apache.camel.spi.PropertiesFunction;

/** {@code {{share:80:some.number}}}: so many percent of a property that is a whole number, rounded up, at least 1. */
@org.apache.camel.spi.annotations.PropertiesFunction("share")
public final class ShareFunction implements PropertiesFunction, CamelContextAware {

    private CamelContext context;

    @Override
    public String getName() {
        return "share";
    }

    @Override
    public String apply(String remainder) {
        int colon = remainder.indexOf(':');
        long percent = Long.parseLong(remainder.substring(0, colon));
        long whole = Long.parseLong(context.resolvePropertyPlaceholders("{{" + remainder.substring(colon + 1) + "}}"));
        return Long.toString(Math.max(1, Math.ceilDiv(whole * percent, 100L)));
    }

    @Override
    public CamelContext getCamelContext() {
        return context;
    }

    @Override
    public void setCamelContext(CamelContext context) {
        this.context = context;
    }
}
