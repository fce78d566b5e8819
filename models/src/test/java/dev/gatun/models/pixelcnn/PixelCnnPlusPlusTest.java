package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.GraphReference;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PixelCnnPlusPlusTest extends WithDevice {
  @TempDir Path folder;

  /**
   * In the initialized network as a whole: a layer set by what the layers before it had computed
   * before they were set themselves would be off.
   */
  @ParameterizedTest
  @CsvSource({"1,0,2", "3,3,3"})
  void afterInitializationEachConvolutionHasMeanZeroAndItsScale(
      int colours, int classes, int resolutions) {
    int count = 8;
    PixelCnnPlusPlus model = Nets.plusPlus(7, 5, colours, 256, classes, resolutions);
    byte[] images = Nets.images(model, count, 3);
    Graph g = new Graph();
    Map<String, Value> biases = new LinkedHashMap<>();
    try (Parameters weights = new Parameters(device, model.parameters());
        Tensor input = Tensor.allocate(device, DType.U8, count, 7, 5, colours);
        Tensor labels = Tensor.allocate(device, DType.U8, count)) {
      weights.initialize(5);
      model.initialize(device, weights, images, Nets.labels(model, count));
      input.write(images);
      if (classes > 0) {
        labels.write(Nets.labels(model, count));
      }
      Value out =
          model.parameters(
              g,
              name -> {
                Value value = g.bind(weights.get(name));
                if (name.endsWith(".b")) {
                  biases.put(name, value);
                }
                return value;
              },
              new Model.Input(g.bind(input), g.bind(labels), DType.F32, null));
      Map<Value, double[]> convolved = new GraphReference().convolved(out);
      long layers = weights.specs().stream().filter(s -> s.name().endsWith(".v")).count();
      assertEquals(layers, convolved.size());
      assertEquals(layers, biases.size());
      biases.forEach((name, bias) -> {
        double scale = name.endsWith("conv2.b") ? 0.1 : 1;
        double[] y = convolved.get(bias);
        int channels = weights.get(name).elements();
        for (int k = 0; k < channels; k++) {
          double mean = 0;
          double square = 0;
          for (int i = k; i < y.length; i += channels) {
            mean += y[i];
            square += y[i] * y[i];
          }
          mean /= y.length / channels;
          double deviation = Math.sqrt(square / (y.length / channels) - mean * mean);
          assertEquals(0, mean, 1e-4 * scale, name + " " + k);
          assertEquals(scale, deviation, 1e-3 * scale, name + " " + k);
        }
      });
    }
  }

  /** At half of 2x2 the rows above are none: scaled up to deviation 1, nothing would explode. */
  @Test
  void featuresThatNoImageMovesKeepTheirGain() {
    PixelCnnPlusPlus model = Nets.plusPlus(2, 2, 1, 256, 0, 2);
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(5);
      model.initialize(device, weights, Nets.images(model, 16, 3), null);
      for (ParameterSpec spec : model.parameters()) {
        for (float v : weights.get(spec.name()).toFloats()) {
          assertTrue(Math.abs(v) < 100, spec.name() + " " + v);
        }
      }
    }
  }

  @Test
  void theTrainerInitializesFromItsFirstBatch() {
    PixelCnnPlusPlus model = Nets.plusPlus(5, 5, 1, 256, 2, 2);
    // one batch is all the data: the first batch is those images in some order
    Dataset data = data(model, 8);
    byte[] images = data.images(0, 1, 2, 3, 4, 5, 6, 7);
    byte[] labels = Nets.labels(model, 8);
    try (Trainer trainer = new Trainer(device, model, config(8, 0.01), data);
        Parameters expected = new Parameters(device, model.parameters())) {
      expected.initialize(7);
      model.initialize(device, expected, images, labels);
      for (ParameterSpec spec : model.parameters()) {
        float[] e = expected.get(spec.name()).toFloats();
        float[] a = trainer.averagedWeights().get(spec.name()).toFloats();
        for (int i = 0; i < e.length; i++) {
          assertEquals(e[i], a[i], 1e-3 * Math.max(1, Math.abs(e[i])), spec.name());
        }
      }
    }
  }

  private static TrainConfig config(int batch, double rate) {
    return new TrainConfig(batch, rate, 0, 1, 0.9, 0.99, 1, 0.9, false, DType.F32, 7);
  }

  private static Dataset data(PixelModel model, int count) {
    int[] labels = new int[count];
    for (int i = 0; i < count; i++) {
      labels[i] = i % 2;
    }
    Model.ImageShape s = model.imageShape();
    boolean given = model.classes() > 0;
    byte[] pixels = Nets.images(model, count, 4);
    return Dataset.of(
        "noise",
        s.height(),
        s.width(),
        s.channels(),
        pixels,
        given ? labels : null,
        given ? 2 : 0,
        List.of());
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void aResumedRunEqualsAnUnbrokenOneWithDropout(int classes) throws IOException {
    PixelCnnPlusPlus model = Nets.plusPlus(5, 4, 3, 256, classes, 2);
    Dataset data = data(model, 20);
    List<Double> unbroken = new ArrayList<>();
    List<Double> broken = new ArrayList<>();
    Path expected = folder.resolve("unbroken");
    Path saved = folder.resolve("state");
    Path resumed = folder.resolve("resumed");
    try (Trainer trainer = new Trainer(device, model, config(8, 0.01), data)) {
      for (int i = 0; i < 7; i++) {
        unbroken.add(trainer.step());
      }
      trainer.saveState(expected);
    }
    try (Trainer trainer = new Trainer(device, model, config(8, 0.01), data)) {
      for (int i = 0; i < 3; i++) {
        broken.add(trainer.step());
      }
      trainer.saveState(saved);
    }
    try (Trainer trainer = new Trainer(device, model, config(8, 0.01), data)) {
      trainer.step();
      trainer.loadState(saved);
      for (int i = 3; i < 7; i++) {
        broken.add(trainer.step());
      }
      trainer.saveState(resumed);
    }
    assertEquals(unbroken, broken);
    assertEquals(-1, Files.mismatch(expected, resumed));
  }

  private static PixelCnnPlusPlus dropping(double rate) {
    return new PixelCnnPlusPlus(new PixelCnnPlusPlus.Config(5, 4, 3, 256, 0, 6, 1, 3, 2, rate));
  }

  @Test
  void dropoutIsOfTrainingAloneAndDrawsAnewAtEachStep() {
    PixelCnnPlusPlus with = dropping(0.5);
    PixelCnnPlusPlus without = dropping(0);
    Dataset data = data(with, 4);
    double[][] losses = new double[2][2];
    for (int i = 0; i < 2; i++) {
      try (Trainer trainer = new Trainer(device, i == 0 ? with : without, config(4, 1e-12), data)) {
        losses[i][0] = trainer.step();
        losses[i][1] = trainer.step();
      }
    }
    assertEquals(losses[1][0], losses[1][1], 1e-5, "without chance");
    assertTrue(Math.abs(losses[0][0] - losses[1][0]) > 1e-4, "dropout does nothing");
    assertTrue(Math.abs(losses[0][0] - losses[0][1]) > 1e-4, "the same mask twice");
    byte[] images = Nets.images(with, 3, 5);
    try (Parameters weights = Nets.weights(device, with, 2)) {
      assertArrayEquals(
          Nets.parameters(device, without, weights, images, null),
          Nets.parameters(device, with, weights, images, null));
    }
    // one in each of the 2 * (2 + 3) blocks, each with a site of its own
    Graph g = new Graph();
    try (Parameters weights = Nets.weights(device, with, 2);
        Tensor step = Tensor.allocate(device, DType.F64, 1);
        Tensor input = Tensor.allocate(device, DType.U8, 1, 5, 4, 3)) {
      Value out =
          with.parameters(
              g,
              name -> g.bind(weights.get(name)),
              new Model.Input(
                  g.bind(input), null, DType.F32, new Model.Training(g.bind(step), 1, 0)));
      assertEquals(10, GraphReference.outputs(Dropout.class::isInstance, out).size());
    }
  }

  @Test
  void shiftedFeaturesStartWithZerosWhateverTheBias() {
    PixelCnnPlusPlus model = Nets.plusPlus(4, 5, 3, 256, 0, 2);
    Graph g = new Graph();
    try (Parameters weights = Nets.weights(device, model, 2);
        Tensor input = Tensor.allocate(device, DType.U8, 2, 4, 5, 3)) {
      input.write(Nets.images(model, 2, 3));
      Value out =
          model.parameters(
              g,
              name -> g.bind(weights.get(name)),
              new Model.Input(g.bind(input), null, DType.F32, null));
      List<Value> rows = GraphReference.outputs(op -> op instanceof Shift s && s.rows() == 1, out);
      List<Value> columns =
          GraphReference.outputs(op -> op instanceof Shift s && s.columns() == 1, out);
      assertEquals(2, rows.size());
      assertEquals(1, columns.size());
      List<Value> all = new ArrayList<>(rows);
      all.addAll(columns);
      try (Program program = g.compile(device, all.toArray(Value[]::new))) {
        program.run();
        for (Value value : all) {
          float[] x = program.tensor(value).toFloats();
          for (int i = 0; i < x.length; i++) {
            int pixel = i / 6 % 20;
            boolean first = columns.contains(value) ? pixel % 5 == 0 : pixel / 5 == 0;
            if (first) {
              assertEquals(0f, x[i], value + " " + i);
            } else {
              assertNotEquals(0f, x[i], value + " " + i);
            }
          }
        }
      }
    }
  }

  @Test
  void configurationsThatMakeNoSenseAreRefusedInOneLine() {
    double[][] wrong = {
      {0, 4, 1, 4, 0, 4, 1, 1, 1, 0}, {4, 4, 2, 4, 0, 4, 1, 1, 1, 0},
      {4, 4, 1, 1, 0, 4, 1, 1, 1, 0}, {4, 4, 1, 4, 1, 4, 1, 1, 1, 0},
      {4, 4, 1, 4, 0, 0, 1, 1, 1, 0}, {4, 4, 1, 4, 0, 4, 0, 1, 1, 0},
      {4, 4, 1, 4, 0, 4, 1, 0, 1, 0}, {4, 4, 1, 4, 0, 4, 1, 1, 0, 0},
      {4, 4, 1, 4, 0, 4, 1, 1, 1, 1}, {4, 4, 1, 4, 0, 4, 1, 1, 1, -0.1},
      {4, 4, 1, 4, 0, 4, 1, 1, 1, Double.NaN}
    };
    for (double[] c : wrong) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  new PixelCnnPlusPlus.Config(
                      (int) c[0],
                      (int) c[1],
                      (int) c[2],
                      (int) c[3],
                      (int) c[4],
                      (int) c[5],
                      (int) c[6],
                      (int) c[7],
                      (int) c[8],
                      c[9]));
      assertEquals(1, e.getMessage().lines().count());
      assertTrue(e.getMessage().startsWith("pixelcnn++: "), e.getMessage());
    }
  }
}
