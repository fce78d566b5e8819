package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.op.WeightNorm;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * The gradients that a graph builds, against central differences of its loss; both in f64, so that
 * what is left is the truncation of the difference, h^2, and its cancellation, 1e-16 / h.
 */
class GradientsTest {
  private static final double STEP = 1e-5;
  private static final double TOLERANCE = 1e-6;

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** A graph in the making, its leaves drawn from a seed. */
  private static final class Builder implements AutoCloseable {
    final Graph graph = new Graph();
    final Philox philox;
    final Map<Value, double[]> leaves = new LinkedHashMap<>();
    final Set<Value> fixed = new HashSet<>();
    final List<Tensor> tensors = new ArrayList<>();

    Builder(long seed) {
      philox = new Philox(seed);
    }

    Value leaf(int... dims) {
      double[] values = new double[Shape.of(dims).elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = philox.normal(Philox.Stream.TEST, leaves.size(), i);
      }
      return bind(DType.F32, values, dims);
    }

    Value whole(DType type, int bound, int... dims) {
      double[] values = new double[Shape.of(dims).elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = philox.below(bound, Philox.Stream.TEST, leaves.size(), i);
      }
      Value value = bind(type, values, dims);
      fixed.add(value);
      return value;
    }

    Value bind(DType type, double[] values, int... dims) {
      Tensor tensor = Tensor.allocate(device, type, dims);
      tensors.add(tensor);
      Value value = graph.bind(tensor);
      leaves.put(value, values);
      return value;
    }

    /** A one-element value that depends on every element of y, unevenly. */
    Value loss(Value y) {
      int rows = y.shape().rows();
      Value targets = whole(DType.U8, y.shape().dim(-1), rows);
      return graph.apply(new SoftmaxCrossEntropy(null), List.of(y, targets)).getFirst();
    }

    void check(Value loss) {
      List<Value> wrt = leaves.keySet().stream().filter(v -> !fixed.contains(v)).toList();
      List<Value> slopes = graph.gradients(loss, wrt);
      GraphReference reference = new GraphReference();
      leaves.forEach(reference::set);
      List<double[]> analytic = reference.evaluate(slopes);
      for (int i = 0; i < wrt.size(); i++) {
        assertNotNull(slopes.get(i), "no gradient for leaf " + i);
        assertEquals(wrt.get(i).spec(), slopes.get(i).spec());
        double error =
            reference.gradientError(
                loss, wrt.get(i), leaves.get(wrt.get(i)), analytic.get(i), STEP);
        assertTrue(error <= TOLERANCE, "leaf " + i + " " + wrt.get(i) + ": " + error);
      }
    }

    @Override
    public void close() {
      tensors.forEach(Tensor::close);
    }
  }

  private interface Form {
    Value build(Builder b);
  }

  private static DynamicTest test(String name, Form form) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          try (Builder b = new Builder(name.hashCode())) {
            b.check(b.loss(form.build(b)));
          }
        });
  }

  private static DynamicTest conv(String name, Conv2d op, boolean bias) {
    return test(
        name,
        b -> {
          List<Value> in = new ArrayList<>();
          in.add(b.leaf(2, 5, 4, 3));
          in.add(b.leaf(op.taps().count(), 3, 2));
          if (bias) {
            in.add(b.leaf(2));
          }
          return b.graph.apply(op, in).getFirst();
        });
  }

  private static DynamicTest added(String name, Conv2d op, boolean bias) {
    return test(
        name,
        b -> {
          Value x = b.leaf(2, 5, 4, 3);
          Value w = b.leaf(op.taps().count(), 3, 2);
          Value y = b.graph.apply(op, x, w);
          List<Value> in = new ArrayList<>(List.of(x, w));
          if (bias) {
            in.add(b.leaf(2));
          }
          in.add(y); // a gradient that is also what it is added to
          return b.graph.apply(op, in).getFirst();
        });
  }

  /** Three convolutions, a gate and the value itself, all of x, added up. */
  private static Value fan(Builder b, Value x) {
    Value plain = b.graph.apply(new Conv2d(Taps.point()), x, b.leaf(1, 4, 4));
    Value first = b.graph.apply(new Conv2d(Taps.square(3)), x, b.leaf(9, 4, 4), x);
    Value second = b.graph.apply(new Conv2d(Taps.point()), x, b.leaf(1, 4, 8));
    Value gated = b.graph.apply(new Gate(), second, x);
    return b.graph.apply(new Add(), b.graph.apply(new Add(), first, gated), plain);
  }

  /** The op as a transposed convolution: small images [1,3,2,2] to large ones of 3 channels. */
  private static DynamicTest transposed(String name, Conv2d op) {
    return test(
        name,
        b -> {
          Shape large = Shape.of(1, 3 * op.strideH(), 2 * op.strideW(), 3);
          Value w = b.leaf(op.taps().count(), 3, 2);
          return b.graph.apply(new Conv2dBackwardData(op, large), w, b.leaf(1, 3, 2, 2));
        });
  }

  private static DynamicTest mixture(String name, int mixtures, int levels, int colours) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          try (Builder b = new Builder(name.hashCode())) {
            LogisticMixture op = new LogisticMixture(mixtures, levels, null);
            Value parameters = b.leaf(2, 3, 2, op.channels(colours));
            // some log-scales below the bound, where the gradient is zero, and some far above
            double[] values = b.leaves.get(parameters);
            for (int i = 2 * mixtures; i < values.length; i += 7) {
              values[i] *= 5;
            }
            Value images = b.whole(DType.U8, levels, 2, 3, 2, colours);
            b.check(b.graph.apply(op, List.of(parameters, images)).getFirst());
          }
        });
  }

  /** f, x, images, times, table and v; of two images the second is at the last step. */
  private static List<Value> boundInputs(Builder b) {
    Value f = b.leaf(2, 3, 2, 2);
    Value x = b.leaf(2, 3, 2, 2);
    Value images = b.whole(DType.U8, 256, 2, 3, 2, 2);
    double[] rows = {
      0.5, -0.4, 1, 0, -5, -2, 1, 9, //
      0.6, 0.3, 0.2, -3.5, -4, -3, 0, 9,
      0.8, -0.7, 0.1, -2, -2.5, -1, 0, 9
    };
    Value times = b.bind(DType.F32, new double[] {3, 1}, 2);
    Value table = b.bind(DType.F32, rows, 3, VariationalBound.COLUMNS);
    Value v = b.leaf(2, 3, 2, 2);
    b.fixed.addAll(List.of(f, x, times, table));
    return List.of(f, x, images, times, table, v);
  }

  /** The objective of what a batch's latents cost; their nats are about 0.5 to 3. */
  private static DynamicTest objective(String name, KlObjective op, double step) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          try (Builder b = new Builder(name.hashCode())) {
            Value at = b.bind(DType.F64, new double[] {step}, 1);
            b.fixed.add(at);
            Value kl = b.graph.apply(new GaussianKl(), List.of(b.leaf(2, 1, 2, 6))).get(1);
            b.check(b.graph.apply(op, kl, at));
          }
        });
  }

  /** A loss of the log-densities of 6 vectors of 3. */
  private static DynamicTest densities(String name, int components, int rows, boolean weighted) {
    return test(
        name,
        b -> {
          Value z = b.leaf(6, 1, 1, 3);
          List<Value> in = new ArrayList<>(List.of(z, b.leaf(rows, components * 6)));
          if (weighted) {
            in.add(b.leaf(rows, components));
          }
          return b.graph.apply(new GaussianMixture(components), in).getFirst();
        });
  }

  private static Value coloured(Builder b, int classes, int colours) {
    Value logits = b.leaf(2, 3, colours * classes);
    Value targets = b.whole(DType.U8, classes, 2, 3, colours);
    return b.graph
        .apply(new SoftmaxCrossEntropy(classes, null), List.of(logits, targets))
        .getFirst();
  }

  /** Gradients are in the dtypes of what they are the gradients of, whatever the output's is. */
  @Test
  void aConvolutionMayReturnMoreThanItTakes() {
    try (Builder b = new Builder(1)) {
      Value x = b.whole(DType.BF16, 3, 2, 5, 3, 4);
      Value w = b.leaf(9, 4, 6);
      Value bias = b.leaf(6);
      Value addend = b.leaf(2, 5, 3, 6);
      Value row = b.leaf(2, 1, 1, 6);
      Conv2d conv = new Conv2d(Taps.square(3), 1, 1, DType.F32);
      Value y = b.graph.apply(new Add(), b.graph.apply(conv, x, w, bias, addend), addend);
      y = b.graph.apply(new Add(), y, b.graph.apply(conv, x, w, bias, row));
      List<Value> wrt = List.of(x, w, bias, addend, row);
      List<Value> slopes = b.graph.gradients(b.loss(y), wrt);
      for (int i = 0; i < wrt.size(); i++) {
        assertEquals(wrt.get(i).spec(), slopes.get(i).spec());
      }
    }
  }

  @TestFactory
  Stream<DynamicTest> finiteDifferencesOfLossesAgree() {
    return Stream.of(
        mixture("mixture of grey levels", 3, 16, 1),
        mixture("mixture of two levels", 2, 2, 1),
        mixture("mixture of colours", 3, 16, 3),
        mixture("mixture of 256 levels", 2, 256, 3),
        DynamicTest.dynamicTest(
            "squared error",
            () -> {
              try (Builder b = new Builder(22)) {
                Value prediction = b.leaf(3, 2, 2, 2);
                List<Value> in = List.of(prediction, b.leaf(3, 2, 2, 2), b.leaf(3));
                b.fixed.addAll(in.subList(1, 3));
                b.check(b.graph.apply(new SquaredError(), in).getFirst());
              }
            }),
        DynamicTest.dynamicTest(
            "variational bound",
            () -> {
              try (Builder b = new Builder(23)) {
                List<Value> in = boundInputs(b);
                b.check(b.graph.apply(new VariationalBound(3), in).getFirst());
              }
            }),
        objective("what latents cost", new KlObjective(2, 0, 0, 0, 0), 5),
        objective("warm-up", new KlObjective(2, 100, 0, 0, 0), 5),
        objective("free nats", new KlObjective(2, 0, 0.8, 0, 0), 5),
        objective("below the capacity", new KlObjective(2, 0, 0.8, 100, 10), 5),
        objective("above the capacity", new KlObjective(2, 0, 0.8, 1e-3, 0), 5),
        divergence("divergence of images", (b, out) -> b.loss(out.get(0))),
        divergence("divergence by dimension", (b, out) -> b.loss(out.get(1))),
        divergence(
            "divergence of images and by dimension",
            (b, out) -> b.loss(b.graph.apply(new Add(), out.get(0), out.get(1)))),
        DynamicTest.dynamicTest(
            "cross-entropy of colours",
            () -> {
              try (Builder b = new Builder(21)) {
                b.check(coloured(b, 4, 3));
              }
            }));
  }

  /** Of two samples of each of three images; some log-scales below their bound. */
  private static DynamicTest likelihood(ImageLikelihood.Kind kind, int levels, int colours) {
    return test(
        "images under " + kind + " of " + levels + " levels",
        b -> {
          Value parameters = b.leaf(6, 2, 3, kind.blocks() * colours);
          double[] values = b.leaves.get(parameters);
          for (int i = 0; i < values.length; i += 7) {
            values[i] *= 5;
          }
          Value images = b.whole(DType.U8, levels, 3, 2, 3, colours);
          return b.graph.apply(new ImageLikelihood(kind, levels, null), parameters, images);
        });
  }

  private static Value bound(Builder b, int samples, Double... factors) {
    List<Value> in = new ArrayList<>();
    for (int i = 0; i < factors.length; i++) {
      in.add(b.leaf(samples * 3));
    }
    return b.graph.apply(new ImportanceBound(samples, List.of(factors)), in).getFirst();
  }

  private static DynamicTest bound(int samples, Double... factors) {
    return DynamicTest.dynamicTest(
        samples + " samples of " + List.of(factors),
        () -> {
          try (Builder b = new Builder(samples)) {
            b.check(bound(b, samples, factors));
          }
        });
  }

  private static List<Value> flow(Builder b) {
    return b.graph.apply(new IafStep(), List.of(b.leaf(2, 3, 4), b.leaf(2, 3, 8)));
  }

  @TestFactory
  Stream<DynamicTest> finiteDifferencesOfLikelihoodsAgree() {
    return Stream.of(
        likelihood(ImageLikelihood.Kind.BERNOULLI, 2, 1),
        likelihood(ImageLikelihood.Kind.BERNOULLI, 256, 3),
        likelihood(ImageLikelihood.Kind.GAUSSIAN, 256, 3),
        likelihood(ImageLikelihood.Kind.SQUARED, 16, 1),
        likelihood(ImageLikelihood.Kind.LOGISTIC, 2, 1),
        likelihood(ImageLikelihood.Kind.LOGISTIC, 256, 3),
        test(
            "numbers under a density",
            b -> {
              Value targets = b.leaf(2, 1, 3, 2);
              b.fixed.add(targets);
              ImageLikelihood op = new ImageLikelihood(ImageLikelihood.Kind.GAUSSIAN, 2, null);
              return b.graph.apply(op, b.leaf(4, 1, 3, 4), targets);
            }),
        bound(1, 1.0),
        bound(5, 1.0),
        bound(4, 1.0, 0.25, -1.0),
        test("a flow", b -> flow(b).getFirst()),
        test("a flow's determinant", b -> flow(b).get(1)),
        DynamicTest.dynamicTest(
            "a flow and its determinant",
            () -> {
              try (Builder b = new Builder(24)) {
                List<Value> out = flow(b);
                Value y = b.graph.apply(new Reshape(24), out.getFirst());
                Value ofY = b.graph.apply(new ImportanceBound(12, List.of(1.0)), y);
                Value ofSum = b.graph.apply(new ImportanceBound(2, List.of(1.0)), out.get(1));
                Value first = b.graph.apply(new Reshape(1, 1), ofY);
                b.check(b.graph.apply(new Add(), first, b.graph.apply(new Reshape(1, 1), ofSum)));
              }
            }),
        test(
            "reshaped twice",
            b -> {
              Value x = b.leaf(2, 6);
              Value y = b.graph.apply(new Reshape(3, 4), b.graph.apply(new Relu(), x));
              return b.graph.apply(new Add(), y, b.graph.apply(new Reshape(3, 4), x));
            }),
        test("a cast", b -> b.graph.apply(new Cast(DType.F32), b.leaf(2, 6))));
  }

  @Test
  void aBoundOfSingleImagesHasNoGradient() {
    try (Builder b = new Builder(1)) {
      Value x = b.leaf(6);
      List<Value> out = b.graph.apply(new ImportanceBound(2, List.of(1.0)), List.of(x));
      Value loss = b.loss(out.get(1));
      UnsupportedOperationException e =
          assertThrows(
              UnsupportedOperationException.class, () -> b.graph.gradients(loss, List.of(x)));
      assertTrue(e.getMessage().startsWith("importance_bound"), e.getMessage());
    }
  }

  @TestFactory
  Stream<DynamicTest> finiteDifferencesAgree() {
    return Stream.of(
        conv("conv of mask A", new Conv2d(Taps.masked(3, false)), true),
        conv("conv of mask B, no bias", new Conv2d(Taps.masked(3, true)), false),
        conv("conv dense", new Conv2d(Taps.square(3)), true),
        conv("conv strided", new Conv2d(Taps.square(3), 2, 2, null), true),
        conv("conv strided unevenly", new Conv2d(Taps.rectangle(-1, 0, -1, 1), 1, 3, null), false),
        conv("conv dilated", new Conv2d(Taps.rectangle(-1, 1, -1, 1, 2)), true),
        conv("conv shifted up", new Conv2d(Taps.rectangle(-1, -1, 0, 0)), true),
        conv("conv shifted right and down", new Conv2d(Taps.rectangle(1, 2, 2, 3)), false),
        conv("conv partly outside", new Conv2d(Taps.rectangle(-6, 0, 0, 0)), true),
        conv("conv 1x1", new Conv2d(Taps.point()), true),
        test("gate", b -> b.graph.apply(new Gate(), b.leaf(2, 3, 8))),
        test("linear gate", b -> b.graph.apply(new Gate(Gate.Kind.LINEAR, 1), b.leaf(3, 6))),
        test("gate of groups", b -> b.graph.apply(new Gate(Gate.Kind.TANH, 3), b.leaf(2, 12))),
        test(
            "linear gate of groups with residual",
            b -> b.graph.apply(new Gate(Gate.Kind.LINEAR, 2), b.leaf(2, 12), b.leaf(2, 6))),
        test("gate with residual", b -> b.graph.apply(new Gate(), b.leaf(3, 6), b.leaf(3, 3))),
        test(
            "gate with half of itself as residual",
            b -> {
              Value x = b.leaf(1, 3, 3, 6);
              Value half = b.graph.apply(new Conv2d(Taps.point()), x, b.leaf(1, 6, 3));
              return b.graph.apply(new Gate(), x, half);
            }),
        added("conv with addend", new Conv2d(Taps.masked(3, true)), false),
        added("conv with bias and addend", new Conv2d(Taps.square(3), 2, 2, null), true),
        test(
            "conv with its input as addend",
            b -> {
              Value x = b.leaf(1, 4, 3, 2);
              return b.graph.apply(new Conv2d(Taps.square(3)), x, b.leaf(9, 2, 2), x);
            }),
        test(
            "transposed conv with addend",
            b -> {
              Conv2d op = new Conv2d(Taps.rectangle(0, 1, -1, 1), 2, 2, null);
              return b.graph.apply(
                  new Conv2dBackwardData(op, Shape.of(1, 4, 6, 3)),
                  b.leaf(6, 3, 2),
                  b.leaf(1, 2, 3, 2),
                  b.leaf(1, 4, 6, 3));
            }),
        test(
            "conv with a row added to each image",
            b ->
                b.graph.apply(
                    new Conv2d(Taps.square(3)),
                    b.leaf(2, 3, 2, 2),
                    b.leaf(9, 2, 3),
                    b.leaf(3),
                    b.leaf(2, 1, 1, 3))),
        test(
            "conv with a row added to each image of one pixel",
            b ->
                b.graph.apply(
                    new Conv2d(Taps.point()),
                    b.leaf(2, 1, 1, 2),
                    b.leaf(1, 2, 3),
                    b.leaf(2, 1, 1, 3))),
        test(
            "a convolution after up-sampling with a row added to each image",
            b ->
                b.graph.apply(
                    FoldUpsampling.convolution(Shape.of(2, 4, 4, 3)),
                    b.graph.apply(new FoldUpsampling(), b.leaf(9, 2, 3)),
                    b.leaf(2, 2, 2, 2),
                    b.leaf(2, 1, 1, 3))),
        test("up-sampling", b -> b.graph.apply(Resample.nearest(), b.leaf(2, 3, 2, 2))),
        test("average pooling", b -> b.graph.apply(Resample.averagePool(), b.leaf(2, 4, 6, 2))),
        test("relu", b -> b.graph.apply(new Relu(), b.leaf(4, 5))),
        test("elu", b -> b.graph.apply(new Elu(), b.leaf(4, 5))),
        test("concatenated elu", b -> b.graph.apply(new ConcatElu(), b.leaf(4, 5))),
        test(
            "dropout",
            b -> b.graph.apply(new Dropout(0.3, 4, 2), b.leaf(9, 5), b.whole(DType.F64, 99, 1))),
        test("bias", b -> b.graph.apply(new AddBias(), b.leaf(2, 3, 4), b.leaf(1, 4))),
        test(
            "bias by label",
            b ->
                b.graph.apply(
                    new AddBias(), b.leaf(5, 3, 4), b.leaf(3, 4), b.whole(DType.U8, 3, 5))),
        test(
            "weight norm by output",
            b -> b.graph.apply(new WeightNorm(2), b.leaf(3, 2, 4), b.leaf(4))),
        test(
            "weight norm by input",
            b -> b.graph.apply(new WeightNorm(1), b.leaf(3, 2, 4), b.leaf(2))),
        test("mask A", b -> b.graph.apply(new MaskChannels(1, 3, true, 1), b.leaf(2, 4, 6))),
        test("mask B", b -> b.graph.apply(new MaskChannels(0, 3, false, 0), b.leaf(2, 6, 3))),
        transposed("transposed conv", new Conv2d(Taps.square(3))),
        transposed("transposed conv that doubles", new Conv2d(Taps.square(3), 2, 2, null)),
        transposed(
            "transposed conv, rows above", new Conv2d(Taps.rectangle(0, 1, -1, 1), 2, 2, null)),
        test("add", b -> b.graph.apply(new Add(), b.leaf(4, 5), b.leaf(4, 5))),
        test(
            "a value added to itself",
            b -> {
              Value x = b.leaf(4, 5);
              return b.graph.apply(new Add(), x, x);
            }),
        test(
            "a value used four times",
            b -> {
              Value x = b.leaf(4, 6);
              Value y = b.graph.apply(new Gate(), b.graph.apply(new Relu(), x));
              Value z = b.graph.apply(new Gate(), b.graph.apply(new Add(), x, x), y);
              return b.graph.apply(new Add(), z, b.graph.apply(new Gate(), x));
            }),
        test("a value that several convolutions read", b -> fan(b, b.leaf(2, 4, 3, 4))),
        test(
            "a value computed that several convolutions read",
            b -> fan(b, b.graph.apply(new Elu(), b.leaf(2, 4, 3, 4)))),
        test("cross-entropy", b -> b.leaf(7, 5)),
        test("cross-entropy over images", b -> b.leaf(2, 3, 2, 4)),
        test(
            "group norm",
            b -> b.graph.apply(new GroupNorm(2, 1e-3f), b.leaf(2, 3, 2, 6), b.leaf(6), b.leaf(6))),
        test(
            "group norm, one group a channel",
            b -> b.graph.apply(new GroupNorm(3, 1e-3f), b.leaf(1, 3, 3, 3), b.leaf(3), b.leaf(3))),
        test(
            "group norm with silu",
            b ->
                b.graph.apply(
                    new GroupNorm(2, 1e-3f, true), b.leaf(2, 3, 2, 6), b.leaf(6), b.leaf(6))),
        test(
            "group norm, modulated",
            b ->
                b.graph.apply(
                    new GroupNorm(2, 1e-3f),
                    b.leaf(2, 3, 2, 6),
                    b.leaf(6),
                    b.leaf(6),
                    b.leaf(2, 12))),
        test(
            "group norm, modulated, with silu",
            b ->
                b.graph.apply(
                    new GroupNorm(3, 1e-3f, true),
                    b.leaf(2, 2, 3, 6),
                    b.leaf(6),
                    b.leaf(6),
                    b.leaf(2, 12))),
        test(
            "concat and split",
            b -> {
              Value both = b.graph.apply(new Concat(), b.leaf(2, 3, 2), b.leaf(2, 3, 4));
              List<Value> parts = b.graph.apply(new Split(3), List.of(both));
              return b.graph.apply(
                  new Add(), parts.get(0), b.graph.apply(new Silu(), parts.get(1)));
            }),
        test(
            "group norm, modulated by what a convolution gives",
            b ->
                b.graph.apply(
                    new GroupNorm(2, 1e-3f),
                    b.leaf(2, 3, 2, 4),
                    b.leaf(4),
                    b.leaf(4),
                    b.graph.apply(new Conv2d(Taps.point()), b.leaf(2, 1, 1, 3), b.leaf(1, 3, 8)))),
        test(
            "relaxed draws of categories",
            b ->
                b.graph.apply(
                    new GumbelSoftmax(3, 5, 2, 1, GumbelSoftmax.Temperature.constant(0.7)),
                    b.leaf(2, 2, 6),
                    b.whole(DType.F64, 99, 1))),
        test(
            "several relaxed draws of categories",
            b ->
                b.graph.apply(
                    new GumbelSoftmax(4, 6, 0, 3, new GumbelSoftmax.Temperature(2, 0.5, 1e-2)),
                    b.leaf(2, 8),
                    b.whole(DType.F64, 99, 1))),
        test("channels reversed", b -> b.graph.apply(new ReverseChannels(), b.leaf(2, 3, 5))),
        test("the first of two parts", b -> b.graph.apply(new Split(2), b.leaf(2, 3, 5))),
        test(
            "the second of two parts",
            b -> b.graph.apply(new Split(2), List.of(b.leaf(2, 3, 5))).get(1)),
        test("silu", b -> b.graph.apply(new Silu(), b.leaf(2, 3, 5))),
        test("fold up-sampling", b -> b.graph.apply(new FoldUpsampling(), b.leaf(9, 2, 3))),
        test(
            "a convolution after up-sampling",
            b ->
                b.graph.apply(
                    FoldUpsampling.convolution(Shape.of(1, 6, 4, 3)),
                    b.graph.apply(new FoldUpsampling(), b.leaf(9, 2, 3)),
                    b.leaf(1, 3, 2, 2))),
        test(
            "attention",
            b ->
                b.graph
                    .apply(
                        new Attention(1),
                        List.of(b.leaf(2, 3, 4), b.leaf(2, 5, 4), b.leaf(2, 5, 4)))
                    .getFirst()),
        test(
            "attention over the pixels of an image",
            b ->
                b.graph
                    .apply(
                        new Attention(2),
                        List.of(b.leaf(1, 2, 3, 4), b.leaf(1, 1, 2, 4), b.leaf(1, 1, 2, 4)))
                    .getFirst()),
        test(
            "attention of several heads",
            b ->
                b.graph
                    .apply(
                        new Attention(3),
                        List.of(b.leaf(1, 4, 6), b.leaf(1, 3, 6), b.leaf(1, 3, 6)))
                    .getFirst()),
        test(
            "attention of keys that are the values, and of one query",
            b -> {
              Value keys = b.leaf(2, 4, 3);
              return b.graph
                  .apply(new Attention(1), List.of(b.leaf(2, 1, 3), keys, keys))
                  .getFirst();
            }),
        test(
            "attention of a projection",
            b -> b.graph.apply(new Attention(2), List.of(b.leaf(2, 4, 18))).getFirst()),
        test(
            "samples of latents",
            b ->
                b.graph
                    .apply(
                        new GaussianSample(3, 2, 3),
                        List.of(b.leaf(2, 1, 2, 8), b.whole(DType.F64, 99, 1)))
                    .getFirst()),
        test(
            "divergence of images",
            b -> b.graph.apply(new GaussianKl(), List.of(b.leaf(4, 2, 1, 6))).getFirst()),
        test(
            "divergence of latents",
            b -> b.graph.apply(new GaussianKl(), List.of(b.leaf(4, 2, 1, 6))).get(1)),
        test(
            "divergence of images and of latents",
            b -> {
              List<Value> nats = b.graph.apply(new GaussianKl(), List.of(b.leaf(4, 1, 2, 4)));
              return b.graph.apply(new Add(), nats.get(0), nats.get(1));
            }),
        densities("density of an encoder's samples", 1, 3, false),
        densities("density of a mixture", 3, 1, false),
        densities("density of weighted mixtures", 2, 3, true),
        test("shift both ways", b -> b.graph.apply(new Shift(1, -1), b.leaf(2, 4, 3, 2))),
        test("shift rows down", b -> b.graph.apply(new Shift(1, 0), b.leaf(2, 4, 3, 2))),
        test("shift rows up", b -> b.graph.apply(new Shift(-2, 0), b.leaf(2, 4, 3, 2))),
        test(
            "shift rows beyond the image", b -> b.graph.apply(new Shift(9, 0), b.leaf(1, 4, 3, 2))),
        test("shift columns right", b -> b.graph.apply(new Shift(0, 1), b.leaf(2, 3, 4, 2))),
        test("shift columns left", b -> b.graph.apply(new Shift(0, -3), b.leaf(2, 3, 4, 2))),
        test(
            "a small network",
            b -> {
              Value x = b.leaf(2, 4, 4, 2);
              Value v = b.graph.apply(new Conv2d(Taps.rectangle(-1, 0, -1, 1)), x, b.leaf(6, 2, 8));
              Value link = b.graph.apply(new Shift(1, 0), v);
              Value h = b.graph.apply(new Conv2d(Taps.rectangle(0, 0, -1, -1)), x, b.leaf(1, 2, 8));
              Value g = b.graph.apply(new Gate(), b.graph.apply(new Add(), h, link));
              Value r = b.graph.apply(new Relu(), b.graph.apply(new Add(), g, b.leaf(2, 4, 4, 4)));
              return b.graph.apply(new Conv2d(Taps.point()), r, b.leaf(1, 4, 3), b.leaf(3));
            }));
  }

  /** It changes the bound, but is taught by the other part of the loss alone. */
  @Test
  void thePredictionIsAConstantOfTheVariationalBound() {
    try (Builder b = new Builder(24)) {
      List<Value> in = boundInputs(b);
      Value f = in.getFirst();
      Value bound = b.graph.apply(new VariationalBound(3), in).getFirst();
      List<Value> alone = b.graph.gradients(bound, List.of(f, in.get(1), in.get(5)));
      assertNull(alone.get(0));
      assertNull(alone.get(1));
      assertNotNull(alone.get(2));
      Value error =
          b.graph.apply(new SquaredError(), List.of(f, b.leaf(2, 3, 2, 2), b.leaf(2))).getFirst();
      Value slope =
          b.graph.gradients(b.graph.apply(new Add(), error, bound), List.of(f)).getFirst();
      GraphReference reference = new GraphReference();
      b.leaves.forEach(reference::set);
      double[] found = reference.evaluate(slope);
      double[] expected = reference.evaluate(b.graph.gradients(error, List.of(f)).getFirst());
      assertArrayEquals(expected, found);
      double[] at = b.leaves.get(f);
      double differs = reference.gradientError(bound, f, at, new double[at.length], STEP);
      assertTrue(differs > 0.99, "the bound does not depend on the prediction: " + differs);
    }
  }

  /** Without v there is nothing to learn. */
  @Test
  void aVariationalBoundWithoutVHasNoGradient() {
    try (Builder b = new Builder(25)) {
      List<Value> in = boundInputs(b).subList(0, 5);
      List<Value> out = b.graph.apply(new VariationalBound(3), in);
      assertNull(b.graph.gradients(out.getFirst(), List.of(in.getFirst())).getFirst());
    }
  }

  /** A sum of gradients is left to the convolutions that can add: no Add of its own. */
  @Test
  void sumsOfGradientsCostNoLaunch() {
    try (Builder b = new Builder(9)) {
      Value x = b.leaf(2, 4, 3, 4);
      Value h = b.graph.apply(new Elu(), x);
      Conv2d conv = new Conv2d(Taps.square(3));
      Value sum = b.graph.apply(conv, h, b.leaf(9, 4, 4));
      for (int i = 0; i < 3; i++) {
        sum = b.graph.apply(conv, h, b.leaf(9, 4, 4), sum);
      }
      Value loss = b.loss(sum);
      Value slope = b.graph.gradients(loss, List.of(x)).getFirst();
      assertEquals(0, adds(slope, Collections.newSetFromMap(new IdentityHashMap<>())));
      // elu, four convolutions, the loss and its gradient, a fill, four data gradients, elu's
      try (Program program = b.graph.compile(device, slope)) {
        assertEquals(13, program.launches());
      }
      b.check(loss);
    }
  }

  /** One gradient cannot take another along where it is used a second time. */
  @Test
  void aGradientThatOthersReadIsLeftAsItIs() {
    try (Builder b = new Builder(10)) {
      Value x = b.leaf(1, 4, 3, 2);
      Value y = b.graph.apply(new Conv2d(Taps.square(3)), x, b.leaf(9, 2, 2));
      Value z = b.graph.apply(new Conv2d(Taps.point()), y, b.leaf(1, 2, 2));
      // dy goes to both addends as it is, and to y's sum by way of z's data gradient
      Value both = b.graph.apply(new Add(), b.graph.apply(new Add(), z, y), y);
      b.check(b.loss(b.graph.apply(new Add(), both, x)));
    }
  }

  private static int adds(Value value, Set<Value> seen) {
    if (value.producer == null || !seen.add(value)) {
      return 0;
    }
    int count = value.producer.op() instanceof Add ? 1 : 0;
    for (Value input : value.producer.inputs()) {
      count += adds(input, seen);
    }
    return count;
  }

  /** dloss scales what flows back: a gradient that forgot dmean or dbias's sum would not. */
  @Test
  void theMeanIsOverRows() {
    try (Builder b = new Builder(5)) {
      Value logits = b.leaf(8, 3);
      Value loss = b.loss(logits);
      Value slope = b.graph.gradients(loss, List.of(logits)).getFirst();
      GraphReference reference = new GraphReference();
      b.leaves.forEach(reference::set);
      double[] d = reference.evaluate(slope);
      for (int row = 0; row < 8; row++) {
        double sum = 0;
        double size = 0;
        for (int k = 0; k < 3; k++) {
          sum += d[row * 3 + k];
          size += Math.abs(d[row * 3 + k]);
        }
        assertEquals(0, sum, 1e-15, "softmax minus one-hot sums to 0");
        assertTrue(size > 0 && size < 2.0 / 8, "each row has an eighth of the mean");
      }
    }
  }

  @Test
  void aLeafTheLossDoesNotDependOnHasNoGradient() {
    try (Builder b = new Builder(6)) {
      Value used = b.leaf(4, 3);
      Value unused = b.leaf(4, 3);
      Value after = b.graph.apply(new Relu(), unused);
      Value loss = b.loss(used);
      List<Value> slopes = b.graph.gradients(loss, List.of(unused, used, after));
      assertNull(slopes.get(0));
      assertNotNull(slopes.get(1));
      assertNull(slopes.get(2));
    }
  }

  @Test
  void intermediateValuesHaveGradientsToo() {
    try (Builder b = new Builder(7)) {
      Value x = b.leaf(4, 6);
      Value y = b.graph.apply(new Gate(), x);
      Value loss = b.loss(b.graph.apply(new Add(), y, y));
      List<Value> slopes = b.graph.gradients(loss, List.of(y, x, loss));
      GraphReference reference = new GraphReference();
      b.leaves.forEach(reference::set);
      double[] dy = reference.evaluate(slopes.get(0));
      assertEquals(y.spec(), slopes.get(0).spec());
      assertEquals(1, reference.evaluate(slopes.get(2))[0]);
      // both uses of y are in its gradient: softmax - onehot, twice
      double[] doubled = reference.evaluate(y);
      double[] p = new double[3];
      double total = 0;
      for (int k = 0; k < 3; k++) {
        p[k] = Math.exp(2 * doubled[k]);
        total += p[k];
      }
      double[] targets = b.leaves.get(b.fixed.iterator().next());
      for (int k = 0; k < 3; k++) {
        double slope = 2 * (p[k] / total - (k == (int) targets[0] ? 1 : 0)) / 4;
        assertEquals(slope, dy[k], 1e-12);
      }
    }
  }

  @Test
  void whatHasNoGradientSaysSo() {
    try (Builder b = new Builder(8)) {
      Value logits = b.leaf(1, 3);
      List<Value> all =
          b.graph.apply(new SoftmaxCrossEntropy(null), List.of(logits, b.whole(DType.U8, 3, 1)));
      // with one row its nats have one element too, but only the mean has a gradient
      UnsupportedOperationException e =
          assertThrows(
              UnsupportedOperationException.class,
              () -> b.graph.gradients(all.get(1), List.of(logits)));
      assertTrue(e.getMessage().contains("softmax_cross_entropy"), e.getMessage());
      Value qkv = b.leaf(1, 1, 3);
      Value lse = b.graph.apply(new Attention(1), List.of(qkv)).get(1);
      assertThrows(
          UnsupportedOperationException.class, () -> b.graph.gradients(b.loss(lse), List.of(qkv)));
      List<Value> latents =
          b.graph.apply(
              new GaussianSample(1, 0, 1), List.of(b.leaf(1, 4), b.whole(DType.F64, 9, 1)));
      Value parameters = latents.getFirst().producer.inputs().getFirst();
      e =
          assertThrows(
              UnsupportedOperationException.class,
              () -> b.graph.gradients(b.loss(latents.get(1)), List.of(parameters)));
      assertTrue(e.getMessage().contains("gaussian_sample"), e.getMessage());
      ShapeException notScalar =
          assertThrows(ShapeException.class, () -> b.graph.gradients(logits, List.of(logits)));
      assertTrue(notScalar.getMessage().contains("[1,3] f32"), notScalar.getMessage());
    }
  }

  private interface Loss {
    Value of(Builder b, List<Value> outputs);
  }

  /** Of as many images as latents, each of 4 categories. */
  private static DynamicTest divergence(String name, Loss loss) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          try (Builder b = new Builder(name.hashCode())) {
            Value logits = b.leaf(6, 3, 8);
            b.check(loss.of(b, b.graph.apply(new CategoricalKl(4), List.of(logits))));
          }
        });
  }

  /** As if nothing had been quantized; differences would be those of a step function. */
  @Test
  void theGradientOfQuantizedVectorsGoesStraightThrough() {
    try (Builder b = new Builder(26)) {
      Value z = b.leaf(2, 3, 4);
      Value codebook = b.leaf(5, 4);
      List<Value> out = b.graph.apply(new VectorQuantize(), List.of(z, codebook));
      Value loss = b.loss(out.getFirst());
      List<Value> slopes = b.graph.gradients(loss, List.of(z, out.getFirst(), codebook));
      assertNull(slopes.get(2));
      GraphReference reference = new GraphReference();
      b.leaves.forEach(reference::set);
      double[] dz = reference.evaluate(slopes.get(0));
      assertArrayEquals(reference.evaluate(slopes.get(1)), dz);
      double[] quantized = reference.evaluate(out.getFirst());
      Value taken = b.bind(DType.F32, quantized, 2, 3, 4);
      Value targets =
          b.leaves.keySet().stream().filter(b.fixed::contains).findFirst().orElseThrow();
      Value same = b.graph.apply(new SoftmaxCrossEntropy(null), List.of(taken, targets)).getFirst();
      b.leaves.forEach(reference::set);
      assertTrue(reference.gradientError(same, taken, quantized, dz, STEP) <= TOLERANCE);
      UnsupportedOperationException e =
          assertThrows(
              UnsupportedOperationException.class,
              () ->
                  new VectorQuantize()
                      .backward(b.graph, List.of(z, codebook), out, List.of(z, out.get(1))));
      assertTrue(e.getMessage().contains("vector_quantize"), e.getMessage());
    }
  }
}
