package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GraphTest {
  private static Device device;
  private final List<Tensor> tensors = new ArrayList<>();

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  @AfterEach
  void closeTensors() {
    tensors.forEach(Tensor::close);
    tensors.clear();
  }

  private Tensor tensor(long seed, int... dims) {
    Tensor tensor = Tensor.allocate(device, DType.F32, dims);
    tensors.add(tensor);
    Random random = new Random(seed);
    float[] values = new float[tensor.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return tensor.write(values);
  }

  /**
   * Random graphs in which values live for a random while. Where two live values shared memory, one
   * would hold the other's numbers: everything kept is held against the same graph in f64.
   */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
  void liveValuesKeepTheirMemory(long seed) {
    Random random = new Random(seed);
    Graph graph = new Graph();
    List<Value> values = new ArrayList<>();
    List<Value> made = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      values.add(graph.bind(tensor(100 * seed + i, 2, 6, 5, 8)));
    }
    Value small = graph.bind(tensor(100 * seed + 7, 2, 8));
    Value weights = graph.bind(tensor(100 * seed + 8, 1, 8, 16));
    Value affine = graph.bind(tensor(100 * seed + 9, 8));
    for (int i = 0; i < 40; i++) {
      Value a = values.get(random.nextInt(values.size()));
      Value b = values.get(random.nextInt(values.size()));
      List<Value> outputs =
          switch (random.nextInt(5)) {
            case 0 -> graph.apply(new Add(), List.of(a, b));
            case 1 -> graph.apply(new Relu(), List.of(a));
            case 2 -> graph.apply(new Shift(random.nextInt(3) - 1, 0), List.of(a));
            case 3 ->
                graph.apply(new Gate(), graph.apply(new Conv2d(Taps.point()), List.of(a, weights)));
            default -> graph.apply(new GroupNorm(2, 1e-3f), List.of(a, affine, affine));
          };
      values.add(outputs.getFirst());
      made.addAll(outputs);
      graph.apply(new Relu(), small); // dead, of another size
    }
    List<Value> keep = new ArrayList<>();
    for (Value value : made) {
      if (random.nextInt(6) == 0) {
        keep.add(value);
      }
    }
    keep.add(values.getLast());
    GraphReference reference = new GraphReference();
    List<double[]> expected = reference.evaluate(keep);
    try (Program program = graph.compile(device, keep.toArray(Value[]::new))) {
      for (int run = 0; run < 2; run++) {
        program.run();
        for (int k = 0; k < keep.size(); k++) {
          double[] actual = program.tensor(keep.get(k)).toDoubles();
          double size = 1;
          for (double e : expected.get(k)) {
            size = Math.max(size, Math.abs(e));
          }
          for (int i = 0; i < actual.length; i++) {
            double error = Math.abs(actual[i] - expected.get(k)[i]);
            assertTrue(
                error <= 1e-3 * size, keep.get(k) + " [" + i + "] run " + run + ": " + error);
          }
        }
      }
      assertTrue(program.launches() <= 80, "dead ops run");
    }
  }

  @Test
  void memoryIsUsedAgainAlongAChain() {
    Graph graph = new Graph();
    Value x = graph.bind(tensor(1, 4, 16, 16, 16));
    for (int i = 0; i < 50; i++) {
      x = graph.apply(new Relu(), x);
    }
    try (Program program = graph.compile(device, x)) {
      assertEquals(50, program.launches());
      assertTrue(
          program.arenaBytes() <= 2 * x.spec().sizeBytes(),
          "a chain needs two blocks, not " + program.arenaBytes() + " bytes");
    }
  }

  @Test
  void whatNobodyReadsIsDropped() {
    Graph graph = new Graph();
    Value x = graph.bind(tensor(1, 4, 6));
    Value y = graph.apply(new Relu(), x);
    Value dead = graph.apply(new Add(), y, x);
    graph.apply(new Add(), dead, dead);
    try (Program program = graph.compile(device, y)) {
      assertEquals(1, program.launches());
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> program.tensor(dead));
      assertTrue(e.getMessage().contains("was not kept"), e.getMessage());
    }
    try (Program program = graph.compile(device)) {
      assertEquals(0, program.launches());
      program.run();
    }
  }

  @Test
  void gradientsNobodyAsksForAreDropped() {
    Graph graph = new Graph();
    Value x = graph.bind(tensor(1, 1, 4, 4, 2));
    Value w = graph.bind(tensor(2, 1, 2, 1));
    Value y = graph.apply(new Conv2d(Taps.point()), x, w);
    // reduces to one element: a convolution over a one-pixel image
    Value one = graph.bind(tensor(3, 1, 1, 1, 16));
    Value loss = graph.apply(new Conv2d(Taps.point()), one, graph.bind(tensor(4, 1, 16, 1)));
    Value slope = graph.gradients(loss, List.of(one)).getFirst();
    try (Program program = graph.compile(device, slope)) {
      // the seed of ones and the data gradient; neither y, nor the forward, nor any dw
      assertEquals(2, program.launches());
    }
    assertEquals(1, y.shape().dim(-1));
  }

  @Test
  void storedResultsAreReadThroughTheirTensor() {
    Tensor target = tensor(9, 3, 4);
    Graph graph = new Graph();
    Tensor input = tensor(1, 3, 4);
    Value y = graph.apply(new Relu(), graph.bind(input));
    graph.store(y, target);
    // a later op reads the tensor, not the value: it must come after the store
    Value twice = graph.apply(new Add(), graph.bind(target), graph.bind(target));
    try (Program program = graph.compile(device, twice)) {
      input.write(1f, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6);
      program.run();
      assertArrayEquals(new float[] {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0}, target.toFloats());
      assertArrayEquals(
          new float[] {2, 0, 4, 0, 6, 0, 8, 0, 10, 0, 12, 0}, program.tensor(twice).toFloats());
    }
  }

  @Test
  void mistakesAreNamed() {
    Graph graph = new Graph();
    Value x = graph.bind(tensor(1, 3, 4));
    Value other = new Graph().bind(tensor(2, 3, 4));
    assertThrows(IllegalArgumentException.class, () -> graph.apply(new Add(), x, other));
    Value theirs = other.graph.apply(new Relu(), other);
    IllegalArgumentException foreign =
        assertThrows(IllegalArgumentException.class, () -> graph.compile(device, theirs));
    assertEquals("compile: " + theirs + " is of another graph", foreign.getMessage());
    assertThrows(IllegalArgumentException.class, () -> graph.store(theirs, tensor(2, 3, 4)));
    assertThrows(IllegalArgumentException.class, () -> graph.gradients(theirs, List.of(x)));
    ShapeException shape =
        assertThrows(ShapeException.class, () -> graph.store(x, tensor(3, 4, 3)));
    assertTrue(shape.getMessage().contains("[4,3] f32"), shape.getMessage());
    Value y = graph.apply(new Relu(), x);
    graph.store(y, tensor(4, 3, 4));
    assertThrows(IllegalArgumentException.class, () -> graph.store(y, tensor(5, 3, 4)));
    ShapeException op =
        assertThrows(
            ShapeException.class, () -> graph.apply(new Gate(), graph.bind(tensor(6, 2, 3))));
    assertEquals("gate: needs a multiple of 2 channels (inputs [[2,3] f32])", op.getMessage());
  }
}
