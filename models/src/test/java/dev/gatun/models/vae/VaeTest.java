package dev.gatun.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.util.List;
import java.util.Map;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Known answers. */
class VaeTest {
  private static Device device;

  @BeforeAll
  static void open() {
    device = Devices.open("cpu");
  }

  @AfterAll
  static void close() {
    device.close();
  }

  private static Dataset blobs(int count, int side) {
    Philox philox = new Philox(8);
    byte[] pixels = new byte[count * side * side];
    for (int n = 0; n < count; n++) {
      double y = side * philox.uniform(Philox.Stream.TEST, n, 0);
      double x = side * philox.uniform(Philox.Stream.TEST, n, 1);
      for (int i = 0; i < side * side; i++) {
        double dy = i / side - y;
        double dx = i % side - x;
        pixels[n * side * side + i] = (byte) (int) (250 * Math.exp(-(dx * dx + dy * dy) / 6));
      }
    }
    return Dataset.of("blobs", side, side, 1, pixels, null, 0, List.of());
  }

  private static Model tiny(String name, int side, String... overrides) {
    Map<String, String> keys = new java.util.LinkedHashMap<>();
    for (int i = 0; i < overrides.length; i += 2) {
      keys.put(overrides[i], overrides[i + 1]);
    }
    Model.ImageShape shape = new Model.ImageShape(side, side, 1);
    return Models.setup(name, Preset.TINY, shape, DType.F32, 3, keys).model();
  }

  private static TrainConfig config(int batch, double rate) {
    return new TrainConfig(batch, rate, 10, 1, 0.9, 0.999, 1e4, 0.9, false, DType.F32, 3);
  }

  /** Every kind learns, and scores better than before by its own bound. */
  @ParameterizedTest
  @ValueSource(
      strings = {"vae", "iwae", "vampprior-vae", "gmm-vae", "iaf-vae", "categorical-vae", "vq-vae"})
  void trainingRaisesTheBound(String name) {
    Dataset data = blobs(128, 8);
    Model model = tiny(name, 8);
    try (Trainer trainer = new Trainer(device, model, config(32, 3e-3), data)) {
      double before = bound(model, trainer.averagedWeights(), data);
      for (int i = 0; i < 150; i++) {
        trainer.step();
      }
      double after = bound(model, trainer.averagedWeights(), data);
      assertTrue(after < before - 1, name + ": " + before + " to " + after + " bits/dim");
    }
  }

  private static double bound(Model model, Parameters weights, Dataset data) {
    return score(model, weights, data, data.count(), 1).unit();
  }

  private static ImportanceEvaluator.Score score(
      Model model, Parameters weights, Dataset data, int limit, int samples) {
    try (ImportanceEvaluator evaluator =
        new ImportanceEvaluator(
            device, (dev.gatun.models.BoundedModel) model, weights, DType.F32, samples, 5)) {
      return evaluator.score(data, limit, n -> {});
    }
  }

  /** Burda et al. 2016, theorem 1. */
  @ParameterizedTest
  @ValueSource(strings = {"vae", "vampprior-vae", "gmm-vae", "iaf-vae", "categorical-vae"})
  void moreSamplesTightenTheBound(String name) {
    Dataset data = blobs(64, 8);
    Model model = tiny(name, 8);
    try (Trainer trainer = new Trainer(device, model, config(32, 3e-3), data)) {
      for (int i = 0; i < 60; i++) {
        trainer.step();
      }
      Parameters weights = trainer.averagedWeights();
      double one = score(model, weights, data, 64, 1).nats();
      double ten = score(model, weights, data, 64, 10).nats();
      double many = score(model, weights, data, 64, 1000).nats();
      assertTrue(one > ten && ten > many, name + ": " + one + ", " + ten + ", " + many);
    }
  }

  /** As many samples in parts as at once: other draws, but of the same number. */
  @Test
  void samplesInPartsAreSamples() {
    Dataset data = blobs(16, 8);
    Model model = tiny("vae", 8);
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(4);
      double atOnce = score(model, weights, data, 16, 250).nats();
      double inParts = score(model, weights, data, 16, 2500).nats();
      double one = score(model, weights, data, 16, 1).nats();
      assertTrue(inParts <= atOnce + 0.5 && inParts < one, inParts + ", " + atOnce + ", " + one);
    }
  }

  /** The 251st is drawn by itself and weighs as much as each of the others. */
  @Test
  void aRestOfTheSamplesWeighsNoMore() {
    Dataset data = blobs(16, 8);
    Model model = tiny("vae", 8);
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(4);
      for (int i = 0; i < data.count(); i++) {
        Dataset image = data.subset(new int[] {i});
        double most = score(model, weights, image, 1, 250).nats();
        double all = score(model, weights, image, 1, 251).nats();
        // the others' draws are the same: if it weighed nothing the estimate would still be no
        // worse
        assertTrue(all <= most + Math.log(251 / 250.0) + 1e-6, all + " after " + most);
        assertNotEquals(most, all);
      }
    }
  }

  /**
   * The exact likelihood of the data under the linear Gaussian model that they are drawn from.
   *
   * @see "Tipping and Bishop 1999, Probabilistic Principal Component Analysis, equation 3"
   */
  @Test
  void aLinearVaeIsProbabilisticPca() {
    int d = 4;
    int latents = 2;
    double noise = 0.5;
    double[][] w = {{1.5, 0.2}, {-0.7, 0.9}, {0.3, -1.1}, {0.8, 0.6}};
    float[] train = linear(6000, w, noise, 1);
    float[] test = linear(2000, w, noise, 2);
    VaeNetwork.Config network = new VaeNetwork.Config(1, 1, d, VaeNetwork.Kind.MLP, 1, 0);
    Vae model =
        Vae.of(new Vae.Gaussian(new Vae.Common(network, Pixels.GAUSSIAN), latents, Kl.PLAIN));
    Dataset held = Dataset.ofPoints("test", d, test);
    double exact = pca(test, w, noise);
    TrainConfig config =
        new TrainConfig(250, 1e-2, 10, 0.999, 0.9, 0.999, 1e4, 0.99, false, DType.F32, 3);
    try (Trainer trainer =
        new Trainer(device, model, config, Dataset.ofPoints("train", d, train))) {
      for (int i = 0; i < 3000; i++) {
        trainer.step();
      }
      double bound = score(model, trainer.averagedWeights(), held, held.count(), 1).nats();
      double estimate = score(model, trainer.averagedWeights(), held, 500, 250).nats();
      System.out.printf(
          "linear VAE: %.4f nats, exact %.4f, estimate %.4f%n", bound, exact, estimate);
      // the posterior is Gaussian and linear: the bound is tight
      assertEquals(exact, bound, 0.1);
      assertEquals(pca(java.util.Arrays.copyOf(test, 500 * d), w, noise), estimate, 0.1);
    }
  }

  private static float[] linear(int count, double[][] w, double noise, long seed) {
    Philox philox = new Philox(seed);
    float[] x = new float[count * w.length];
    for (int n = 0; n < count; n++) {
      for (int i = 0; i < w.length; i++) {
        double sum = noise * philox.normal(Philox.Stream.TEST, n, 10 + i);
        for (int k = 0; k < w[i].length; k++) {
          sum += w[i][k] * philox.normal(Philox.Stream.TEST, n, k);
        }
        x[n * w.length + i] = (float) sum;
      }
    }
    return x;
  }

  /** Nats of a point under N(0, W W^T + noise^2). */
  private static double pca(float[] x, double[][] w, double noise) {
    int d = w.length;
    DMatrixRMaj covariance = new DMatrixRMaj(d, d);
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < d; j++) {
        double sum = i == j ? noise * noise : 0;
        for (int k = 0; k < w[i].length; k++) {
          sum += w[i][k] * w[j][k];
        }
        covariance.set(i, j, sum);
      }
    }
    double determinant = CommonOps_DDRM.det(covariance);
    DMatrixRMaj inverse = new DMatrixRMaj(d, d);
    CommonOps_DDRM.invert(covariance, inverse);
    double total = 0;
    int count = x.length / d;
    for (int n = 0; n < count; n++) {
      double square = 0;
      for (int i = 0; i < d; i++) {
        for (int j = 0; j < d; j++) {
          square += x[n * d + i] * inverse.get(i, j) * x[n * d + j];
        }
      }
      total += 0.5 * (d * Math.log(2 * Math.PI) + Math.log(determinant) + square);
    }
    return total / count;
  }

  /** A trap: the KL of all latents counts, not their mean. */
  @Test
  void theKlIsSummedOverLatents() {
    VaeNetwork.Config network = new VaeNetwork.Config(1, 1, 3, VaeNetwork.Kind.MLP, 8, 1);
    Vae.Common common = new Vae.Common(network, Pixels.GAUSSIAN);
    Dataset data = Dataset.ofPoints("p", 3, linear(64, new double[][] {{1}, {2}, {0.5}}, 1, 4));
    double[] losses = new double[3];
    double[] kl = new double[1];
    for (int beta = 0; beta < 3; beta++) {
      Vae model = Vae.of(new Vae.Gaussian(common, 5, new Kl(beta, 0, 0, 0, 0)));
      TrainConfig config =
          new TrainConfig(64, 1e-3, 0, 1, 0.9, 0.999, 1e4, 0.9, false, DType.F32, 3);
      try (Trainer trainer = new Trainer(device, model, config, data);
          Parameters weights = new Parameters(device, model.parameters());
          ImageCodes codes = new ImageCodes(device, model, weights, DType.F32)) {
        weights.initialize(3); // as the trainer's first
        for (double nats : codes.of(data, 64).kl()) {
          kl[0] += beta == 0 ? nats : 0;
        }
        losses[beta] = trainer.step();
      }
    }
    assertTrue(kl[0] > 1e-3, "nothing is said: " + kl[0]);
    assertEquals(kl[0], losses[1] - losses[0], 1e-4 * losses[1]);
    assertEquals(2 * kl[0], losses[2] - losses[0], 1e-4 * losses[2]);
  }

  /** The flow's log-determinant against that of its Jacobian, by reverse-mode gradients. */
  @Test
  void theFlowsDeterminantIsThatOfItsJacobian() {
    int d = 3;
    IafLatents latents = new IafLatents(d, 3, 4, 2);
    try (Parameters weights = new Parameters(device, latents.parameters());
        Tensor head = Tensor.allocate(device, DType.F32, 1, 1, 1, latents.headSize());
        Tensor step = Tensor.allocate(device, DType.F64, 1)) {
      weights.initialize(11);
      // stronger than at the start, or the flow is close to linear
      for (String name : List.of("mean.weight", "gate.weight")) {
        for (int t = 0; t < 3; t++) {
          Tensor w = weights.get("flow." + t + "." + name);
          float[] values = w.toFloats();
          for (int i = 0; i < values.length; i++) {
            values[i] *= 8;
          }
          w.write(values);
        }
      }
      head.write(0.3f, -0.4f, 0.9f, 0.1f, -0.5f, 0.2f, 1.1f, -0.7f);
      Graph graph = new Graph();
      Map<String, Value> bound = new java.util.HashMap<>();
      latents.parameters().forEach(p -> bound.put(p.name(), graph.bind(weights.get(p.name()))));
      Scope scope = new Scope(graph, bound::get, null, DType.F32);
      Value said = graph.bind(head);
      Latents.Drawn drawn = latents.draw(scope, said, new Noise(graph.bind(step), 1, 0), 1);
      List<Value> gradients = new java.util.ArrayList<>();
      for (int i = 0; i < d; i++) {
        // d z_i / d mean_j is d z_i / d z0_j
        Value element = element(graph, drawn.z(), i, d);
        gradients.add(graph.gradients(element, List.of(said)).getFirst());
      }
      List<Value> keep = new java.util.ArrayList<>(gradients);
      Value determinant = drawn.ratio().terms().get(1);
      keep.add(determinant);
      try (Program program = graph.compile(device, keep.toArray(Value[]::new))) {
        program.run();
        double expected = program.tensor(determinant).toFloats()[0];
        DMatrixRMaj jacobian = new DMatrixRMaj(d, d);
        for (int i = 0; i < d; i++) {
          float[] row = program.tensor(gradients.get(i)).toFloats();
          for (int j = 0; j < d; j++) {
            jacobian.set(i, j, row[j]);
          }
        }
        double found = Math.log(Math.abs(CommonOps_DDRM.det(jacobian)));
        assertTrue(Math.abs(expected) > 0.1, "a flow that does nothing: " + expected);
        assertEquals(expected, found, 1e-4);
      }
    }
  }

  /** The i-th number of z [1,1,1,d], as a loss. */
  private static Value element(Graph graph, Value z, int i, int d) {
    float[] one = new float[d];
    one[i] = 1;
    Tensor w = Tensor.allocate(device, DType.F32, 1, d, 1);
    w.write(one);
    Value y =
        graph.apply(
            new dev.gatun.engine.op.Conv2d(dev.gatun.engine.op.Taps.point()), z, graph.bind(w));
    return graph.apply(new dev.gatun.engine.op.Reshape(1), y);
  }

  @Test
  void latentsOfThePriorAreOfThePrior() {
    Model model = tiny("gmm-vae", 8, "components", "2", "latents", "3");
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(4);
      // components at -5 and at 5, of deviation 0.5; the second three times as likely
      float[] moments = new float[12];
      for (int i = 0; i < 3; i++) {
        moments[i] = -5;
        moments[6 + i] = 5;
        moments[3 + i] = (float) (2 * Math.log(0.5));
        moments[9 + i] = moments[3 + i];
      }
      weights.get("prior.moments").write(moments);
      weights.get("prior.logits").write(0, (float) Math.log(3));
      try (VaeSampler sampler = new VaeSampler(device, (Vae) model, weights, DType.F32, false)) {
        int count = 4000;
        float[] z = sampler.latents(count, 7, 1);
        int right = 0;
        double sum = 0;
        double squares = 0;
        for (int i = 0; i < count; i++) {
          boolean second = z[3 * i] > 0;
          right += second ? 1 : 0;
          for (int j = 0; j < 3; j++) {
            assertEquals(second, z[3 * i + j] > 0, "all of a point are of one component");
            double off = z[3 * i + j] - (second ? 5 : -5);
            sum += off;
            squares += off * off;
          }
        }
        // four standard errors
        assertEquals(0.75, right / (double) count, 4 * Math.sqrt(0.75 * 0.25 / count));
        assertEquals(0, sum / (3 * count), 4 * 0.5 / Math.sqrt(3 * count));
        assertEquals(0.25, squares / (3 * count), 4 * 0.25 * Math.sqrt(2.0 / (3 * count)));
        assertArrayEquals(
            java.util.Arrays.copyOf(z, 3 * 10), sampler.latents(10, 7, 1), "image k is image k");
      }
    }
  }

  @Test
  void imagesDoNotDependOnHowManyAreDrawn() {
    for (String name : List.of("vae", "categorical-vae", "vq-vae", "vampprior-vae")) {
      Model model = tiny(name, 8);
      try (Parameters weights = new Parameters(device, model.parameters())) {
        weights.initialize(4);
        float[] larger = weights.flat().toFloats(); // fresh decoders say next to nothing
        for (int i = 0; i < larger.length; i++) {
          larger[i] *= 3;
        }
        weights.flat().write(larger);
        if (name.equals("vq-vae")) { // codes that differ
          Tensor state = weights.get("codebook.state");
          float[] sums = state.toFloats();
          for (int i = 0; i < sums.length; i++) {
            sums[i] = i % 5 == 4 ? 1 : (float) new Philox(1).normal(Philox.Stream.TEST, 0, i);
          }
          state.write(sums);
        }
        for (String sampler : Models.samplers(model)) {
          try (dev.gatun.models.Sampler opened =
              Models.sampler(sampler, device, model, weights, DType.F32)) {
            byte[] many = opened.sample(70, 3, 1, n -> {});
            byte[] few = opened.sample(5, 3, 1, n -> {});
            assertArrayEquals(java.util.Arrays.copyOf(many, few.length), few, name + " " + sampler);
            assertFalse(
                java.util.Arrays.equals(few, opened.sample(5, 4, 1, n -> {})), "another seed");
          }
        }
      }
    }
  }

  @Test
  void badSettingsAreRefusedInALine() {
    String[][] cases = {
      {"vae", "likelihood", "squared", "autoencoders"},
      {"vae", "latents", "0", "positive"},
      {"vae", "filters", "20", "multiple of 16"},
      {"vae", "capacity", "5", "capacitySteps"},
      {"iwae", "samples", "0", "1 to 5000"},
      {"vampprior-vae", "pseudoInputs", "0", "1 to 1000"},
      {"iaf-vae", "flows", "0", "positive"},
      {"categorical-vae", "categories", "1", "2 up"},
      {"vq-vae", "codes", "300", "2 to 256"},
      {"vq-vae", "likelihood", "squared", "autoencoders"},
      {"autoencoder", "corruption", "1", "0 to 0.998"}
    };
    for (String[] c : cases) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> tiny(c[0], 8, c[1], c[2]), c[1]);
      assertTrue(e.getMessage().contains(c[3]), e.getMessage());
      assertEquals(1, e.getMessage().lines().count());
    }
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> tiny("vq-vae", 6))
            .getMessage()
            .contains("multiples of 4"));
  }
}
