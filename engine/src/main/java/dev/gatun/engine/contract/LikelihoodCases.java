package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.OpCase.Draw;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihood.Kind;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ScalePixels;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;

/** Of {@link ContractSuite}: likelihoods of whole images, bounds on them, and flows. */
final class LikelihoodCases {
  private static final Draw STANDARD = ContractSuite.STANDARD;

  /** Roundings of a value's nats and slopes: exponentials and logarithms have up to three each. */
  private static final int TERMS = 16;

  private LikelihoodCases() {}

  static void addTo(ContractSuite suite) {
    elementwise(suite);
    for (Kind kind : Kind.values()) {
      likelihoods(suite, kind);
    }
    bounds(suite);
    flows(suite);
  }

  private static void likelihoods(ContractSuite suite, Kind kind) {
    // images, samples, height, width, colours, levels; 256 threads share an image on a GPU, 1024
    // values are taken at a time on a CPU, and from 16 colours on they are copied in one piece
    int[][] sizes = {
      {1, 4, 1, 1, 1, 2},
      {2, 3, 3, 5, 1, 3},
      {3, 2, 4, 4, 3, 256},
      {1, 1, 16, 16, 1, 256},
      {2, 1, 1, 257, 1, 16},
      {1, 2, 32, 33, 1, 256},
      {1, 1, 19, 18, 3, 256},
      {1, 2, 2, 3, 17, 16},
      {2, 1, 1, 1, 1030, 256}
    };
    for (int[] s : sizes) {
      TensorSpec parameters =
          TensorSpec.of(DType.F32, s[0] * s[1], s[2], s[3], kind.blocks() * s[4]);
      TensorSpec levels = TensorSpec.of(DType.U8, s[0], s[2], s[3], s[4]);
      for (Draw draw : draws(kind, s[4])) {
        likelihood(suite, kind, s[5], parameters, levels, draw, new Draw.Whole(0, s[5]));
      }
      if (kind.isDensity()) {
        TensorSpec numbers = new TensorSpec(levels.shape(), DType.F32);
        likelihood(suite, kind, 256, parameters, numbers, STANDARD, STANDARD);
      }
    }
  }

  /** Log-scales from below their bound to far wider than the range. */
  private static List<Draw> draws(Kind kind, int channels) {
    return switch (kind) {
      case BERNOULLI -> List.of(new Draw.Normal(0, 4), new Draw.Uniform(-120, 120));
      case GAUSSIAN, SQUARED -> List.of(new Draw.Normal(0, 2));
      case LOGISTIC ->
          Stream.of(new Draw.Normal(-1, 1), new Draw.Uniform(-9, 3), new Draw.Uniform(20, 60))
              .map(scales -> blocks(channels, new Draw.Uniform(-1.5, 1.5), scales))
              .toList();
    };
  }

  private static Draw blocks(int channels, Draw first, Draw second) {
    List<Draw> columns = new ArrayList<>(Collections.nCopies(channels, first));
    columns.addAll(Collections.nCopies(channels, second));
    return new Draw.Columns(columns);
  }

  private static void likelihood(
      ContractSuite suite,
      Kind kind,
      int levels,
      TensorSpec parameters,
      TensorSpec targets,
      Draw draw,
      Draw values) {
    suite.add(
        new ImageLikelihood(kind, levels, null),
        List.of(parameters, targets),
        TERMS,
        DType.F32,
        draw,
        values);
    TensorSpec each = TensorSpec.of(DType.F32, parameters.shape().dim(0));
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.add(
          new ImageLikelihoodBackward(kind, levels, type),
          List.of(parameters, targets, each),
          TERMS,
          DType.F32,
          draw,
          values,
          STANDARD);
    }
  }

  private static void bounds(ContractSuite suite) {
    // samples, images; 256 threads share the samples of an image
    int[][] sizes = {{1, 1}, {1, 37}, {2, 5}, {50, 3}, {256, 1}, {257, 2}, {1000, 2}};
    List<List<Double>> factors = List.of(List.of(1.0), List.of(1.0, 0.75, -1.0));
    // weights that are alike, that differ, and of which one alone counts
    for (double deviation : new double[] {0.1, 3, 300}) {
      Draw draw = new Draw.Normal(100, deviation);
      for (int[] s : sizes) {
        TensorSpec x = TensorSpec.of(DType.F32, s[0] * s[1]);
        for (List<Double> each : factors) {
          bound(suite, new ImportanceBound(s[0], each), x, draw);
        }
      }
    }
    // what exp cannot hold
    TensorSpec x = TensorSpec.of(DType.F32, 12);
    bound(suite, new ImportanceBound(4, List.of(1.0)), x, new Draw.Normal(0, 1e30));
  }

  /** In f64: three roundings of a sum that may cancel, in the exponent and after it. */
  private static void bound(ContractSuite suite, ImportanceBound op, TensorSpec x, Draw draw) {
    List<TensorSpec> specs = Collections.nCopies(op.factors().size(), x);
    List<Draw> draws = Collections.nCopies(op.factors().size(), draw);
    suite.add(op, specs, 3, DType.F32, draws.toArray(Draw[]::new));
    suite.add(
        new ImportanceBoundBackward(op.samples(), op.factors()),
        Stream.concat(specs.stream(), Stream.of(TensorSpec.of(DType.F32, 1))).toList(),
        3,
        DType.F32,
        Stream.concat(draws.stream(), Stream.of(STANDARD)).toArray(Draw[]::new));
  }

  private static void flows(ContractSuite suite) {
    Draw wide = new Draw.Normal(0, 4);
    int[][] sizes = {{1, 1}, {3, 32}, {2, 256}, {2, 257}, {5, 3, 4, 2}, {2, 7, 9, 5}, {300, 7}};
    for (int[] s : sizes) {
      TensorSpec z = TensorSpec.of(DType.F32, s);
      TensorSpec said = new TensorSpec(z.shape().withLast(2 * s[s.length - 1]), DType.F32);
      TensorSpec each = TensorSpec.of(DType.F32, s[0]);
      suite.add(new IafStep(), List.of(z, said), 12, DType.F32, STANDARD, wide);
      suite.add(
          new IafStepBackward(),
          List.of(z, said, z, each),
          12,
          DType.F32,
          STANDARD,
          wide,
          STANDARD,
          STANDARD);
    }
  }

  private static void elementwise(ContractSuite suite) {
    // 16 bytes at a time, blocks of 256 threads
    for (DType type : List.of(DType.F32, DType.BF16)) {
      for (int n : new int[] {1, 7, 1000, 5003}) {
        TensorSpec x = TensorSpec.of(type, n);
        suite.add(new Reshape(n, 1), List.of(x), 0, type, STANDARD);
        for (DType to : List.of(DType.F32, DType.BF16)) {
          suite.add(new Cast(to), List.of(x), 0, DType.F32, STANDARD);
          if (n == 1000) {
            suite.unaligned(new Cast(to), List.of(x), 0, DType.F32, STANDARD);
          }
        }
      }
      for (int levels : new int[] {2, 16, 256}) {
        TensorSpec images = TensorSpec.of(DType.U8, 3, 5, 7, levels == 2 ? 1 : 3);
        Draw pixels = new Draw.Whole(0, levels);
        suite.add(new ScalePixels(levels, type), List.of(images), 3, type, pixels);
        suite.unaligned(new ScalePixels(levels, type), List.of(images), 3, type, pixels);
      }
      TensorSpec many = TensorSpec.of(DType.U8, 2, 33, 35, 3);
      suite.add(new ScalePixels(256, type), List.of(many), 3, type, new Draw.Whole(0, 256));
    }
    suite.unaligned(
        new Reshape(10, 100), List.of(TensorSpec.of(DType.F32, 1000)), 0, DType.F32, STANDARD);
    Draw whole = new Draw.Whole(0, 255);
    for (DType type : List.of(DType.U8, DType.I32, DType.F64)) {
      TensorSpec x = TensorSpec.of(type, 3, 2, 111);
      suite.add(new Reshape(111, 6), List.of(x), 0, DType.F32, whole);
      suite.unaligned(new Reshape(666), List.of(x), 0, DType.F32, whole);
    }
  }
}
