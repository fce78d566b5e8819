package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.NanChecks.check;

import dev.gatun.engine.DType;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihood.Kind;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Pixels out of range, and NaNs, that likelihoods, bounds and flows are given. */
final class LikelihoodChecks {
  private static final double NAN = Double.NaN;

  private LikelihoodChecks() {}

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      likelihood(kind, checks);
    }
    for (DType from : List.of(DType.F32, DType.BF16)) {
      for (DType to : List.of(DType.F32, DType.BF16)) {
        checks.add(
            check(
                "cast_" + from.label() + "_" + to.label(),
                new Cast(to),
                "010",
                TensorSpec.of(from, 3),
                new double[] {1, NAN, -2}));
      }
    }
    bounds(checks);
    flows(checks);
    return checks;
  }

  private static TensorSpec f32(int... dims) {
    return TensorSpec.of(DType.F32, dims);
  }

  /** Two samples of two images of two pixels. */
  private static void likelihood(Kind kind, List<KernelCheck> checks) {
    String name = "image_likelihood_" + kind.name().toLowerCase(Locale.ROOT) + "_u8";
    int each = 2 * kind.blocks();
    TensorSpec images = TensorSpec.of(DType.U8, 2, 1, 2, 1);
    TensorSpec parameters = f32(4, 1, 2, kind.blocks());
    double[] high = {0, 7, 7, 8}; // there are levels 0 to 7
    double[] good = {0, 7, 7, 3};
    checks.add(
        check(
            name + "_f32",
            new ImageLikelihood(kind, 8, null),
            "0101",
            parameters,
            new double[4 * each],
            images,
            high));
    double[] one = new double[4 * each];
    one[each + each / 2 - 1] = NAN; // of the second row's first pixel the last parameter
    checks.add(
        check(
            false,
            name + "_f32",
            new ImageLikelihood(kind, 8, null),
            "0100",
            parameters,
            one,
            images,
            good));
    String pixel = "0".repeat(kind.blocks());
    String bad = "1".repeat(kind.blocks());
    for (DType type : List.of(DType.F32, DType.BF16)) {
      checks.add(
          check(
              name.replace("likelihood_", "likelihood_backward_") + "_" + type.label(),
              new ImageLikelihoodBackward(kind, 8, type),
              (pixel + pixel + pixel + bad).repeat(2),
              parameters,
              new double[4 * each],
              images,
              high,
              f32(4),
              new double[] {1, 1, 1, 1}));
    }
  }

  private static void bounds(List<KernelCheck> checks) {
    // of three samples of two images the second of the second
    double[] x = {1, 2, 3, NAN, 5, 6};
    checks.add(
        check("importance_bound", new ImportanceBound(3, List.of(1.0)), "1" + "01", f32(6), x));
    checks.add(
        check(
            "importance_bound_backward",
            new ImportanceBoundBackward(3, List.of(1.0)),
            "010101",
            f32(6),
            x,
            f32(1),
            new double[] {1}));
  }

  private static void flows(List<KernelCheck> checks) {
    // an s of the first of two rows
    double[] said = {0, 0, 0, NAN, 0, 0, 0, 0};
    checks.add(
        check("iaf_step", new IafStep(), "0100" + "10", f32(2, 2), new double[4], f32(2, 4), said));
    checks.add(
        check(
            "iaf_step_backward",
            new IafStepBackward(),
            "0100" + "01010000",
            f32(2, 2),
            new double[4],
            f32(2, 4),
            said,
            f32(2, 2),
            new double[] {1, 1, 1, 1},
            f32(2),
            new double[] {1, 1}));
  }
}
