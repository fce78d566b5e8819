package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.SelectRow;
import dev.gatun.engine.op.ShiftRows;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.HashSet;
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
    device = Devices.open("cpu");
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
        test("gate with addend", b -> b.graph.apply(new Gate(), b.leaf(3, 6), b.leaf(3, 6))),
        test(
            "gate with itself as addend",
            b -> {
              Value x = b.leaf(3, 6);
              return b.graph.apply(new Gate(), x, x);
            }),
        test("relu", b -> b.graph.apply(new Relu(), b.leaf(4, 5))),
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
              Value y = b.graph.apply(new Gate(), x, b.graph.apply(new Relu(), x));
              Value z = b.graph.apply(new Gate(), b.graph.apply(new Add(), x, x));
              return b.graph.apply(new Add(), y, z);
            }),
        test("cross-entropy", b -> b.leaf(7, 5)),
        test("cross-entropy over images", b -> b.leaf(2, 3, 2, 4)),
        test(
            "group norm",
            b -> b.graph.apply(new GroupNorm(2, 1e-3f), b.leaf(2, 3, 2, 6), b.leaf(6), b.leaf(6))),
        test(
            "group norm, one group a channel",
            b -> b.graph.apply(new GroupNorm(3, 1e-3f), b.leaf(1, 3, 3, 3), b.leaf(3), b.leaf(3))),
        test(
            "select row",
            b -> b.graph.apply(new SelectRow(), b.leaf(2, 4, 3, 2), b.whole(DType.I32, 4, 1))),
        test("shift rows down", b -> b.graph.apply(new ShiftRows(1), b.leaf(2, 4, 3, 2))),
        test("shift rows up", b -> b.graph.apply(new ShiftRows(-2), b.leaf(2, 4, 3, 2))),
        test(
            "shift rows beyond the image",
            b -> b.graph.apply(new ShiftRows(9), b.leaf(1, 4, 3, 2))),
        test(
            "a small network",
            b -> {
              Value x = b.leaf(2, 4, 4, 2);
              Value v = b.graph.apply(new Conv2d(Taps.rectangle(-1, 0, -1, 1)), x, b.leaf(6, 2, 8));
              Value link = b.graph.apply(new ShiftRows(1), v);
              Value h = b.graph.apply(new Conv2d(Taps.rectangle(0, 0, -1, -1)), x, b.leaf(1, 2, 8));
              Value g = b.graph.apply(new Gate(), h, link);
              Value r = b.graph.apply(new Relu(), b.graph.apply(new Add(), g, b.leaf(2, 4, 4, 4)));
              return b.graph.apply(new Conv2d(Taps.point()), r, b.leaf(1, 4, 3), b.leaf(3));
            }));
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
      ShapeException notScalar =
          assertThrows(ShapeException.class, () -> b.graph.gradients(logits, List.of(logits)));
      assertTrue(notScalar.getMessage().contains("[1,3] f32"), notScalar.getMessage());
    }
  }
}
