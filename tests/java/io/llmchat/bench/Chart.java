package io.llmchat.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Small plots in a grid, as an SVG that can be read on light and on dark ground. */
final class Chart {

    private static final int COLUMN = 300;
    private static final int MARGIN = 24;
    private static final String STYLE = """
            <style>
              text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
              .title { font-size: 16px; font-weight: 600; }
              .panel { font-weight: 600; }
              .soft { fill: #59636e; }
              .ground { fill: #ffffff; }
              .direct { fill: #8c959f; }
              .gateway { fill: #0969da; }
              .grid { stroke: #d1d9e0; }
              .spread { stroke: #1f2328; stroke-width: 1.5; }
              .curve { stroke: #0969da; stroke-width: 2; fill: none; }
              @media (prefers-color-scheme: dark) {
                text { fill: #f0f6fc; }
                .soft { fill: #9198a1; }
                .ground { fill: #0d1117; }
                .direct { fill: #757e88; }
                .gateway { fill: #4493f8; }
                .grid { stroke: #3d444d; }
                .spread { stroke: #f0f6fc; }
                .curve { stroke: #4493f8; }
              }
            </style>
            """;

    /** One value of a plot: a bar, or a point of a curve. */
    record Value(String label, Spread spread) {
    }

    private final String title;
    private final String subtitle;
    private final int columns;
    private final StringBuilder body = new StringBuilder();
    private final List<Integer> heights = new ArrayList<>();
    private int top = 72;
    private int column;

    Chart(String title, String subtitle, int columns) {
        this.title = title;
        this.subtitle = subtitle;
        this.columns = columns;
    }

    /** The next plot begins a new row. */
    void newRow() {
        if (column > 0) {
            top += heights.stream().mapToInt(Integer::intValue).max().orElse(0);
            heights.clear();
            column = 0;
        }
    }

    private int left(int height) {
        if (column == columns) {
            newRow();
        }
        heights.add(height);
        return MARGIN + column++ * COLUMN;
    }

    /** Bars from zero, one below the other, with their lowest and highest round as a line. A label is also the class of the bar. */
    void bars(String name, String unit, List<Value> values) {
        int x = left(52 + 26 * values.size());
        int width = COLUMN - MARGIN - 60;
        heading(x, name, unit);
        double most = values.stream().mapToDouble(v -> v.spread().high()).max().orElse(1);
        double scale = most == 0 ? 0 : (width - 90) / most;
        for (int i = 0; i < values.size(); i++) {
            Value value = values.get(i);
            double y = top + 44 + 26 * i;
            text(x, y + 4, "soft", value.label());
            double length = value.spread().median() * scale;
            tag("<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"14\" rx=\"2\"/>", value.label(), x + 60, y - 7, Math.max(1, length));
            if (value.spread().low() != value.spread().high()) {
                tag("<line class=\"spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x + 60 + value.spread().low() * scale,
                        x + 60 + value.spread().high() * scale, y, y);
            }
            text(x + 66 + value.spread().high() * scale, y + 4, "", Spread.number(value.spread().median()));
        }
    }

    /** A curve over evenly spaced steps, from zero, with the lowest and highest round of each as a line. */
    void curve(String name, String unit, List<Value> values) {
        int x = left(176);
        int width = COLUMN - MARGIN - 44;
        int height = 90;
        double bottom = top + 40 + height;
        heading(x, name, unit);
        double most = round(values.stream().mapToDouble(v -> v.spread().high()).max().orElse(1));
        for (int i = 0; i <= 2; i++) {
            double y = bottom - height * i / 2.0;
            tag("<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", x + 40, x + 40 + width, y, y);
            tag("<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", x + 34, y + 4, i == 0 ? "0" : Spread.number(most * i / 2));
        }
        double step = values.size() == 1 ? 0 : (width - 40.0) / (values.size() - 1);
        StringBuilder points = new StringBuilder();
        for (int i = 0; i < values.size(); i++) {
            Spread spread = values.get(i).spread();
            double at = x + 60 + i * step;
            points.append(String.format(Locale.ROOT, "%.1f,%.1f ", at, bottom - height * spread.median() / most));
            tag("<line class=\"spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", at, at, bottom - height * spread.low() / most,
                    bottom - height * spread.high() / most);
            tag("<circle class=\"gateway\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>", at, bottom - height * spread.median() / most);
            tag("<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", at, bottom + 17, values.get(i).label());
        }
        tag("<polyline class=\"curve\" points=\"%s\"/>", points.toString().trim());
    }

    /** The next number up of which the first digit is 1, 2, 4, 6 or 8. */
    static double round(double most) {
        if (most <= 0) {
            return 1;
        }
        double unit = Math.pow(10, Math.floor(Math.log10(most)));
        for (int digit : new int[] {1, 2, 4, 6, 8}) {
            if (most <= digit * unit) {
                return digit * unit;
            }
        }
        return 10 * unit;
    }

    private void heading(int x, String name, String unit) {
        text(x, top + 8, "panel", name);
        text(x, top + 24, "soft", unit);
    }

    private void text(double x, double y, String kind, String text) {
        tag("<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>", kind, x, y, escape(text));
    }

    private void tag(String format, Object... values) {
        body.append(String.format(Locale.ROOT, format, values)).append('\n');
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;");
    }

    String svg() {
        newRow();
        int width = 2 * MARGIN + columns * COLUMN - MARGIN;
        return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + width + " " + (top + 8) + "\" width=\"" + width + "\" height=\"" + (top + 8)
                + "\" role=\"img\" aria-label=\"" + escape(title).replace("\"", "&quot;") + "\">\n" + STYLE + "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n"
                + "<text class=\"title\" x=\"" + MARGIN + "\" y=\"32\">" + escape(title) + "</text>\n"
                + "<text class=\"soft\" x=\"" + MARGIN + "\" y=\"50\">" + escape(subtitle) + "</text>\n" + body + "</svg>\n";
    }
}
