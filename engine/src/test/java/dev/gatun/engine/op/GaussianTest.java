package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.WithDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Latent variables whose values are known without the reference. */
class GaussianTest extends WithDevice {
  private static final double ULP = 0x1p-23;

  /** The results of an op; specs and values of its inputs in turn. */
  private List<double[]> run(Op op, Object... inputs) {
    try (Owned owned = new Owned()) {
      List<Tensor> in = new ArrayList<>();
      for (int i = 0; i < inputs.length; i += 2) {
        Tensor tensor = owned.add(Tensor.allocate(device, (TensorSpec) inputs[i]));
        in.add(tensor.writeDoubles((double[]) inputs[i + 1]));
      }
      List<Tensor> out =
          op.check(in.stream().map(Tensor::spec).toList()).stream()
              .map(spec -> owned.add(Tensor.allocate(device, spec)))
              .toList();
      device.run(op, in, out);
      return out.stream().map(Tensor::toDoubles).toList();
    }
  }

  private static TensorSpec f32(int... dims) {
    return TensorSpec.of(DType.F32, dims);
  }

  private List<double[]> sample(int first, int samples, double step, double... parameters) {
    GaussianSample op = new GaussianSample(11, first, samples);
    return run(
        op,
        f32(parameters.length / 4, 4),
        parameters,
        TensorSpec.of(DType.F64, 1),
        new double[] {step});
  }

  @Test
  void samplesAreMeansPlusNoiseInTheOrderOfTheirNumbers() {
    double log4 = Math.log(4);
    double[] parameters = {1, 2, log4, 0, 3, 4, 0, log4};
    List<double[]> drawn = sample(5, 3, 9, parameters);
    Philox philox = new Philox(11);
    for (int s = 0; s < 3; s++) {
      for (int n = 0; n < 2; n++) {
        for (int e = 0; e < 2; e++) {
          int i = (s * 2 + n) * 2 + e;
          double noise = (float) philox.normal(Philox.Stream.LATENT, 9, ((5 + n) * 3 + s) * 2 + e);
          assertEquals(noise, drawn.get(1)[i]);
          double deviation = n == e ? 2 : 1;
          assertEquals(1 + 2 * n + e + deviation * noise, drawn.get(0)[i], 8 * ULP);
        }
      }
    }
  }

  /** Lanes draw what the whole batch would, and other steps draw something else. */
  @Test
  void partsOfABatchDrawWhatTheWholeDoes() {
    double[] whole = sample(0, 1, 3, new double[12]).getFirst();
    double[] rest = sample(1, 1, 3, new double[8]).getFirst();
    assertArrayEquals(Arrays.copyOfRange(whole, 2, 6), rest);
    double[] other = sample(0, 1, 4, new double[12]).getFirst();
    for (int i = 0; i < whole.length; i++) {
      assertEquals(false, whole[i] == other[i]);
    }
  }

  @Test
  void divergencesOfKnownDistributions() {
    double log4 = Math.log(4);
    // two images of two latents: the standard one, a shifted one; a wide one, a narrow one
    double[] parameters = {0, 3, 0, 0, 0, 0, log4, -log4};
    List<double[]> nats = run(new GaussianKl(), f32(2, 4), parameters);
    double wide = (4 - 1 - log4) / 2;
    double narrow = (0.25 - 1 + log4) / 2;
    assertArrayEquals(new double[] {4.5, wide + narrow}, nats.get(0), 8 * ULP);
    assertArrayEquals(new double[] {wide / 2, (4.5 + narrow) / 2}, nats.get(1), 8 * ULP);
    // 1e-5^2 / 4: of exp(v) - 1 - v in f32 nothing would be left
    double[] near = run(new GaussianKl(), f32(1, 2), new double[] {0, 1e-5}).getFirst();
    assertEquals(2.5e-11, near[0], 2.5e-11 * 1e-5);
  }

  private double[] pay(KlObjective op, double step, double... kl) {
    TensorSpec steps = TensorSpec.of(DType.F64, 1);
    double[] at = {step};
    double paid = run(op, f32(kl.length), kl, steps, at).getFirst()[0];
    double[] slopes =
        run(new KlObjectiveBackward(op), f32(kl.length), kl, steps, at, f32(1), new double[] {2})
            .getFirst();
    double[] all = new double[1 + kl.length];
    all[0] = paid;
    System.arraycopy(slopes, 0, all, 1, kl.length);
    return all;
  }

  /** The objective, then the gradient of twice it. */
  @Test
  void objectivesByTheirSchedules() {
    assertArrayEquals(new double[] {12, 8, 8}, pay(new KlObjective(4, 0, 0, 0, 0), 0, 1, 2));
    KlObjective warm = new KlObjective(4, 8, 0, 0, 0);
    assertArrayEquals(new double[] {1.5, 1, 1}, pay(warm, 0, 1, 2));
    assertArrayEquals(new double[] {10.5, 7, 7}, pay(warm, 6, 1, 2));
    assertArrayEquals(new double[] {12, 8, 8}, pay(warm, 7, 1, 2));
    assertArrayEquals(new double[] {12, 8, 8}, pay(warm, 1000, 1, 2));
    KlObjective free = new KlObjective(1, 0, 1, 0, 0);
    assertArrayEquals(new double[] {4, 0, 0, 2}, pay(free, 0, 0.5, 1, 2));
    KlObjective capacity = new KlObjective(3, 0, 0, 8, 4);
    assertArrayEquals(new double[] {9, 6, 6}, pay(capacity, 0, 1, 2)); // a capacity of 0
    assertArrayEquals(new double[] {3, -6, -6}, pay(capacity, 2, 1, 2)); // of 4
    assertArrayEquals(new double[] {15, -6, -6}, pay(capacity, 9, 1, 2)); // of all 8
    assertArrayEquals(new double[] {0, 0, 0}, pay(capacity, 2, 1, 3)); // just enough
    KlObjective estimate = new KlObjective(1, 0, Double.NEGATIVE_INFINITY, 0, 0);
    assertArrayEquals(new double[] {-1, 2}, pay(estimate, 0, -1));
  }

  private double[] density(int components, double[] z, double[] parameters, double... logits) {
    int depth = 2;
    List<Object> in = new ArrayList<>();
    in.addAll(List.of(f32(z.length / depth, depth), z, f32(parameters.length), parameters));
    if (logits.length > 0) {
      in.addAll(List.of(f32(logits.length), logits));
    }
    return run(new GaussianMixture(components), in.toArray()).getFirst();
  }

  @Test
  void densitiesOfKnownDistributions() {
    double log2Pi = Math.log(2 * Math.PI);
    double log4 = Math.log(4);
    double[] z = {0, 0, 2, 3};
    double[] standard = {0, 0, 0, 0};
    double[] alone = density(1, z, standard);
    assertArrayEquals(new double[] {-log2Pi, -log2Pi - 6.5}, alone, 8 * ULP);
    // each row under its own: the second has means 2, 1 and variances 4, 1
    double[] own = density(1, z, new double[] {0, 0, 0, 0, 2, 1, log4, 0});
    assertArrayEquals(new double[] {-log2Pi, -log2Pi - log4 / 2 - 2}, own, 8 * ULP);
    // twice the same component, whatever its weights, is that component
    double[] twice = new double[8];
    assertArrayEquals(alone, density(2, z, twice), 8 * ULP);
    assertArrayEquals(alone, density(2, z, twice, 1, -2), 8 * ULP);
    // weights 1/4 and 3/4 of components at 0 and at (2, 3)
    double[] two = {0, 0, 0, 0, 2, 3, 0, 0};
    double[] mixed = density(2, z, two, 0, Math.log(3));
    double far = Math.exp(-6.5);
    double[] expected = {
      Math.log(0.25 + 0.75 * far) - log2Pi, Math.log(0.25 * far + 0.75) - log2Pi
    };
    assertArrayEquals(expected, mixed, 8 * ULP);
  }

  /** Nothing underflows: the logarithm of a density of exp(-5000) is as exact as any. */
  @Test
  void densitiesFarFromEveryComponent() {
    double[] found = density(2, new double[] {100, 0}, new double[8]);
    assertEquals(-5000 - Math.log(2 * Math.PI), found[0], 5000 * ULP);
    found = density(2, new double[] {0, 0}, new double[] {0, 0, -200, -200, 0, 0, 0, 0});
    assertEquals(200 - Math.log(2 * Math.PI) - Math.log(2), found[0], 200 * ULP);
  }
}
