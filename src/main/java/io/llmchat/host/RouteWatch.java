package io.llmchat.host;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Notices that route files were changed, added or removed. It looks at the folder again and again, because mounted
 * folders do not tell of changes; files that are saved together, or piece by piece, are one change. Has a thread of its
 * own, on which it tells.
 */
final class RouteWatch {

    private static final Logger LOG = LoggerFactory.getLogger(RouteWatch.class);
    private static final long LOOK_MILLIS = 50;

    private final RouteFiles files;
    private final Consumer<List<Path>> changed;
    private final Thread thread;

    /**
     * @param loaded the versions of the files before they were read for the routes that serve
     * @param changed gets the files that were changed, added or removed
     */
    RouteWatch(RouteFiles files, Map<Path, String> loaded, Consumer<List<Path>> changed) {
        this.files = files;
        this.changed = changed;
        thread = Thread.ofPlatform().daemon().name("route-watch").start(() -> watch(loaded));
        LOG.info("Changes of the route files in {} are put to work as they are saved", files);
    }

    private void watch(Map<Path, String> atFirst) {
        Map<Path, String> loaded = atFirst;
        Map<Path, String> seen = atFirst;
        while (true) {
            try {
                Thread.sleep(LOOK_MILLIS);
                Map<Path, String> now = files.versions();
                // twice the same: who saves has done so
                if (now.equals(seen) && !now.equals(loaded)) {
                    Map<Path, String> before = loaded;
                    // whatever comes of it, it is not tried again until something else is saved
                    loaded = now;
                    tell(before, now);
                }
                seen = now;
            } catch (InterruptedException e) {
                return;
            } catch (Throwable e) {
                LOG.error("The changed routes could not be put to work", e);
            }
        }
    }

    private void tell(Map<Path, String> before, Map<Path, String> now) {
        List<Path> different = Stream.concat(before.keySet().stream(), now.keySet().stream()).distinct()
                .filter(f -> !Objects.equals(before.get(f), now.get(f))).toList();
        if (different.stream().anyMatch(files::isBeans)) {
            LOG.warn("{} was changed: that takes a restart", RouteFiles.BEANS);
        }
        changed.accept(different);
    }

    void stop() {
        thread.interrupt();
    }
}
