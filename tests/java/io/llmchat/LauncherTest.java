package io.llmchat;

import static io.llmchat.support.GatewayProcess.freePort;
import static io.llmchat.support.GatewayProcess.readTo;
import static io.llmchat.support.TestGateway.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llmchat.support.GatewayProcess;
import io.llmchat.support.TestGateway;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.Deflater;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What {@code ./llmchat train} leaves for {@code ./llmchat start}: with it the gateway starts sooner, without it it starts. */
@Timeout(value = 15, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class LauncherTest {

    private static final Path CLASSES = Path.of("target/classes");

    @TempDir
    Path folder;
    private Path home;
    private Path jar;
    private Path caches;

    /** The gateway as a build leaves it, with its launcher, in a folder of its own. */
    @BeforeEach
    void build() throws IOException {
        home = Files.createDirectory(folder.resolve("R&D"));
        Files.copy(Path.of("llmchat"), home.resolve("llmchat"));
        jar = home.resolve("target/llmchat.jar");
        caches = home.resolve("target/aot");
        Files.createDirectories(home.resolve("target/lib"));
        Files.createDirectories(home.resolve("target/classes/io"));
        for (String part : System.getProperty("java.class.path").split(":")) {
            if (part.endsWith(".jar")) {
                Path from = Path.of(part).toAbsolutePath();
                Files.createSymbolicLink(home.resolve("target/lib").resolve(from.getFileName()), from);
            }
        }
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().put(Attributes.Name.CLASS_PATH,
                files(home.resolve("target/lib")).stream().map(f -> "lib/" + f.getFileName()).collect(Collectors.joining(" ")));
        try (OutputStream file = Files.newOutputStream(jar); JarOutputStream out = new JarOutputStream(file, manifest);
                Stream<Path> all = Files.walk(CLASSES)) {
            // as the build does
            out.setLevel(Deflater.NO_COMPRESSION);
            for (Path each : all.filter(p -> !p.equals(CLASSES) && !p.endsWith("META-INF/MANIFEST.MF")).toList()) {
                out.putNextEntry(new JarEntry(CLASSES.relativize(each) + (Files.isDirectory(each) ? "/" : "")));
                if (Files.isRegularFile(each)) {
                    Files.copy(each, out);
                }
            }
        }
    }

    @Test
    void whatTheJvmLearntIsUsedUntilTheJarIsAnotherOneAndIsNeverInTheWay() throws Exception {
        assumeTrue(Runtime.version().feature() >= 25, "earlier ones have no such cache");
        Files.createDirectories(caches);
        Files.writeString(caches.resolve("1.aot"), "of an earlier jar");
        List<String> before = trainings();
        assertEquals(List.of("Teaching the JVM to start faster (half a minute, once after each build) ..."), train());
        List<Path> learnt = caches();
        assertEquals(1, learnt.size(), () -> learnt + " " + log());
        assertFalse(learnt.contains(caches.resolve("1.aot")));
        List<String> left = new ArrayList<>(trainings());
        left.removeAll(before);
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(240);
        while (trainings().stream().anyMatch(left::contains)) {
            // those of another process are there until its training is over
            assertTrue(System.nanoTime() < end, "its stores are there still: " + left);
            Thread.sleep(100);
        }
        assertEquals(List.of(), train(), "once is enough");

        assertEquals("shared objects file", start(Map.of()), "the cache is used");

        Map<String, String> stores = GatewayProcess.sharedStores();
        byte[] good = Files.readAllBytes(learnt.get(0));
        Files.write(learnt.get(0), java.util.Arrays.copyOf(good, good.length / 2));
        assertEquals("jar", start(stores), "half a cache is none");
        Files.writeString(learnt.get(0), "something else");
        assertEquals("jar", start(stores), "nor is another file");

        Files.write(learnt.get(0), good);
        Files.setLastModifiedTime(jar, FileTime.fromMillis(Files.getLastModifiedTime(jar).toMillis() + 60_000));
        assertEquals("jar", start(stores), "nor is that of another jar");
    }

    @Test
    void whereTheJvmCannotLearnItIsSaidAndNothingIsLeft() throws Exception {
        assumeTrue(Runtime.version().feature() >= 25, "earlier ones have no such cache");
        Files.writeString(jar, "no jar");
        List<String> said = train();
        assertEquals(2, said.size(), said::toString);
        assertEquals("  It did not learn; " + caches.resolve("training.log") + " says why. The gateway starts all the same, only later."
                + " ./llmchat train tries again.", said.get(1));
        assertTrue(caches().stream().noneMatch(f -> f.toString().endsWith(".aot")), () -> caches.toString());
        Files.createFile(home.resolve("target/built"));
        assertEquals("Built.", said(0, Map.of(), "build"), "it is not tried at each build");
        assertEquals(said, train(), "but by who wants it");
    }

    /** A Java of our own: what it does in a training run, and what in place of the gateway. */
    private Map<String, String> java(String version, String trains, String serves) throws IOException {
        Path jdk = home.resolve("jdk");
        script(jdk.resolve("bin/java"), "case \" $* \" in *TrainingRun*) " + trains + " ;; *) " + serves + " ;; esac");
        script(jdk.resolve("bin/javac"), "");
        Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
        return Map.of("JAVA_HOME", jdk.toString());
    }

    private static final String LEARNS = "for a; do case $a in -XX:AOTCacheOutput=*) : >\"${a#*=}\" ;; esac; done";

    private static void script(Path file, String text) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/bin/bash\n" + text + "\n");
        assertTrue(file.toFile().setExecutable(true));
    }

    private Map<String, String> withMaven(Map<String, String> settings, String text) throws IOException {
        script(home.resolve("bin/mvn"), text);
        Map<String, String> all = new HashMap<>(settings);
        all.put("PATH", home.resolve("bin") + ":" + System.getenv("PATH"));
        return all;
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "INT"})
    void whoEndsItWhileItTeachesTheJvmStartsNothingAndLeavesNothing(String signal) throws Exception {
        Files.createFile(home.resolve("target/built"));
        Map<String, String> java = java("99", "trap 'echo >\"" + home + "/ended\"; exit 130' TERM INT; echo >\"" + home
                + "/begun\"; while [ -d \"" + home + "\" ]; do sleep 0.1; done", "echo >\"" + home + "/served\"");
        ProcessBuilder run = new ProcessBuilder("setsid", "env", "--default-signal=INT", home.resolve("llmchat").toString(), "run");
        run.environment().putAll(java);
        Process launched = run.start();
        until("it teaches", () -> Files.exists(home.resolve("begun")));
        // a terminal tells all of them
        String whom = (signal.equals("INT") ? "-" : "") + launched.pid();
        assertEquals(0, new ProcessBuilder("kill", "-" + signal, "--", whom).start().waitFor());
        assertTrue(launched.waitFor(30, TimeUnit.SECONDS));
        assertEquals(130, launched.exitValue());
        assertTrue(Files.exists(home.resolve("ended")), "what the JVM has started it ends first");
        assertFalse(Files.exists(home.resolve("served")));
        assertEquals(List.of(), caches());
    }

    @Test
    void oneAtATimeBuilds() throws Exception {
        Map<String, String> settings = withMaven(java("99", LEARNS + "; env >>\"" + home + "/trainings\"", "ls -l /proc/$$/fd >\"" + home + "/files\""),
                "echo >>\"" + home + "/builds\"; while [ -d \"" + home + "\" ] && [ ! -f \"" + home + "/go\" ]; do sleep 0.1; done; mkdir -p \"" + home + "/target/classes/io\"");
        Path old = Files.createFile(home.resolve("target/classes/Old.class"));
        Process first = launch("run", settings);
        until("it builds", () -> Files.exists(home.resolve("builds")));
        Process second = launch("run", settings);
        readTo(second, "Another ./llmchat is building; waiting for its end ...");
        Files.createFile(home.resolve("go"));
        for (Process each : List.of(first, second)) {
            assertTrue(each.waitFor(60, TimeUnit.SECONDS));
            assertEquals(0, each.exitValue());
        }
        assertEquals(1, Files.readAllLines(home.resolve("builds")).size());
        List<String> training = Files.readAllLines(home.resolve("trainings"));
        assertEquals(1, training.stream().filter("LC_ALL=C.UTF-8"::equals).count(), training::toString);
        assertFalse(Files.exists(old), "what is in the sources no more is forgotten");
        assertFalse(Files.readString(home.resolve("files")).contains(home + "/llmchat\n"), "the gateway does not go on to build");
    }

    @Test
    void aBuildThatFailsSaysSo() throws Exception {
        assertEquals("The build failed; all of its output is in " + home.resolve("target/build.log") + ".", said(1, withMaven(java("99", "", ""), "exit 1"), "build"));
    }

    @Test
    void whatCannotBeUsedIsTold() throws Exception {
        for (String heap : List.of("512", "1.5g", "0m", "m")) {
            assertEquals("LLMCHAT_HEAP is '" + heap + "'; it takes a whole number with k, m or g, such as 512m.", said(2, Map.of("LLMCHAT_HEAP", heap), "start"));
        }
        String old = java("17.0.1", "", "").get("JAVA_HOME");
        for (String jdk : List.of(old, "/nowhere", "")) {
            for (String command : List.of("start", "train")) {
                assertEquals("JAVA_HOME is '" + jdk + "'; it takes the folder of a Java of version 21 or later.", said(1, Map.of("JAVA_HOME", jdk), command));
            }
        }
        assertEquals("The gateway runs on Linux, and this is darwin23. deploy/compose.yaml runs it in containers.", said(1, Map.of("OSTYPE", "darwin23"), "run"));
        assertEquals("routes export takes the name of a folder, and this one is empty.", said(1, Map.of(), "routes", "export", ""));
        for (String command : List.of("test cluster jbang", "run --port", "start 3002", "build --quick", "train again", "routes export --force",
                "routes export --force " + home, "routes export " + home + "/new --forse")) {
            assertEquals("Settings are environment variables; docs/settings.md lists them.", said(2, Map.of(), command.split(" ")));
        }
        Files.delete(jar);
        for (String command : List.of("start", "train")) {
            assertEquals("Nothing is built yet: ./llmchat build does that.", said(1, Map.of(), command));
        }
    }

    /** The last line of what it says before it ends with this code. */
    private String said(int code, Map<String, String> settings, String... command) throws Exception {
        Process launched = launch(Path.of("").toAbsolutePath(), List.of(command), settings);
        List<String> said = launched.inputReader().lines().toList();
        assertEquals(code, launched.waitFor(), said::toString);
        return said.getLast();
    }

    @Test
    void aPathInASettingIsRelativeToWhereTheUserIs() throws Exception {
        Path here = Files.createDirectory(home.resolve("here"));
        TestGateway.copyServer(here.resolve("stores"));
        Process gateway = launch(here, List.of("start"), Map.of("KEYS_FILE", "keys.yaml", "DATA_DIR", "stores"));
        List<String> said = gateway.inputReader().lines().toList();
        assertTrue(gateway.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, gateway.exitValue());
        assertTrue(said.stream().anyMatch(l -> l.contains(here.resolve("keys.yaml") + " cannot be read")), said::toString);
        assertTrue(Files.isDirectory(here.resolve("stores/postgres/data")), said::toString);
    }

    @Test
    void routesThatAreExportedCanBeUsedAndAreNotOverwrittenUnasked() throws Exception {
        Files.createDirectories(home.resolve("src/main/resources"));
        Files.createSymbolicLink(home.resolve("src/main/resources/routes"), Path.of("src/main/resources/routes").toAbsolutePath());
        Files.createSymbolicLink(home.resolve("kamelets"), Path.of("kamelets").toAbsolutePath());
        Files.createFile(home.resolve("target/built"));
        String to = home.resolve("my own/routes").toString();
        String done = "The routes are in " + to + ". ROUTES_DIR=" + to + " ./llmchat run puts to work what is saved there.";
        assertEquals(done, said(0, Map.of(), "routes", "export", to));
        Path edited = home.resolve("my own/routes/chat.camel.yaml");
        String text = Files.readString(edited) + "# edited\n";
        Files.writeString(edited, text);
        assertEquals("The routes in " + to + " can be used.", said(0, Map.of(), "routes", "check", to));
        assertEquals(to + " is not empty. Choose another folder, or add --force to overwrite the files in it that have the same names.",
                said(1, Map.of(), "routes", "export", to));
        assertEquals(text, Files.readString(edited));
        assertEquals(done, said(0, Map.of(), "routes", "export", to, "--force"));
        for (String each : List.of("chat.camel.yaml", "providers/openai.camel.yaml", "providers/mapped.camel.yaml.example")) {
            assertEquals(Files.readString(Path.of("src/main/resources/routes", each)), Files.readString(Path.of(to, each)));
        }
        assertEquals(5, files(Path.of(to, "kamelets")).size());
    }

    /** As it is for services that have no home. */
    @Test
    void nothingElseIsNeededToFindTheJdk() throws Exception {
        Files.createFile(home.resolve("target/built"));
        String said = check(System.getProperty("java.home"), System.getenv("PATH"));
        assertTrue(said.startsWith("There are no route files"), said);
    }

    @Test
    void whatHasChangedIsBuiltOnceAndNotIntoTheJarOfAGatewayThatRuns() throws Exception {
        Path maven = home.resolve("bin/mvn");
        Path builds = home.resolve("builds");
        // as where the classes come out the same: the jar is not written
        script(maven, "echo >>\"" + builds + "\"\nmkdir -p \"" + home.resolve("target/classes/io") + "\"");
        Path source = Files.createFile(home.resolve("pom.xml"));
        Path running = Files.createLink(home.resolve("running.jar"), jar);
        FileTime made = Files.getLastModifiedTime(jar);
        String jdk = java("99", "", "echo checked").get("JAVA_HOME");
        for (int build = 1; build <= 2; build++) {
            assertEquals("checked", check(jdk, maven.getParent() + ":" + System.getenv("PATH")));
            assertEquals("checked", check(jdk, maven.getParent() + ":" + System.getenv("PATH")));
            assertEquals(build, Files.readAllLines(builds).size());
            Files.setLastModifiedTime(source, FileTime.from(Instant.now()));
        }
        assertFalse(Files.isSameFile(running, jar));
        assertEquals(made, Files.getLastModifiedTime(jar), "what the JVM learnt is of this jar still");
    }

    /** The last line of what it says with these settings alone. */
    private String check(String jdk, String path) throws IOException {
        Process check = new ProcessBuilder("env", "-i", "PATH=" + path, "JAVA_HOME=" + jdk,
                home.resolve("llmchat").toString(), "routes", "check", home.toString()).redirectErrorStream(true).start();
        return check.inputReader().lines().toList().getLast();
    }

    /** Runs a command of the launcher with a Maven that writes its environment where its output goes, and does nothing. */
    private void withoutMaven(String... command) throws Exception {
        Process launched = launch(Path.of("").toAbsolutePath(), List.of(command), withMaven(Map.of("DB_HOST", "203.0.113.1", "ADMIN_API_KEY", "of-the-user",
                "LOG_FORMAT", "json", "JAVA_OPTS", "-XX:NoSuchFlag", "OTEL_TRACES_SAMPLER", "always_off"), "env"));
        launched.inputReader().lines().forEach(l -> { });
        launched.waitFor();
    }

    @Test
    void testsSeeNoSettingsOfTheUsers() throws Exception {
        Files.copy(Path.of("application.properties"), home.resolve("application.properties"));
        Files.createDirectories(home.resolve("src/main/resources"));
        Files.copy(Path.of("src/main/resources/log4j2.properties"), home.resolve("src/main/resources/log4j2.properties"));
        withoutMaven("test");
        List<String> seen = Files.readAllLines(home.resolve("target/test.log"));
        assertTrue(seen.stream().anyMatch(l -> l.startsWith("JAVA_HOME=")), seen::toString);
        assertTrue(seen.stream().noneMatch(l -> l.matches("(DB_HOST|ADMIN_API_KEY|LOG_FORMAT|DATA_DIR|JAVA_OPTS|OTEL_.*)=.*")), seen::toString);
    }

    @Test
    void nginxIsFoundWhereOnlyRootLooks() throws Exception {
        Files.copy(Path.of("application.properties"), home.resolve("application.properties"));
        withoutMaven("test", "cluster");
        assertTrue(Files.readAllLines(home.resolve("target/test.log")).stream().anyMatch(l -> l.matches("PATH=.*:/usr/sbin")));
    }

    @Test
    void whatATestRunThatWasEndedEarlyHasRemovedIsBuiltAgain() throws Exception {
        Files.writeString(home.resolve("target/bench.classpath"), "parts");
        withoutMaven("test");
        withoutMaven("bench");
        assertTrue(Files.exists(home.resolve("target/build.log")), "the gateway");
        assertTrue(Files.exists(home.resolve("target/bench.log")), "the benchmarks");
    }

    private Process launch(String command, Map<String, String> settings) throws IOException {
        return launch(Path.of("").toAbsolutePath(), List.of(command), settings);
    }

    private Process launch(Path from, List<String> command, Map<String, String> settings) throws IOException {
        ProcessBuilder launcher = new ProcessBuilder(home.resolve("llmchat").toString()).directory(from.toFile());
        launcher.command().addAll(command);
        launcher.environment().putAll(Map.of("JAVA_HOME", System.getProperty("java.home"), "DATA_DIR", home.resolve("data").toString(), "DRAIN_DELAY", "0"));
        launcher.environment().putAll(settings);
        return launcher.redirectErrorStream(true).start();
    }

    private List<String> train() throws Exception {
        // a user's own settings, which must not matter
        Process training = launch("train", Map.of("DB_HOST", "203.0.113.1", "PORT", "none", "JAVA_OPTS", "-XX:NoSuchFlag"));
        List<String> said = training.inputReader().lines().toList();
        assertTrue(training.waitFor(240, TimeUnit.SECONDS));
        assertEquals(0, training.exitValue(), said::toString);
        return said;
    }

    /** Where the gateway had its own classes from when it served; it had no complaints. */
    private String start(Map<String, String> stores) throws Exception {
        Path loaded = home.resolve("loaded.log");
        Map<String, String> settings = new HashMap<>(stores);
        settings.putAll(Map.of("PORT", Integer.toString(freePort()), "JAVA_OPTS", "-Xlog:class+load:file=" + loaded + ":none"));
        Process gateway = launch("start", settings);
        try {
            List<String> said = readTo(gateway, "curl -N");
            assertTrue(said.stream().allMatch(l -> l.isEmpty() || l.startsWith("LLMChat gateway is ready") || l.contains(" INFO ") || l.equals("Try it:")
                    || l.contains("curl -N")), said::toString);
        } finally {
            gateway.destroy();
            assertTrue(gateway.waitFor(30, TimeUnit.SECONDS));
        }
        String line = Files.readAllLines(loaded).stream().filter(l -> l.startsWith("io.llmchat.host.Gateway source: ")).findFirst().orElseThrow();
        return line.endsWith("llmchat.jar") ? "jar" : line.substring(line.indexOf(": ") + 2);
    }

    private List<Path> caches() throws IOException {
        return files(caches).stream().filter(f -> !f.endsWith("training.log")).toList();
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.sorted().toList();
        }
    }

    /** What training runs have left where temporary files are. */
    private static List<String> trainings() throws IOException {
        return files(Path.of(System.getProperty("java.io.tmpdir"))).stream().map(f -> f.getFileName().toString())
                .filter(f -> f.startsWith("llmchat-training")).toList();
    }

    private String log() {
        try {
            return Files.readString(caches.resolve("training.log"));
        } catch (IOException e) {
            return e.toString();
        }
    }
}
