package dev.gatun.bench;

import dev.gatun.models.train.MetricsLog;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun curve}. */
@Command(name = "curve", description = "Draws how runs were trained: their loss over time.")
final class CurveCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "RUN", arity = "1..*", description = "run folders")
  private List<Path> runs = new ArrayList<>();

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "a chart (.png)")
  private Path out;

  CurveCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    ImageFiles.requireSuffix(out, false);
    Map<String, List<MetricsLog.Line>> all = new LinkedHashMap<>();
    for (Path run : runs) {
      RunFolder folder = RunFolder.open(run);
      List<MetricsLog.Line> lines = folder.metrics();
      if (lines.isEmpty()) {
        throw new UsageException(run + ": was not trained yet, there is nothing to draw");
      }
      if (!all.isEmpty()
          && all.values().iterator().next().getFirst().objective()
              != lines.getFirst().objective()) {
        throw new UsageException(
            run
                + ": its "
                + lines.getFirst().objective().unit()
                + " cannot be compared with what the runs before it have; draw it alone");
      }
      String name = folder.model().name();
      if (all.put(all.containsKey(name) ? name + ", " + run : name, lines) != null) {
        throw new UsageException(run + ": is named twice");
      }
    }
    LossChart.compare(out, all);
    console.say("wrote " + out);
    return 0;
  }
}
