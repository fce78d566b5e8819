package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.OpCase.Draw;
import dev.gatun.engine.contract.OpCase.Layout;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import java.util.ArrayList;
import java.util.List;

/**
 * The cases every device is held to: each op in each dtype, at sizes below, at and above the tiles
 * of its kernels, at odd sizes, and through each branch of its launch.
 */
public final class ContractSuite {
  static final Draw.Normal STANDARD = new Draw.Normal(0, 1);
  static final Draw WEIGHTS = new Draw.Normal(0, 0.2);

  private final List<OpCase> cases = new ArrayList<>();
  private int seed = 1;

  private ContractSuite() {}

  /** All cases, in a fixed order. */
  public static List<OpCase> cases() {
    ContractSuite suite = new ContractSuite();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.convolutions(type);
      suite.elementwise(type);
      suite.crossEntropy(type);
      suite.groupNorm(type);
      suite.rows(type);
      suite.units(type);
      suite.biases(type);
      suite.mixture(type);
    }
    suite.weights();
    suite.optimizer();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.tiles(type);
      suite.zeroTiles(type);
      suite.parts(type);
      suite.edges(type);
      suite.layouts(type);
    }
    suite.layoutsInF32();
    suite.manyElements();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.groupNormForms(type);
      suite.diffusion(type);
    }
    suite.upsampling();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.attention(type);
    }
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.denoising(type);
      suite.addedToImages(type);
      suite.resampling(type);
    }
    for (DType type : List.of(DType.F32, DType.BF16)) {
      suite.variationalBounds(type);
    }
    suite.manyTiles();
    GaussianCases.addTo(suite);
    CodeCases.addTo(suite);
    LikelihoodCases.addTo(suite);
    suite.points(DType.F32);
    suite.points(DType.BF16);
    suite.onePixel(DType.F32);
    suite.onePixel(DType.BF16);
    return List.copyOf(suite.cases);
  }

  /** The cases that a device has an implementation for. */
  public static List<OpCase> cases(Device device) {
    return cases().stream().filter(c -> device.supports(c.op(), c.inputs())).toList();
  }

  void add(Op op, List<TensorSpec> inputs, int terms, DType roundTo, Draw... draws) {
    cases.add(new OpCase(op, inputs, terms, roundTo, List.of(draws), seed++));
  }

  /** With tensors that do not begin where many elements can be read at once. */
  void unaligned(Op op, List<TensorSpec> inputs, int terms, DType roundTo, Draw... draws) {
    for (Layout layout : List.of(Layout.ODD, Layout.MIXED)) {
      cases.add(new OpCase(op, inputs, terms, roundTo, List.of(draws), seed++, layout));
    }
  }

  /** Images of one pixel, which dense layers are; the last reads nothing but padding. */
  private void onePixel(DType type) {
    conv(type, new Conv2d(Taps.point()), true, 33, 1, 1, 130, 40);
    conv(type, new Conv2d(Taps.point()), false, 1, 1, 1, 17, 3);
    conv(type, new Conv2d(Taps.square(3), 2, 2, null), true, 5, 1, 1, 16, 24);
    added(new Conv2d(Taps.point()), type, true, 9, 1, 1, 40, 24);
    added(new Conv2d(Taps.square(3)), type, false, 3, 1, 1, 15, 17);
    if (type == DType.BF16) {
      conv(type, new Conv2d(Taps.point(), 1, 1, DType.F32), true, 7, 1, 1, 96, 20);
      added(new Conv2d(Taps.point(), 1, 1, DType.F32), type, true, 1, 1, 1, 48, 33);
    }
    TensorSpec x = TensorSpec.of(type, 5, 1, 1, 24);
    TensorSpec w = TensorSpec.of(DType.F32, 1, 24, 24);
    unaligned(new Conv2d(Taps.point()), List.of(x, w), 26, type, STANDARD, WEIGHTS);
    unaligned(
        new Conv2dBackwardWeights(new Conv2d(Taps.point()), false),
        List.of(x, x),
        7,
        type,
        STANDARD,
        STANDARD);
    conv(type, new Conv2d(Taps.rectangle(-1, -1, 0, 0)), true, 2, 1, 1, 8, 16);
  }

  private void points(DType type) {
    TensorSpec steps = TensorSpec.of(DType.F64, 1);
    Draw step = new Draw.Whole(0, Integer.MAX_VALUE);
    for (int count : new int[] {1, 7, 300}) {
      List<TensorSpec> in =
          List.of(
              TensorSpec.of(DType.F32, count, 1, 1, 2), TensorSpec.of(DType.F32, count, 4), steps);
      add(new Diffuse(4, 7, type), in, 8, DType.F32, new Draw.Normal(0, 3), STANDARD, step);
      unaligned(new Diffuse(4, 7, type), in, 8, DType.F32, STANDARD, STANDARD, step);
    }
  }

  private void convolutions(DType type) {
    // masks A and B, the stacks of a gated PixelCNN, dense, dilated, strided, shifted, 1x1
    conv(type, new Conv2d(Taps.masked(7, false)), true, 2, 9, 7, 2, 16);
    conv(type, new Conv2d(Taps.masked(3, true)), true, 1, 8, 8, 31, 33);
    conv(type, new Conv2d(Taps.rectangle(-3, 0, -3, 3)), true, 1, 11, 13, 1, 64);
    conv(type, new Conv2d(Taps.rectangle(-1, 0, -1, 1)), true, 2, 7, 9, 32, 64);
    conv(type, new Conv2d(Taps.rectangle(0, 0, -3, -1)), false, 1, 5, 28, 2, 32);
    conv(type, new Conv2d(Taps.rectangle(0, 0, -1, 0)), true, 3, 1, 28, 32, 64);
    conv(type, new Conv2d(Taps.rectangle(-1, -1, 0, 0)), false, 2, 6, 5, 64, 64);
    conv(type, new Conv2d(Taps.rectangle(-2, -2, 2, 2)), false, 1, 6, 7, 3, 5);
    conv(type, new Conv2d(Taps.point()), true, 1, 3, 3, 1, 1);
    conv(type, new Conv2d(Taps.point()), true, 2, 15, 17, 65, 63);
    conv(type, new Conv2d(Taps.square(3)), true, 1, 12, 12, 17, 15);
    conv(type, new Conv2d(Taps.rectangle(-1, 1, -1, 1, 2)), true, 1, 9, 10, 16, 16);
    conv(type, new Conv2d(Taps.square(3), 2, 2, null), true, 2, 9, 8, 8, 24);
    conv(type, new Conv2d(Taps.rectangle(-1, 0, -1, 1), 2, 1, null), true, 1, 7, 7, 12, 20);
    if (type == DType.BF16) {
      conv(type, new Conv2d(Taps.point(), 1, 1, DType.F32), true, 1, 8, 9, 48, 256);
      added(new Conv2d(Taps.point(), 1, 1, DType.F32), type, true, 1, 8, 9, 48, 256);
      added(new Conv2d(Taps.square(3), 2, 2, DType.F32), type, false, 2, 5, 7, 16, 30);
    }
    // with something added: dense, masked, strided, dilated, kernels larger than the image
    for (boolean bias : new boolean[] {true, false}) {
      added(new Conv2d(Taps.point()), type, bias, 2, 3, 5, 1, 1);
      added(new Conv2d(Taps.point()), type, bias, 1, 9, 11, 65, 63);
      added(new Conv2d(Taps.masked(3, true)), type, bias, 2, 8, 7, 15, 17);
      added(new Conv2d(Taps.rectangle(-1, -1, 0, 0)), type, bias, 2, 6, 5, 32, 32);
      added(new Conv2d(Taps.rectangle(-1, 1, -1, 1, 2)), type, bias, 1, 9, 10, 16, 16);
      added(new Conv2d(Taps.square(3), 2, 2, null), type, bias, 2, 9, 8, 16, 24);
      added(new Conv2d(Taps.rectangle(0, 1, -1, 1), 2, 2, null), type, bias, 1, 7, 10, 12, 20);
      added(new Conv2d(Taps.rectangle(-3, 0, -3, 3)), type, bias, 2, 2, 3, 5, 6);
      added(new Conv2d(Taps.square(7)), type, bias, 1, 3, 2, 16, 16);
      added(new Conv2d(Taps.square(5), 2, 2, null), type, bias, 2, 3, 2, 4, 7);
    }
    if (type == DType.F32) {
      // sums in bf16 are rounded in between, to one neighbour or the other: no bound says which
      units(new Conv2d(Taps.square(3)), 2, 7, 9, 16, 3);
      units(new Conv2d(Taps.point()), 1, 9, 8, 65, 1);
      units(new Conv2d(Taps.square(3), 2, 2, null), 1, 6, 5, 8, 5);
    }
    conv(type, new Conv2d(Taps.square(7)), true, 2, 3, 2, 8, 5);
    conv(type, new Conv2d(Taps.square(7), 3, 2, null), true, 1, 2, 4, 3, 16);
  }

  /** A convolution with an addend and, once, its data gradient with one. */
  private void added(
      Conv2d op, DType type, boolean bias, int n, int h, int w, int channels, int filters) {
    TensorSpec x = TensorSpec.of(type, n, h, w, channels);
    TensorSpec weights = TensorSpec.of(DType.F32, op.taps().count(), channels, filters);
    TensorSpec y = op.check(List.of(x, weights)).getFirst();
    int products = op.taps().count() * channels + 3;
    if (bias) {
      add(
          op,
          List.of(x, weights, TensorSpec.of(DType.F32, filters), y),
          products,
          type,
          STANDARD,
          WEIGHTS,
          STANDARD,
          STANDARD);
    } else {
      add(op, List.of(x, weights, y), products, type, STANDARD, WEIGHTS, STANDARD);
      add(
          new Conv2dBackwardData(op, x.shape()),
          List.of(weights, new TensorSpec(y.shape(), type), x),
          op.taps().count() * filters + 3,
          type,
          WEIGHTS,
          STANDARD,
          STANDARD);
    }
  }

  /** Units after convolutions: each unit, with and without what else is added, sums kept or not. */
  private void units(Conv2d op, int n, int h, int w, int channels, int filters) {
    TensorSpec x = TensorSpec.of(DType.F32, n, h, w, channels);
    for (Op unit :
        List.of(
            new Relu(),
            new Elu(),
            new ConcatElu(),
            new Gate(Gate.Kind.TANH, 1),
            new Gate(Gate.Kind.LINEAR, 1),
            new Gate(Gate.Kind.TANH, 3))) {
      boolean gated = unit instanceof Gate;
      int k = unit instanceof Gate gate ? 16 * gate.groups() * filters : filters;
      TensorSpec weights = TensorSpec.of(DType.F32, op.taps().count(), channels, k);
      TensorSpec sums = op.check(List.of(x, weights)).getFirst();
      for (boolean more : new boolean[] {false, true}) {
        List<TensorSpec> in = new ArrayList<>(List.of(x, weights));
        List<Draw> draws = new ArrayList<>(List.of(STANDARD, WEIGHTS));
        if (more) {
          in.add(TensorSpec.of(DType.F32, k));
          in.add(sums);
          draws.addAll(List.of(STANDARD, STANDARD));
        }
        if (more && gated) {
          in.add(unit.check(List.of(sums)).getFirst());
          draws.add(STANDARD);
        }
        add(
            new Conv2dUnit(op, unit, more && gated, more),
            in,
            op.taps().count() * channels + 28,
            DType.F32,
            draws.toArray(Draw[]::new));
      }
    }
  }

  private void conv(
      DType type, Conv2d op, boolean bias, int n, int h, int w, int channels, int filters) {
    TensorSpec x = TensorSpec.of(type, n, h, w, channels);
    TensorSpec weights = TensorSpec.of(DType.F32, op.taps().count(), channels, filters);
    TensorSpec biasSpec = TensorSpec.of(DType.F32, filters);
    List<TensorSpec> inputs = bias ? List.of(x, weights, biasSpec) : List.of(x, weights);
    Shape y = op.check(inputs).getFirst().shape();
    TensorSpec dy = new TensorSpec(y, type);
    int products = op.taps().count() * channels + 2;
    if (bias) {
      add(op, inputs, products, type, STANDARD, WEIGHTS, STANDARD);
    } else {
      add(op, inputs, products, type, STANDARD, WEIGHTS);
    }
    add(
        new Conv2dBackwardData(op, x.shape()),
        List.of(weights, dy),
        op.taps().count() * filters + 2,
        type,
        WEIGHTS,
        STANDARD);
    add(
        new Conv2dBackwardWeights(op, bias),
        List.of(x, dy),
        y.rows() + 2,
        type,
        STANDARD,
        STANDARD);
  }

  private void elementwise(DType type) {
    // channels of a group: below, at and above a vector, and more than a block
    for (int channels : new int[] {1, 15, 16, 17, 64, 1100}) {
      for (int groups : new int[] {1, 3}) {
        for (Gate.Kind kind : Gate.Kind.values()) {
          gate(type, kind, groups, channels * groups);
        }
      }
    }
    // the last one is long enough to be split between threads
    for (int n : new int[] {1, 15, 16, 17, 1000, 70001}) {
      TensorSpec x = TensorSpec.of(type, n);
      add(new Relu(), List.of(x), 1, type, STANDARD);
      add(new ReluBackward(), List.of(x, x), 1, type, STANDARD, STANDARD);
      add(new Add(), List.of(x, x), 1, type, STANDARD, STANDARD);
      add(new Fill(x, 0.25f), List.of(), 1, type);
    }
    for (int levels : new int[] {2, 256}) {
      add(
          new NormalizePixels(levels, type),
          List.of(TensorSpec.of(DType.U8, 3, 5, 7, levels == 2 ? 1 : 3)),
          3,
          type,
          new Draw.Whole(0, levels));
    }
  }

  private void gate(DType type, Gate.Kind kind, int groups, int channels) {
    int width = channels > 1000 ? 1 : 5;
    TensorSpec x = TensorSpec.of(type, 2, 3, width, 2 * channels);
    TensorSpec y = TensorSpec.of(type, 2, 3, width, channels);
    Draw wide = new Draw.Normal(0, 3);
    add(new Gate(kind, groups), List.of(x), 24, type, wide);
    add(new Gate(kind, groups), List.of(x, y), 24, type, wide, STANDARD);
    add(new GateBackward(kind, groups), List.of(x, y), 24, type, wide, STANDARD);
  }

  private void crossEntropy(DType type) {
    for (int classes : new int[] {2, 15, 16, 17, 256}) {
      for (int rows : new int[] {1, 7, 300}) {
        TensorSpec logits = TensorSpec.of(type, rows, classes);
        TensorSpec targets = TensorSpec.of(DType.U8, rows);
        TensorSpec perRow = TensorSpec.of(DType.F32, rows);
        TensorSpec one = TensorSpec.of(DType.F32, 1);
        Draw labels = new Draw.Whole(0, classes);
        Draw wide = new Draw.Normal(0, 4);
        add(
            new SoftmaxCrossEntropy(null),
            List.of(logits, targets),
            classes + 16,
            type,
            wide,
            labels);
        add(
            new SoftmaxCrossEntropyBackward(type),
            List.of(logits, targets, perRow, one),
            16,
            DType.F32,
            wide,
            labels,
            new Draw.Uniform(4, 9),
            STANDARD);
      }
    }
    crossEntropyOfColours(type, 3, 256, 41);
    crossEntropyOfColours(type, 3, 5, 700);
  }

  /** Colours one after another in the last axis: more rows than the logits' shape has. */
  private void crossEntropyOfColours(DType type, int colours, int classes, int pixels) {
    TensorSpec logits = TensorSpec.of(type, 1, pixels, colours * classes);
    TensorSpec targets = TensorSpec.of(DType.U8, 1, pixels, colours);
    Draw labels = new Draw.Whole(0, classes);
    Draw wide = new Draw.Normal(0, 4);
    add(
        new SoftmaxCrossEntropy(classes, null),
        List.of(logits, targets),
        classes + 16,
        type,
        wide,
        labels);
    add(
        new SoftmaxCrossEntropyBackward(classes, type),
        List.of(
            logits,
            targets,
            TensorSpec.of(DType.F32, pixels * colours),
            TensorSpec.of(DType.F32, 1)),
        16,
        DType.F32,
        wide,
        labels,
        new Draw.Uniform(4, 9),
        STANDARD);
  }

  private void units(DType type) {
    Draw wide = new Draw.Normal(0, 4);
    // rows shorter than a vector, odd, longer than a block; then enough of them for two threads
    int[][] sizes = {{5, 1}, {7, 15}, {7, 16}, {7, 17}, {30, 64}, {3, 1100}, {301, 37}};
    for (int[] s : sizes) {
      TensorSpec x = TensorSpec.of(type, s[0], 1, s[1]);
      TensorSpec y = TensorSpec.of(type, s[0], 1, 2 * s[1]);
      add(new ConcatElu(), List.of(x), 24, type, wide);
      add(new ConcatEluBackward(), List.of(x, y), 24, type, wide, STANDARD);
    }
    TensorSpec step = TensorSpec.of(DType.F64, 1);
    for (int n : new int[] {1, 15, 16, 17, 1000, 70001}) {
      TensorSpec x = TensorSpec.of(type, n);
      add(new Elu(), List.of(x), 24, type, wide);
      // what elu returns is above -1
      add(new EluBackward(), List.of(x, x), 2, type, new Draw.Uniform(-1, 2), STANDARD);
      add(new Elu(), List.of(x), 24, type, new Draw.Uniform(-1e-3, 1e-3));
      Draw steps = new Draw.Whole(0, 100000);
      add(new Dropout(0.5, 3, 0), List.of(x, step), 2, type, STANDARD, steps);
      add(new Dropout(0.1, -7, 12), List.of(x, step), 2, type, STANDARD, steps);
    }
    add(
        new Dropout(0, 1, 1),
        List.of(TensorSpec.of(type, 40), step),
        2,
        type,
        STANDARD,
        new Draw.Whole(0, 9));
  }

  private void biases(DType type) {
    int[][] sizes = {
      {1, 1, 1},
      {3, 7, 5},
      {2, 9, 15},
      {2, 9, 16},
      {5, 8, 17},
      {2, 3, 1100},
      {4, 900, 33},
      {400, 1, 16}
    };
    for (int[] s : sizes) {
      for (int rows : new int[] {1, 2, 256}) {
        TensorSpec x = TensorSpec.of(type, s[0], s[1], 1, s[2]);
        TensorSpec table = TensorSpec.of(DType.F32, rows, s[2]);
        TensorSpec labels = TensorSpec.of(DType.U8, s[0]);
        Draw label = new Draw.Whole(0, rows);
        int terms = s[0] * s[1] + 2;
        if (rows == 1) {
          add(new AddBias(), List.of(x, table), 1, DType.F32, STANDARD, STANDARD);
          add(new AddBiasBackward(1), List.of(x), terms, DType.F32, STANDARD);
        } else {
          add(new AddBias(), List.of(x, table, labels), 1, DType.F32, STANDARD, STANDARD, label);
          add(new AddBiasBackward(rows), List.of(x, labels), terms, DType.F32, STANDARD, label);
        }
      }
    }
  }

  private void mixture(DType type) {
    // images, height, width, colours, mixtures, levels; the last two are split between threads
    int[][] sizes = {
      {1, 1, 1, 1, 1, 2},
      {2, 3, 5, 1, 3, 3},
      {2, 3, 5, 3, 1, 3},
      {1, 4, 5, 3, 5, 256},
      {1, 3, 7, 1, 17, 16},
      {2, 20, 21, 1, 10, 256},
      {2, 10, 11, 3, 10, 256}
    };
    for (int[] s : sizes) {
      int channels = (s[3] == 3 ? 10 : 3) * s[4];
      TensorSpec parameters = TensorSpec.of(DType.F32, s[0], s[1], s[2], channels);
      TensorSpec images = TensorSpec.of(DType.U8, s[0], s[1], s[2], s[3]);
      Draw values = new Draw.Whole(0, s[5]);
      // every parameter, so log-scales too: from below their bound to far wider than the range
      for (Draw draw : List.of(new Draw.Normal(-0.5, 1), new Draw.Uniform(-9, 3))) {
        if (type == DType.F32) {
          add(
              new LogisticMixture(s[4], s[5], null),
              List.of(parameters, images),
              s[4] + 32,
              DType.F32,
              draw,
              values);
        }
        add(
            new LogisticMixtureBackward(s[4], s[5], type),
            List.of(parameters, images, TensorSpec.of(DType.F32, 1)),
            s[4] + 32,
            DType.F32,
            draw,
            values,
            STANDARD);
      }
    }
  }

  private void weights() {
    int[][] sizes = {
      {1, 1, 1}, {4, 3, 15}, {2, 16, 16}, {9, 5, 17}, {3, 2, 1100}, {6, 70, 64}, {2, 300, 3}
    };
    for (int[] s : sizes) {
      TensorSpec v = TensorSpec.of(DType.F32, s);
      for (int axis : new int[] {1, 2}) {
        TensorSpec g = TensorSpec.of(DType.F32, s[axis]);
        int terms = v.shape().elements() / s[axis] + 8;
        add(new WeightNorm(axis), List.of(v, g), terms, DType.F32, WEIGHTS, STANDARD);
        add(
            new WeightNormBackward(axis),
            List.of(v, g, v),
            terms,
            DType.F32,
            WEIGHTS,
            STANDARD,
            STANDARD);
      }
    }
    // too short to be divided by their length
    TensorSpec tiny = TensorSpec.of(DType.F32, 3, 4, 5);
    TensorSpec g = TensorSpec.of(DType.F32, 5);
    Draw nothing = new Draw.Normal(0, 1e-8);
    add(new WeightNorm(2), List.of(tiny, g), 20, DType.F32, nothing, STANDARD);
    add(
        new WeightNormBackward(2),
        List.of(tiny, g, tiny),
        20,
        DType.F32,
        nothing,
        STANDARD,
        STANDARD);
    for (boolean strict : new boolean[] {true, false}) {
      add(
          new MaskChannels(2, 3, strict, 1),
          List.of(TensorSpec.of(DType.F32, 5, 4, 6)),
          1,
          DType.F32,
          STANDARD);
      add(
          new MaskChannels(0, 3, strict, 0),
          List.of(TensorSpec.of(DType.F32, 1, 18, 33)),
          1,
          DType.F32,
          STANDARD);
      add(
          new MaskChannels(1, 1, strict, 1),
          List.of(TensorSpec.of(DType.F32, 2, 17, 16)),
          1,
          DType.F32,
          STANDARD);
    }
  }

  private void groupNorm(DType type) {
    int[][] sizes = {
      {1, 1, 1, 1, 1},
      {2, 5, 3, 6, 3},
      {1, 16, 16, 32, 8},
      {2, 7, 9, 33, 11},
      {1, 15, 17, 4, 1},
      {3, 4, 4, 64, 32}
    };
    for (int[] s : sizes) {
      groupNorm(type, new GroupNorm(s[4], 1e-5f), false, s);
    }
  }

  private void groupNormForms(DType type) {
    int[][] sizes = {
      {1, 1, 1, 1, 1},
      {2, 5, 3, 6, 3},
      {2, 7, 9, 33, 11},
      {3, 4, 4, 64, 32},
      {2, 19, 18, 40, 5}
    };
    for (int[] s : sizes) {
      groupNorm(type, new GroupNorm(s[4], 1e-5f), true, s);
      groupNorm(type, new GroupNorm(s[4], 1e-5f, true), false, s);
      groupNorm(type, new GroupNorm(s[4], 1e-5f, true), true, s);
    }
  }

  private void groupNorm(DType type, GroupNorm op, boolean modulated, int... s) {
    TensorSpec x = TensorSpec.of(type, s[0], s[1], s[2], s[3]);
    TensorSpec affine = TensorSpec.of(DType.F32, s[3]);
    TensorSpec statistics = TensorSpec.of(DType.F32, s[0], s[4]);
    List<TensorSpec> in = new ArrayList<>(List.of(x, affine, affine));
    List<TensorSpec> back = new ArrayList<>(List.of(x, affine, affine, statistics, statistics, x));
    if (modulated) {
      in.add(TensorSpec.of(type, s[0], 2 * s[3]));
      back.add(in.getLast());
    }
    int terms = s[1] * s[2] * s[3] / s[4] + 16;
    Draw shifted = new Draw.Normal(1, 2);
    add(op, in, terms, DType.F32, shifted, STANDARD, STANDARD, STANDARD);
    add(
        new GroupNormBackward(op),
        back,
        s[0] * s[1] * s[2] * s[3] / s[4] + 16,
        DType.F32,
        shifted,
        STANDARD,
        STANDARD,
        STANDARD,
        new Draw.Uniform(0.5, 2),
        STANDARD,
        STANDARD);
  }

  private void diffusion(DType type) {
    Draw wide = new Draw.Normal(0, 6);
    for (int n : new int[] {1, 7, 64, 1030}) {
      TensorSpec x = TensorSpec.of(type, n);
      add(new Silu(), List.of(x), 24, type, wide);
      add(new SiluBackward(), List.of(x, x), 24, type, wide, STANDARD);
    }
    int[][] halves = {{1, 1, 1}, {7, 3, 5}, {12, 16, 24}, {33, 64, 8}, {5, 7, 130}};
    for (int[] s : halves) {
      TensorSpec a = TensorSpec.of(type, s[0], s[1]);
      TensorSpec b = TensorSpec.of(type, s[0], s[2]);
      TensorSpec both = TensorSpec.of(type, s[0], s[1] + s[2]);
      add(new Concat(), List.of(a, b), 1, type, STANDARD, STANDARD);
      add(new Split(s[1]), List.of(both), 1, type, STANDARD);
      unaligned(new Concat(), List.of(a, b), 1, type, STANDARD, STANDARD);
      unaligned(new Split(s[1]), List.of(both), 1, type, STANDARD);
    }
    Draw pixels = new Draw.Whole(0, 256);
    Draw images = new Draw.Whole(0, 1 << 20);
    Draw step = new Draw.Whole(0, Integer.MAX_VALUE);
    TensorSpec steps = TensorSpec.of(DType.F64, 1);
    if (type == DType.F32) {
      for (int rows : new int[] {1, 1000}) {
        for (int count : new int[] {1, 5, 300}) {
          DiffusionTimes times = new DiffusionTimes(9, 3 * count, count);
          add(
              times,
              List.of(TensorSpec.of(DType.F32, rows, DiffusionTimes.COLUMNS), steps),
              1,
              DType.F32,
              STANDARD,
              step);
        }
      }
    }
    for (int[] s : new int[][] {{1, 1, 1, 1}, {3, 5, 7, 3}, {2, 16, 12, 1}}) {
      TensorSpec u8 = TensorSpec.of(DType.U8, s);
      TensorSpec four = TensorSpec.of(DType.F32, s[0], 4);
      for (int first : new int[] {0, 77}) {
        Diffuse op = new Diffuse(1L << 40 | 3, first, type);
        add(op, List.of(u8, four, steps), 8, DType.F32, pixels, STANDARD, step);
      }
      TensorSpec x = TensorSpec.of(type, s);
      TensorSpec target = TensorSpec.of(DType.F32, s);
      TensorSpec each = TensorSpec.of(DType.F32, s[0]);
      TensorSpec one = TensorSpec.of(DType.F32, 1);
      int elements = s[1] * s[2] * s[3];
      add(
          new SquaredError(),
          List.of(x, target, each),
          elements + s[0] + 4,
          DType.F32,
          STANDARD,
          STANDARD,
          STANDARD);
      add(
          new SquaredErrorBackward(),
          List.of(x, target, each, one),
          8,
          DType.F32,
          STANDARD,
          STANDARD,
          STANDARD,
          STANDARD);
      TensorSpec state = TensorSpec.of(DType.F64, s);
      TensorSpec table = TensorSpec.of(DType.F64, 5, DenoiseStep.COLUMNS);
      TensorSpec request = TensorSpec.of(DType.I32, 4);
      for (double guidance : new double[] {1, 3.5}) {
        for (boolean clip : new boolean[] {false, true}) {
          DenoiseStep op =
              new DenoiseStep(clip ? Thresholding.STATIC : Thresholding.NONE, guidance, false);
          TensorSpec f = TensorSpec.of(type, (op.guided() ? 2 : 1) * s[0], s[1], s[2], s[3]);
          // the last of the four is the step
          Draw low = new Draw.Whole(0, 5);
          add(
              op,
              List.of(state, state, f, table, request),
              16,
              DType.F32,
              STANDARD,
              STANDARD,
              STANDARD,
              STANDARD,
              low);
        }
      }
      // a first row: no prediction, noise alone
      Draw noise = new Draw.Zeros(STANDARD, 0, 5);
      add(
          new DenoiseStep(Thresholding.NONE, 1, false),
          List.of(state, state, x, TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS), request),
          16,
          DType.F32,
          STANDARD,
          STANDARD,
          STANDARD,
          noise,
          new Draw.Zeros(images, 3, 4));
    }
    for (int channels : new int[] {4, 34, 128}) {
      for (int n : new int[] {1, 9}) {
        TensorSpec t = TensorSpec.of(DType.F32, n);
        for (boolean cosineFirst : new boolean[] {false, true}) {
          SinusoidalEmbedding op =
              new SinusoidalEmbedding(channels, 10_000, cosineFirst ? 0 : 1, cosineFirst, type);
          add(op, List.of(t), 4, DType.F32, new Draw.Whole(0, 1000));
          add(op, List.of(t), 4, DType.F32, STANDARD);
        }
      }
    }
    TensorSpec x = TensorSpec.of(type, 2, 3, 5, 3);
    TensorSpec target = TensorSpec.of(DType.F32, 2, 3, 5, 3);
    TensorSpec each = TensorSpec.of(DType.F32, 2);
    unaligned(new Silu(), List.of(x), 24, type, wide);
    unaligned(new SiluBackward(), List.of(x, x), 24, type, wide, STANDARD);
    unaligned(
        new Diffuse(5, 0, type),
        List.of(TensorSpec.of(DType.U8, 2, 3, 5, 3), TensorSpec.of(DType.F32, 2, 4), steps),
        8,
        DType.F32,
        pixels,
        STANDARD,
        step);
    unaligned(
        new SquaredError(), List.of(x, target, each), 60, DType.F32, STANDARD, STANDARD, STANDARD);
    unaligned(
        new SquaredErrorBackward(),
        List.of(x, target, each, TensorSpec.of(DType.F32, 1)),
        8,
        DType.F32,
        STANDARD,
        STANDARD,
        STANDARD,
        STANDARD);
    unaligned(
        new GroupNorm(1, 1e-5f, true),
        List.of(
            x, TensorSpec.of(DType.F32, 3), TensorSpec.of(DType.F32, 3), TensorSpec.of(type, 2, 6)),
        64,
        DType.F32,
        STANDARD,
        STANDARD,
        STANDARD,
        STANDARD);
  }

  private void upsampling() {
    for (int[] s : new int[][] {{1, 1}, {3, 5}, {40, 33}}) {
      add(
          new FoldUpsampling(),
          List.of(TensorSpec.of(DType.F32, 9, s[0], s[1])),
          4,
          DType.F32,
          STANDARD);
      add(
          new FoldUpsamplingBackward(),
          List.of(TensorSpec.of(DType.F32, 16, s[0], s[1])),
          4,
          DType.F32,
          STANDARD);
    }
  }

  private void rows(DType type) {
    int[][] sizes = {{1, 1, 1, 1}, {3, 5, 7, 2}, {2, 28, 28, 16}};
    for (int[] s : sizes) {
      Shape x = Shape.of(s);
      for (int shift : new int[] {1, -1, 0, 3, -40}) {
        add(new Shift(shift, 0), List.of(new TensorSpec(x, type)), 1, type, STANDARD);
        add(new Shift(0, shift), List.of(new TensorSpec(x, type)), 1, type, STANDARD);
        add(new Shift(shift, 2), List.of(new TensorSpec(x, type)), 1, type, STANDARD);
        add(new Shift(-1, shift), List.of(new TensorSpec(x, type)), 1, type, STANDARD);
      }
    }
  }

  private void optimizer() {
    for (int n : new int[] {1, 15, 16, 17, 40000}) {
      TensorSpec x = TensorSpec.of(DType.F32, n);
      TensorSpec scalar = TensorSpec.of(DType.F64, 1);
      // sums in f64, whatever the device splits them into: one rounding would be enough
      add(new SquaredNorm(), List.of(x), 1, DType.F32, STANDARD);
      for (double clip : new double[] {0.5, Double.POSITIVE_INFINITY}) {
        add(
            new Adam(1e-3, 0.9, 0.999, 1e-8, 100, 0.9999, clip, 0.999),
            List.of(x, x, x, x, scalar, x, scalar),
            24,
            DType.F32,
            STANDARD,
            WEIGHTS,
            new Draw.Uniform(0.01, 1),
            STANDARD,
            new Draw.Whole(0, 200),
            STANDARD,
            new Draw.Uniform(0.1, 4));
      }
    }
  }

  /** So many positions and channels that a GPU's kernels take their larger tiles. */
  private void tiles(DType type) {
    Conv2d op = new Conv2d(Taps.rectangle(0, 0, -1, 0));
    for (int filters : type == DType.BF16 ? new int[] {4200, 8400} : new int[] {4200}) {
      add(
          op,
          List.of(
              TensorSpec.of(type, 1, 3, 43, 24),
              TensorSpec.of(DType.F32, 2, 24, filters),
              TensorSpec.of(DType.F32, filters)),
          50,
          type,
          STANDARD,
          WEIGHTS,
          STANDARD);
    }
    // by phases: some positions are reached by two taps in a row, some by none
    Conv2d strided = new Conv2d(Taps.rectangle(-1, 3, -4, 2), 6, 6, null);
    for (int channels : type == DType.BF16 ? new int[] {100, 200} : new int[] {100}) {
      add(
          new Conv2dBackwardData(strided, Shape.of(1, 60, 78, channels)),
          List.of(TensorSpec.of(DType.F32, 35, channels, 16), TensorSpec.of(type, 1, 10, 13, 16)),
          34,
          type,
          WEIGHTS,
          STANDARD);
    }
  }

  /** Weights that are zero at the first tap, in the middle, at the last, or all over. */
  private void zeroTiles(DType type) {
    int tap = 64 * 40;
    for (int[] zero : new int[][] {{0, tap}, {tap, 2 * tap}, {2 * tap, 3 * tap}, {0, 3 * tap}}) {
      Draw weights = new Draw.Zeros(WEIGHTS, zero[0], zero[1]);
      Conv2d op = new Conv2d(Taps.rectangle(0, 0, -2, 0));
      TensorSpec w = TensorSpec.of(DType.F32, 3, 64, 40);
      TensorSpec x = TensorSpec.of(type, 2, 3, 12, 64);
      TensorSpec bias = TensorSpec.of(DType.F32, 40);
      add(op, List.of(x, w, bias), 195, type, STANDARD, weights, STANDARD);
      add(
          new Conv2dBackwardData(op, x.shape()),
          List.of(w, TensorSpec.of(type, 2, 3, 12, 40)),
          122,
          type,
          weights,
          STANDARD);
    }
  }

  /** Weights' gradients that are summed up in many parts, of which the last is short. */
  private void parts(DType type) {
    // few parts, but by steps, and images of other heights than their convolution
    conv(type, new Conv2d(Taps.square(3), 2, 2, null), true, 3, 9, 7, 5, 6);
    int[][] sizes = {
      {2, 67, 65, 16, 24}, {1, 49, 61, 5, 7}, {3, 30, 31, 72, 8}, {2, 30, 31, 37, 70}
    };
    for (int[] s : sizes) {
      TensorSpec x = TensorSpec.of(type, s[0], s[1], s[2], s[3]);
      TensorSpec dy = TensorSpec.of(type, s[0], s[1], s[2], s[4]);
      add(
          new Conv2dBackwardWeights(new Conv2d(Taps.rectangle(-1, 0, 0, 0)), true),
          List.of(x, dy),
          s[0] * s[1] * s[2] + 2,
          type,
          STANDARD,
          STANDARD);
    }
  }

  /** Values at which formulas change, overflow or cancel. */
  private void edges(DType type) {
    TensorSpec x = TensorSpec.of(type, 40);
    Draw few = new Draw.Whole(-1, 2);
    add(new ReluBackward(), List.of(x, x), 1, type, few, STANDARD);
    add(new EluBackward(), List.of(x, x), 2, type, few, STANDARD);
    add(new ConcatElu(), List.of(TensorSpec.of(type, 3, 1, 16)), 24, type, few);
    // a seed of 64 bits
    add(
        new Dropout(0.5, 0x0123456789ABCDEFL, 1),
        List.of(x, TensorSpec.of(DType.F64, 1)),
        2,
        type,
        STANDARD,
        new Draw.Whole(0, 99));
    TensorSpec targets = TensorSpec.of(DType.U8, 9);
    for (int mean : new int[] {-300, 300}) {
      add(
          new SoftmaxCrossEntropy(null),
          List.of(TensorSpec.of(type, 9, 100), targets),
          116,
          type,
          new Draw.Normal(mean, 4),
          new Draw.Whole(0, 100));
    }
    // images of exactly as many positions as are summed up together
    add(
        new AddBiasBackward(4),
        List.of(TensorSpec.of(type, 3, 32, 16, 5), TensorSpec.of(DType.U8, 3)),
        1538,
        DType.F32,
        STANDARD,
        new Draw.Whole(0, 4));
    for (DType gradient : List.of(DType.F32, DType.BF16)) {
      if (gradient != type) {
        add(
            new SoftmaxCrossEntropyBackward(gradient),
            List.of(
                TensorSpec.of(type, 9, 256),
                targets,
                TensorSpec.of(DType.F32, 9),
                TensorSpec.of(DType.F32, 1)),
            16,
            DType.F32,
            new Draw.Normal(0, 4),
            new Draw.Whole(0, 256),
            new Draw.Uniform(4, 9),
            STANDARD);
      }
    }
    if (type == DType.F32) {
      // a first step, by gradients that are next to nothing
      TensorSpec scalar = TensorSpec.of(DType.F64, 1);
      Draw zero = new Draw.Normal(0, 0);
      add(
          new Adam(1e-3, 0.9, 0.999, 1e-8, 0, 0.9999, 0.5, 0.999),
          List.of(x, x, x, x, scalar, x, scalar),
          24,
          type,
          zero,
          zero,
          zero,
          STANDARD,
          zero,
          new Draw.Normal(0, 1e-7),
          zero);
      // the mean is far larger than the deviation from it
      add(
          new GroupNorm(2, 1e-5f),
          List.of(TensorSpec.of(type, 1, 5, 5, 8), TensorSpec.of(type, 8), TensorSpec.of(type, 8)),
          116,
          type,
          new Draw.Normal(1000, 0.1),
          STANDARD,
          STANDARD);
    }
    for (int colours : new int[] {1, 3}) {
      // more components than a warp has lanes; scales so large that a bin is next to nothing
      mixtureOf(type, 40, colours, new Draw.Normal(-0.5, 1));
      mixtureOf(type, 2, colours, new Draw.Uniform(20, 60));
    }
  }

  private void mixtureOf(DType type, int mixtures, int colours, Draw draw) {
    int channels = (colours == 3 ? 10 : 3) * mixtures;
    TensorSpec parameters = TensorSpec.of(DType.F32, 1, 3, 5, channels);
    TensorSpec images = TensorSpec.of(DType.U8, 1, 3, 5, colours);
    Draw values = new Draw.Whole(0, 256);
    if (type == DType.F32) {
      add(
          new LogisticMixture(mixtures, 256, null),
          List.of(parameters, images),
          mixtures + 32,
          DType.F32,
          draw,
          values);
    }
    add(
        new LogisticMixtureBackward(mixtures, 256, type),
        List.of(parameters, images, TensorSpec.of(DType.F32, 1)),
        mixtures + 32,
        DType.F32,
        draw,
        values,
        STANDARD);
  }

  private void layouts(DType type) {
    Draw wide = new Draw.Normal(0, 4);
    for (int n : new int[] {7, 1000}) {
      TensorSpec x = TensorSpec.of(type, n);
      TensorSpec step = TensorSpec.of(DType.F64, 1);
      unaligned(new Relu(), List.of(x), 1, type, STANDARD);
      unaligned(new ReluBackward(), List.of(x, x), 1, type, STANDARD, STANDARD);
      unaligned(new Elu(), List.of(x), 24, type, wide);
      unaligned(new EluBackward(), List.of(x, x), 2, type, new Draw.Uniform(-1, 2), STANDARD);
      unaligned(new Add(), List.of(x, x), 1, type, STANDARD, STANDARD);
      unaligned(new Fill(x, 0.25f), List.of(), 1, type);
      unaligned(new Dropout(0.5, 3, 0), List.of(x, step), 2, type, STANDARD, new Draw.Whole(0, 99));
    }
    for (int channels : new int[] {16, 17}) {
      TensorSpec x = TensorSpec.of(type, 2, 3, 5, channels);
      TensorSpec two = TensorSpec.of(type, 2, 3, 5, 2 * channels);
      unaligned(new ConcatElu(), List.of(x), 24, type, wide);
      unaligned(new ConcatEluBackward(), List.of(x, two), 24, type, wide, STANDARD);
      Gate gate = new Gate(Gate.Kind.TANH, 1);
      unaligned(gate, List.of(two, x), 24, type, STANDARD, STANDARD);
      unaligned(new GateBackward(Gate.Kind.TANH, 1), List.of(two, x), 24, type, STANDARD, STANDARD);
      unaligned(new Shift(1, -2), List.of(x), 1, type, STANDARD);
      unaligned(
          new AddBias(),
          List.of(x, TensorSpec.of(DType.F32, 3, channels), TensorSpec.of(DType.U8, 2)),
          1,
          DType.F32,
          STANDARD,
          STANDARD,
          new Draw.Whole(0, 3));
      unaligned(new AddBiasBackward(1), List.of(x), 32, DType.F32, STANDARD);
      unaligned(
          new SoftmaxCrossEntropy(null),
          List.of(TensorSpec.of(type, 9, channels), TensorSpec.of(DType.U8, 9)),
          channels + 16,
          type,
          wide,
          new Draw.Whole(0, channels));
      for (DType gradient : List.of(DType.F32, DType.BF16)) {
        unaligned(
            new SoftmaxCrossEntropyBackward(gradient),
            List.of(
                TensorSpec.of(type, 9, channels),
                TensorSpec.of(DType.U8, 9),
                TensorSpec.of(DType.F32, 9),
                TensorSpec.of(DType.F32, 1)),
            16,
            DType.F32,
            wide,
            new Draw.Whole(0, channels),
            new Draw.Uniform(4, 9),
            STANDARD);
      }
    }
    unalignedConvolutions(type);
  }

  private void unalignedConvolutions(DType type) {
    Conv2d op = new Conv2d(Taps.square(3));
    TensorSpec x = TensorSpec.of(type, 2, 6, 7, 16);
    TensorSpec w = TensorSpec.of(DType.F32, 9, 16, 24);
    TensorSpec bias = TensorSpec.of(DType.F32, 24);
    TensorSpec y = TensorSpec.of(type, 2, 6, 7, 24);
    unaligned(op, List.of(x, w, bias, y), 147, type, STANDARD, WEIGHTS, STANDARD, STANDARD);
    unaligned(
        new Conv2dBackwardData(op, x.shape()),
        List.of(w, y, x),
        219,
        type,
        WEIGHTS,
        STANDARD,
        STANDARD);
    unaligned(new Conv2dBackwardWeights(op, true), List.of(x, y), 86, type, STANDARD, STANDARD);
  }

  private void layoutsInF32() {
    TensorSpec scalar = TensorSpec.of(DType.F64, 1);
    for (int n : new int[] {7, 9000}) {
      TensorSpec x = TensorSpec.of(DType.F32, n);
      unaligned(new SquaredNorm(), List.of(x), 1, DType.F32, STANDARD);
      unaligned(
          new Adam(1e-3, 0.9, 0.999, 1e-8, 100, 0.9999, 0.5, 0.999),
          List.of(x, x, x, x, scalar, x, scalar),
          24,
          DType.F32,
          STANDARD,
          WEIGHTS,
          new Draw.Uniform(0.01, 1),
          STANDARD,
          new Draw.Whole(0, 200),
          STANDARD,
          new Draw.Uniform(0.1, 4));
    }
  }

  /** More parts of a sum than a block has threads. */
  private void manyElements() {
    TensorSpec x = TensorSpec.of(DType.F32, 1_100_000);
    add(new SquaredNorm(), List.of(x), 1, DType.F32, STANDARD);
  }

  private void attention(DType type) {
    // N, heads, L, M, D: each width of a kernel, odd ones, L and M below, at and above tiles
    int[][] sizes = {
      {1, 1, 1, 1, 1},
      {2, 1, 5, 7, 8},
      {1, 2, 65, 64, 32},
      {2, 1, 16, 130, 32},
      {1, 4, 33, 31, 33},
      {1, 2, 64, 97, 64},
      {2, 2, 70, 17, 64},
      {1, 1, 63, 65, 128},
      {2, 2, 17, 33, 120}
    };
    for (int[] s : sizes) {
      attention(type, s, false, STANDARD, STANDARD, Layout.ALIGNED);
    }
    attention(type, new int[] {2, 2, 66, 66, 32}, true, STANDARD, STANDARD, Layout.ALIGNED);
    attention(type, new int[] {1, 1, 40, 40, 56}, true, STANDARD, STANDARD, Layout.ALIGNED);
    attention(type, new int[] {1, 3, 19, 19, 5}, true, STANDARD, STANDARD, Layout.ALIGNED);
    Draw.Normal large = new Draw.Normal(0, 5);
    for (int d : new int[] {32, 64, 128}) {
      // scores of a hundred: the largest of a row keeps changing, most weights vanish
      attention(type, new int[] {1, 1, 24, 150, d}, false, large, large, Layout.ALIGNED);
      attention(type, new int[] {1, 1, 150, 18, d}, false, STANDARD, STANDARD, Layout.ALIGNED);
      // so far below zero that exp(-lse) is infinite
      Draw.Normal above = new Draw.Normal(4, 0.2);
      Draw.Normal below = new Draw.Normal(-4, 0.2);
      attention(type, new int[] {1, 1, 9, 21, d}, false, above, below, Layout.ALIGNED);
    }
    for (Layout layout : new Layout[] {Layout.ODD, Layout.MIXED}) {
      attention(type, new int[] {1, 2, 18, 35, 32}, false, STANDARD, STANDARD, layout);
      attention(type, new int[] {1, 1, 35, 35, 40}, true, STANDARD, STANDARD, layout);
      attention(type, new int[] {1, 1, 20, 18, 100}, false, STANDARD, STANDARD, layout);
    }
  }

  /** An attention and its gradient; {@code fused} draws all of qkv as q. */
  private void attention(
      DType type, int[] s, boolean fused, Draw.Normal q, Draw.Normal k, Layout layout) {
    int channels = s[1] * s[4];
    Attention op = new Attention(s[1]);
    List<TensorSpec> in =
        fused
            ? List.of(TensorSpec.of(type, s[0], s[2], 3 * channels))
            : List.of(
                TensorSpec.of(type, s[0], s[2], channels),
                TensorSpec.of(type, s[0], s[3], channels),
                TensorSpec.of(type, s[0], s[3], channels));
    List<Draw> draws = new ArrayList<>(fused ? List.of(q) : List.of(q, k, STANDARD));
    // a rescaling of what is summed up so far for every few keys
    int terms = Math.max(s[4], s[3] + s[3] / 3) + 16;
    cases.add(new OpCase(op, in, terms, DType.F32, List.copyOf(draws), seed++, layout));
    List<TensorSpec> outputs = op.check(in);
    List<TensorSpec> all = new ArrayList<>(in);
    all.addAll(List.of(outputs.get(0), outputs.get(1), outputs.get(0)));
    // about as large as it is, so that a row's weights sum to about 1
    double mean = q.mean() * k.mean() * Math.sqrt(s[4]);
    double deviation = q.deviation() * k.deviation();
    double lse = mean + (deviation > 9 ? 2.5 * deviation : Math.log(s[3]) + 0.5);
    draws.addAll(List.of(STANDARD, new Draw.Uniform(lse - 1, lse + 1), STANDARD));
    cases.add(
        new OpCase(
            new AttentionBackward(op),
            all,
            s[4] + Math.max(s[2], s[3]) + 16,
            DType.F32,
            draws,
            seed++,
            layout));
  }

  /** Thresholds, learned variances and inpainting, each with and without the others. */
  private void denoising(DType type) {
    // a percentile is the largest of few elements, the last but one of 200
    int[][] sizes = {{1, 1, 1, 1}, {3, 5, 7, 3}, {2, 20, 10, 1}, {2, 31, 11, 3}};
    for (int[] s : sizes) {
      for (Thresholding thresholding : Thresholding.values()) {
        for (double guidance : new double[] {1, -1.5}) {
          for (boolean learned : new boolean[] {false, true}) {
            DenoiseStep op = new DenoiseStep(thresholding, guidance, learned);
            for (boolean inpaints : new boolean[] {false, true}) {
              denoising(op, type, s, inpaints, STANDARD, Layout.ALIGNED);
            }
          }
        }
      }
    }
    DenoiseStep op = new DenoiseStep(Thresholding.DYNAMIC, 2, true);
    // the percentile is below 1
    denoising(op, type, new int[] {2, 16, 12, 2}, false, new Draw.Normal(0, 0.05), Layout.ALIGNED);
    denoising(op, type, new int[] {2, 3, 5, 3}, true, STANDARD, Layout.ODD);
    denoising(op, type, new int[] {2, 3, 5, 3}, true, STANDARD, Layout.MIXED);
  }

  private void denoising(
      DenoiseStep op, DType type, int[] s, boolean inpaints, Draw values, Layout layout) {
    TensorSpec x = TensorSpec.of(DType.F64, s);
    int channels = op.learnedVariance() ? 2 * s[3] : s[3];
    List<TensorSpec> in =
        new ArrayList<>(
            List.of(
                x,
                x,
                TensorSpec.of(type, op.guided() ? 2 * s[0] : s[0], s[1], s[2], channels),
                TensorSpec.of(DType.F64, 5, DenoiseStep.COLUMNS),
                TensorSpec.of(DType.I32, 4)));
    List<Draw> draws =
        new ArrayList<>(List.of(values, values, values, STANDARD, new Draw.Whole(0, 5)));
    if (inpaints) {
      in.add(TensorSpec.of(DType.U8, s));
      in.add(TensorSpec.of(DType.U8, s[0], s[1], s[2], 1));
      draws.addAll(List.of(new Draw.Whole(0, 256), new Draw.Whole(0, 3)));
    }
    cases.add(new OpCase(op, in, 16, DType.F32, draws, seed++, layout));
  }

  /** A row for all pixels of an image: added by convolutions, and summed up for its gradient. */
  private void addedToImages(DType type) {
    // each tile of the kernels; by strides, larger than the image, one pixel, no bias
    ofImages(new Conv2d(Taps.square(3)), type, true, 3, 5, 7, 5, 9, Layout.ALIGNED);
    ofImages(new Conv2d(Taps.square(3)), type, true, 2, 8, 8, 16, 64, Layout.ALIGNED);
    ofImages(new Conv2d(Taps.point()), type, false, 2, 11, 7, 24, 40, Layout.ALIGNED);
    ofImages(new Conv2d(Taps.square(3), 2, 2, null), type, true, 3, 9, 6, 16, 24, Layout.ALIGNED);
    ofImages(new Conv2d(Taps.square(7)), type, true, 2, 3, 2, 8, 16, Layout.ALIGNED);
    ofImages(new Conv2d(Taps.square(3)), type, true, 3, 1, 1, 8, 8, Layout.ALIGNED);
    Conv2d folded = new Conv2d(Taps.rectangle(-1, 2, -1, 2), 2, 2, null);
    ofImages(folded, type, false, 2, 8, 6, 16, 8, Layout.ALIGNED);
    for (Layout layout : List.of(Layout.ODD, Layout.MIXED)) {
      ofImages(new Conv2d(Taps.square(3)), type, true, 2, 6, 7, 16, 24, layout);
    }
    if (type == DType.BF16) {
      Conv2d wide = new Conv2d(Taps.point(), 1, 1, DType.F32);
      ofImages(wide, type, true, 2, 8, 9, 48, 32, Layout.ALIGNED);
    } else {
      TensorSpec x = TensorSpec.of(type, 2, 5, 6, 8);
      add(
          new Conv2dUnit(new Conv2d(Taps.square(3)), new Elu(), false, true),
          List.of(
              x,
              TensorSpec.of(type, 9, 8, 16),
              TensorSpec.of(type, 16),
              TensorSpec.of(type, 2, 1, 1, 16)),
          100,
          type,
          STANDARD,
          WEIGHTS,
          STANDARD,
          STANDARD);
    }
    // pixels and channels below, at and above what a thread and a block sum up
    int[][] sizes = {
      {1, 1, 1, 1}, {3, 5, 7, 5}, {2, 8, 8, 16}, {2, 9, 8, 33}, {1, 31, 33, 130}, {2, 2, 3, 1100}
    };
    for (int[] s : sizes) {
      add(new SumPixels(), List.of(TensorSpec.of(type, s)), s[1] * s[2], DType.F32, STANDARD);
    }
    unaligned(new SumPixels(), List.of(TensorSpec.of(type, 2, 9, 9, 16)), 81, DType.F32, STANDARD);
  }

  /** A convolution with a row for each image added, and its data gradient with one. */
  private void ofImages(
      Conv2d op,
      DType type,
      boolean bias,
      int n,
      int h,
      int w,
      int channels,
      int filters,
      Layout layout) {
    TensorSpec x = TensorSpec.of(type, n, h, w, channels);
    TensorSpec weights = TensorSpec.of(DType.F32, op.taps().count(), channels, filters);
    TensorSpec y = op.check(List.of(x, weights)).getFirst();
    List<TensorSpec> in = new ArrayList<>(List.of(x, weights));
    List<Draw> draws = new ArrayList<>(List.of(STANDARD, WEIGHTS));
    if (bias) {
      in.add(TensorSpec.of(DType.F32, filters));
      draws.add(STANDARD);
    }
    in.add(TensorSpec.of(y.dtype(), n, 1, 1, filters));
    draws.add(STANDARD);
    int terms = op.taps().count() * channels + 3;
    cases.add(new OpCase(op, in, terms, type, List.copyOf(draws), seed++, layout));
    cases.add(
        new OpCase(
            new Conv2dBackwardData(op, x.shape()),
            List.of(
                weights, new TensorSpec(y.shape(), type), TensorSpec.of(type, n, 1, 1, channels)),
            op.taps().count() * filters + 3,
            type,
            List.of(WEIGHTS, STANDARD, STANDARD),
            seed++,
            layout));
  }

  private void resampling(DType type) {
    int[][] sizes = {{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 4, 2, 16}, {1, 5, 3, 33}, {2, 2, 3, 1100}};
    for (int[] s : sizes) {
      TensorSpec small = TensorSpec.of(type, s);
      TensorSpec large = TensorSpec.of(type, s[0], 2 * s[1], 2 * s[2], s[3]);
      for (Resample op : List.of(Resample.nearest(), Resample.averagePool())) {
        boolean up = op.direction() == Resample.Direction.UP;
        add(op, List.of(up ? small : large), 4, DType.F32, STANDARD);
        // and the other's gradient
        Resample other = new Resample(op.direction(), up ? 0.25f : 1);
        add(other, List.of(up ? small : large), 4, DType.F32, STANDARD);
      }
    }
    unaligned(
        Resample.nearest(), List.of(TensorSpec.of(type, 2, 3, 5, 16)), 4, DType.F32, STANDARD);
    unaligned(
        Resample.averagePool(), List.of(TensorSpec.of(type, 2, 4, 6, 16)), 4, DType.F32, STANDARD);
  }

  /** 3x3 taps on so many pixels and channels that fewer products than plain sums' may do. */
  private void manyTiles() {
    conv(DType.F32, new Conv2d(Taps.square(3)), true, 8, 13, 14, 32, 48);
  }

  private void variationalBounds(DType type) {
    int[][] sizes = {{1, 1, 1, 1}, {7, 3, 5, 3}, {3, 16, 12, 1}, {2, 31, 11, 3}};
    Draw.Whole either = new Draw.Whole(0, 2);
    for (int[] s : sizes) {
      variationalBound(type, s, either, new Draw.Uniform(-9, -2), Layout.ALIGNED);
    }
    int[] few = {3, 5, 7, 2};
    Draw.Whole decoder = new Draw.Whole(1, 2);
    // bins with all of the mass or next to none of it; bins far narrower than the distribution
    variationalBound(type, few, decoder, new Draw.Uniform(-25, -12), Layout.ALIGNED);
    variationalBound(type, few, decoder, new Draw.Uniform(-6, -3), Layout.ALIGNED);
    variationalBound(type, few, decoder, new Draw.Uniform(-1, 2), Layout.ALIGNED);
    variationalBound(type, few, either, new Draw.Uniform(-9, -2), Layout.ODD);
    variationalBound(type, few, either, new Draw.Uniform(-9, -2), Layout.MIXED);
  }

  /** With and without v, and the gradient. */
  private void variationalBound(
      DType type, int[] s, Draw.Whole decoder, Draw.Uniform logs, Layout layout) {
    TensorSpec x = TensorSpec.of(type, s);
    int rows = 9;
    List<TensorSpec> in =
        new ArrayList<>(
            List.of(
                x,
                TensorSpec.of(DType.F32, s),
                TensorSpec.of(DType.U8, s),
                TensorSpec.of(DType.F32, s[0]),
                TensorSpec.of(DType.F32, rows, VariationalBound.COLUMNS)));
    Draw part = new Draw.Uniform(-0.7, 0.7);
    Draw table =
        new Draw.Columns(
            List.of(part, part, new Draw.Uniform(0.01, 1), logs, logs, logs, decoder, STANDARD));
    List<Draw> draws =
        new ArrayList<>(
            List.of(
                STANDARD, STANDARD, new Draw.Whole(0, 256), new Draw.Whole(1, rows + 1), table));
    VariationalBound op = new VariationalBound(-2.5);
    // in f64, whatever the order: the terms are rounded, and their mean
    cases.add(new OpCase(op, List.copyOf(in), 2, DType.F32, List.copyOf(draws), seed++, layout));
    in.add(x);
    draws.add(new Draw.Uniform(-1.2, 1.2));
    cases.add(new OpCase(op, List.copyOf(in), 2, DType.F32, List.copyOf(draws), seed++, layout));
    in.add(TensorSpec.of(DType.F32, 1));
    draws.add(STANDARD);
    Op back = new VariationalBoundBackward(1 / op.scale());
    cases.add(new OpCase(back, in, 2, DType.F32, draws, seed++, layout));
  }
}
