package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.Taps;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ProgramTest {
  private static final int CLASSES = 4;

  private Device device;
  private final List<Tensor> tensors = new ArrayList<>();

  @BeforeEach
  void open() {
    device = WithDevice.open();
  }

  @AfterEach
  void close() {
    tensors.forEach(Tensor::close);
    device.close();
    assertEquals(0, device.allocatedBytes());
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

  private static Adam adam(double rate) {
    return new Adam(rate, 0.9, 0.999, 1e-8, 0, 1, Double.POSITIVE_INFINITY, 0.9);
  }

  /**
   * A step of training: a 3x3 convolution, a gate, a 1x1 convolution, Adam on the first weights.
   */
  private final class Step implements AutoCloseable {
    final Tensor x = tensor(1, 2, 7, 6, 3);
    final Tensor weights = tensor(2, 9, 3, 8);
    final Tensor targets = Tensor.allocate(device, DType.U8, 2 * 7 * 6);
    final Tensor gradients = tensor(3, 9 * 3 * 8);
    final Tensor first = Tensor.allocate(device, DType.F32, 9 * 3 * 8);
    final Tensor second = Tensor.allocate(device, DType.F32, 9 * 3 * 8);
    final Tensor ema = Tensor.allocate(device, DType.F32, 9 * 3 * 8);
    final Tensor state = Tensor.allocate(device, DType.F64, 1);
    final Value loss;
    final Program program;

    Step() {
      tensors.addAll(List.of(targets, first, second, ema, state));
      byte[] labels = new byte[targets.elements()];
      for (int i = 0; i < labels.length; i++) {
        labels[i] = (byte) (i * 7 % CLASSES);
      }
      targets.write(labels);
      Graph g = new Graph();
      Value w = g.bind(weights);
      Value h = g.apply(new Gate(), g.apply(new Conv2d(Taps.square(3)), g.bind(x), w));
      Value logits = g.apply(new Conv2d(Taps.point()), h, g.bind(tensor(4, 1, 4, CLASSES)));
      loss = g.apply(new SoftmaxCrossEntropy(null), List.of(logits, g.bind(targets))).getFirst();
      g.store(g.gradients(loss, List.of(w)).getFirst(), gradients.reshape(9, 3, 8));
      Value flat = g.bind(gradients);
      g.apply(
          adam(0.05),
          List.of(
              g.bind(weights.reshape(9 * 3 * 8)),
              g.bind(first),
              g.bind(second),
              g.bind(ema),
              g.bind(state),
              flat,
              g.apply(new SquaredNorm(), flat)));
      program = g.compile(device, loss);
    }

    double run() {
      program.run();
      return program.tensor(loss).item();
    }

    @Override
    public void close() {
      program.close();
    }
  }

  @Test
  void replayedStepsTrainAndAreDeterministic() {
    double[][] losses = new double[2][30];
    float[][] weights = new float[2][];
    for (int i = 0; i < 2; i++) {
      try (Step step = new Step()) {
        for (int t = 0; t < losses[i].length; t++) {
          losses[i][t] = step.run();
        }
        weights[i] = step.weights.toFloats();
        assertEquals(30, step.state.item());
      }
    }
    assertArrayEquals(losses[0], losses[1]);
    assertArrayEquals(weights[0], weights[1]);
    // each step sees the weights that the one before it left: were they packed once, loss would
    // stay
    assertTrue(losses[0][29] < 0.8 * losses[0][0], Arrays.toString(losses[0]));
    assertTrue(losses[0][1] < losses[0][0], Arrays.toString(losses[0]));
  }

  @Test
  void aReplayAllocatesNothingOnTheDeviceAndLittleInJava() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Step step = new Step()) {
      for (int i = 0; i < 3000; i++) {
        step.program.run();
      }
      long bytes = device.allocatedBytes();
      long least = Long.MAX_VALUE;
      for (int sample = 0; sample < 10; sample++) {
        long before = threads.getTotalThreadAllocatedBytes();
        for (int i = 0; i < 20; i++) {
          step.program.run();
        }
        least = Math.min(least, (threads.getTotalThreadAllocatedBytes() - before) / 20);
      }
      assertEquals(bytes, device.allocatedBytes());
      long each = least / step.program.launches();
      assertTrue(each < 1024, least + " bytes of heap a run, " + each + " a launch");
    }
  }

  @Test
  void writtenWeightsAreSeenByTheNextRun() {
    Tensor x = tensor(1, 1, 1, 1, 2);
    Tensor w = tensor(2, 1, 2, 1);
    x.write(1f, 10);
    w.write(1f, 2);
    Graph g = new Graph();
    Value y = g.apply(new Conv2d(Taps.point()), g.bind(x), g.bind(w));
    try (Program program = g.compile(device, y)) {
      program.run();
      assertEquals(21, program.tensor(y).item());
      w.write(3f, 4);
      program.run();
      assertEquals(43, program.tensor(y).item());
      // through another view of the same memory
      w.reshape(2).write(5f, 6);
      program.run();
      assertEquals(65, program.tensor(y).item());
    }
  }

  @Test
  void weightsThatAnotherProgramUpdatesAreSeen() {
    Tensor x = tensor(1, 1, 1, 1, 2);
    x.write(1f, 10);
    Tensor w = tensor(2, 1, 2, 1);
    Tensor source = tensor(3, 1, 2, 1);
    Graph g = new Graph();
    Value y = g.apply(new Conv2d(Taps.point()), g.bind(x), g.bind(w));
    Graph update = new Graph();
    update.store(update.apply(new Relu(), update.bind(source)), w);
    try (Program forward = g.compile(device, y);
        Program updater = update.compile(device)) {
      for (int i = 1; i < 4; i++) {
        source.write((float) i, 2 * i);
        updater.run();
        forward.run();
        assertEquals(21 * i, forward.tensor(y).item());
      }
    }
  }

  @Test
  void weightsThatASingleOpUpdatesAreSeen() {
    Tensor x = tensor(1, 1, 1, 1, 2);
    x.write(1f, 10);
    Tensor w = tensor(2, 1, 2, 1);
    w.write(1f, 2);
    Tensor zeros = tensor(3, 2).write(0f, 0);
    Tensor more = tensor(4, 2).write(0f, 0);
    Tensor ema = tensor(5, 2);
    Tensor state = Tensor.allocate(device, DType.F64, 1);
    Tensor norm = Tensor.allocate(device, DType.F64, 1);
    tensors.addAll(List.of(state, norm));
    Tensor gradients = tensor(6, 2).write(1f, 1);
    Graph g = new Graph();
    Value y = g.apply(new Conv2d(Taps.point()), g.bind(x), g.bind(w));
    try (Program program = g.compile(device, y)) {
      program.run();
      assertEquals(21, program.tensor(y).item());
      // the first step of Adam moves every weight by the learning rate
      device.apply(adam(1), w.reshape(2), zeros, more, ema, state, gradients, norm);
      assertArrayEquals(new float[] {0, 1}, w.toFloats(), 1e-5f);
      program.run();
      assertEquals(10, program.tensor(y).item(), 1e-4);
    }
  }

  @Test
  void weightsInsideAnArenaAreReadAgain() {
    Tensor x = tensor(1, 1, 1, 1, 2);
    x.write(1f, 10);
    Tensor source = tensor(2, 1, 2, 1);
    Graph g = new Graph();
    Value w = g.apply(new Relu(), g.bind(source));
    Value y = g.apply(new Conv2d(Taps.point()), g.bind(x), w);
    try (Program program = g.compile(device, w, y)) {
      Graph reader = new Graph();
      Value z =
          reader.apply(new Conv2d(Taps.point()), reader.bind(x), reader.bind(program.tensor(w)));
      try (Program other = reader.compile(device, z)) {
        for (int i = 1; i < 4; i++) {
          source.write((float) i, 2 * i);
          program.run();
          assertEquals(21 * i, program.tensor(y).item(), "same program");
          other.run();
          assertEquals(21 * i, other.tensor(z).item(), "another program");
        }
      }
    }
  }

  @Test
  void aClosedProgramGivesItsMemoryBackAndRefusesUse() {
    long before = device.allocatedBytes();
    Tensor x = tensor(1, 4, 4);
    Graph g = new Graph();
    Value y = g.apply(new Relu(), g.bind(x));
    Program program = g.compile(device, y);
    Tensor result = program.tensor(y);
    program.close();
    program.close();
    assertEquals(before + 64, device.allocatedBytes());
    assertThrows(IllegalStateException.class, result::toFloats);
  }

  /** Weights and biases of a 1x1 convolution that adds up n channels and does no more. */
  private Value sum(Graph g, Value x) {
    int n = x.shape().dim(3);
    Tensor ones = tensor(9, 1, n, 1);
    float[] values = new float[n];
    Arrays.fill(values, 1);
    ones.write(values);
    return g.apply(new Conv2d(Taps.point()), x, g.bind(ones));
  }

  @Test
  void aReshapedValueIsNoLaunchAndNoMemory() {
    Tensor x = tensor(1, 2, 6).write(-1f, 2, 3, 4, 5, 6, 7, 8, -9, 10, 11, 12);
    Graph plain = new Graph();
    Value relu = plain.apply(new Relu(), plain.bind(x));
    Graph g = new Graph();
    Value y = g.apply(new Reshape(1, 2, 3, 2), g.apply(new Relu(), g.bind(x)));
    Value z = g.apply(new Reshape(3, 4), y);
    Value sums = sum(g, y);
    try (Program one = plain.compile(device, relu);
        Program program = g.compile(device, y, z, sums)) {
      one.run();
      program.run();
      assertEquals(2, program.launches());
      assertEquals(one.arenaBytes() + 256, program.arenaBytes());
      assertArrayEquals(one.tensor(relu).toFloats(), program.tensor(z).toFloats());
      assertArrayEquals(one.tensor(relu).toFloats(), program.tensor(y).toFloats());
      assertEquals(Shape.of(3, 4), program.tensor(z).shape());
      assertEquals(Shape.of(1, 2, 3, 2), program.tensor(y).shape());
      assertArrayEquals(new float[] {2, 7, 11, 15, 10, 23}, program.tensor(sums).toFloats());
    }
  }

  @Test
  void anAliasKeepsItsMemoryFromLaterValues() {
    Tensor x = tensor(1, 1, 2, 2, 1).write(1f, 2, 3, 4);
    Graph g = new Graph();
    Value first = g.apply(new Relu(), g.bind(x));
    Value alias = g.apply(new Reshape(4), g.apply(new Reshape(2, 2), first));
    // values of the same size that would like first's place
    Value other = g.apply(new Add(), first, g.apply(new Relu(), g.bind(x)));
    for (int i = 0; i < 4; i++) {
      other = g.apply(new Add(), other, g.apply(new Relu(), other));
    }
    Value late = g.apply(new Add(), alias, g.apply(new Reshape(4), other));
    try (Program program = g.compile(device, late)) {
      program.run();
      assertArrayEquals(new float[] {33, 66, 99, 132}, program.tensor(late).toFloats());
    }
    try (Program program = g.compile(device, late, alias)) {
      program.run();
      assertArrayEquals(new float[] {1, 2, 3, 4}, program.tensor(alias).toFloats());
    }
  }

  @Test
  void aliasesOfBoundTensors() {
    Tensor x = tensor(1, 4).write(1f, 2, 3, 4);
    Graph g = new Graph();
    Value alias = g.apply(new Reshape(2, 2), g.bind(x));
    Value y = g.apply(new Relu(), alias);
    try (Program program = g.compile(device, alias, y)) {
      assertEquals(1, program.launches());
      x.write(5f, 6, 7, 8);
      program.run();
      assertArrayEquals(new float[] {5, 6, 7, 8}, program.tensor(y).toFloats());
      assertArrayEquals(new float[] {5, 6, 7, 8}, program.tensor(alias).toFloats());
      assertEquals(x.address(), program.tensor(alias).address());
    }
  }

  @Test
  void aReshapedValueThatIsStoredIsACopy() {
    Tensor x = tensor(1, 4).write(1f, -2, 3, 4);
    Tensor target = tensor(2, 2, 2);
    Tensor rootsOwn = tensor(3, 4);
    Graph g = new Graph();
    Value root = g.apply(new Relu(), g.bind(x));
    g.store(root, rootsOwn);
    Value stored = g.apply(new Reshape(2, 2), root);
    g.store(stored, target);
    Value ofStored = g.apply(new Reshape(1, 4), stored);
    Value ofRoot = g.apply(new Reshape(4, 1), root);
    try (Program program = g.compile(device, ofStored, ofRoot)) {
      assertEquals(2, program.launches());
      program.run();
      assertArrayEquals(new float[] {1, 0, 3, 4}, target.toFloats());
      assertArrayEquals(new float[] {1, 0, 3, 4}, rootsOwn.toFloats());
      assertEquals(target.address(), program.tensor(ofStored).address());
      assertEquals(rootsOwn.address(), program.tensor(ofRoot).address());
    }
  }

  /** Adam changes the weights by the name that it has of them. */
  @Test
  void whatIsWrittenToAnAliasIsWrittenToItsRoot() {
    Tensor x = tensor(1, 1, 1, 1, 2).write(1f, 10);
    Tensor w = tensor(2, 1, 2, 1).write(1f, 2);
    Tensor state = Tensor.allocate(device, DType.F64, 1);
    tensors.add(state);
    Tensor gradients = tensor(6, 2).write(1f, 1);
    Graph g = new Graph();
    Value flat = g.apply(new Reshape(2), g.bind(w));
    Value slopes = g.bind(gradients);
    g.apply(
        adam(1),
        List.of(
            flat,
            g.bind(tensor(3, 2).write(0f, 0)),
            g.bind(tensor(4, 2).write(0f, 0)),
            g.bind(tensor(5, 2)),
            g.bind(state),
            slopes,
            g.apply(new SquaredNorm(), slopes)));
    Graph reader = new Graph();
    Value y = reader.apply(new Conv2d(Taps.point()), reader.bind(x), reader.bind(w));
    try (Program update = g.compile(device);
        Program forward = reader.compile(device, y)) {
      forward.run();
      assertEquals(21, forward.tensor(y).item());
      update.run();
      assertArrayEquals(new float[] {0, 1}, w.toFloats(), 1e-5f);
      forward.run(); // its packed weights are old
      assertEquals(10, forward.tensor(y).item(), 1e-4);
    }
  }

  @Test
  void gradientsThroughAliases() {
    Tensor x = tensor(1, 4).write(1f, -2, 3, 4);
    Tensor dx = tensor(2, 4);
    Graph g = new Graph();
    Value in = g.bind(x);
    Value y = g.apply(new Reshape(2, 2), g.apply(new Relu(), g.apply(new Reshape(4, 1), in)));
    Value loss = sum(g, g.apply(new Reshape(1, 1, 1, 4), y));
    g.store(g.gradients(loss, List.of(in)).getFirst(), dx);
    try (Program program = g.compile(device, loss)) {
      program.run();
      assertEquals(8, program.tensor(loss).item());
      assertArrayEquals(new float[] {1, 0, 1, 1}, dx.toFloats());
    }
  }

  @Test
  void aBadTargetIsAnErrorAndTheDeviceLivesOn() {
    try (Step step = new Step()) {
      step.run();
      byte[] labels = new byte[step.targets.elements()];
      labels[5] = CLASSES;
      step.targets.write(labels);
      IllegalArgumentException e = assertThrows(IllegalArgumentException.class, step.program::run);
      assertTrue(e.getMessage().contains("target 4 in row 5"), e.getMessage());
      assertEquals(1, e.getMessage().lines().count());
      step.targets.write(new byte[step.targets.elements()]);
      assertTrue(Double.isFinite(step.run()));
    }
  }

  @Test
  void applyFreesItsOutputsWhenTheOpFails() {
    Tensor logits = tensor(1, 3, 2);
    Tensor targets = Tensor.allocate(device, DType.U8, 3);
    tensors.add(targets);
    targets.write((byte) 0, (byte) 2, (byte) 1);
    long before = device.allocatedBytes();
    assertThrows(
        IllegalArgumentException.class,
        () -> device.apply(new SoftmaxCrossEntropy(null), logits, targets));
    assertEquals(before, device.allocatedBytes());
    List<Tensor> out = device.apply(new Relu(), logits);
    assertFalse(out.isEmpty());
    out.forEach(Tensor::close);
    assertEquals(before, device.allocatedBytes());
  }
}
