package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** A unit in a convolution's kernel against the two ops, in bf16: the same bits. */
final class UnitChecks {
  private UnitChecks() {}

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    for (int channels : new int[] {9, 32}) {
      for (Op unit : List.of(new ConcatElu(), new Gate())) {
        checks.add(
            new KernelCheck(
                "the same bits: " + unit + " of " + channels + " channels",
                Set.of("conv_taps_bf16_64x32" + (channels == 9 ? "_any" : "")),
                4000,
                device -> compare(device, unit, channels)));
      }
    }
    return checks;
  }

  private static void compare(CudaDevice device, Op unit, int channels) {
    Conv2d conv = new Conv2d(Taps.square(3));
    try (CheckScope scope = new CheckScope(device)) {
      Tensor x = scope.normal(DType.BF16, 1, 1, 1, 7, 9, channels);
      Tensor w = scope.normal(DType.F32, 2, 0.3, 9, channels, 16);
      List<Tensor> one = device.apply(new Conv2dUnit(conv, unit, false, true), x, w);
      List<Tensor> sums = device.apply(conv, x, w);
      List<Tensor> two = device.apply(unit, sums.getFirst());
      try {
        assertArrayEquals(two.getFirst().toFloats(), one.getFirst().toFloats());
        assertArrayEquals(sums.getFirst().toFloats(), one.get(1).toFloats());
      } finally {
        one.forEach(Tensor::close);
        sums.forEach(Tensor::close);
        two.forEach(Tensor::close);
      }
    }
  }
}
