package io.llmchat;

import io.llmchat.host.Gateway;
import io.llmchat.host.RoutesRefused;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import sun.misc.Signal;

/**
 * Says what is wrong with a folder of route files, without serving: everything but the HTTP server is started, with
 * stores of its own that are thrown away.
 */
public final class CheckRoutes {

    private CheckRoutes() {
    }

    /**
     * Takes the folder; exits with 1 if its files cannot be used, and says where and why. Who interrupts it waits for its
     * end, for half a store cannot be stopped; who does so twice does not.
     */
    public static void main(String[] args) throws IOException {
        Path data = Files.createTempDirectory("llmchat-check");
        AtomicBoolean interrupted = new AtomicBoolean();
        for (String signal : List.of("TERM", "INT", "HUP")) {
            Signal.handle(new Signal(signal), s -> {
                if (interrupted.getAndSet(true)) {
                    Runtime.getRuntime().halt(130);
                }
            });
        }
        int code = 0;
        try {
            new Gateway(Map.of("llmchat.routes.dir", args[0], "llmchat.store.data-dir", data.toString(),
                    "llmchat.postgres.host", "", "llmchat.redis.host", "")).check();
            System.out.println("The routes in " + args[0] + " can be used.");
        } catch (RoutesRefused e) {
            System.out.println(e.getMessage());
            code = 1;
        } catch (Exception e) {
            System.out.println("The routes could not be checked: " + e.getMessage());
            code = 1;
        } finally {
            TrainingRun.delete(data);
        }
        System.exit(interrupted.get() ? 130 : code);
    }
}
