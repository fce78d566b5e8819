package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.GraphReference;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.pixelcnn.Nets.Kind;
import dev.gatun.models.train.Evaluator;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The likelihood as a whole: a distribution over images, and the one that the ops describe. */
class DistributionTest extends WithDevice {
  private static Stream<Arguments> enumerable() {
    return Stream.of(Kind.values())
        .flatMap(kind ->
            Stream.of(
                    new int[] {2, 2, 1, 3},
                    new int[] {1, 2, 3, 2},
                    new int[] {2, 1, 3, 3},
                    new int[] {1, 1, 3, 9})
                .flatMap(s ->
                    Stream.of(0, 2)
                        .map(classes -> Arguments.of(kind, s[0], s[1], s[2], s[3], classes))));
  }

  /** Every image there can be, one after another. */
  private static byte[] all(PixelModel model) {
    int size = model.imageShape().dimensions();
    int count = (int) Math.pow(model.levels(), size);
    byte[] images = new byte[count * size];
    for (int i = 0; i < count; i++) {
      for (int p = 0, rest = i; p < size; p++, rest /= model.levels()) {
        images[i * size + p] = (byte) (rest % model.levels());
      }
    }
    return images;
  }

  /**
   * Images with the same beginning have the same outputs to the bit, so the sum is off by the
   * losses' own rounding alone: 2^-24 of at most some 20 nats for each of at most 6 values.
   */
  @ParameterizedTest
  @MethodSource("enumerable")
  void theProbabilitiesOfAllImagesSumToOne(
      Kind kind, int height, int width, int colours, int levels, int classes) {
    PixelModel model = kind.small(height, width, colours, levels, classes);
    byte[] images = all(model);
    int count = images.length / model.imageShape().dimensions();
    double[] first = null;
    try (Parameters weights = Nets.weights(device, model, 4)) {
      for (int label = 0; label < Math.max(1, classes); label++) {
        byte[] labels = classes == 0 ? null : new byte[count];
        if (labels != null) {
          Arrays.fill(labels, (byte) label);
        }
        double[] nats = Nets.nats(device, model, weights, images, labels);
        double total = 0;
        double largest = 0;
        for (double n : nats) {
          total += Math.exp(-n);
          largest = Math.max(largest, Math.exp(-n));
        }
        assertEquals(1, total, 1e-5);
        assertTrue(largest > 2.0 / count, "no image stands out: the weights do nothing");
        if (first != null) {
          assertNotEquals(first[0], nats[0], 1e-3, "the label does nothing");
        }
        first = nats;
      }
    }
  }

  /** The device's score is the reference's, as far as rounding allows. */
  @ParameterizedTest
  @MethodSource("dev.gatun.models.pixelcnn.Nets#variants")
  void scoresAreThoseOfTheReference(Kind kind, int colours, int classes) {
    PixelModel model = kind.small(5, 3, colours, 256, classes);
    int count = 3;
    byte[] images = Nets.images(model, count, 12);
    byte[] labels = Nets.labels(model, count);
    Graph g = new Graph();
    try (Parameters weights = Nets.weights(device, model, 4);
        Tensor input = Tensor.allocate(device, DType.U8, count, 5, 3, colours);
        Tensor given = Tensor.allocate(device, DType.U8, count);
        Evaluator evaluator = new Evaluator(device, model, weights, DType.F32)) {
      input.write(images);
      int[] classLabels = null;
      if (labels != null) {
        given.write(labels);
        classLabels = new int[] {0, 1, 2};
      }
      Model.Input in = new Model.Input(g.bind(input), g.bind(given), DType.F32, null);
      Model.Nats nats = model.nats(g, name -> g.bind(weights.get(name)), in);
      double exact = bits(nats.terms(), images.length);
      double astray = 0;
      Random random = new Random(1);
      for (int i = 0; i < 3; i++) {
        double off = sum(new GraphReference().astray(nats.terms(), random));
        astray = Math.max(astray, Math.abs(off / Math.log(2) / images.length - exact));
      }
      Dataset data = Dataset.of("noise", 5, 3, colours, images, classLabels, classes, List.of());
      assertTrue(astray < 1e-4 * exact, "tolerance " + astray + " of " + exact);
      assertEquals(exact, evaluator.score(data, count, n -> {}).bitsPerDim(), 2 * astray);
      double mean = new GraphReference().evaluate(nats.mean())[0];
      assertEquals(exact * Math.log(2), mean, 1e-12 * exact);
    }
  }

  private static double bits(Value terms, int dimensions) {
    return sum(new GraphReference().evaluate(terms)) / Math.log(2) / dimensions;
  }

  private static double sum(double[] values) {
    return Arrays.stream(values).sum();
  }
}
