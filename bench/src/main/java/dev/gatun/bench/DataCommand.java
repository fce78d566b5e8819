package dev.gatun.bench;

import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.DatasetInfo;
import dev.gatun.engine.data.Datasets;
import dev.gatun.engine.data.Split;
import dev.gatun.models.Model.ImageShape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun data}. */
@Command(name = "data", description = "Says what a dataset holds, and shows some of its images.")
final class DataCommand implements Callable<Integer> {
  private static final int SHOWN = 64;

  private final Console console;

  @Parameters(paramLabel = "PATH", description = "IDX, CIFAR-10 binary, or a folder of images")
  private Path path;

  @Option(names = "--json", description = "a JSON object on standard output")
  private boolean json;

  @Option(names = "--out", paramLabel = "GRID.png", description = "a grid of training images")
  private Path out;

  DataCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (out != null) {
      ImageFiles.requireSuffix(out, false);
    }
    DatasetInfo info = Datasets.describe(path, DataSource.SPLIT_SEED);
    console.err().print(info.summary());
    if (out != null) {
      Dataset train = DataSource.open(path, Split.TRAIN, DataSource.SPLIT_SEED);
      int count = Math.min(SHOWN, train.count());
      ImageFiles.grid(
          out,
          train.images(IntStream.range(0, count).toArray()),
          count,
          new ImageShape(train.height(), train.width(), train.channels()));
      console.say("wrote " + count + " images to " + out);
    }
    if (json) {
      console.json(fields(info));
    }
    return 0;
  }

  private static Map<String, Object> fields(DatasetInfo info) {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("path", info.path().toString());
    all.put("format", info.format());
    all.put("train", info.trainCount());
    all.put("test", info.testCount());
    all.put("height", info.height());
    all.put("width", info.width());
    all.put("channels", info.channels());
    all.put("classes", info.classes());
    all.put("classNames", info.classNames());
    all.put("trainHistogram", info.trainHistogram());
    all.put("testHistogram", info.testHistogram());
    all.put("mean", info.mean());
    all.put("std", info.std());
    all.put("licence", info.licence().map(Path::toString).orElse(null));
    return all;
  }
}
