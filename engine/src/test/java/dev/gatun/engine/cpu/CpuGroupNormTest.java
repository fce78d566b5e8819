package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertNull;

import dev.gatun.engine.DType;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sizes at which the gradient's two passes are divided otherwise than in the contract's cases. */
class CpuGroupNormTest {
  private static void check(DType type, int... dims) {
    TensorSpec x = TensorSpec.of(type, dims);
    TensorSpec affine = TensorSpec.of(DType.F32, dims[3]);
    TensorSpec statistics = TensorSpec.of(DType.F32, dims[0], 1);
    OpCase.Draw standard = new OpCase.Draw.Normal(0, 1);
    try (CpuDevice device = new CpuDevice()) {
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
      check(type, 1, 3, 5, 64);
      check(type, 1, 65, 64, 64);
    }
  }
}
