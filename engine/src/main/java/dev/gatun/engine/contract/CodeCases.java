package dev.gatun.engine.contract;

import static dev.gatun.engine.contract.ContractSuite.STANDARD;

import dev.gatun.engine.DType;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.OpCase.Draw;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmax.Temperature;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.VectorQuantize;
import java.util.ArrayList;
import java.util.List;

/**
 * Cases of discrete latent variables. All is computed in f64: a result goes through one rounding.
 */
final class CodeCases {
  private static final TensorSpec STEP = TensorSpec.of(DType.F64, 1);
  private static final Draw STEPS = new Draw.Whole(0, 3000);
  private static final Draw WIDE = new Draw.Normal(0, 3);

  private CodeCases() {}

  static void addTo(ContractSuite suite) {
    for (DType type : List.of(DType.F32, DType.BF16)) {
      vectors(suite, type);
      reversed(suite, type);
    }
    averages(suite);
    categorical(suite);
  }

  private static void vectors(ContractSuite suite, DType type) {
    // positions, channels, codes: around a warp of codes, a block of positions, a block of columns
    int[][] sizes = {
      {1, 1, 1}, {7, 3, 5}, {8, 31, 31}, {9, 32, 32}, {50, 33, 33}, {700, 5, 256}, {65, 64, 128}
    };
    for (int[] s : sizes) {
      TensorSpec z = TensorSpec.of(type, s[0], s[1]);
      TensorSpec codebook = TensorSpec.of(DType.F32, s[2], s[1]);
      TensorSpec indices = TensorSpec.of(DType.U8, s[0], 1);
      Draw codes = new Draw.Whole(0, s[2]);
      suite.add(new VectorQuantize(), List.of(z, codebook), 1, DType.F32, STANDARD, STANDARD);
      suite.add(new CodeVectors(type), List.of(indices, codebook), 1, DType.F32, codes, STANDARD);
      suite.add(new CodebookSums(s[2]), List.of(z, indices), 1, DType.F32, STANDARD, codes);
    }
    // images; many codes that are equally near, of which the first counts
    TensorSpec images = TensorSpec.of(type, 3, 5, 7, 2);
    TensorSpec few = TensorSpec.of(DType.F32, 200, 2);
    Draw small = new Draw.Whole(-2, 3);
    suite.add(new VectorQuantize(), List.of(images, few), 1, DType.F32, small, small);
    suite.unaligned(new VectorQuantize(), List.of(images, few), 1, DType.F32, STANDARD, STANDARD);
    TensorSpec own = TensorSpec.of(DType.U8, 3, 5, 7, 1);
    suite.unaligned(
        new CodeVectors(type), List.of(own, few), 1, DType.F32, new Draw.Whole(0, 200), STANDARD);
    // some codes that no vector chose
    suite.unaligned(
        new CodebookSums(9), List.of(images, own), 1, DType.F32, STANDARD, new Draw.Whole(3, 7));
  }

  private static void reversed(ContractSuite suite, DType type) {
    for (int[] s : new int[][] {{1}, {2}, {3, 7}, {2, 3, 64}, {5, 1, 4, 65}, {2, 1100}}) {
      suite.add(new ReverseChannels(), List.of(TensorSpec.of(type, s)), 1, DType.F32, STANDARD);
    }
    suite.unaligned(
        new ReverseChannels(), List.of(TensorSpec.of(type, 9, 16)), 1, DType.F32, STANDARD);
  }

  private static void averages(ContractSuite suite) {
    for (int[] s : new int[][] {{1}, {255}, {256}, {257}, {3, 5}, {40, 1000}}) {
      TensorSpec x = TensorSpec.of(DType.F32, s);
      suite.add(new MovingAverage(0.99), List.of(x, x), 1, DType.F32, STANDARD, STANDARD);
    }
    TensorSpec some = TensorSpec.of(DType.F32, 40);
    suite.unaligned(new MovingAverage(0), List.of(some, some), 1, DType.F32, STANDARD, STANDARD);
    for (int[] s : new int[][] {{1, 1}, {2, 3}, {32, 31}, {256, 64}, {257, 5}, {3, 300}}) {
      List<Draw> columns = new ArrayList<>();
      for (int c = 0; c < s[1]; c++) {
        columns.add(STANDARD);
      }
      columns.add(new Draw.Uniform(0, 9));
      TensorSpec state = TensorSpec.of(DType.F32, s[0], s[1] + 1);
      for (double epsilon : new double[] {1e-5, 0.5}) {
        suite.add(new Codebook(epsilon), List.of(state), 1, DType.F32, new Draw.Columns(columns));
      }
    }
  }

  private static void categorical(ContractSuite suite) {
    // images, positions, latents, categories: around a block of latents, a warp of categories
    int[][] sizes = {
      {1, 1, 1, 2}, {1, 1, 7, 10}, {2, 2, 2, 31}, {3, 1, 3, 32}, {2, 3, 1, 33}, {2, 1, 9, 256}
    };
    for (int[] s : sizes) {
      for (int samples : new int[] {1, 3}) {
        categorical(suite, s, samples);
      }
    }
    // more images, and then more latents of an image, than a block has threads
    kl(suite, 300, 3, 4, WIDE);
    kl(suite, 2, 300, 2, WIDE);
    // next to uniform, and next to certain
    kl(suite, 3, 5, 16, new Draw.Normal(2, 1e-3));
    kl(suite, 3, 5, 16, new Draw.Normal(0, 60));
    TensorSpec equal = TensorSpec.of(DType.F32, 5, 200);
    Draw zero = new Draw.Normal(0, 0);
    suite.add(
        new CategoricalSample(200, -5, 0, 4), List.of(equal, STEP), 1, DType.F32, zero, STEPS);
    // noise is lost beside such logits: of 40 categories the 4th, 18th and 36th are equal
    List<Draw> columns = new ArrayList<>();
    for (int k = 0; k < 40; k++) {
      columns.add(new Draw.Normal(k == 3 || k == 17 || k == 35 ? 1e30 : 1e29, 0));
    }
    suite.add(
        new CategoricalSample(40, 1, 0, 2),
        List.of(TensorSpec.of(DType.F32, 3, 80), STEP),
        1,
        DType.F32,
        new Draw.Columns(columns),
        STEPS);
    TensorSpec logits = TensorSpec.of(DType.F32, 2, 12);
    Temperature warm = Temperature.constant(2);
    suite.unaligned(
        new GumbelSoftmax(4, 1, 0, 2, warm), List.of(logits, STEP), 1, DType.F32, WIDE, STEPS);
    suite.unaligned(new CategoricalKl(4), List.of(logits), 1, DType.F32, WIDE);
  }

  private static void categorical(ContractSuite suite, int[] s, int samples) {
    int categories = s[3];
    int first = samples == 1 ? 0 : 1000;
    long seed = 0x0123456789ABCDEFL;
    TensorSpec logits = TensorSpec.of(DType.F32, s[0], s[1], s[2] * categories);
    TensorSpec drawn = TensorSpec.of(DType.F32, samples * s[0], s[1], s[2] * categories);
    // after some 700 steps the temperature falls no more
    Temperature falling = new Temperature(1, 0.5, 1e-3);
    suite.add(
        new GumbelSoftmax(categories, seed, first, samples, falling),
        List.of(logits, STEP),
        1,
        DType.F32,
        WIDE,
        samples == 1 ? new Draw.Whole(0, 600) : STEPS);
    suite.add(
        new GumbelSoftmaxBackward(categories, samples, falling),
        List.of(drawn, drawn, STEP),
        1,
        DType.F32,
        new Draw.Uniform(0, 1),
        STANDARD,
        samples == 1 ? new Draw.Whole(0, 600) : STEPS);
    suite.add(
        new CategoricalSample(categories, seed, first, samples),
        List.of(logits, STEP),
        1,
        DType.F32,
        WIDE,
        STEPS);
    suite.add(
        new CategoricalLogProbability(categories),
        List.of(drawn, logits),
        1,
        DType.F32,
        new Draw.Uniform(0, 1),
        WIDE);
    if (samples == 1) {
      kl(suite, s[0], s[1] * s[2], categories, WIDE);
    }
  }

  private static void kl(ContractSuite suite, int images, int latents, int categories, Draw draw) {
    TensorSpec logits = TensorSpec.of(DType.F32, images, latents * categories);
    TensorSpec ofImages = TensorSpec.of(DType.F32, images);
    TensorSpec ofDimensions = TensorSpec.of(DType.F32, latents);
    suite.add(new CategoricalKl(categories), List.of(logits), 1, DType.F32, draw);
    suite.add(
        new CategoricalKlBackward(categories, true, true),
        List.of(logits, ofImages, ofDimensions),
        1,
        DType.F32,
        draw,
        STANDARD,
        STANDARD);
    suite.add(
        new CategoricalKlBackward(categories, true, false),
        List.of(logits, ofImages),
        1,
        DType.F32,
        draw,
        STANDARD);
    suite.add(
        new CategoricalKlBackward(categories, false, true),
        List.of(logits, ofDimensions),
        1,
        DType.F32,
        draw,
        STANDARD);
  }
}
