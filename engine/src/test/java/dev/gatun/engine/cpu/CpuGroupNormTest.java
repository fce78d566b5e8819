package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.gatun.engine.DType;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sizes that are divided otherwise than in the contract's cases, and numbers that are none. */
class CpuGroupNormTest {
  private static void check(DType type, int... dims) {
    try (CpuDevice device = new CpuDevice()) {
      check(device, type, dims);
    }
  }

  private static void check(CpuDevice device, DType type, int... dims) {
    TensorSpec x = TensorSpec.of(type, dims);
    TensorSpec affine = TensorSpec.of(DType.F32, dims[3]);
    TensorSpec statistics = TensorSpec.of(DType.F32, dims[0], 1);
    OpCase.Draw standard = new OpCase.Draw.Normal(0, 1);
    if (device.refuses(type) != null) {
      return;
    }
    Contract.Outcome outcome =
        Contract.check(
            device,
            new OpCase(
                new GroupNormBackward(new GroupNorm(1, 1e-5f, true)),
                List.of(
                    x,
                    affine,
                    affine,
                    statistics,
                    statistics,
                    x,
                    TensorSpec.of(type, dims[0], 2 * dims[3])),
                x.shape().elements() + 16,
                DType.F32,
                List.of(
                    standard,
                    standard,
                    standard,
                    standard,
                    new OpCase.Draw.Uniform(0.5, 2),
                    standard,
                    standard),
                7));
    assertNull(outcome.failure());
  }

  private static void checkForward(Loops loops, DType type, boolean silu, int groups, int... dims) {
    TensorSpec x = TensorSpec.of(type, dims);
    TensorSpec affine = TensorSpec.of(DType.F32, dims[3]);
    OpCase.Draw standard = new OpCase.Draw.Normal(0, 1);
    try (CpuDevice device = new CpuDevice(loops)) {
      if (device.refuses(type) != null) {
        return;
      }
      Contract.Outcome outcome =
          Contract.check(
              device,
              new OpCase(
                  new GroupNorm(groups, 1e-5f, silu),
                  List.of(x, affine, affine),
                  x.shape().elements() / dims[0] / groups + 16,
                  DType.F32,
                  List.of(new OpCase.Draw.Normal(1, 2), standard, standard),
                  7));
      assertNull(outcome.failure(), loops.description());
    }
  }

  /**
   * Channels that are a part of a vector, one and a half, and more than there are columns; an image
   * for all cores, which divide its groups, so that rows are not side by side.
   */
  @Test
  void channelsThatVectorsDoNotDivide() {
    for (Loops loops : List.of(new ScalarLoops(), new VectorLoops())) {
      for (DType type : List.of(DType.F32, DType.BF16)) {
        for (boolean silu : new boolean[] {false, true}) {
          checkForward(loops, type, silu, 2, 4, 5, 7, 8);
          checkForward(loops, type, silu, 2, 1, 5, 7, 8);
          checkForward(loops, type, silu, 3, 4, 7, 7, 24);
          checkForward(loops, type, silu, 2, 1, 7, 7, 40);
          checkForward(loops, type, silu, 1, 4, 1, 1, 6);
          checkForward(loops, type, silu, 1, 4, 3, 3, 1100);
        }
      }
    }
    for (DType type : List.of(DType.F32, DType.BF16)) {
      check(type, 4, 7, 7, 24);
      check(type, 4, 5, 7, 8);
    }
  }

  @Test
  void aNanIsAllThatItsGroupBecomes() {
    for (Loops loops : List.of(new ScalarLoops(), new VectorLoops())) {
      for (DType type : List.of(DType.F32, DType.BF16)) {
        try (CpuDevice device = new CpuDevice(loops)) {
          if (device.refuses(type) != null) {
            continue;
          }
          float[] values = new float[2 * 4 * 4 * 32];
          values[700] = Float.NaN; // in image 1, channel 28
          for (boolean silu : new boolean[] {false, true}) {
            try (Tensor x = Tensor.allocate(device, type, 2, 4, 4, 32).write(values);
                Tensor affine = Tensor.allocate(device, DType.F32, 32).write(new float[32])) {
              List<Tensor> out = device.apply(new GroupNorm(2, 1e-5f, silu), x, affine, affine);
              float[] y = out.getFirst().toFloats();
              for (int i = 0; i < y.length; i++) {
                assertEquals(
                    i >= 512 && i % 32 >= 16, Float.isNaN(y[i]), loops.description() + " " + i);
              }
              out.forEach(Tensor::close);
            }
          }
        }
      }
    }
  }

  /** An image in more than one block of channels, and rows that fill no block. */
  @Test
  void whatTheFirstPassKeepsIsFoundInTheSecond() {
    for (DType type : List.of(DType.F32, DType.BF16)) {
      check(type, 2, 7, 13, 1500);
      check(type, 2, 7, 13, 300);
    }
  }

  /** A part that needs more memory between the passes than those before it. */
  @Test
  void aLargerPartComesAfterSmallerOnes() {
    for (DType type : List.of(DType.F32, DType.BF16)) {
      try (CpuDevice device = new CpuDevice().lane(1)) {
        check(device, type, 1, 3, 5, 64);
        check(device, type, 1, 65, 64, 64);
      }
    }
  }
}
