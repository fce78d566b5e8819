package dev.gatun.bench;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.training.GradientCollector;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.train.TrainConfig;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Weights as one vector, and Adam on it, which is a dozen operations so. Convolution weights lie in
 * it as channels-last [out,in,rows,columns].
 */
final class DjlWeights {
  /** A scalar to be made less; what it is made of may belong to {@code scope}. */
  interface Loss {
    NDArray of(NDManager scope, NDArray leaf);
  }

  private final Engine engine;
  private final NDManager manager;
  private final TrainConfig training;
  private final Adam adam;
  private final List<ParameterSpec> specs;
  private final NDArray weights;
  private final NDArray firstMoment;
  private final NDArray secondMoment;
  private final NDArray ema;
  private int steps;

  /** Copies; the arrays belong to the manager. */
  DjlWeights(Engine engine, NDManager manager, TrainConfig training, Parameters initial) {
    this.engine = engine;
    this.manager = manager;
    this.training = training;
    adam = PeerExport.adam(training);
    specs = initial.specs();
    float[] values = new float[(int) initial.count()];
    int offset = 0;
    for (ParameterSpec spec : specs) {
      float[] own = toPyTorch(spec, initial.get(spec.name()).toFloats());
      System.arraycopy(own, 0, values, offset, own.length);
      offset += own.length;
    }
    weights = manager.create(values);
    firstMoment = manager.zeros(weights.getShape());
    secondMoment = manager.zeros(weights.getShape());
    ema = weights.duplicate();
  }

  /** [taps,in,out] as [out,taps,in], the memory of a channels-last [out,in,rows,columns]. */
  private static float[] toPyTorch(ParameterSpec spec, float[] values) {
    return spec.shape().rank() < 3
        ? values
        : transpose(values, spec.shape().dim(0) * spec.shape().dim(1), spec.shape().dim(2));
  }

  private static float[] fromPyTorch(ParameterSpec spec, float[] values) {
    return spec.shape().rank() < 3
        ? values
        : transpose(values, spec.shape().dim(2), spec.shape().dim(0) * spec.shape().dim(1));
  }

  private static float[] transpose(float[] values, int rows, int columns) {
    float[] result = new float[values.length];
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < columns; c++) {
        result[c * rows + r] = values[r * columns + c];
      }
    }
    return result;
  }

  /** The weights, sharing their memory, as what gradients stop at. */
  NDArray leaf(NDManager scope) {
    NDArray leaf = weights.stopGradient();
    leaf.attach(scope);
    return leaf;
  }

  /** The parameters as views of a vector, by name. */
  Map<String, NDArray> views(NDArray flat) {
    long[] ends = new long[specs.size() - 1];
    long offset = 0;
    for (int i = 0; i < ends.length; i++) {
      offset += specs.get(i).shape().elements();
      ends[i] = offset;
    }
    NDList parts = flat.split(ends);
    Map<String, NDArray> views = new LinkedHashMap<>();
    for (int i = 0; i < parts.size(); i++) {
      views.put(specs.get(i).name(), parts.get(i));
    }
    return views;
  }

  /**
   * The loss; afterwards the leaf has its gradient. What the forward pass made goes before the
   * backward pass begins: autograd keeps what it needs, and frees it as it goes.
   */
  private double backward(NDManager scope, NDArray leaf, Loss loss) {
    leaf.setRequiresGradient(true);
    try (GradientCollector collector = engine.newGradientCollector()) {
      NDArray mean;
      try (NDManager forward = scope.newSubManager()) {
        mean = loss.of(forward, leaf);
        mean.attach(scope);
      }
      collector.backward(mean);
      return mean.getFloat();
    }
  }

  /** By name, in Gatun's layouts. */
  Map<String, float[]> gradients(Loss loss) {
    try (NDManager scope = manager.newSubManager()) {
      NDArray leaf = leaf(scope);
      backward(scope, leaf, loss);
      return byName(leaf.getGradient());
    }
  }

  /** One step of Adam; returns the loss before it. */
  double step(Loss loss) {
    try (NDManager scope = manager.newSubManager()) {
      NDArray leaf = leaf(scope);
      double before = backward(scope, leaf, loss);
      update(scope, leaf.getGradient());
      return before;
    }
  }

  private void update(NDManager scope, NDArray gradient) {
    steps++;
    gradient.attach(scope);
    double norm = gradient.norm().getFloat();
    double scale = adam.clipScale(norm * norm);
    double b1 = training.beta1();
    double b2 = training.beta2();
    firstMoment.muli(b1).addi(gradient.mul((1 - b1) * scale));
    secondMoment.muli(b2).addi(gradient.square().muli((1 - b2) * scale * scale));
    NDArray divisor = secondMoment.mul(1 / (1 - Math.pow(b2, steps)));
    divisor.attach(scope);
    NDArray change = firstMoment.mul(adam.rate(steps) / (1 - Math.pow(b1, steps)));
    change.attach(scope);
    weights.subi(change.divi(divisor.sqrt().addi(adam.epsilon())));
    double decay = adam.emaDecayAt(steps);
    NDArray share = weights.mul(1 - decay);
    share.attach(scope);
    ema.muli(decay).addi(share);
  }

  /** By name, in Gatun's layouts. */
  Map<String, float[]> averaged() {
    return byName(ema);
  }

  private Map<String, float[]> byName(NDArray flat) {
    float[] values = flat.toFloatArray();
    Map<String, float[]> result = new LinkedHashMap<>();
    int offset = 0;
    for (ParameterSpec spec : specs) {
      float[] own = new float[spec.shape().elements()];
      System.arraycopy(values, offset, own, 0, own.length);
      result.put(spec.name(), fromPyTorch(spec, own));
      offset += own.length;
    }
    return result;
  }
}
