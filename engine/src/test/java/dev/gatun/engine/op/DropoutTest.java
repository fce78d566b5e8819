package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DropoutTest {
  private static final int N = 100_003;

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** Dropout of ones: zeros and the factor of what is kept. */
  private static float[] ofOnes(Dropout op, int step) {
    float[] ones = new float[N];
    Arrays.fill(ones, 1);
    try (Tensor x = Tensor.allocate(device, DType.F32, N).write(ones);
        Tensor s = Tensor.allocate(device, DType.F64, 1).writeDoubles(step)) {
      List<Tensor> y = device.apply(op, x, s);
      float[] values = y.getFirst().toFloats();
      y.forEach(Tensor::close);
      return values;
    }
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float v : values) {
      sum += v;
    }
    return sum;
  }

  @Test
  void keepsItsShareAndTheExpectation() {
    for (double rate : new double[] {0, 0.1, 0.5, 0.9}) {
      double q = Math.round(rate * 256) / 256.0;
      float[] y = ofOnes(new Dropout(rate, 11, 3), 8);
      long kept = 0;
      for (float v : y) {
        assertTrue(v == 0 || v == (float) (1 / (1 - q)), "" + v);
        kept += v == 0 ? 0 : 1;
      }
      // five standard deviations
      double spread = 5 * Math.sqrt(q * (1 - q) * N);
      assertEquals((1 - q) * N, kept, spread, "rate " + rate);
      assertEquals(N, sum(y), spread / (1 - q), "rate " + rate);
    }
  }

  @Test
  void aMaskFollowsFromSeedSiteAndStep() {
    float[] y = ofOnes(new Dropout(0.5, 11, 3), 8);
    assertArrayEquals(y, ofOnes(new Dropout(0.5, 11, 3), 8));
    for (float[] other :
        List.of(
            ofOnes(new Dropout(0.5, 12, 3), 8),
            ofOnes(new Dropout(0.5, 11 + (1L << 40), 3), 8),
            ofOnes(new Dropout(0.5, 11, 4), 8),
            ofOnes(new Dropout(0.5, 11, 3), 9))) {
      assertFalse(Arrays.equals(y, other));
      int same = 0;
      for (int i = 0; i < N; i++) {
        same += (y[i] == 0) == (other[i] == 0) ? 1 : 0;
      }
      assertEquals(0.5 * N, same, 5 * Math.sqrt(0.25 * N), "masks that have to do with each other");
    }
  }

  @Test
  void theGradientGoesThroughTheSameMask() {
    try (Tensor x = Tensor.allocate(device, DType.F32, 50, 20);
        Tensor step = Tensor.allocate(device, DType.F64, 1);
        Tensor targets = Tensor.allocate(device, DType.U8, 50)) {
      float[] values = new float[1000];
      Arrays.fill(values, 2);
      x.write(values);
      Graph graph = new Graph();
      Value in = graph.bind(x);
      Value y = graph.apply(new Dropout(0.4, 5, 1), in, graph.bind(step));
      Value loss =
          graph.apply(new SoftmaxCrossEntropy(null), List.of(y, graph.bind(targets))).getFirst();
      Value dx = graph.gradients(loss, List.of(in)).getFirst();
      try (Program program = graph.compile(device, y, dx)) {
        for (int s : new int[] {0, 1, 70000}) {
          step.writeDoubles(s);
          program.run();
          float[] forward = program.tensor(y).toFloats();
          float[] backward = program.tensor(dx).toFloats();
          for (int i = 0; i < forward.length; i++) {
            assertEquals(forward[i] == 0, backward[i] == 0, "element " + i + " of step " + s);
          }
        }
      }
    }
  }
}
