package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.LikelihoodModel;
import dev.gatun.models.Model;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Whether a peer computes what Gatun does, in f32; no peer is timed that does not.
 *
 * <p>Two f32 sums of n terms in different orders differ by about {@code sqrt(n) * 2^-24} of the
 * size of what is summed, rounding errors being of random sign; along a chain of d sums that is d
 * times as much at most. So much is tolerated, and no more: d is the convolutions in a row (for
 * gradients twice that), n the longest sum's terms (for gradients the pixels of the batch), the
 * size the largest value of the tensor.
 */
final class PeerCheck {
  private static final double ROUNDING = 0x1p-24;

  /** Of the whole first step: the bound of a single weight says little where gradients vanish. */
  private static final double STEP_TOLERANCE = 0.01;

  private final LikelihoodModel model;
  private final int count;
  private final Map<String, Object> report = new LinkedHashMap<>();
  private final Map<String, float[]> gradients = new LinkedHashMap<>();
  private final Map<String, Double> gradientTolerances = new LinkedHashMap<>();

  /**
   * Checks nothing yet.
   *
   * @param count images
   */
  PeerCheck(Model model, int count) {
    this.model = LikelihoodModel.of(model);
    this.count = count;
  }

  /** The differences found so far, and those tolerated. */
  Map<String, Object> report() {
    return report;
  }

  private int chain() {
    return 2 * ((GatedPixelCnn.Config) model.config()).layers() + 2;
  }

  private double natsTolerance() {
    int terms =
        model.parameters().stream()
            .filter(p -> p.shape().rank() == 3)
            .mapToInt(p -> p.shape().dim(0) * p.shape().dim(1))
            .max()
            .orElseThrow();
    return chain() * Math.sqrt(terms) * ROUNDING;
  }

  /** Each pixel's loss on the same weights. */
  void nats(Device device, Parameters weights, Peer.Network network, byte[] images) {
    float[] ours;
    Graph graph = new Graph();
    try (Tensor batch = images(device, images)) {
      Value nats =
          model
              .nats(
                  graph,
                  n -> graph.bind(weights.get(n)),
                  new Model.Input(graph.bind(batch), null, DType.F32, null))
              .terms();
      try (Program program = graph.compile(device, nats)) {
        program.run();
        ours = program.tensor(nats).toFloats();
      }
    }
    float[] theirs = network.nats(images, count);
    require("a pixel's loss", "nats", ours, theirs, natsTolerance() * largest(ours));
  }

  /** The gradient of the mean loss on the same weights. */
  void gradients(Device device, Parameters weights, Peer.Network network, byte[] images) {
    Graph graph = new Graph();
    try (Tensor batch = images(device, images);
        Parameters slopes = new Parameters(device, weights.specs())) {
      Map<String, Value> bound = new LinkedHashMap<>();
      weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
      Model.Input input = new Model.Input(graph.bind(batch), null, DType.F32, null);
      Value mean = model.nats(graph, bound::get, input).mean();
      List<Value> values = graph.gradients(mean, List.copyOf(bound.values()));
      int i = 0;
      for (String name : bound.keySet()) {
        graph.store(values.get(i++), slopes.get(name));
      }
      try (Program program = graph.compile(device, mean)) {
        program.run();
      }
      bound.keySet().forEach(name -> gradients.put(name, slopes.get(name).toFloats()));
    }
    Map<String, float[]> theirs = network.gradients(images, count);
    double relative = 2 * chain() * Math.sqrt(count * model.imageShape().dimensions()) * ROUNDING;
    double worst = 0;
    for (Map.Entry<String, float[]> ours : gradients.entrySet()) {
      double tolerance = relative * largest(ours.getValue());
      gradientTolerances.put(ours.getKey(), tolerance);
      double difference =
          compare(
              "the gradient of " + ours.getKey(),
              ours.getValue(),
              theirs.get(ours.getKey()),
              tolerance);
      worst = Math.max(worst, difference / largest(ours.getValue()));
    }
    report.put("gradientMaxDifference", worst);
    report.put("gradientTolerance", relative);
    report.put("gradientDifferencesAre", "as shares of the tensor's largest gradient");
  }

  /**
   * The averaged weights after the first optimizer step from the same weights. That step is rate *
   * g / (|g| + epsilon) for a gradient g, so a difference d between two gradients moves a weight by
   * 2 * rate * d / |g| at most, and by 2 * rate however small g is.
   *
   * @param rate the first step's
   */
  void firstStep(Parameters ours, Map<String, float[]> theirs, double rate) {
    double worst = 0;
    double total = 0;
    double moved = 0;
    for (ParameterSpec spec : ours.specs()) {
      float[] a = ours.get(spec.name()).toFloats();
      float[] b = theirs.get(spec.name());
      float[] g = gradients.get(spec.name());
      double unsure = gradientTolerances.get(spec.name());
      for (int i = 0; i < a.length; i++) {
        double tolerance =
            2 * rate * Math.min(1, unsure / Math.abs(g[i])) + 4 * Math.ulp(a[i]) + 1e-5 * rate;
        double difference = Math.abs((double) a[i] - b[i]);
        if (!(difference <= tolerance)) {
          throw disagreement("after one step " + spec.name(), difference, tolerance);
        }
        worst = Math.max(worst, difference);
        total += difference * difference;
        moved += rate * rate;
      }
    }
    double share = Math.sqrt(total / moved);
    if (!(share <= STEP_TOLERANCE)) {
      throw disagreement("the first step, as a share of it,", share, STEP_TOLERANCE);
    }
    report.put("weightsAfterOneStepMaxDifference", worst);
    report.put("firstStepDifference", share);
    report.put("firstStepTolerance", STEP_TOLERANCE);
    report.put("firstStepDifferencesAre", "root mean squares, as shares of the step");
  }

  private Tensor images(Device device, byte[] images) {
    Model.ImageShape s = model.imageShape();
    return Tensor.allocate(device, DType.U8, count, s.height(), s.width(), s.channels())
        .write(images);
  }

  private void require(String what, String key, float[] ours, float[] theirs, double tolerance) {
    report.put(key + "MaxDifference", compare(what, ours, theirs, tolerance));
    report.put(key + "Tolerance", tolerance);
  }

  private static double compare(String what, float[] ours, float[] theirs, double tolerance) {
    if (ours.length != theirs.length) {
      throw new IllegalStateException(
          what + ": ours has " + ours.length + " values, the peer's " + theirs.length);
    }
    double worst = 0;
    for (int i = 0; i < ours.length; i++) {
      double difference = Math.abs((double) ours[i] - theirs[i]);
      if (!(difference <= tolerance)) {
        throw disagreement(what, difference, tolerance);
      }
      worst = Math.max(worst, difference);
    }
    return worst;
  }

  private static IllegalStateException disagreement(
      String what, double difference, double tolerance) {
    return new IllegalStateException(
        String.format(
            Locale.ROOT,
            "not timed, the peer computes something else: %s differs by %.3g, tolerated is %.3g",
            what,
            difference,
            tolerance));
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }
}
