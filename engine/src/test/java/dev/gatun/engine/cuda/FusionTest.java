package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Graphs in which a convolution and the unit after it become one kernel, and those where not. */
class FusionTest {
  private CudaDevice device;
  private final List<Tensor> tensors = new ArrayList<>();

  @BeforeEach
  void open() {
    device = openEmulated();
  }

  @AfterEach
  void close() {
    tensors.forEach(Tensor::close);
    device.close();
  }

  private Value bound(Graph graph, float scale, int... dims) {
    return bound(graph, DType.F32, scale, dims);
  }

  private Value bound(Graph graph, DType type, float scale, int... dims) {
    Tensor tensor = Tensor.allocate(device, type, dims);
    tensors.add(tensor);
    float[] values = new float[tensor.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = scale * ((i * 37 + 11) % 64 - 31);
    }
    return graph.bind(tensor.write(values));
  }

  private Value conv(Graph graph, Value x, int filters) {
    return graph.apply(
        new Conv2d(Taps.square(3)), x, bound(graph, 0.01f, 9, x.shape().dim(3), filters));
  }

  /** Every unit, tile and dtype: the bits are those of two kernels. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void eachUnitJoinsItsConvolutionWithTheSameBits(DType type) {
    for (int channels : new int[] {8, 9}) {
      for (Op unit :
          List.of(
              new Relu(),
              new Elu(),
              new ConcatElu(),
              new Gate(),
              new Gate(Gate.Kind.LINEAR, 1),
              new Gate(Gate.Kind.TANH, 3))) {
        for (boolean more : new boolean[] {false, true}) {
          Graph graph = new Graph();
          Value x = bound(graph, type, 0.1f, 2, 9, 8, channels);
          int filters = unit instanceof Gate ? 48 : 21;
          Value w = bound(graph, 0.01f, 9, channels, filters);
          Conv2d conv = new Conv2d(Taps.square(3));
          Value sums =
              more
                  ? graph.apply(
                      conv,
                      x,
                      w,
                      bound(graph, 0.02f, filters),
                      bound(graph, type, 0.03f, 2, 9, 8, filters))
                  : graph.apply(conv, x, w);
          Value y =
              more && unit instanceof Gate
                  ? graph.apply(unit, sums, bound(graph, type, 0.05f, 2, 9, 8, filters / 2))
                  : graph.apply(unit, sums);
          check(graph, y, sums);
        }
      }
    }
  }

  private void check(Graph graph, Value y, Value sums) {
    float[] together;
    try (Program one = graph.compile(device, y)) {
      assertEquals(1, one.launches());
      one.run();
      together = one.tensor(y).toFloats();
    }
    float[] kept;
    try (Program keeps = graph.compile(device, y, sums)) {
      assertEquals(1, keeps.launches());
      keeps.run();
      kept = keeps.tensor(sums).toFloats();
      assertArrayEquals(together, keeps.tensor(y).toFloats());
    }
    // sums that are stored outside the graph are computed by a kernel of their own
    Tensor outside = Tensor.allocate(device, sums.spec());
    tensors.add(outside);
    graph.store(sums, outside);
    try (Program two = graph.compile(device, y)) {
      assertEquals(2, two.launches());
      two.run();
      assertArrayEquals(two.tensor(y).toFloats(), together);
      assertArrayEquals(outside.toFloats(), kept);
    }
  }

  @Test
  void sumsThatAreReadLaterAreWritten() {
    Graph graph = new Graph();
    Value sums = conv(graph, bound(graph, 0.1f, 1, 5, 4, 8), 16);
    Value gated = graph.apply(new Gate(), sums);
    Value back = conv(graph, gated, 16);
    Value y = graph.apply(new Add(), back, sums);
    try (Program program = graph.compile(device, y, back, sums)) {
      assertEquals(3, program.launches());
      program.run();
      float[] a = program.tensor(back).toFloats();
      float[] b = program.tensor(sums).toFloats();
      float[] sum = program.tensor(y).toFloats();
      for (int i = 0; i < sum.length; i++) {
        assertEquals(a[i] + b[i], sum[i]);
      }
    }
  }

  /** A value that is read between the two, or that two units read. */
  @Test
  void whatCannotBeOneIsLeftAsItIs() {
    Graph graph = new Graph();
    Value sums = conv(graph, bound(graph, 0.1f, 1, 5, 4, 8), 16);
    Value between = graph.apply(new Add(), sums, sums);
    Value y = graph.apply(new Gate(), sums);
    try (Program program = graph.compile(device, y, between)) {
      assertEquals(3, program.launches());
      program.run();
    }
    Graph twice = new Graph();
    Value both = conv(twice, bound(twice, 0.1f, 1, 5, 4, 8), 16);
    Value relu = twice.apply(new Relu(), both);
    Value elu = twice.apply(new Elu(), both);
    try (Program program = twice.compile(device, relu, elu)) {
      assertEquals(2, program.launches());
      program.run();
      float[] r = program.tensor(relu).toFloats();
      float[] e = program.tensor(elu).toFloats();
      for (int i = 0; i < r.length; i++) {
        assertEquals(r[i] > 0 ? r[i] : 0, e[i] > 0 ? e[i] : 0);
      }
    }
    // halves of a gate that are not whole eights
    Graph odd = new Graph();
    Value narrow = conv(odd, bound(odd, 0.1f, 1, 5, 4, 8), 12);
    Value gate = odd.apply(new Gate(), narrow);
    try (Program program = odd.compile(device, gate)) {
      assertEquals(2, program.launches());
      program.run();
    }
  }

  /** A convolution that waited for its unit would read the weights as they are afterwards. */
  @Test
  void weightsThatChangeInBetweenAreReadBefore() {
    Graph graph = new Graph();
    Value x = bound(graph, 0.1f, 1, 5, 4, 8);
    Value w = bound(graph, 0.01f, 9, 8, 16);
    Tensor weights = tensors.getLast();
    Value sums = graph.apply(new Conv2d(Taps.square(3)), x, w);
    Value zeros = graph.apply(new Add(), bound(graph, 0, 9, 8, 16), bound(graph, 0, 9, 8, 16));
    graph.store(zeros, weights);
    Value y = graph.apply(new Relu(), sums);
    try (Program program = graph.compile(device, y)) {
      assertEquals(3, program.launches());
      program.run();
      for (float weight : weights.toFloats()) {
        assertEquals(0, Math.abs(weight));
      }
      float[] values = program.tensor(y).toFloats();
      assertTrue(IntStream.range(0, values.length).anyMatch(i -> values[i] != 0));
    }
  }

  /** A unit whose result goes where the convolution reads waits until it has read all of it. */
  @Test
  void aResultInTheConvolutionsInputComesAfterIt() {
    Graph graph = new Graph();
    Value x = bound(graph, 0.1f, 1, 5, 4, 8);
    Tensor input = tensors.getLast();
    float[] before = input.toFloats();
    Value y = graph.apply(new Relu(), conv(graph, x, 8));
    try (Program program = graph.compile(device, y)) {
      assertEquals(1, program.launches());
      program.run();
      float[] expected = program.tensor(y).toFloats();
      graph.store(y, input);
      try (Program inPlace = graph.compile(device)) {
        assertEquals(2, inPlace.launches());
        input.write(before);
        inPlace.run();
        assertArrayEquals(expected, input.toFloats());
      }
    }
  }

  /** The residual is computed after the convolution: the joined op waits for it. */
  @Test
  void aResidualMayComeBetween() {
    Graph graph = new Graph();
    Value x = bound(graph, 0.1f, 1, 5, 4, 8);
    Value sums = conv(graph, x, 16);
    Value residual = conv(graph, graph.apply(new Relu(), x), 8);
    Value y = graph.apply(new Gate(Gate.Kind.LINEAR, 1), sums, residual);
    try (Program program = graph.compile(device, y, residual)) {
      assertEquals(3, program.launches());
      program.run();
      Graph plain = new Graph();
      Value gate = plain.apply(new Gate(Gate.Kind.LINEAR, 1), sums(plain, graph, sums));
      try (Program alone = plain.compile(device, gate)) {
        alone.run();
        float[] expected = alone.tensor(gate).toFloats();
        float[] more = program.tensor(residual).toFloats();
        float[] all = program.tensor(y).toFloats();
        for (int i = 0; i < all.length; i++) {
          assertEquals(expected[i] + more[i], all[i], 1e-5);
        }
      }
    }
  }

  /** The value of one graph as an input of another. */
  private Value sums(Graph to, Graph from, Value value) {
    try (Program program = from.compile(device, value)) {
      program.run();
      Tensor copy = Tensor.allocate(device, value.spec());
      tensors.add(copy);
      copy.write(program.tensor(value).toFloats());
      return to.bind(copy);
    }
  }
}
