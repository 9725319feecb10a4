package io.llmchat.soak;

import com.sun.management.GarbageCollectorMXBean;
import com.sun.management.GcInfo;
import com.sun.management.UnixOperatingSystemMXBean;
import com.sun.tools.attach.VirtualMachine;
import io.llmchat.support.FakeProvider;
import io.llmchat.support.GatewayProcess;
import io.llmchat.support.Living;
import java.io.IOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.lang.management.PlatformManagedObject;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;
import org.apache.camel.impl.DefaultCamelContext;

/** The built gateway as the launcher starts it, on a free port, with stores of its own, and what can be seen of it from outside. */
final class SoakedGateway implements AutoCloseable {

    static final String ADMIN = "the-admin-key-of-the-soak";

    private static final double MB = 1 << 20;
    private static final List<String> FULL_COLLECTORS = List.of("MarkSweepCompact", "PS MarkSweep", "G1 Old Generation");

    private final int port = GatewayProcess.freePort();
    /** Its one connection is the only one that is open when nothing is asked. */
    private final HttpClient looking = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final FakeProvider provider;
    private final Path log;
    private final Process process;
    private final JMXConnector jmx;
    private String histogram = "";

    /** @param settings environment variables */
    SoakedGateway(Path folder, Path log, FakeProvider provider, Map<String, String> settings) throws Exception {
        this.provider = provider;
        this.log = log;
        ProcessBuilder launcher = new ProcessBuilder(Path.of("llmchat").toAbsolutePath().toString(), "start")
                .redirectErrorStream(true).redirectOutput(log.toFile());
        launcher.environment().putAll(Map.of("JAVA_HOME", System.getProperty("java.home"), "PORT", Integer.toString(port),
                "DATA_DIR", folder.resolve("data").toString(), "AUTH_MODE", "keys", "ADMIN_API_KEY", ADMIN, "DRAIN_DELAY", "0"));
        launcher.environment().putAll(Map.of("OPENAI_BASE_URL", provider.url() + "/v1", "OPENAI_API_KEY", "sk-of-the-gateway",
                "ANTHROPIC_BASE_URL", provider.url(), "ANTHROPIC_API_KEY", "sk-ant-of-the-gateway", "OLLAMA_BASE_URL", provider.url() + "/v1"));
        launcher.environment().putAll(settings);
        process = launcher.start();
        try {
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (!listens()) {
                if (!process.isAlive() || System.nanoTime() > end) {
                    throw new AssertionError("the gateway does not start:\n" + Files.readString(log));
                }
                Thread.sleep(50);
            }
            VirtualMachine machine = VirtualMachine.attach(Long.toString(process.pid()));
            jmx = JMXConnectorFactory.connect(new JMXServiceURL(machine.startLocalManagementAgent()));
            machine.detach();
        } catch (Throwable e) {
            process.destroyForcibly();
            throw e;
        }
    }

    private boolean listens() {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return socket.isConnected();
        } catch (IOException e) {
            return false;
        }
    }

    int port() {
        return port;
    }

    boolean isAlive() {
        return process.isAlive();
    }

    /** The value of a metric, by its name and labels as Prometheus writes them; 0 if it is not there. */
    double metric(String name) throws IOException, InterruptedException {
        return value(metrics(), name);
    }

    private String metrics() throws IOException, InterruptedException {
        return looking.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics"))
                .header("Authorization", "Bearer " + ADMIN).build(), HttpResponse.BodyHandlers.ofString()).body();
    }

    private static double value(String metrics, String name) {
        return metrics.lines().filter(l -> l.startsWith(name + " ")).findFirst()
                .map(l -> Double.parseDouble(l.substring(name.length() + 1))).orElse(0.0);
    }

    /** Collects all garbage and measures. */
    Map<Figure, Double> measure() throws Exception {
        MBeanServerConnection server = jmx.getMBeanServerConnection();
        Map<Figure, Double> figures = new EnumMap<>(Figure.class);
        // counts what lives, after a full collection
        histogram = (String) server.invoke(new ObjectName("com.sun.management:type=DiagnosticCommand"), "gcClassHistogram",
                new Object[] {new String[0]}, new String[] {String[].class.getName()});
        figures.put(Figure.CONTEXTS, (double) Living.objects(DefaultCamelContext.class, histogram));
        figures.put(Figure.HEAP, afterCollection(server) / MB);
        figures.put(Figure.METASPACE, beans(server, MemoryPoolMXBean.class).stream().filter(p -> p.getName().equals("Metaspace"))
                .mapToDouble(p -> p.getUsage().getUsed()).sum() / MB);
        figures.put(Figure.CLASSES, (double) ManagementFactory.getPlatformMXBean(server, java.lang.management.ClassLoadingMXBean.class).getLoadedClassCount());
        figures.put(Figure.THREADS, (double) ManagementFactory.getPlatformMXBean(server, java.lang.management.ThreadMXBean.class).getThreadCount());
        figures.put(Figure.FILES, (double) ManagementFactory.getPlatformMXBean(server, UnixOperatingSystemMXBean.class).getOpenFileDescriptorCount());
        figures.put(Figure.DIRECT, beans(server, BufferPoolMXBean.class).stream().filter(p -> p.getName().equals("direct"))
                .mapToDouble(BufferPoolMXBean::getMemoryUsed).sum() / MB);
        figures.put(Figure.RESIDENT, resident() / 1024.0);
        String metrics = metrics();
        figures.put(Figure.STREAMS, value(metrics, "llmchat_streams_open"));
        // but for the one on which this is asked
        figures.put(Figure.CALLERS, value(metrics, "llmchat_connections_open") - 1);
        figures.put(Figure.PROVIDERS, (double) provider.connections());
        return figures;
    }

    /** What was on the heap when it was last measured: how many objects of each class, the largest share first. */
    String histogram() {
        return histogram;
    }

    private static <T extends PlatformManagedObject> List<T> beans(MBeanServerConnection server, Class<T> type) throws IOException {
        return ManagementFactory.getPlatformMXBeans(server, type);
    }

    /** How much of the heap was used at the end of the last full collection: what came after it is no part of it. */
    private static double afterCollection(MBeanServerConnection server) throws IOException {
        GcInfo last = beans(server, GarbageCollectorMXBean.class).stream().filter(c -> FULL_COLLECTORS.contains(c.getName()))
                .map(GarbageCollectorMXBean::getLastGcInfo).findFirst()
                .orElseThrow(() -> new AssertionError("none of " + FULL_COLLECTORS + " collects the heap of this gateway"));
        List<String> heap = beans(server, MemoryPoolMXBean.class).stream().filter(p -> p.getType() == MemoryType.HEAP)
                .map(MemoryPoolMXBean::getName).toList();
        return heap.stream().mapToDouble(pool -> last.getMemoryUsageAfterGc().get(pool).getUsed()).sum();
    }

    private long resident() throws IOException {
        return Files.readAllLines(Path.of("/proc", Long.toString(process.pid()), "status")).stream().filter(l -> l.startsWith("VmRSS:"))
                .mapToLong(l -> Long.parseLong(l.replaceAll("\\D", ""))).findFirst().orElseThrow();
    }

    /** What the log has that no request and no edit asked for, and how often: errors of the gateway itself, and buffers that Netty misses. */
    Map<String, Long> complaints() throws IOException {
        try (var lines = Files.lines(log)) {
            return lines.filter(l -> l.contains("LEAK:") || l.contains(" ERROR ") && !l.contains("The changed routes are refused"))
                    // without the time, and what differs from request to request
                    .map(l -> l.substring(l.indexOf(' ') + 1).replaceAll("[0-9a-f]{32}", "..."))
                    .collect(Collectors.groupingBy(l -> l, TreeMap::new, Collectors.counting()));
        }
    }

    @Override
    public void close() throws Exception {
        jmx.close();
        looking.close();
        process.destroy();
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
            throw new AssertionError("the gateway did not end by itself");
        }
    }
}
