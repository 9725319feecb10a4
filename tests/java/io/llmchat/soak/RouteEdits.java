package io.llmchat.soak;

import io.llmchat.support.RouteFolder;
import io.llmchat.support.TestGateway;

/** Edits route files while the gateway serves: a step, a provider that comes and goes, and now and then what cannot be used. */
final class RouteEdits {

    private static final String LOADED = "llmchat_routes_reloads_total{result=\"loaded\"}";
    private static final String REFUSED = "llmchat_routes_reloads_total{result=\"refused\"}";
    private static final String EXTRA = "providers/extra.camel.yaml";

    private static final String KAMELET = "kamelets/openai-chat-action.kamelet.yaml";

    private final RouteFolder routes;
    private final SoakedGateway gateway;
    private final String admit;
    private final String chat;
    private final String extra;
    private final String kamelet;
    private int edits;

    RouteEdits(RouteFolder routes, SoakedGateway gateway) throws Exception {
        this.routes = routes;
        this.gateway = gateway;
        admit = routes.read("admit.camel.yaml");
        chat = routes.read("chat.camel.yaml");
        kamelet = routes.read(KAMELET);
        extra = routes.read("providers/openai.camel.yaml").replace("provider-openai", "provider-extra").replace("id: openai", "id: extra")
                .replace("provider: openai", "provider: extra");
    }

    /** Makes the next edit, and waits until it serves; each fifth one comes after one that is refused. */
    void next() throws Exception {
        edits++;
        switch (edits % 5) {
            case 0 -> {
                refused("admit.camel.yaml", admit.replace("ref: caller", "ref: nobody"));
                loaded("admit.camel.yaml", admit + "# " + edits + "\n");
            }
            case 1 -> loaded(EXTRA, extra);
            case 2 -> loaded("chat.camel.yaml", chat.replace("        - to: direct:admit\n", """
                            - setProperty:
                                name: edited
                                expression:
                                  simple: {expression: "${exchangeProperty.client.header('X-Edited', '%d')}"}
                            - to: direct:admit
                    """.formatted(edits)));
            case 3 -> loaded(EXTRA, null);
            default -> loaded(KAMELET, kamelet + "# " + edits + "\n");
        }
    }

    private void loaded(String file, String text) throws Exception {
        counted(LOADED, file, text);
    }

    private void refused(String file, String text) throws Exception {
        counted(REFUSED, file, text);
    }

    private void counted(String metric, String file, String text) throws Exception {
        double before = gateway.metric(metric);
        if (text == null) {
            routes.delete(file);
        } else {
            routes.save(file, text);
        }
        TestGateway.until("edit " + edits + ", of " + file + ", adds one to " + metric, () -> gateway.metric(metric) == before + 1);
    }
}
