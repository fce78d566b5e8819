package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.metrics.Features;
import dev.gatun.models.train.Trainer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * What an encoder that was trained without labels is worth where few images have labels: the
 * accuracy on test images of classifiers that use it, beside others that do not.
 *
 * @param rows one for each number of labels, in the order that was asked for
 */
public record FewLabels(List<Row> rows) {
  /** Images that principal components and centroids are fitted to, at most. */
  private static final int FIT = 10_000;

  private static final int LEAST_CENTROIDS = 64;

  /** How images are classified. */
  public enum Method {
    /** A {@link LinearProbe} on the encoder's features. */
    ENCODER("encoder", "linear probe on the encoder's features"),
    /** {@link FineTuning} from the encoder's weights. */
    FINE_TUNED("fineTuned", "fine-tuned encoder"),
    /** The same network and training, from fresh weights. */
    SCRATCH("scratch", "the same network from scratch"),
    /** A probe on as many {@link PrincipalComponents} as the encoder has features. */
    PCA("pca", "linear probe on PCA"),
    /** A probe on {@link KMeansFeatures}, as many as the encoder's and at least 64. */
    K_MEANS("kMeans", "linear probe on k-means features");

    private final String key;
    private final String title;

    Method(String key, String title) {
      this.key = key;
      this.title = title;
    }

    /** As in JSON. */
    public String key() {
      return key;
    }

    /** As people read it. */
    public String title() {
      return title;
    }
  }

  /**
   * Test accuracies.
   *
   * @param labels how many training images had one
   * @param accuracy from 0 to 1, of each method
   */
  public record Row(int labels, Map<Method, Double> accuracy) {}

  /**
   * Runs the experiment. The labelled images are drawn in equal shares of each class; features that
   * learn are fitted to training images without labels.
   *
   * @param weights the model's
   * @param dtype of activations
   * @param labels how many, each from 5 and the number of classes up to all training images; all
   *     are taken as they are, whatever their shares
   * @param seed of what is drawn: labelled images, weights from scratch, centroids
   * @param log is told in a line what begins
   * @throws IllegalArgumentException in one line if the images do not fit the model or each other,
   *     have no labels, or there are too few of a class
   */
  public static FewLabels run(
      Device device,
      EncodingModel model,
      Parameters weights,
      DType dtype,
      Dataset train,
      Dataset test,
      List<Integer> labels,
      long seed,
      Consumer<String> log) {
    requireAlike(train, test);
    Trainer.requireFits(model, train);
    Trainer.requireFits(model, test);
    List<Dataset> labelled = new ArrayList<>();
    List<int[]> chosen = new ArrayList<>();
    for (int count : labels) {
      int[] images = choose(train, count, seed);
      chosen.add(images);
      labelled.add(train.subset(images));
    }
    Map<Method, List<Double>> accuracies = new EnumMap<>(Method.class);
    log.accept("features of the encoder");
    try (Encodings encodings = new Encodings(device, model, weights, dtype)) {
      accuracies.put(
          Method.ENCODER,
          probe(
              device,
              encodings.of(train, done -> {}),
              encodings.of(test, done -> {}),
              train,
              test,
              chosen,
              seed));
    }
    Features pixels = Labels.pixels(train);
    Features testPixels = Labels.pixels(test);
    int[] order = new Philox(seed).permutation(train.count(), Philox.Stream.SHUFFLE, 0);
    Features fitted = pixels.rows(Arrays.copyOf(order, Math.min(FIT, order.length)));
    log.accept("principal components");
    PrincipalComponents pca =
        PrincipalComponents.fit(fitted, Math.min(model.features(), fitted.size()));
    accuracies.put(
        Method.PCA,
        probe(device, pca.transform(pixels), pca.transform(testPixels), train, test, chosen, seed));
    log.accept("k-means features");
    KMeansFeatures kMeans =
        KMeansFeatures.fit(
            fitted, Math.min(fitted.count(), Math.max(LEAST_CENTROIDS, model.features())), seed);
    accuracies.put(
        Method.K_MEANS,
        probe(
            device,
            kMeans.transform(pixels),
            kMeans.transform(testPixels),
            train,
            test,
            chosen,
            seed));
    for (Method method : List.of(Method.FINE_TUNED, Method.SCRATCH)) {
      List<Double> all = new ArrayList<>();
      for (Dataset some : labelled) {
        log.accept(method.title() + ", " + some.count() + " labels");
        FineTuning.Result result =
            FineTuning.run(
                device,
                model,
                method == Method.FINE_TUNED ? weights : null,
                some,
                test,
                FineTuning.Settings.of(some.count()),
                dtype,
                seed,
                step -> {});
        all.add(result.accuracy());
      }
      accuracies.put(method, all);
    }
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < chosen.size(); i++) {
      Map<Method, Double> row = new EnumMap<>(Method.class);
      for (Method method : Method.values()) {
        row.put(method, accuracies.get(method).get(i));
      }
      rows.add(new Row(chosen.get(i).length, row));
    }
    return new FewLabels(rows);
  }

  private static void requireAlike(Dataset train, Dataset test) {
    Labels.require(train);
    Labels.require(test);
    if (train.classes() != test.classes()) {
      throw new IllegalArgumentException(
          train.name()
              + " has "
              + train.classes()
              + " classes, "
              + test.name()
              + " "
              + test.classes()
              + ": use two parts of one data set");
    }
  }

  private static int[] choose(Dataset train, int count, long seed) {
    if (count > train.count()) {
      throw new IllegalArgumentException(
          count
              + " labels of the "
              + train.count()
              + " images of "
              + train.name()
              + ": ask for fewer, or for all");
    }
    if (count < LinearProbe.LEAST) {
      throw new IllegalArgumentException(
          count + " labels: ask for " + LinearProbe.LEAST + " or more");
    }
    if (count == train.count()) {
      int[] all = new int[count];
      Arrays.setAll(all, i -> i);
      return all;
    }
    return Labels.balanced(train, count, seed);
  }

  private static List<Double> probe(
      Device device,
      Features features,
      Features testFeatures,
      Dataset train,
      Dataset test,
      List<int[]> chosen,
      long seed) {
    int[] labels = Labels.of(train);
    int[] testLabels = Labels.of(test);
    List<Double> accuracies = new ArrayList<>();
    for (int[] images : chosen) {
      LinearProbe probe =
          LinearProbe.fit(
              device, features.rows(images), Labels.pick(labels, images), train.classes(), seed);
      accuracies.add(probe.accuracy(testFeatures, testLabels));
    }
    return accuracies;
  }
}
