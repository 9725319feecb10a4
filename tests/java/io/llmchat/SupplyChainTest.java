package io.llmchat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/** Which parts the gateway is made of: none with a fault that is known, and each of a version that stands in pom.xml. */
class SupplyChainTest {

    private record Part(String group, String artifact, String version) {
    }

    private record Minimum(String group, String artifact, String version, String why) {
        boolean isFor(Part part) {
            return part.group().equals(group) && (artifact.equals("*") || part.artifact().equals(artifact));
        }
    }

    /** What is on the class path, as Maven's repository names it: group/artifact/version/artifact-version.jar. */
    private static List<Part> parts() {
        List<Part> parts = new ArrayList<>();
        for (String entry : System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")).split(File.pathSeparator)) {
            Path jar = Path.of(entry);
            if (entry.endsWith(".jar")) {
                Path version = jar.getParent();
                Path artifact = version.getParent();
                StringBuilder group = new StringBuilder();
                boolean inside = false;
                for (Path name : artifact.getParent()) {
                    if (inside) {
                        group.append(group.isEmpty() ? "" : ".").append(name);
                    }
                    inside |= name.toString().equals("repository");
                }
                parts.add(new Part(group.toString(), artifact.getFileName().toString(), version.getFileName().toString()));
            }
        }
        return parts;
    }

    private static List<Minimum> minima() throws Exception {
        List<Minimum> minima = Files.readAllLines(Path.of("deploy/minimum-versions.txt")).stream().filter(l -> !l.startsWith("#") && !l.isBlank()).map(l -> {
            String[] words = l.split("\\s+", 3);
            return new Minimum(words[0].split(":")[0], words[0].split(":")[1], words[1], words[2]);
        }).toList();
        assertFalse(minima.isEmpty());
        return minima;
    }

    /** By their numbers: what stands after them (Final) is no number. */
    private static int compare(String a, String b) {
        String[] as = a.split("[.-]");
        String[] bs = b.split("[.-]");
        for (int i = 0; i < Math.max(as.length, bs.length); i++) {
            int difference = Integer.compare(number(as, i), number(bs, i));
            if (difference != 0) {
                return difference;
            }
        }
        return 0;
    }

    private static int number(String[] words, int i) {
        return i < words.length && words[i].matches("\\d+") ? Integer.parseInt(words[i]) : 0;
    }

    @Test
    void noPartIsOlderThanItMayBe() throws Exception {
        List<Part> parts = parts();
        List<String> old = new ArrayList<>();
        for (Minimum minimum : minima()) {
            List<Part> these = parts.stream().filter(minimum::isFor).filter(p -> !p.artifact().startsWith("netty-tcnative")).toList();
            assertFalse(these.isEmpty(), "the list names what is not used: " + minimum);
            these.stream().filter(p -> compare(p.version(), minimum.version()) < 0).forEach(p -> old.add(p + " < " + minimum));
        }
        assertEquals(List.of(), old);
    }

    @Test
    void everyLineOfTheListHasAReason() throws Exception {
        minima().forEach(m -> assertTrue(m.why().contains("CVE-"), m.toString()));
    }

    @ParameterizedTest
    @CsvSource({"4.1.137.Final,4.1.138,-1", "4.1.138.Final,4.1.138,0", "4.1.140.Final,4.1.138,1", "42.7.9,42.7.11,-1", "2.0,2.0.0,0", "10.1,9.9,1"})
    void versionsAreComparedByTheirNumbers(String a, String b, int sign) {
        assertEquals(sign, Integer.signum(compare(a, b)));
    }

    // --- pom.xml

    private static Element pom() throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new File("pom.xml")).getDocumentElement();
    }

    private static List<Element> all(Element in, String name) {
        List<Element> all = new ArrayList<>();
        NodeList nodes = in.getElementsByTagName(name);
        for (int i = 0; i < nodes.getLength(); i++) {
            all.add((Element) nodes.item(i));
        }
        return all;
    }

    private static String child(Element of, String name) {
        for (var n = of.getFirstChild(); n != null; n = n.getNextSibling()) {
            if (n instanceof Element e && e.getTagName().equals(name)) {
                return e.getTextContent().trim();
            }
        }
        return null;
    }

    @Test
    void everyPluginHasAVersionAlsoThoseThatMavenBringsAlong() throws Exception {
        Set<String> named = new TreeSet<>();
        for (Element plugin : all(pom(), "plugin")) {
            assertTrue(child(plugin, "version") != null, child(plugin, "artifactId") + " has no version");
            named.add(child(plugin, "artifactId"));
        }
        assertTrue(named.containsAll(Set.of("maven-clean-plugin", "maven-resources-plugin", "maven-compiler-plugin", "maven-surefire-plugin",
                "maven-jar-plugin")), named.toString());
    }

    @Test
    void noVersionIsARangeOrMoves() throws Exception {
        // what OpenTelemetry's protocol looks like is published as alpha only, for the tests
        Pattern fixed = Pattern.compile("\\d+(\\.\\d+)+(\\.Final|\\.\\d+|-alpha)?");
        Element pom = pom();
        for (Element version : all(pom, "version")) {
            String text = version.getTextContent().trim();
            if (version.getParentNode() != pom) {
                String value = text.startsWith("${") ? all(pom, text.substring(2, text.length() - 1)).get(0).getTextContent() : text;
                assertTrue(fixed.matcher(value).matches(), "not one version: " + text);
            }
        }
    }
}
