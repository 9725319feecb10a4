package io.llmchat.ops;

import org.apache.camel.CamelContext;
import org.apache.camel.NamedNode;
import org.apache.camel.component.micrometer.routepolicy.MicrometerRoutePolicyFactory;
import org.apache.camel.spi.RoutePolicy;

/** How often each route runs and how long it takes, as Camel measures it; nothing unless enabled, because it costs on each route. */
public final class RouteTimes extends MicrometerRoutePolicyFactory {

    private boolean enabled;

    public void setEnabled(boolean enabled) {
        this.enabled = enabled;
    }

    @Override
    public RoutePolicy createRoutePolicy(CamelContext context, String routeId, NamedNode route) {
        return enabled ? super.createRoutePolicy(context, routeId, route) : null;
    }
}
