package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.OpCase.Draw;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import java.util.ArrayList;
import java.util.List;

/** Latent variables of normal distributions: below, at and above what a warp and a block take. */
final class GaussianCases {
  /** In f64, whatever the order: the results are rounded, and the noise that is one. */
  private static final int TERMS = 2;

  private static final Draw STANDARD = ContractSuite.STANDARD;
  private static final TensorSpec ONE = TensorSpec.of(DType.F32, 1);
  private static final TensorSpec STEP = TensorSpec.of(DType.F64, 1);

  private final ContractSuite suite;

  private GaussianCases(ContractSuite suite) {
    this.suite = suite;
  }

  static void addTo(ContractSuite suite) {
    GaussianCases cases = new GaussianCases(suite);
    cases.samples();
    cases.divergences();
    cases.objectives();
    cases.mixtures();
  }

  private void add(Op op, List<TensorSpec> inputs, Draw... draws) {
    suite.add(op, inputs, TERMS, DType.F32, draws);
  }

  private void samples() {
    Draw step = new Draw.Whole(0, Integer.MAX_VALUE);
    int[][] sizes = {{1, 2}, {3, 1, 1, 10}, {2, 3, 5, 14}, {32, 1, 1, 16}, {5, 130}, {1, 4, 4, 66}};
    for (int[] s : sizes) {
      TensorSpec parameters = TensorSpec.of(DType.F32, s);
      for (int samples : new int[] {1, 3}) {
        for (int first : new int[] {0, 77}) {
          GaussianSample op = new GaussianSample(1L << 40 | 3, first, samples);
          add(op, List.of(parameters, STEP), STANDARD, step);
        }
        int[] dims = Shape.of(s).withLast(s[s.length - 1] / 2).toArray();
        dims[0] *= samples;
        TensorSpec z = TensorSpec.of(DType.F32, dims);
        GaussianSampleBackward back = new GaussianSampleBackward(samples);
        add(back, List.of(parameters, z, z), STANDARD, STANDARD, STANDARD);
      }
    }
    // its last numbers are beyond 2^32
    TensorSpec few = TensorSpec.of(DType.F32, 2, 1, 1, 6);
    GaussianSample late = new GaussianSample(5, Integer.MAX_VALUE - 1, 9);
    add(late, List.of(few, STEP), STANDARD, step);
  }

  private void divergences() {
    // at, near and far from the standard distribution; near it exp(v) - 1 - v would cancel
    List<Draw> parameters =
        List.of(
            STANDARD,
            new Draw.Normal(0, 1e-5),
            new Draw.Uniform(-2e-3, 2e-3),
            new Draw.Normal(-8, 3));
    int[][] sizes = {
      {1, 2}, {7, 2}, {8, 1, 1, 64}, {9, 3, 5, 14}, {3, 66}, {300, 1, 1, 4}, {2, 600}
    };
    for (int[] s : sizes) {
      TensorSpec p = TensorSpec.of(DType.F32, s);
      for (Draw draw : parameters) {
        divergence(p, draw);
      }
    }
  }

  private void divergence(TensorSpec p, Draw draw) {
    List<TensorSpec> nats = new GaussianKl().check(List.of(p));
    add(new GaussianKl(), List.of(p), draw);
    add(new GaussianKlBackward(true, false), List.of(p, nats.get(0)), draw, STANDARD);
    add(new GaussianKlBackward(false, true), List.of(p, nats.get(1)), draw, STANDARD);
    add(
        new GaussianKlBackward(true, true),
        List.of(p, nats.get(0), nats.get(1)),
        draw,
        STANDARD,
        STANDARD);
  }

  private void objectives() {
    Draw nats = new Draw.Uniform(0, 2);
    for (int count : new int[] {1, 5, 31, 256, 257, 1030}) {
      objective(new KlObjective(1, 0, 0, 0, 0), count, nats, 7);
      objective(new KlObjective(4, 0, 0.7, 0, 0), count, nats, 7);
      objective(new KlObjective(0.3, 1000, 0, 0, 0), count, nats, 99);
      objective(new KlObjective(0.3, 1000, 0.1, 0, 0), count, nats, 1000);
      // above and below the capacity
      objective(new KlObjective(2, 0, 0, 5.0 * count, 0), count, nats, 3);
      objective(new KlObjective(2, 0, 0.2, 0.25 * count, 0), count, nats, 3);
      objective(new KlObjective(2, 0, 0, 5.0 * count, 100), count, nats, 3);
      objective(new KlObjective(2, 9, 0.2, 5.0 * count, 100), count, nats, 300);
      // estimates may be below 0
      KlObjective none = new KlObjective(1.5, 0, Double.NEGATIVE_INFINITY, 0, 0);
      objective(none, count, STANDARD, 0);
      // just the capacity: nothing to pay; just the free nats: no gradient
      objective(new KlObjective(1, 0, 0, 2.0 * count, 10), count, new Draw.Whole(2, 3), 10);
      objective(new KlObjective(1, 0, 1, 0, 0), count, new Draw.Whole(0, 4), 10);
    }
  }

  private void objective(KlObjective op, int count, Draw nats, int step) {
    List<TensorSpec> in = List.of(TensorSpec.of(DType.F32, count), STEP);
    Draw at = new Draw.Whole(step, step + 1);
    add(op, in, nats, at);
    add(new KlObjectiveBackward(op), List.of(in.get(0), STEP, ONE), nats, at, STANDARD);
  }

  private void mixtures() {
    // M, D, K, R
    int[][] sizes = {
      {1, 1, 1, 1},
      {6, 2, 1, 3},
      {5, 7, 3, 5},
      {17, 31, 8, 1},
      {16, 32, 9, 1},
      {33, 33, 2, 11},
      {9, 65, 20, 3},
      {4, 300, 5, 1},
      {3, 3, 257, 1},
      {270, 4, 2, 1},
      {600, 2, 1, 2}
    };
    for (int[] s : sizes) {
      mixture(s, false);
      mixture(s, true);
    }
  }

  private void mixture(int[] s, boolean weighted) {
    int[] dims = s[0] % 2 == 0 ? new int[] {s[0], s[1]} : new int[] {s[0], 1, 1, s[1]};
    TensorSpec z = TensorSpec.of(DType.F32, dims);
    List<TensorSpec> in =
        new ArrayList<>(List.of(z, TensorSpec.of(DType.F32, s[3] * s[2], 2 * s[1])));
    // as far apart as leaves posteriors of several components above 0, whatever D is
    double spread = Math.min(1, 2 / Math.sqrt(s[1]));
    Draw draw = new Draw.Normal(0, spread);
    List<Draw> draws = new ArrayList<>(List.of(draw, draw));
    if (weighted) {
      in.add(TensorSpec.of(DType.F32, s[3] * s[2]));
      draws.add(STANDARD);
    }
    add(new GaussianMixture(s[2]), List.copyOf(in), draws.toArray(new Draw[0]));
    in.add(TensorSpec.of(DType.F32, s[0]));
    in.add(TensorSpec.of(DType.F32, s[0]));
    // about what it is, so that a row's posteriors sum to about 1
    double about = -s[1] * (Math.log(2 * Math.PI) / 2 + spread * spread);
    draws.add(new Draw.Uniform(about - 1, about + 1));
    draws.add(STANDARD);
    add(new GaussianMixtureBackward(s[2]), in, draws.toArray(new Draw[0]));
  }
}
