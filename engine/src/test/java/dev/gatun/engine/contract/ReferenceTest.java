package dev.gatun.engine.contract;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.ShapeException;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.op.WeightNorm;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The oracle itself, against numbers worked out by hand. Its gradients are in GradientsTest. */
class ReferenceTest {
  private static final double EXACT = 1e-12;

  private static double[] run(Op op, List<TensorSpec> specs, double[]... inputs) {
    return Reference.run(op, specs, List.of(inputs)).getFirst().value();
  }

  private static TensorSpec f32(int... dims) {
    return TensorSpec.of(DType.F32, dims);
  }

  @Test
  void convolutionByTaps() {
    // a 2x3 image; a tap up-left with weight 10, the pixel itself with weight 1; bias 0.5
    Taps taps = new Taps(List.of(new Taps.Tap(-1, -1), new Taps.Tap(0, 0)));
    double[] x = {1, 2, 3, 4, 5, 6};
    assertArrayEquals(
        new double[] {1.5, 2.5, 3.5, 4.5, 15.5, 26.5},
        run(
            new Conv2d(taps),
            List.of(f32(1, 2, 3, 1), f32(2, 1, 1), f32(1)),
            x,
            new double[] {10, 1},
            new double[] {0.5}),
        EXACT);
    // stride 1x2 keeps columns 0 and 2
    assertArrayEquals(
        new double[] {1, 3, 4, 26},
        run(
            new Conv2d(taps, 1, 2, null),
            List.of(f32(1, 2, 3, 1), f32(2, 1, 1)),
            x,
            new double[] {10, 1}),
        EXACT);
    // two channels in, two out: w[t,c,k]
    assertArrayEquals(
        new double[] {1 * 1 + 2 * 3, 1 * 2 + 2 * 4},
        run(
            new Conv2d(Taps.point()),
            List.of(f32(1, 1, 1, 2), f32(1, 2, 2)),
            new double[] {1, 2},
            new double[] {1, 2, 3, 4}),
        EXACT);
  }

  @Test
  void gateTakesTheFirstHalfThroughTanh() {
    double[] x = {1, 2, 0, 1, 3, 0, 0, 0};
    assertArrayEquals(
        new double[] {Math.tanh(1) / 2, Math.tanh(2) / (1 + Math.exp(-1)), Math.tanh(3) / 2, 0},
        run(new Gate(), List.of(f32(2, 4)), x),
        EXACT);
    assertArrayEquals(
        new double[] {10.5, 20 + 2 / (1 + Math.exp(-1)), 31.5, 40},
        run(
            new Gate(Gate.Kind.LINEAR, 1),
            List.of(f32(2, 4), f32(2, 2)),
            x,
            new double[] {10, 20, 30, 40}),
        EXACT);
    // two groups of one: 1 is gated by 2, 0 by 1
    assertArrayEquals(
        new double[] {1 / (1 + Math.exp(-2)), 0, 1.5, 0},
        run(new Gate(Gate.Kind.LINEAR, 2), List.of(f32(2, 4)), x),
        EXACT);
  }

  @Test
  void convolutionsAddWhatTheyAreGiven() {
    double[] x = {1, 2};
    double[] w = {10};
    List<TensorSpec> in = List.of(f32(1, 1, 2, 1), f32(1, 1, 1), f32(1), f32(1, 1, 2, 1));
    Conv2d point = new Conv2d(Taps.point());
    double[] addend = {0.5, 0.25};
    assertArrayEquals(
        new double[] {17.5, 27.25}, run(point, in, x, w, new double[] {7}, addend), EXACT);
    assertArrayEquals(
        new double[] {10.5, 20.25},
        run(point, List.of(in.get(0), in.get(1), in.get(3)), x, w, addend),
        EXACT);
    assertArrayEquals(
        new double[] {10.5, 20.25},
        run(
            new Conv2dBackwardData(point, in.get(0).shape()),
            List.of(in.get(1), in.get(0), in.get(3)),
            w,
            x,
            addend),
        EXACT);
  }

  @Test
  void convolutionsAddARowToEachImage() {
    // two images of two pixels and two channels
    double[] x = {1, 2, 3, 4, 5, 6, 7, 8};
    double[] same = {1, 0, 0, 1};
    double[] rows = {10, 20, 30, 40};
    double[] sums = {11, 22, 13, 24, 35, 46, 37, 48};
    TensorSpec images = f32(2, 1, 2, 2);
    Conv2d point = new Conv2d(Taps.point());
    List<TensorSpec> in = List.of(images, f32(1, 2, 2), f32(2, 1, 1, 2));
    assertArrayEquals(sums, run(point, in, x, same, rows), EXACT);
    assertArrayEquals(
        sums,
        run(
            new Conv2dBackwardData(point, images.shape()),
            List.of(in.get(1), images, in.get(2)),
            same,
            x,
            rows),
        EXACT);
    assertArrayEquals(new double[] {4, 6, 12, 14}, run(new SumPixels(), List.of(images), x), EXACT);
  }

  @Test
  void imagesOfTwiceAndHalfTheSize() {
    double[] large = {1, 2, 3, 4, 5, 6, 7, 8};
    assertArrayEquals(
        new double[] {(1 + 2 + 5 + 6) / 4.0, (3 + 4 + 7 + 8) / 4.0},
        run(Resample.averagePool(), List.of(f32(1, 2, 4, 1)), large),
        EXACT);
    assertArrayEquals(
        new double[] {(1 + 2 + 3 + 4) / 4.0, (5 + 6 + 7 + 8) / 4.0},
        run(Resample.averagePool(), List.of(f32(2, 2, 2, 1)), large),
        EXACT);
    assertArrayEquals(
        new double[] {(1 + 2 + 3 + 4) / 4.0, (5 + 6 + 7 + 8) / 4.0},
        run(Resample.averagePool(), List.of(f32(1, 4, 2, 1)), large),
        EXACT);
    // two channels of two pixels
    assertArrayEquals(
        new double[] {1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4},
        run(Resample.nearest(), List.of(f32(1, 1, 2, 2)), new double[] {1, 2, 3, 4}),
        EXACT);
    assertArrayEquals(
        new double[] {0.5, 0.5, 0.5, 0.5},
        run(new Resample(Resample.Direction.UP, 0.25f), List.of(f32(1, 1, 1, 1)), new double[] {2}),
        EXACT);
  }

  @Test
  void crossEntropyOfKnownProbabilities() {
    List<Reference.Result> out =
        Reference.run(
            new SoftmaxCrossEntropy(null),
            List.of(f32(2, 2), TensorSpec.of(DType.U8, 2)),
            List.of(new double[] {0, Math.log(3), 1000, 1000}, new double[] {1, 0}));
    double[] nats = out.get(1).value();
    assertArrayEquals(new double[] {Math.log(4.0 / 3), Math.log(2)}, nats, EXACT);
    assertEquals((nats[0] + nats[1]) / 2, out.get(0).value()[0], EXACT);
    assertArrayEquals(new double[] {Math.log(4), 1000 + Math.log(2)}, out.get(2).value(), 1e-10);
  }

  @Test
  void groupNormOfTwoGroups() {
    // channels 0, 1 and 2, 3 of two pixels: 1, 3, 5, 7 and four equal values
    List<Reference.Result> out =
        Reference.run(
            new GroupNorm(2, 1f),
            List.of(f32(1, 1, 2, 4), f32(4), f32(4)),
            List.of(
                new double[] {1, 3, 8, 8, 5, 7, 8, 8},
                new double[] {1, 2, 1, 1},
                new double[] {0, 0, 4, 0}));
    double rstd = 1 / Math.sqrt(5 + 1);
    assertArrayEquals(
        new double[] {-3 * rstd, -1 * rstd * 2, 4, 0, rstd, 3 * rstd * 2, 4, 0},
        out.get(0).value(),
        EXACT);
    assertArrayEquals(new double[] {4, 8}, out.get(1).value(), EXACT);
    assertArrayEquals(new double[] {rstd, 1}, out.get(2).value(), EXACT);
  }

  @Test
  void attentionByKnownWeights() {
    // two heads of one channel; scores 0 and log 3 of the first, equal ones of the second
    double[] q = {1, 5};
    double[] k = {0, 2, Math.log(3), 2};
    double[] v = {4, 1, 8, 3};
    List<TensorSpec> specs = List.of(f32(1, 1, 2), f32(1, 2, 2), f32(1, 2, 2));
    List<Reference.Result> out = Reference.run(new Attention(2), specs, List.of(q, k, v));
    assertArrayEquals(new double[] {0.25 * 4 + 0.75 * 8, 2}, out.get(0).value(), EXACT);
    assertArrayEquals(new double[] {Math.log(4), 10 + Math.log(2)}, out.get(1).value(), EXACT);
    // of a projection q, k and v lie side by side; D = 4 halves the scores
    double[] rows = {
      2,
      0,
      0,
      0,
      0,
      9,
      9,
      9,
      1,
      2,
      3,
      4, //
      0,
      0,
      0,
      0,
      Math.log(3),
      9,
      9,
      9,
      5,
      6,
      7,
      8
    };
    List<TensorSpec> fused = List.of(f32(1, 2, 12));
    assertArrayEquals(
        new double[] {4, 5, 6, 7, 3, 4, 5, 6}, run(new Attention(1), fused, rows), EXACT);
    // do = 1 in the first channel of the first query alone: dv is its weights
    double[] slope = {1, 0, 0, 0, 0, 0, 0, 0};
    double[] lse = {Math.log(4), Math.log(2)};
    double[] o = {4, 5, 6, 7, 3, 4, 5, 6};
    double[] d =
        run(
            new AttentionBackward(new Attention(1)),
            List.of(fused.get(0), f32(1, 2, 4), f32(1, 1, 2), f32(1, 2, 4)),
            rows,
            o,
            lse,
            slope);
    assertArrayEquals(new double[] {0.25, 0, 0, 0}, Arrays.copyOfRange(d, 8, 12), EXACT);
    assertArrayEquals(new double[] {0.75, 0, 0, 0}, Arrays.copyOfRange(d, 20, 24), EXACT);
    // ds = 0.25 * (1 - 4), 0.75 * (5 - 4), halved; dq = ds k, dk = ds q
    assertEquals(0.75 / 2 * Math.log(3), d[0], EXACT);
    assertEquals(-0.75 / 2 * 2, d[4], EXACT);
    assertEquals(0.75 / 2 * 2, d[16], EXACT);
  }

  @Test
  void rowsAndPixels() {
    double[] x = {1, 2, 3, 4, 5, 6};
    assertArrayEquals(
        new double[] {0, 0, 1, 2, 3, 4}, run(new Shift(1, 0), List.of(f32(1, 3, 2, 1)), x));
    assertArrayEquals(
        new double[] {5, 6, 0, 0, 0, 0}, run(new Shift(-2, 0), List.of(f32(1, 3, 2, 1)), x));
    assertArrayEquals(
        new double[] {0, 1, 2, 0, 4, 5}, run(new Shift(0, 1), List.of(f32(1, 2, 3, 1)), x));
    assertArrayEquals(
        new double[] {3, 0, 0, 6, 0, 0}, run(new Shift(0, -2), List.of(f32(1, 2, 3, 1)), x));
    assertArrayEquals(
        new double[] {0, 0, 0, 0, 1, 2}, run(new Shift(1, 1), List.of(f32(1, 2, 3, 1)), x));
    assertArrayEquals(
        new double[] {-1, 1, 1, 1, 0, 1},
        run(
            new NormalizePixels(5, DType.F32),
            List.of(TensorSpec.of(DType.U8, 1, 1, 3, 1)),
            new double[] {0, 4, 2}),
        EXACT);
  }

  @Test
  void likelihoodsOfImages() {
    List<TensorSpec> one = List.of(f32(2, 1, 2, 1), TensorSpec.of(DType.U8, 1, 1, 2, 1));
    double[] pixels = {1, 0};
    assertArrayEquals(
        new double[] {2 * Math.log(2), Math.log(4 / 3.0) + Math.log(4 / 3.0)},
        run(
            new ImageLikelihood(ImageLikelihood.Kind.BERNOULLI, 2, null),
            one,
            new double[] {0, 0, Math.log(3), -Math.log(3)},
            pixels),
        EXACT);
    assertArrayEquals(
        new double[] {0.5 * (1 + 1), 0.5 * (0 + 4)},
        run(
            new ImageLikelihood(ImageLikelihood.Kind.SQUARED, 2, null),
            one,
            new double[] {0, 0, 1, 1},
            pixels),
        EXACT);
    List<TensorSpec> pairs = List.of(f32(1, 1, 2, 2), TensorSpec.of(DType.U8, 1, 1, 2, 1));
    double constant = Math.log(2 * Math.PI);
    assertArrayEquals(
        new double[] {0.5 * (constant + 1) + 0.5 * (constant + Math.log(4) + 9 / 4.0)},
        run(
            new ImageLikelihood(ImageLikelihood.Kind.GAUSSIAN, 2, null),
            pairs,
            new double[] {0, 0, 2, Math.log(4)},
            pixels),
        EXACT);
    // all levels of a pixel together have a mass of 1
    double mass = 0;
    for (int level = 0; level < 5; level++) {
      mass +=
          Math.exp(
              -run(
                  new ImageLikelihood(ImageLikelihood.Kind.LOGISTIC, 5, null),
                  List.of(f32(1, 1, 1, 2), TensorSpec.of(DType.U8, 1, 1, 1, 1)),
                  new double[] {0.3, -1},
                  new double[] {level})[0]);
    }
    assertEquals(1, mass, EXACT);
  }

  @Test
  void boundsAndFlows() {
    // two samples of two images: weights 1 and 3, and 2 and 2
    List<Reference.Result> out =
        Reference.run(
            new ImportanceBound(2, List.of(1.0, -1.0)),
            List.of(f32(4), f32(4)),
            List.of(
                new double[] {0, -Math.log(2), 5, 0},
                new double[] {0, 0, 5 + Math.log(3), Math.log(2)}));
    assertArrayEquals(new double[] {-Math.log(2), -Math.log(2)}, out.get(1).value(), EXACT);
    assertEquals(-Math.log(2), out.getFirst().value()[0], EXACT);
    List<Reference.Result> gradients =
        Reference.run(
            new ImportanceBoundBackward(2, List.of(2.0)),
            List.of(f32(2), f32(1)),
            List.of(new double[] {0, -Math.log(3) / 2}, new double[] {10}));
    assertArrayEquals(new double[] {5, 15}, gradients.getFirst().value(), EXACT);
    List<Reference.Result> step =
        Reference.run(
            new IafStep(),
            List.of(f32(1, 2), f32(1, 4)),
            List.of(new double[] {1, 2}, new double[] {5, 6, 0, Math.log(3)}));
    assertArrayEquals(new double[] {3, 3}, step.getFirst().value(), EXACT);
    assertEquals(Math.log(0.5 * 0.75), step.get(1).value()[0], EXACT);
  }

  @Test
  void unitsBiasesAndWeights() {
    double low = Math.exp(-1) - 1;
    assertArrayEquals(
        new double[] {2, low, Math.exp(-2) - 1, 1},
        run(new ConcatElu(), List.of(f32(1, 2)), new double[] {2, -1}),
        EXACT);
    assertArrayEquals(
        new double[] {31, 42, 13, 24},
        run(
            new AddBias(),
            List.of(f32(2, 2), f32(2, 2), TensorSpec.of(DType.U8, 2)),
            new double[] {1, 2, 3, 4},
            new double[] {10, 20, 30, 40},
            new double[] {1, 0}),
        EXACT);
    // columns (3,4) and (0,2), then rows (3,0) and (4,2)
    double[] v = {3, 0, 4, 2};
    assertArrayEquals(
        new double[] {0.6 * 5, 0, 0.8 * 5, 7},
        run(new WeightNorm(2), List.of(f32(1, 2, 2), f32(2)), v, new double[] {5, 7}),
        EXACT);
    assertArrayEquals(
        new double[] {5, 0, 4 * 7 / Math.sqrt(20), 2 * 7 / Math.sqrt(20)},
        run(new WeightNorm(1), List.of(f32(1, 2, 2), f32(2)), v, new double[] {5, 7}),
        EXACT);
    // a pixel of 5 spread over a 2x2 square
    assertArrayEquals(
        new double[] {5, 10, 15, 20},
        run(
            new Conv2dBackwardData(
                new Conv2d(Taps.rectangle(0, 1, 0, 1), 2, 2, null), f32(1, 2, 2, 1).shape()),
            List.of(f32(4, 1, 1), f32(1, 1, 1, 1)),
            new double[] {1, 2, 3, 4},
            new double[] {5}),
        EXACT);
  }

  @Test
  void masksOfColours() {
    double[] ones = new double[24];
    Arrays.fill(ones, 1);
    // two taps, red green blue and ones in, red green blue out
    List<TensorSpec> w = List.of(f32(2, 4, 3));
    assertArrayEquals(
        new double[] {
          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, // the tap before is whole
          0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1
        },
        run(new MaskChannels(1, 3, true, 1), w, ones));
    assertArrayEquals(
        new double[] {
          1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, //
          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
        },
        run(new MaskChannels(0, 3, false, 1), w, ones));
  }

  @Test
  void mixtureOfKnownProbabilities() {
    // one component at 0 of scale 1, two levels: the median lies between them
    List<TensorSpec> specs = List.of(f32(1, 1, 2, 3), TensorSpec.of(DType.U8, 1, 1, 2, 1));
    double[] nats =
        Reference.run(
                new LogisticMixture(1, 2, null),
                specs,
                List.of(new double[] {4, 0, 0, 4, 2, 1}, new double[] {1, 0}))
            .get(1)
            .value();
    assertEquals(Math.log(2), nats[0], EXACT);
    assertEquals(Math.log(1 + Math.exp(2 / Math.E)), nats[1], EXACT);
    // green depends on red through the coefficient in red's block: its mean is -1 * tanh(2)
    double[] p = {0, 0, 0, 2, 0, 0, 9, 0, 0, 9};
    double joint =
        Reference.run(
                new LogisticMixture(1, 2, null),
                List.of(f32(1, 1, 1, 10), TensorSpec.of(DType.U8, 1, 1, 1, 3)),
                List.of(p, new double[] {0, 1, 0}))
            .get(1)
            .value()[0];
    double green = 1 / (1 + Math.exp(Math.tanh(2)));
    // blue's mean: tanh(9) * red + tanh(9) * green = 0
    assertEquals(-Math.log(0.5) - Math.log(green) - Math.log(0.5), joint, EXACT);
  }

  /** Magnitudes bound what rounding can do: never below the value itself. */
  @Test
  void magnitudesAreNeverBelowTheValues() {
    List<String> low = new ArrayList<>();
    for (OpCase opCase : ContractSuite.cases()) {
      if (opCase.op().name().equals("adam") || opCase.op().name().equals("group_norm_backward")) {
        continue; // f64 state without rounding; means and deviations that are not those of x
      }
      for (Reference.Result r : Reference.run(opCase.op(), opCase.inputs(), opCase.values())) {
        for (int i = 0; i < r.value().length; i++) {
          if (!(r.magnitude()[i] >= Math.abs(r.value()[i]) * (1 - 1e-9))) {
            low.add(opCase + " element " + i);
            break;
          }
        }
      }
    }
    assertTrue(low.isEmpty(), low.toString());
  }

  @Test
  void inputsThatDoNotFitAreRefused() {
    assertThrows(ShapeException.class, () -> run(new Gate(), List.of(f32(2, 3)), new double[6]));
  }

  @Test
  void vectorsAndTheirCodes() {
    // 2 is as near to 1 as to 3: the first counts
    double[] codebook = {9, 0, 1, 0, 3, 0};
    List<TensorSpec> in = List.of(f32(3, 2), f32(3, 2));
    List<double[]> values = List.of(new double[] {2, 0, 8, 1, 0, 0}, codebook);
    List<Reference.Result> out = Reference.run(new VectorQuantize(), in, values);
    assertArrayEquals(new double[] {1, 0, 9, 0, 1, 0}, out.get(0).value());
    assertArrayEquals(new double[] {1, 0, 1}, out.get(1).value());
    TensorSpec indices = TensorSpec.of(DType.U8, 3, 1);
    assertArrayEquals(
        new double[] {3, 0, 9, 0, 9, 0},
        run(
            new CodeVectors(DType.F32),
            List.of(indices, f32(3, 2)),
            new double[] {2, 0, 0},
            codebook));
    assertArrayEquals(
        new double[] {8, 1, 1, 2, 0, 2, 0, 0, 0},
        run(
            new CodebookSums(3),
            List.of(f32(3, 2), indices),
            values.getFirst(),
            new double[] {1, 0, 1}));
    assertArrayEquals(
        new double[] {2.5, 5},
        run(
            new MovingAverage(0.75),
            List.of(f32(2), f32(2)),
            new double[] {2, 4},
            new double[] {4, 8}));
    // counts of 3 and 1 become 3.5 / 5 and 1.5 / 5 of 4
    assertArrayEquals(
        new double[] {2 / 2.8, 7 / 1.2},
        run(new Codebook(0.5), List.of(f32(2, 2)), new double[] {2, 3, 7, 1}),
        EXACT);
    assertArrayEquals(
        new double[] {3, 2, 1, 6, 5, 4},
        run(new ReverseChannels(), List.of(f32(2, 3)), new double[] {1, 2, 3, 4, 5, 6}));
  }

  @Test
  void categoricalLatents() {
    // of two images and two latents: certain, even, and 3 to 1
    double three = Math.log(3);
    double[] logits = {1000, 0, 5, 5, three, 0, 0, three};
    double uneven = Math.log(2) + 0.75 * Math.log(0.75) + 0.25 * Math.log(0.25);
    List<Reference.Result> kl =
        Reference.run(new CategoricalKl(2), List.of(f32(2, 4)), List.of(logits));
    assertArrayEquals(new double[] {Math.log(2), 2 * uneven}, kl.get(0).value(), EXACT);
    assertArrayEquals(
        new double[] {(Math.log(2) + uneven) / 2, uneven / 2}, kl.get(1).value(), EXACT);
    assertArrayEquals(
        new double[] {Math.log(0.5), 2 * Math.log(0.25), Math.log(0.5) - 1000, Math.log(0.1875)},
        run(
            new CategoricalLogProbability(2),
            List.of(f32(4, 4), f32(2, 4)),
            new double[] {1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0.5, 0.5, 1, 0, 1, 0},
            logits),
        EXACT);
    // two samples of one latent, at a temperature of 1 / e
    assertArrayEquals(
        new double[] {Math.E * (0.25 + 0.5 * 4), Math.E * -(0.25 + 0.5 * 4)},
        run(
            new GumbelSoftmaxBackward(2, 2, new GumbelSoftmax.Temperature(1, 0.1, 0.25)),
            List.of(f32(2, 2), f32(2, 2), TensorSpec.of(DType.F64, 1)),
            new double[] {0.5, 0.5, 0.5, 0.5},
            new double[] {2, 1, 9, 1},
            new double[] {4}),
        EXACT);
  }
}
