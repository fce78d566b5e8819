package dev.gatun.engine.cuda;

import java.util.List;
import java.util.Set;

/** The kernels that only measure: each has a result, without which it has no time. */
final class CeilingChecks {
  private CeilingChecks() {}

  static List<KernelCheck> all() {
    return List.of(
        new KernelCheck(
            "ceilings",
            Set.of("copy_f32", "tick", "grid_rounds", "cluster_rounds"),
            1,
            device -> CudaCeilings.measure(device, 1e-4)));
  }
}
