package dev.gatun.models.metrics;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsFile;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Records;
import dev.gatun.models.train.DivergedException;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.IntConsumer;

/**
 * A {@link FeatureNet} trained on a data set, and the features it gives of images. Figures that are
 * taken with it compare with each other where {@link #hash} is the same, and with nothing else.
 *
 * <p>It is trained once for a data set and kept in a file. Its weights follow from the data and the
 * settings, bit for bit on a machine; on another one with another number of cores, another dtype or
 * a GPU they do not: to compare figures across machines take the file along. Features are computed
 * in f32 whatever it was trained in.
 *
 * <p>Not thread-safe.
 */
public final class Classifier implements AutoCloseable {
  /** To be raised when the network, or how it is trained, is changed: older files count no more. */
  private static final String VERSION = "feature-net 1";

  private static final int BATCH = 128;
  private static final int HASH_DIGITS = 12;
  private static final double LAST_RATE = 0.01;

  /**
   * What is trained, and how.
   *
   * @param batch images a step
   * @param steps how many; the learning rate falls to a hundredth over them
   * @param learningRate Adam's, at the start
   * @param emaDecay of the averaged weights, which are the classifier's
   * @param seed of the initial weights and the order of images
   */
  public record Settings(
      FeatureNet.Config net,
      int batch,
      int steps,
      double learningRate,
      double emaDecay,
      long seed) {
    public Settings {
      if (steps < 1) {
        throw new IllegalArgumentException("steps must be positive, not " + steps);
      }
    }

    /**
     * Those for the figures of a data set.
     *
     * @throws IllegalArgumentException in one line if it has no labels, or images the network is
     *     not for
     */
    public static Settings of(Dataset data) {
      requireLabels(data);
      FeatureNet.Config net =
          new FeatureNet.Config(
              data.height(), data.width(), data.channels(), data.classes(), 32, 1, 64, 8);
      return new Settings(net, Math.min(128, data.count()), 1_200, 2e-3, 0.99, 0);
    }

    private TrainConfig training(DType dtype) {
      double decay = Math.pow(LAST_RATE, 1.0 / steps);
      return new TrainConfig(
          batch, learningRate, steps / 20, decay, 0.9, 0.99, 1, emaDecay, false, dtype, seed);
    }

    private String json() {
      return Records.toJson(this).toString();
    }
  }

  private final FeatureNet net;
  private final Parameters weights;
  private final String hash;
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Program program;
  private final Tensor features; // (BATCH, 1, 1, D) f32
  private final Tensor logits; // (BATCH, 1, 1, K) f32
  private double testAccuracy;

  /** Takes the weights over. */
  private Classifier(Device device, FeatureNet net, Parameters weights) {
    this.net = net;
    this.weights = owned.add(weights);
    try {
      hash = Sha256.of(weights.entries(""));
      batch = owned.add(new ImageBatch(device, net, BATCH));
      Graph graph = new Graph();
      Map<String, Value> bound = new TreeMap<>();
      net.parameters().forEach(p -> bound.put(p.name(), graph.bind(weights.get(p.name()))));
      Value said = net.features(graph, bound::get, graph.bind(batch.images()), DType.F32);
      Value classes = net.logits(graph, bound::get, said);
      program = owned.add(graph.compile(device, said, classes));
      features = program.tensor(said);
      logits = program.tensor(classes);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * The classifier of a data set: from a folder if it is there, else trained and put there. The
   * caller closes it, before the device.
   *
   * @param training what it is trained on
   * @param test what its accuracy is measured on
   * @param folder is created if need be; holds a file for each data set and settings
   * @param log is told in a line when one is trained, why, and how good it is
   * @param progress is told how many steps were done
   * @throws IllegalArgumentException in one line if there are no labels or the images do not fit
   * @throws DivergedException if training fails; nothing is kept
   */
  public static Classifier open(
      Device device,
      Dataset training,
      Dataset test,
      Settings settings,
      Path folder,
      Consumer<String> log,
      IntConsumer progress)
      throws IOException {
    requireLabels(training);
    requireLabels(test);
    FeatureNet net = new FeatureNet(settings.net);
    Trainer.requireFits(net, training);
    Trainer.requireFits(net, test);
    Map<String, String> expected =
        Map.of(
            "model", net.name(),
            "version", VERSION,
            "settings", settings.json(),
            "data_sha256", Sha256.of(training));
    String key = Sha256.of(new TreeMap<>(expected).toString()).substring(0, HASH_DIGITS);
    Path file = folder.resolve("classifier-" + key + ".safetensors");
    if (Files.exists(file)) {
      try {
        return load(device, net, file, expected, test);
      } catch (FormatException e) {
        log.accept(e.getMessage() + "; the classifier is trained again");
      }
    }
    log.accept(
        String.format(
            Locale.ROOT,
            "training the classifier of %s: %,d steps of %d images",
            training.name(),
            settings.steps,
            settings.batch));
    Classifier trained = train(device, net, settings, training, progress);
    try {
      trained.testAccuracy = trained.accuracy(test);
      Map<String, String> metadata = new TreeMap<>(expected);
      metadata.put("data", training.name());
      metadata.put("steps", Integer.toString(settings.steps));
      metadata.put("dtype", device.preferredDType().label());
      metadata.put("device", device.description());
      metadata.put("test_sha256", Sha256.of(test));
      metadata.put("test_accuracy", Double.toString(trained.testAccuracy));
      metadata.put("weights_sha256", trained.hash);
      Files.createDirectories(folder);
      Safetensors.write(file, metadata, trained.weights.entries(""));
    } catch (IOException | RuntimeException | Error e) {
      trained.close();
      throw e;
    }
    log.accept(
        String.format(
            Locale.ROOT,
            "classifier %s: %.2f%% of %,d test images right; kept in %s",
            trained.hash(),
            100 * trained.testAccuracy,
            test.count(),
            file));
    return trained;
  }

  private static void requireLabels(Dataset data) {
    if (!data.hasLabels()) {
      throw new IllegalArgumentException(
          "figures need a classifier, and that needs labels; "
              + data.name()
              + " has none: use data with labels, or folders of images named after their classes");
    }
  }

  private static Classifier train(
      Device device, FeatureNet net, Settings settings, Dataset data, IntConsumer progress) {
    TrainConfig training = settings.training(device.preferredDType());
    try (Trainer trainer = new Trainer(device, net, training, data)) {
      for (int step = 1; step <= settings.steps; step++) {
        trainer.step();
        progress.accept(step);
      }
      for (float value : trainer.averagedWeights().flat().toFloats()) {
        if (!Float.isFinite(value)) {
          throw new DivergedException(settings.steps, value);
        }
      }
      Parameters weights = new Parameters(device, net.parameters());
      try {
        weights.copyFrom(trainer.averagedWeights());
      } catch (RuntimeException | Error e) {
        weights.close();
        throw e;
      }
      return new Classifier(device, net, weights);
    }
  }

  private static Classifier load(
      Device device, FeatureNet net, Path file, Map<String, String> expected, Dataset test)
      throws IOException {
    Parameters weights = new Parameters(device, net.parameters());
    Map<String, String> metadata;
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      metadata = saved.metadata();
      for (Map.Entry<String, String> entry : expected.entrySet()) {
        requireThat(
            entry.getValue().equals(metadata.get(entry.getKey())),
            file,
            "is not what its name says: its " + entry.getKey() + " differs");
      }
      weights.load(file, saved, "");
    } catch (IOException | RuntimeException | Error e) {
      weights.close();
      throw e;
    }
    Classifier classifier = new Classifier(device, net, weights);
    try {
      requireThat(
          classifier.hash.equals(metadata.get("weights_sha256")),
          file,
          "has weights that are not those it was written with");
      String accuracy = metadata.get("test_accuracy");
      boolean same = Sha256.of(test).equals(metadata.get("test_sha256"));
      classifier.testAccuracy =
          same && accuracy != null && accuracy.matches("[01]\\.\\d{1,18}(E-\\d)?")
              ? Double.parseDouble(accuracy)
              : classifier.accuracy(test);
      return classifier;
    } catch (IOException | RuntimeException | Error e) {
      classifier.close();
      throw e;
    }
  }

  private static void requireThat(boolean condition, Path file, String problem)
      throws FormatException {
    if (!condition) {
      throw new FormatException(file, problem, "it is damaged or was put there by hand");
    }
  }

  /** The first 12 hexadecimal digits of the SHA-256 of its weights; to be shown with figures. */
  public String hash() {
    return hash.substring(0, HASH_DIGITS);
  }

  /** The share of the test images that it puts in their classes. */
  public double testAccuracy() {
    return testAccuracy;
  }

  /** Features of an image. */
  public int size() {
    return net.config().features();
  }

  /**
   * Features of images.
   *
   * @param pixels [count,H,W,C] u8
   * @throws IllegalArgumentException if they are not as many, of the data set's size
   */
  public Features features(byte[] pixels, int count) {
    Model.ImageShape s = net.imageShape();
    if (count < 0 || pixels.length != (long) count * s.dimensions()) {
      throw new IllegalArgumentException(
          pixels.length + " bytes are not " + count + " images of " + s);
    }
    return features(
        Dataset.of("images", s.height(), s.width(), s.channels(), pixels, null, 0, List.of()));
  }

  /**
   * Features of all images of a set.
   *
   * @throws IllegalArgumentException if they are not of the data set's size
   */
  public Features features(Dataset data) {
    requireSize(data);
    float[] all = new float[Math.multiplyExact(data.count(), size())];
    for (int first = 0; first < data.count(); first += BATCH) {
      int here = run(data, first);
      System.arraycopy(features.toFloats(), 0, all, first * size(), here * size());
    }
    return new Features(data.count(), size(), all);
  }

  private void requireSize(Dataset data) {
    Model.ImageShape shape = new Model.ImageShape(data.height(), data.width(), data.channels());
    if (!shape.equals(net.imageShape())) {
      throw new IllegalArgumentException(
          "the images of "
              + data.name()
              + " are "
              + shape
              + ", the classifier is for "
              + net.imageShape()
              + ": use the data that go with it");
    }
  }

  /** The share of a set's images that it puts in their classes. */
  private double accuracy(Dataset data) {
    int classes = net.classes();
    int right = 0;
    for (int first = 0; first < data.count(); first += BATCH) {
      int here = run(data, first);
      float[] said = logits.toFloats();
      for (int i = 0; i < here; i++) {
        int best = 0;
        for (int k = 1; k < classes; k++) {
          best = said[i * classes + k] > said[i * classes + best] ? k : best;
        }
        right += best == data.label(first + i) ? 1 : 0;
      }
    }
    return (double) right / Math.max(1, data.count());
  }

  /** Runs the network on the images from {@code first} on; returns how many there were. */
  private int run(Dataset data, int first) {
    int here = batch.load(data, first, data.count());
    program.run();
    return here;
  }

  @Override
  public void close() {
    owned.close();
  }
}
