package io.llmchat.host;

import com.fasterxml.jackson.databind.JsonNode;
import io.llmchat.json.Json;
import io.llmchat.llm.LlmComponent;
import io.llmchat.llm.LlmEndpoint;
import io.llmchat.ops.Cause;
import io.llmchat.step.SubRoute;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.camel.CamelContext;
import org.apache.camel.Endpoint;
import org.apache.camel.FailedToCreateRouteException;
import org.apache.camel.FailedToStartRouteException;
import org.apache.camel.NoSuchEndpointException;
import org.apache.camel.NoSuchLanguageException;
import org.apache.camel.NoTypeConversionAvailableException;
import org.apache.camel.Route;
import org.apache.camel.component.direct.DirectEndpoint;
import org.apache.camel.component.kamelet.Kamelet;
import org.apache.camel.component.kamelet.KameletEndpoint;
import org.apache.camel.component.platform.http.PlatformHttpEndpoint;
import org.apache.camel.component.timer.TimerEndpoint;
import org.apache.camel.model.CircuitBreakerDefinition;
import org.apache.camel.model.EnrichDefinition;
import org.apache.camel.model.KameletDefinition;
import org.apache.camel.model.Model;
import org.apache.camel.model.ProcessorDefinition;
import org.apache.camel.model.ProcessorDefinitionHelper;
import org.apache.camel.model.RouteDefinition;
import org.apache.camel.model.RouteTemplateDefinition;
import org.apache.camel.model.SendDefinition;
import org.apache.camel.model.ToDynamicDefinition;
import org.apache.camel.model.WireTapDefinition;
import org.apache.camel.support.LanguageSupport;
import org.apache.camel.support.PatternHelper;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.Mark;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;

/** Finds the file and the line that Camel's exceptions are about, and the faults that Camel would leave to the requests. */
final class FaultFinder {

    private static final String EMPTY = "There is no route and no bean in it.";
    private static final String NO_LIST = "It is no list of routes and beans: each begins with a hyphen, as in '- route:'.";
    private static final String ADDED = ": docs/routes.md says which parts of Camel there are, and how another one is added.";
    private static final String NO_STEP = "It is no step: a step has a colon behind its name, as in '- stop: {}'.";
    private static final String NOTHING_BELOW = "What belongs to it has to stand below it, indented, with a colon behind each name.";
    private static final String NOT_LISTED = "What belongs to it has to stand below it, indented, with a hyphen before each part.";
    private static final Pattern FILE = Pattern.compile("(file:\\S+?\\.yaml)");
    private static final Pattern BEAN = Pattern.compile("Error creating bean: (\\S+) of type");
    private static final Pattern DUPLICATE = Pattern.compile("Duplicate (?:route ids|id) detected: ([^ ,]+?)[.,] ");
    private static final Pattern FIELD = Pattern.compile("Unsupported field: (\\S+)");
    private static final Pattern NODE = Pattern.compile(">>> (.*) <<< in route", Pattern.DOTALL);
    private static final Pattern TEMPLATE = Pattern.compile("route from template: (\\S+)");
    private static final Pattern MISSING = Pattern.compile("mandatory parameters must be provided: ([^,\\s]+)");
    /** What Camel itself gives to each kamelet. */
    private static final Set<String> CAMELS = Set.of(Kamelet.PARAM_TEMPLATE_ID, Kamelet.PARAM_ROUTE_ID, Kamelet.PARAM_UUID,
            Kamelet.NO_ERROR_HANDLER, Kamelet.BRIDGE_ERROR_HANDLER);
    private static final Pattern ZERO = Pattern.compile("[?&]period=0+[a-z]*(&|$)");
    private static final String PROVIDER_ROUTE = "direct:provider-";
    private static final Pattern PROVIDER = Pattern.compile("[?&]provider=([^&]+)");
    private static final Pattern ANSWERS = Pattern.compile("(direct:provider-|llm:|kamelet:[^?]*-chat-action).*", Pattern.DOTALL);
    /** What does nothing by itself. */
    private static final Set<String> OF_ROUTES =
            Set.of("onException", "onCompletion", "errorHandler", "intercept", "interceptFrom", "interceptSendToEndpoint");
    /** Of a route that names none. */
    private static final String[] METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    private static final Pattern SOURCE = Pattern.compile("\\(source: (\\S+?):(\\d+)\\)");

    private final RouteFiles files;
    private final CamelContext context;

    FaultFinder(RouteFiles files, CamelContext context) {
        this.files = files;
        this.context = context;
    }

    /** What an exception says that was thrown while the routes were started. */
    Fault of(Throwable thrown) throws IOException {
        StringBuilder messages = new StringBuilder();
        Throwable root = thrown;
        FailedToCreateRouteException failed = null;
        for (Throwable e = thrown; e != null; e = e.getCause()) {
            if (e instanceof MarkedYamlEngineException marked) {
                return ofYaml(marked);
            }
            failed = e instanceof FailedToCreateRouteException f && f.getRouteId() != null ? f : failed;
            messages.append(e.getMessage()).append('\n');
            root = e;
        }
        String reason = root instanceof ClassNotFoundException ? "There is no class " + root.getMessage()
                : root instanceof NoTypeConversionAvailableException none && none.getToType() == Class.class ? "There is no class " + none.getValue()
                : root instanceof NoSuchEndpointException none ? "There is no component '" + none.getUri().split(":", 2)[0] + "'" + ADDED
                : root instanceof NoSuchLanguageException none ? "There is no language '" + none.getLanguage() + "'" + ADDED
                : root instanceof CharacterCodingException ? "It is not UTF-8."
                : Cause.of(root).strip();
        if (root instanceof NullPointerException) {
            // all that Camel says of a route without its beginning
            for (RouteDefinition route : model().getRouteDefinitions()) {
                if (route.getInput() == null) {
                    return at(route, "The route has no 'from'.");
                }
            }
        }
        String duplicate = first(DUPLICATE, messages);
        if (duplicate != null) {
            return where(Pattern.compile("\\b(id|routeId): *[\"']?" + Pattern.quote(duplicate) + "[\"']? *([,}#]|$)"), "The id '" + duplicate + "' is used twice.");
        }
        if (failed != null) {
            return at(culprit(failed), "Route '" + failed.getRouteId() + "': " + reason + calledAt(failed.getRouteId()));
        }
        String kamelet = first(TEMPLATE, messages);
        if (kamelet != null) {
            String missing = first(MISSING, messages);
            return at(call(uri -> uri.split("\\?")[0].equals("kamelet:" + kamelet) && (missing == null || !uri.contains(missing + "="))),
                    "Kamelet '" + kamelet + "': " + (root instanceof FileNotFoundException ? "there is no kamelets/" + kamelet + ".kamelet.yaml." : reason));
        }
        Matcher source = SOURCE.matcher(messages);
        if (source.find()) {
            return new Fault(files.name(files.named(source.group(1))), Integer.parseInt(source.group(2)), reason);
        }
        if (thrown instanceof FailedToStartRouteException start && model().getRouteDefinition(start.getRouteId()) != null) {
            return at(model().getRouteDefinition(start.getRouteId()), "Route '" + start.getRouteId() + "': " + reason);
        }
        String bean = first(BEAN, messages);
        if (bean != null) {
            return where(Pattern.compile("\\bname: \"?" + Pattern.quote(bean) + "\\b"), reason);
        }
        return new Fault(files.name(first(FILE, messages)), 0, reason.startsWith("Resource is empty") ? EMPTY : reason);
    }

    private Fault ofYaml(MarkedYamlEngineException e) throws IOException {
        Mark mark = e.getProblemMark().or(e::getContextMark).orElse(null);
        if (mark == null) {
            return new Fault(files.name(first(FILE, e.getMessage())), 0, EMPTY);
        }
        int line = mark.getLine() + 1;
        // the mark of a field that is not known is where its value begins
        String field = first(FIELD, e.getProblem());
        Path file = files.file(mark.getName());
        if (field != null && file != null && !Files.readAllLines(file).get(line - 1).contains(field)) {
            line--;
        }
        String problem = e.getProblem().strip();
        return new Fault(files.name(mark.getName()), line, problem.startsWith("Unable to find constructor") ? NO_STEP
                : problem.endsWith("expected array") ? NOT_LISTED : problem.endsWith("expected map") ? NOTHING_BELOW : problem);
    }

    /** What Camel lets start, though no request would get through it, or cannot be meant so; null: nothing of the kind. */
    Fault looseEnd() throws IOException {
        Fault written = writtenWrong();
        if (written != null) {
            return written;
        }
        // nobody starts one later whose autoStartup is false
        Set<String> there = context.getRoutes().stream().filter(route -> context.getRouteController().getRouteStatus(route.getRouteId()).isStarted())
                .map(route -> name(route.getEndpoint())).collect(Collectors.toSet());
        for (RouteDefinition route : model().getRouteDefinitions()) {
            String missing = missingConfiguration(route);
            if (missing != null) {
                return at(route, "Route '" + route.getRouteId() + "': there is no routeConfiguration '" + missing + "'.");
            }
            String from = route.getInput().getUri().split("\\?")[0];
            for (ProcessorDefinition<?> step : steps(route.getOutputs())) {
                if (called(step) instanceof DirectEndpoint direct && direct.isFailIfNoConsumers() && !there.contains(name(direct))) {
                    return at(step, "Route '" + route.getRouteId() + "': there is no route from " + name(direct) + ".");
                }
                if (step instanceof WireTapDefinition<?> tap && ANSWERS.matcher(tap.getUri()).matches()) {
                    return at(step, "Route '" + route.getRouteId() + "': a wireTap cannot ask a provider, whose answer goes to the caller.");
                }
                String asked = first(PROVIDER, address(step));
                // of two with one name the one that starts last would be the provider, with its address and key
                if (from.startsWith(PROVIDER_ROUTE) && !from.equals(PROVIDER_ROUTE + asked) && there.contains(PROVIDER_ROUTE + asked)) {
                    return at(step, "Route '" + route.getRouteId() + "': it asks the provider '" + asked + "'.");
                }
            }
        }
        for (Endpoint endpoint : context.getEndpoints()) {
            String unknown = endpoint instanceof KameletEndpoint kamelet ? unknownParameter(kamelet) : null;
            if (unknown != null) {
                return at(call(uri -> uri.startsWith(name(endpoint)) && uri.contains(unknown + "=")),
                        "Kamelet '" + ((KameletEndpoint) endpoint).getTemplateId() + "': it has no parameter '" + unknown + "'.");
            }
        }
        for (Route route : context.getRoutes()) {
            // what Camel cannot read as a time it takes for 0, with which a timer begins once
            if (route.getEndpoint() instanceof TimerEndpoint timer && timer.getPeriod() == 0 && !ZERO.matcher(timer.getEndpointUri()).find()) {
                return at(model().getRouteDefinition(route.getRouteId()),
                        "Route '" + route.getRouteId() + "': its period is no time; it takes milliseconds, or a number with s, m or h.");
            }
        }
        Fault twice = pathTakenTwice();
        if (twice != null) {
            return twice;
        }
        for (LlmEndpoint provider : LlmComponent.of(context).providers()) {
            String route = PROVIDER_ROUTE + provider.getProvider();
            if (!there.contains(route)) {
                return at(call(uri -> provider.getProvider().equals(first(PROVIDER, uri))), "Provider '" + provider.getProvider() + "': there is no route from " + route + ".");
            }
        }
        return Stream.of(SubRoute.values()).filter(asked -> !there.contains(asked.uri())).findFirst()
                .map(asked -> new Fault(null, 0, "There is no route from " + asked.uri() + ".")).orElse(null);
    }

    /** Of two routes of one path and method only one would ever get a request. */
    private Fault pathTakenTwice() throws IOException {
        Map<String, Route> taken = new HashMap<>();
        for (Route route : context.getRoutes()) {
            // the endpoint of a route that 'rest' has made is another one
            if (route.getConsumer().getEndpoint() instanceof PlatformHttpEndpoint http) {
                String path = " " + http.getPath().replaceAll("\\{[^}]*}", "{}") + http.isMatchOnUriPrefix() + http.getConsumes() + http.getProduces();
                for (String method : http.getHttpMethodRestrict() == null ? METHODS : http.getHttpMethodRestrict().split(" *, *")) {
                    Route other = taken.put(method + path, route);
                    if (other != null) {
                        // one that 'rest' has made has no line
                        RouteDefinition told = Stream.of(route, other).map(r -> model().getRouteDefinition(r.getRouteId()))
                                .filter(r -> r.getLineNumber() > 0).findFirst().orElse(model().getRouteDefinition(route.getRouteId()));
                        return at(told, "The routes '" + other.getRouteId() + "' and '" + route.getRouteId() + "' take the same requests: " + method + " " + http.getPath() + ".");
                    }
                }
            }
        }
        return null;
    }

    /**
     * A file that is no list, which Camel passes over without a word. Of two beans of one name it takes the last; not those of
     * beans.camel.yaml: routes may have their own.
     */
    private Fault writtenWrong() throws IOException {
        Set<String> names = new HashSet<>();
        for (Path file : files.readable().stream().filter(f -> !files.isBeans(f)).toList()) {
            JsonNode parts = read(file);
            // what is of a kind is a kamelet, or another resource of Camel's
            if (!parts.isArray() && !parts.has("kind")) {
                return new Fault(files.name(file.toString()), 1, NO_LIST);
            }
            if (parts.isArray() && parts.isEmpty()) {
                return new Fault(files.name(file.toString()), 1, EMPTY);
            }
            List<String> kinds = parts.valueStream().flatMap(part -> part.properties().stream()).map(Map.Entry::getKey).toList();
            if (!kinds.isEmpty() && OF_ROUTES.containsAll(kinds)) {
                return new Fault(files.name(file.toString()), 1, "'" + kinds.get(0) + "' is for the routes of its own file, and there is none in it:"
                        + " what is for others is in a routeConfiguration, as in errors.camel.yaml.");
            }
            for (JsonNode part : parts) {
                for (JsonNode bean : part.path("beans")) {
                    String name = bean.path("name").asText();
                    if (!name.isEmpty() && !names.add(name)) {
                        return where(Pattern.compile("- *\\{? *name: [\"']?" + Pattern.quote(name) + "(?![\\w-])"), "The bean '" + name + "' is there twice.");
                    }
                }
            }
        }
        return null;
    }

    /** With the file in what it raises: of a kamelet that no route calls Camel has said nothing. */
    private static JsonNode read(Path file) throws IOException {
        LoadSettings settings = LoadSettings.builder().setLabel(file.toString()).setAllowDuplicateKeys(true).build();
        try (InputStream text = Files.newInputStream(file)) {
            return Json.MAPPER.valueToTree(new Load(settings).loadFromInputStream(text));
        }
    }

    /** As routes write it, without options. */
    private static String name(Endpoint endpoint) {
        return endpoint.getEndpointBaseUri().replace("://", ":");
    }

    /** What a call of a kamelet says and nobody reads; null: nothing. */
    private String unknownParameter(KameletEndpoint kamelet) {
        RouteTemplateDefinition template = model().getRouteTemplateDefinition(kamelet.getTemplateId());
        return kamelet.getKameletProperties().keySet().stream().filter(name -> !CAMELS.contains(name) && Stream.ofNullable(template.getTemplateParameters())
                .flatMap(List::stream).noneMatch(parameter -> parameter.getName().equals(name))).findFirst().orElse(null);
    }

    /** What a route names as its configurations, as Camel reads it: ids and patterns of ids, a comma between them. */
    private String missingConfiguration(RouteDefinition route) {
        String named = route.getRouteConfigurationId();
        return Stream.of(named == null ? new String[0] : context.resolvePropertyPlaceholders(named).split(","))
                .filter(id -> model().getRouteConfigurationDefinitions().stream().noneMatch(there -> PatternHelper.matchPattern(there.getId(), id)))
                .findFirst().orElse(null);
    }

    private Model model() {
        return context.getCamelContextExtension().getContextPlugin(Model.class);
    }

    /** What a step calls whose address says so before there is a request; null: nothing of the kind. */
    private Endpoint called(ProcessorDefinition<?> step) {
        return switch (step) {
            case SendDefinition<?> to -> context.hasEndpoint(to.getUri());
            // a wireTap too
            case ToDynamicDefinition to when isConstant(to.getUri()) -> context.getEndpoint(to.getUri());
            case EnrichDefinition enrich when isConstant(enrich.getExpression().getExpression()) ->
                    context.getEndpoint(enrich.getExpression().getExpression());
            default -> null;
        };
    }

    /** Whether this is a {@code direct:} address for all requests; of a template, its parameters are not known here. */
    private static boolean isConstant(String uri) {
        return uri != null && uri.startsWith("direct:") && !LanguageSupport.hasSimpleFunction(uri) && !uri.contains("{{");
    }

    /** The first step that calls such an address. */
    private ProcessorDefinition<?> call(Predicate<String> wanted) {
        return model().getRouteDefinitions().stream().flatMap(route -> steps(route.getOutputs()).stream())
                .filter(step -> wanted.test(address(step))).findFirst().orElse(null);
    }

    /** What a step calls, as its route says it; empty: nothing that is known before there is a request. */
    private static String address(ProcessorDefinition<?> step) {
        return switch (step) {
            case SendDefinition<?> to -> to.getUri();
            case KameletDefinition kamelet -> "kamelet:" + kamelet.getName();
            default -> "";
        };
    }

    /** These steps and all within them; those of a breaker's fallback, which Camel keeps elsewhere, too. */
    private static List<ProcessorDefinition<?>> steps(List<ProcessorDefinition<?>> outputs) {
        List<ProcessorDefinition<?>> steps = new ArrayList<>();
        for (ProcessorDefinition<?> step : ProcessorDefinitionHelper.filterTypeInOutputs(outputs, ProcessorDefinition.class)) {
            steps.add(step);
            if (step instanceof CircuitBreakerDefinition breaker && breaker.getOnFallback() != null) {
                steps.addAll(steps(breaker.getOnFallback().getOutputs()));
            }
        }
        return steps;
    }

    /** Of the route of a kamelet: where it is called, as what is wrong may be a parameter. */
    private String calledAt(String route) throws IOException {
        RouteDefinition made = model().getRouteDefinition(route);
        Map<String, Object> parameters = made == null ? null : made.getTemplateParameters();
        if (parameters == null || !parameters.containsKey(Kamelet.PARAM_TEMPLATE_ID)) {
            return "";
        }
        Fault call = at(call(uri -> uri.startsWith("kamelet:" + parameters.get(Kamelet.PARAM_TEMPLATE_ID))
                && uri.contains("provider=" + parameters.get("provider"))), "");
        return call.file() == null ? "" : ". It is called at " + call.file() + ":" + call.line() + ".";
    }

    /** The step that could not be made, or else its route. */
    private ProcessorDefinition<?> culprit(FailedToCreateRouteException failed) {
        RouteDefinition route = model().getRouteDefinition(failed.getRouteId());
        String node = first(NODE, failed.getMessage());
        if (route != null && node != null) {
            for (ProcessorDefinition<?> step : steps(route.getOutputs())) {
                if (step.toString().equals(node)) {
                    return step;
                }
            }
        }
        return route;
    }

    private Fault at(ProcessorDefinition<?> step, String reason) throws IOException {
        if (step == null || step.getLocation() == null) {
            // of a route that begins with 'from' itself Camel knows the file only
            return new Fault(step instanceof RouteDefinition route && route.getInput() != null ? files.name(route.getInput().getLocation()) : null, 0, reason);
        }
        int line = Math.max(0, step.getLineNumber());
        Path file = files.file(step.getLocation());
        List<String> lines = file == null ? List.of() : Files.readAllLines(file);
        // of a step in one line, in braces, Camel knows the line before
        if (line > 0 && line < lines.size() && lines.get(line).contains(step.getShortName() + ": {")
                && !lines.get(line - 1).endsWith(step.getShortName() + ":")) {
            line++;
        }
        return new Fault(files.name(step.getLocation()), line, reason);
    }

    /** The last line that says this; where there are more, the reason names the one before. */
    private Fault where(Pattern text, String reason) throws IOException {
        Fault last = new Fault(null, 0, reason);
        for (Path file : files.readable()) {
            List<String> lines = Files.readAllLines(file);
            String name = files.name(file.toString());
            for (int i = 0; i < lines.size(); i++) {
                if (text.matcher(lines.get(i)).find()) {
                    String also = last.file() == null ? "" : " The other place is " + last.file() + ":" + last.line() + ".";
                    last = new Fault(name, i + 1, reason.replaceFirst("^" + Pattern.quote(name) + ": ", "") + also);
                }
            }
        }
        return last;
    }

    private static String first(Pattern pattern, CharSequence text) {
        Matcher found = pattern.matcher(text);
        return found.find() ? found.group(1) : null;
    }
}
