package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gatun.engine.DType;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** The state of a sampler is f64: a step that changes nothing keeps every bit. */
final class DiffusionChecks {
  private DiffusionChecks() {}

  static List<KernelCheck> all() {
    return Stream.of(DType.F32, DType.BF16)
        .map(type ->
            new KernelCheck(
                "every bit of the state, " + type.label(),
                Set.of("denoise_step_" + type.label()),
                1,
                device -> keepsEveryBit(device, type)))
        .toList();
  }

  private static void keepsEveryBit(CudaDevice device, DType type) {
    TensorSpec image = TensorSpec.of(DType.F64, 1, 1, 1, 5);
    double[] thirds = {1 / 3.0, -2 / 3.0, 1e-9 / 3, 4e5 / 3, 0.1};
    double[] sevenths = {1 / 7.0, 2 / 7.0, 3 / 7.0, 4 / 7.0, 5 / 7.0};
    try (CheckScope scope = new CheckScope(device)) {
      Tensor x = scope.tensor(image).writeDoubles(thirds);
      Tensor previous = scope.tensor(image).writeDoubles(sevenths);
      Tensor prediction = scope.tensor(TensorSpec.of(type, 1, 1, 1, 5));
      prediction.writeDoubles(new double[5]);
      // D is x, the next x is P
      Tensor table = scope.tensor(TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS));
      table.writeDoubles(new double[] {1, 0, 0, 0, 1, 0, 1, 0, 0, 0});
      Tensor state = scope.tensor(TensorSpec.of(DType.I32, 4)).writeDoubles(new double[4]);
      device
          .apply(
              new DenoiseStep(Thresholding.NONE, 1, false), x, previous, prediction, table, state)
          .forEach(Tensor::close);
      assertArrayEquals(sevenths, x.toDoubles());
      assertArrayEquals(thirds, previous.toDoubles());
    }
  }
}
