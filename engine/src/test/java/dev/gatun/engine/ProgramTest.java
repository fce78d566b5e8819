package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Relu;
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
