package dev.gatun.engine.cpu;

import dev.gatun.engine.Launch;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Time spent in each op, printed when the device closes; switched on by {@code
 * -Dgatun.profile=true}.
 */
final class Profile {
  private static final class Entry {
    long nanos;
    long runs;
    long fastest = Long.MAX_VALUE;

    void add(long nanos) {
      this.nanos += nanos;
      runs++;
      fastest = Math.min(fastest, nanos);
    }
  }

  private final Map<String, Entry> entries = new LinkedHashMap<>();

  Launch timed(String name, Launch launch) {
    Entry entry = entries.computeIfAbsent(name, n -> new Entry());
    return new Launch() {
      @Override
      public void run() {
        long start = System.nanoTime();
        launch.run();
        entry.add(System.nanoTime() - start);
      }

      @Override
      public void close() {
        launch.close();
      }
    };
  }

  void print() {
    entries.entrySet().stream()
        .filter(e -> e.getValue().runs > 0)
        .sorted(Comparator.comparingLong(e -> -e.getValue().nanos))
        .forEach(e ->
            System.err.printf(
                "%10.1f ms %8d runs %9.3f ms each %9.3f fastest  %s%n",
                e.getValue().nanos / 1e6,
                e.getValue().runs,
                e.getValue().nanos / 1e6 / e.getValue().runs,
                e.getValue().fastest / 1e6,
                e.getKey()));
  }
}
