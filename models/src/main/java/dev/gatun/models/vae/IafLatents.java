package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.WeightedNats;
import java.util.ArrayList;
import java.util.List;

/**
 * A Gaussian posterior that steps of an inverse autoregressive flow reshape, each by a masked
 * network that reads the latents before it and what else the encoder says of the image. The prior
 * is N(0,1).
 *
 * @param size D
 * @param steps of the flow; the order of the latents is reversed between them
 * @param width units that the masked network has for each latent
 * @param context numbers that the encoder says for it
 * @see "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow,
 *     sections 3 and 4, algorithm 1"
 * @see "Germain et al. 2015, MADE, section 3: the masks"
 */
record IafLatents(int size, int steps, int width, int context) implements Latents {
  private static final float KEPT = 1.5f; // sigmoid of it: how much of z a step begins with

  IafLatents {
    require(size >= 1, "latents must be positive, not " + size);
    require(steps >= 1, "flows must be positive, not " + steps);
    require(width >= 1, "flowWidth must be positive, not " + width);
    require(context >= 1, "flowContext must be positive, not " + context);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  @Override
  public int headSize() {
    return 2 * size + context;
  }

  @Override
  public int featureSize() {
    return size;
  }

  private int hidden() {
    return size * width;
  }

  private static String step(int step) {
    return "flow." + step + ".";
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> p = new ArrayList<>();
    for (int t = 0; t < steps; t++) {
      String name = step(t);
      p.add(ParameterSpec.weights(name + "context.weight", 1, context, hidden(), 1));
      p.add(ParameterSpec.weights(name + "in.weight", 1, size, hidden(), 1));
      p.add(ParameterSpec.bias(name + "in.bias", hidden()));
      p.add(ParameterSpec.weights(name + "mean.weight", 1, hidden(), size, 0.1));
      p.add(ParameterSpec.bias(name + "mean.bias", size));
      p.add(ParameterSpec.weights(name + "gate.weight", 1, hidden(), size, 0.1));
      p.add(
          new ParameterSpec(
              name + "gate.bias", Shape.of(size), new ParameterSpec.Init.Constant(KEPT)));
    }
    return p;
  }

  /** The Gaussian's moments [N,1,1,2D], and the context [N,1,1,context]. */
  private List<Value> parts(Scope s, Value head) {
    return s.graph().apply(new Split(2 * size), List.of(head));
  }

  @Override
  public Value features(Scope s, Value head) {
    return s.graph().apply(new Split(size), List.of(head)).getFirst();
  }

  @Override
  public Value code(Scope s, Value head, Noise noise) {
    return flow(s, features(s, head), parts(s, head).get(1)).z;
  }

  /**
   * The steps.
   *
   * @param z [M,1,1,D]
   * @param context [N,1,1,context], N of M or of 1
   * @return what becomes of z, and the log-determinant [M] of all steps together
   */
  private Flowed flow(Scope s, Value z, Value context) {
    Value at = z;
    Value determinant = null;
    for (int t = 0; t < steps; t++) {
      if (t > 0) {
        at = s.apply(new ReverseChannels(), at);
      }
      Value said = masked(s, step(t), at, context);
      List<Value> made = s.graph().apply(new IafStep(), List.of(at, said));
      at = made.get(0);
      determinant =
          determinant == null ? made.get(1) : s.apply(new Add(), determinant, made.get(1));
    }
    return new Flowed(at, determinant);
  }

  private record Flowed(Value z, Value logDeterminant) {}

  /** Mean and gate of each latent by those before it, [M,1,1,2D]. */
  private Value masked(Scope s, String name, Value z, Value context) {
    Value shown =
        s.apply(new Conv2d(Taps.point()), context, s.weights().get(name + "context.weight"));
    Value w = s.apply(new MaskChannels(0, size, true, 0), s.weights().get(name + "in.weight"));
    Value bias = s.weights().get(name + "in.bias");
    Value h;
    if (shown.shape().dim(0) == z.shape().dim(0)) {
      h = s.apply(new Conv2d(Taps.point()), z, w, bias, shown);
    } else { // of one image
      Value row = s.apply(new Reshape(1, hidden()), shown);
      h = s.apply(new AddBias(), s.apply(new Conv2d(Taps.point()), z, w, bias), row);
    }
    h = s.apply(new Relu(), h);
    return s.apply(new Concat(), last(s, name + "mean", h), last(s, name + "gate", h));
  }

  private Value last(Scope s, String name, Value h) {
    Value w = s.apply(new MaskChannels(0, size, false, 0), s.weights().get(name + ".weight"));
    return s.apply(new Conv2d(Taps.point()), h, w, s.weights().get(name + ".bias"));
  }

  @Override
  public Trained train(Scope s, Value head, Noise noise) {
    Drawn drawn = draw(s, head, noise, 1);
    return new Trained(drawn.z(), drawn.ratio().mean(s.graph()));
  }

  @Override
  public Drawn draw(Scope s, Value head, Noise noise, int samples) {
    List<Value> parts = parts(s, head);
    if (samples > 1 && head.shape().dim(0) > 1) {
      throw new IllegalArgumentException("several samples of a flow are for one image at a time");
    }
    Value first =
        s.graph()
            .apply(
                new GaussianSample(noise.seed(), noise.first(), samples),
                List.of(parts.get(0), noise.step()))
            .getFirst();
    Flowed flowed = flow(s, first, parts.get(1));
    Value standard = s.apply(new Fill(TensorSpec.of(DType.F32, 1, 2 * size), 0));
    Value posterior = s.apply(new GaussianMixture(1), first, parts.get(0));
    Value prior = s.apply(new GaussianMixture(1), flowed.z, standard);
    return new Drawn(
        flowed.z,
        WeightedNats.of(posterior, 1)
            .plus(WeightedNats.of(flowed.logDeterminant, -1))
            .plus(WeightedNats.of(prior, -1)));
  }

  /** Of the Gaussian that the flow begins with. */
  @Override
  public Value klByLatent(Scope s, Value head) {
    return s.graph().apply(new GaussianKl(), List.of(parts(s, head).get(0))).get(1);
  }

  @Override
  public List<Value> prior(Scope scope) {
    return List.of();
  }

  @Override
  public void draw(
      List<float[]> prior, Philox philox, int image, double temperature, float[] z, int at) {
    for (int d = 0; d < size; d++) {
      z[at + d] = (float) (temperature * philox.normal(Philox.Stream.LATENT, image, d));
    }
  }
}
