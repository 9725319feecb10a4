package io.llmchat;

import io.llmchat.host.Gateway;
import io.llmchat.host.RoutesRefused;
import io.llmchat.ops.Cause;
import io.llmchat.ops.EarlyCollection;
import io.llmchat.ops.LogOutput;
import io.llmchat.step.Authenticate;
import java.net.BindException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.logging.log4j.LogManager;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.bridge.SLF4JBridgeHandler;
import sun.misc.Signal;

/**
 * Starts the gateway with the settings of the environment and runs until it is told to stop. SIGTERM lets what runs come
 * to its end; so does SIGINT, without the time for load balancers to notice; a second one ends it at once.
 */
public final class Main {

    private Main() {
    }

    /** Exits with 2 if a setting cannot be used, with 1 if it does not start. */
    public static void main(String[] args) {
        long started = System.nanoTime();
        LogOutput.install();
        // what libraries say through java.util.logging is in the log too, not beside it
        SLF4JBridgeHandler.removeHandlersForRootLogger();
        SLF4JBridgeHandler.install();
        List<String> faults = Settings.faults(System.getenv());
        if (!faults.isEmpty()) {
            faults.forEach(System.err::println);
            System.exit(2);
        }
        Gateway gateway = new Gateway(Map.of());
        CountDownLatch begun = new CountDownLatch(1);
        endWhenTold(gateway, begun);
        try {
            gateway.start();
        } catch (BindException e) {
            fail("Cannot listen on " + setting("HOST", "127.0.0.1") + ":" + setting("PORT", "3001")
                    + ": " + e.getMessage() + (e.getMessage().contains("in use") ? ". Choose another PORT, or stop what uses it."
                            : ". HOST takes an address of this machine, and PORT one that is allowed."));
        } catch (RoutesRefused e) {
            fail(e.getMessage());
        } catch (Throwable e) {
            LoggerFactory.getLogger(Main.class).debug("The start failed", e);
            fail("The gateway does not start: " + Cause.of(e));
        }
        begun.countDown();
        EarlyCollection.begin();
        welcome(gateway, (System.nanoTime() - started) / 1_000_000);
    }

    /** @param begun until then it starts; who tells it to end meanwhile is heard after that, so that no store is left behind */
    private static void endWhenTold(Gateway gateway, CountDownLatch begun) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            gateway.stop();
            LogManager.shutdown();
        }, "stop"));
        AtomicBoolean ending = new AtomicBoolean();
        for (String signal : List.of("TERM", "INT")) {
            Signal.handle(new Signal(signal), s -> {
                boolean serves = begun.getCount() == 0;
                if (ending.getAndSet(true)) {
                    if (!serves) {
                        // it waits for something that may never come
                        Runtime.getRuntime().halt(1);
                    }
                    gateway.hurry();
                    return;
                }
                Thread.ofPlatform().name("drain").start(() -> {
                    try {
                        begun.await();
                        gateway.drain(serves && signal.equals("TERM"));
                        // before the exit, at which the library of the embedded Redis ends it, beside our hook
                        gateway.stop();
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    } finally {
                        System.exit(0);
                    }
                });
            });
        }
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static void fail(String why) {
        System.err.println(why);
        LogManager.shutdown();
        System.exit(1);
    }

    private static void welcome(Gateway gateway, long millis) {
        String host = gateway.property("llmchat.http.host");
        String url = "http://" + (host.contains(":") ? "[" + host + "]" : host) + ":" + gateway.port();
        Authenticate access = gateway.bean(Authenticate.class);
        String adminKey = access.generatedAdminKey();
        String ready = "LLMChat gateway is ready at " + url + " (after " + millis + " ms).";
        String key = "Its admin key, made for this run and not shown again: " + adminKey;
        if (setting("LOG_FORMAT", "text").equals("json")) {
            Logger log = LoggerFactory.getLogger(Main.class);
            log.info(ready);
            if (adminKey != null) {
                // at no LOG_LEVEL it is missing
                log.error(key);
            }
            return;
        }
        System.out.println();
        System.out.println(ready + " Ctrl-C stops it.");
        if (adminKey != null) {
            System.out.println(key);
        }
        System.out.println("Try it:");
        System.out.println("  curl -N " + url + "/v1/chat/completions -H 'Content-Type: application/json'"
                + (adminKey != null ? " -H 'Authorization: Bearer " + adminKey + "'"
                : access.needsKey() ? " -H \"Authorization: Bearer $ADMIN_API_KEY\"" : "")
                + " -d '{\"model\":\"demo\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'");
        System.out.println();
    }
}
