package io.llmchat.deploy;

import static io.llmchat.support.TestGateway.chat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.llmchat.support.Answer;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.RouteFolder;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The same route files, run by the Camel CLI: they answer, and what is edited is what happens. */
@Tag("jbang")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class JbangTest {

    @TempDir
    Path temp;

    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final int port;
    private String adminKey = "";

    JbangTest() throws IOException {
        port = GatewayProcess.freePort();
    }

    private Answer ask(boolean stream) throws Exception {
        return new Answer(client.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/v1/chat/completions"))
                .header("Authorization", "Bearer " + adminKey).POST(HttpRequest.BodyPublishers.ofString(chat("demo", stream))).build(), HttpResponse.BodyHandlers.ofString()));
    }

    private void until(String what, Process cli, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (true) {
            try {
                if (holds.call()) {
                    return;
                }
            } catch (IOException e) {
                // it does not listen yet
            }
            assertTrue(cli.isAlive() && System.nanoTime() < end, "did not happen: " + what + "\n" + Files.readString(log()));
            Thread.sleep(50);
        }
    }

    private Path log() {
        return temp.resolve("log");
    }

    @Test
    void aSettingThatCannotBeUsedIsTold() throws Exception {
        ProcessBuilder command = new ProcessBuilder("./llmchat", "jbang");
        command.environment().putAll(Map.of("REQUEST_TIMEOUT", "soon", "DATA_DIR", temp.resolve("data").toString(), "JAVA_HOME", System.getProperty("java.home")));
        Process cli = command.redirectErrorStream(true).start();
        GatewayProcess.readTo(cli, "REQUEST_TIMEOUT is 'soon'; it takes a whole number from 1 to 3600000.");
        assertTrue(cli.waitFor(30, TimeUnit.SECONDS));
    }

    @Test
    void itAnswersStreamsTakesEditsAndLeavesNothingBehind() throws Exception {
        RouteFolder routes = RouteFolder.in(temp.resolve("routes"));
        // whatever a file is called
        Files.move(routes.folder().resolve("admit.camel.yaml"), routes.folder().resolve("before.camel.yaml"));
        // the folder has beans of its own
        routes.edit("beans.camel.yaml", "- {name: readChat,", "- {name: readTheChat, type: io.llmchat.step.ReadChat}\n    - {name: readChat,");
        routes.edit("chat.camel.yaml", "ref: readChat", "ref: readTheChat");
        ProcessBuilder command = new ProcessBuilder("./llmchat", "jbang", "--dev");
        command.environment().put("PORT", Integer.toString(port));
        command.environment().put("DATA_DIR", temp.resolve("data").toString());
        command.environment().put("ROUTES_DIR", routes.folder().toString());
        command.environment().put("JAVA_HOME", System.getProperty("java.home"));
        command.environment().put("AUTH_MODE", "keys");
        Process cli = command.redirectErrorStream(true).redirectOutput(log().toFile()).start();
        try {
            until("it shows its admin key", cli, () -> Files.readString(log()).contains("not shown again: "));
            adminKey = Files.readString(log()).replaceAll("(?s).*not shown again: (\\S+).*", "$1");
            until("it answers", cli, () -> ask(false).status() == 200);
            Answer stream = ask(true);
            assertEquals(1, stream.ends());
            assertTrue(stream.text().startsWith("This is the built-in demo provider"));
            assertEquals("", stream.header("x-edited"));

            until("the CLI watches the folder", cli, () -> Files.readString(log()).contains("Live route reloading enabled"));
            routes.edit("chat.camel.yaml", "        - to: direct:admit\n", """
                    - setProperty:
                        name: edited
                        expression:
                          simple: {expression: "${exchangeProperty.client.header('X-Edited', 'yes')}"}
                    - to: direct:admit
            """.indent(0));
            until("the edited route answers", cli, () -> ask(false).header("x-edited").equals("yes"));
            assertEquals(1, ask(true).ends());
        } finally {
            cli.destroy();
            assertTrue(cli.waitFor(30, TimeUnit.SECONDS));
        }
        assertFalse(Files.exists(temp.resolve("data/postgres/data/postmaster.pid")), "PostgreSQL was stopped");
        assertFalse(Files.exists(temp.resolve("data/redis/redis.pid")), "Redis was stopped");
    }
}
