package io.llmchat.ops;

import org.apache.camel.CamelContext;
import org.apache.camel.NamedNode;
import org.apache.camel.Route;
import org.apache.camel.component.micrometer.routepolicy.MicrometerRoutePolicy;
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
        if (!enabled) {
            return null;
        }
        MicrometerRoutePolicy times = new MicrometerRoutePolicy(this) {
            @Override
            public void onRemove(Route removed) {
                // its meters stay: the next version of the route has the same ones
            }
        };
        times.setMeterRegistry(getMeterRegistry());
        return times;
    }
}
