package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.features.FewLabels;
import dev.gatun.models.features.FewLabels.Method;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun probe}. */
@Command(
    name = "probe",
    description = "Measures what a trained encoder is worth where few images have labels.",
    footer = {
      "",
      "The accuracy on test images of a linear classifier on the encoder's features,",
      "and of the encoder when it is trained further with the labels; beside the same",
      "network trained from scratch, and linear classifiers on principal components",
      "and on k-means features."
    })
final class ProbeCommand implements Callable<Integer> {
  private static final String ALL = "all";

  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(names = "--data", required = true, paramLabel = "PATH", description = "the dataset")
  private Path data;

  @Option(
      names = "--labels",
      paramLabel = "N",
      split = ",",
      description =
          "how many training images have labels, or all; several with commas (default:"
              + " 100,1000,all)")
  private List<String> labels = new ArrayList<>();

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "of the labelled images and of what is fitted to them (default: 0)")
  private long seed;

  @Option(names = "--out", paramLabel = "FILE", description = "a chart (.png)")
  private Path out;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(names = "--json", description = "a JSON object on standard output")
  private boolean json;

  ProbeCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (out != null) {
      ImageFiles.requireSuffix(out, false);
    }
    for (String word : wanted()) {
      if (!word.equals(ALL) && !word.matches("[1-9]\\d{0,8}")) {
        throw new UsageException(
            "--labels " + word + ": expected positive numbers or all, with commas between them");
      }
    }
    RunFolder folder = RunFolder.open(run);
    EncodingModel model = UsageException.ifRefused(() -> EncodingModel.of(folder.model()));
    RunConfig config = folder.config();
    Dataset train = DataSource.open(data, Split.TRAIN, config.data().splitSeed());
    Dataset test = DataSource.open(data, Split.TEST, config.data().splitSeed());
    List<Integer> counts = counts(train);
    try (Device opened = device.open(console);
        RunFolder.Checkpoint checkpoint = folder.checkpoint(opened)) {
      DType type = DeviceOption.dtype(console, opened, config.training().dtype());
      FewLabels few =
          UsageException.ifRefused(() ->
              FewLabels.run(
                  opened,
                  model,
                  checkpoint.weights(),
                  type,
                  train,
                  test,
                  counts,
                  seed,
                  console::say));
      table(few);
      if (out != null) {
        FewLabelsChart.write(out, few, model.name() + " on " + train.name());
        console.say("wrote " + out);
      }
      if (json) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("run", run.toString());
        all.put("model", model.name());
        all.put("steps", checkpoint.steps());
        all.put("data", data.toString());
        all.put("features", model.features());
        all.put("testImages", test.count());
        all.put("seed", seed);
        all.put("accuracies", few.rows().stream().map(ProbeCommand::row).toList());
        all.put("device", opened.name());
        all.put("dtype", type.label());
        all.put("trainingSeed", config.training().seed());
        console.json(all);
      }
      return 0;
    }
  }

  private List<String> wanted() {
    return labels.isEmpty() ? List.of("100", "1000", ALL) : labels;
  }

  private List<Integer> counts(Dataset train) {
    List<Integer> counts = new ArrayList<>();
    for (String word : wanted()) {
      int count = word.equals(ALL) ? train.count() : Integer.parseInt(word);
      if (counts.contains(count)) {
        throw new UsageException("--labels " + word + ": is there twice");
      }
      counts.add(count);
    }
    return counts;
  }

  private static Map<String, Object> row(FewLabels.Row row) {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("labels", row.labels());
    row.accuracy().forEach((method, accuracy) -> all.put(method.key(), accuracy));
    return all;
  }

  private void table(FewLabels few) {
    StringBuilder head = new StringBuilder(String.format(Locale.ROOT, "%-40s", "labels"));
    for (FewLabels.Row row : few.rows()) {
      head.append(String.format(Locale.ROOT, "%,10d", row.labels()));
    }
    console.say(head.toString());
    for (Method method : Method.values()) {
      StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%-40s", method.title()));
      for (FewLabels.Row row : few.rows()) {
        line.append(String.format(Locale.ROOT, "%9.2f%%", 100 * row.accuracy().get(method)));
      }
      console.say(line.toString());
    }
  }
}
