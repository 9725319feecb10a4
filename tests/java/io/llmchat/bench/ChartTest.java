package io.llmchat.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/** Pictures say what the figures do. */
class ChartTest {

    private static Document read(Chart chart) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new ByteArrayInputStream(chart.svg().getBytes(StandardCharsets.UTF_8)));
    }

    private static List<Element> all(Document svg, String tag, String kind) {
        List<Element> found = new ArrayList<>();
        NodeList nodes = svg.getElementsByTagName(tag);
        for (int i = 0; i < nodes.getLength(); i++) {
            Element element = (Element) nodes.item(i);
            if (element.getAttribute("class").equals(kind)) {
                found.add(element);
            }
        }
        return found;
    }

    private static double number(Element element, String attribute) {
        return Double.parseDouble(element.getAttribute(attribute));
    }

    private static Chart.Value value(String label, double low, double median, double high) {
        return new Chart.Value(label, new Spread(low, median, high));
    }

    @Test
    void aBarIsAsLongAsItsMedian() throws Exception {
        Chart chart = new Chart("Title", "", 3);
        chart.bars("a", "ms", List.of(value("direct", 10, 10, 10), value("gateway", 25, 30, 40)));
        Document svg = read(chart);
        double direct = number(all(svg, "rect", "direct").getFirst(), "width");
        assertEquals(3, number(all(svg, "rect", "gateway").getFirst(), "width") / direct, 0.01);
        // one value has rounds that differ
        Element spread = all(svg, "line", "spread").getFirst();
        assertEquals(1, all(svg, "line", "spread").size());
        assertEquals(1.5, (number(spread, "x2") - number(spread, "x1")) / direct, 0.01);
    }

    @Test
    void aCurveThatStaysTheSameIsLevelAndBeginsAtZero() throws Exception {
        Chart chart = new Chart("Title", "", 2);
        chart.curve("a", "µs", List.of(value("10", 50, 50, 50), value("100", 50, 50, 50), value("1k", 100, 100, 100)));
        List<Element> points = all(read(chart), "circle", "gateway");
        List<Element> grid = all(read(chart), "line", "grid");
        double zero = number(grid.getFirst(), "y1");
        assertEquals(number(points.get(0), "cy"), number(points.get(1), "cy"));
        assertEquals(2, (zero - number(points.get(2), "cy")) / (zero - number(points.get(0), "cy")), 0.01);
    }

    @Test
    void plotsStandBesideAndBelowEachOtherWithinThePicture() throws Exception {
        Chart chart = new Chart("Title", "", 2);
        for (int i = 0; i < 3; i++) {
            chart.curve("plot " + i, "", List.of(value("x", 1, 1, 1)));
        }
        Document svg = read(chart);
        List<Element> panels = all(svg, "text", "panel");
        assertEquals(number(panels.get(0), "y"), number(panels.get(1), "y"));
        assertEquals(number(panels.get(0), "x"), number(panels.get(2), "x"));
        assertTrue(number(panels.get(2), "y") > number(panels.get(0), "y"));
        double height = number(svg.getDocumentElement(), "height");
        all(svg, "text", "soft").forEach(text -> assertTrue(number(text, "y") < height));
    }

    @Test
    void namesAreWrittenAsText() throws Exception {
        Chart chart = new Chart("a < b & \"c\"", "<i>", 1);
        assertEquals("a < b & \"c\"", all(read(chart), "text", "title").getFirst().getTextContent());
        assertEquals("a < b & \"c\"", read(chart).getDocumentElement().getAttribute("aria-label"));
    }

    @Test
    void axesEndAtRoundNumbers() {
        assertEquals(100, Chart.round(93));
        assertEquals(200, Chart.round(101));
        assertEquals(0.06, Chart.round(0.052), 1e-9);
        assertEquals(1, Chart.round(0));
    }
}
