package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/** Checks that several ops share. */
final class Checks {
  private Checks() {}

  /** At least one axis, at least one element, f32 or bf16. */
  static void activation(Op op, List<TensorSpec> inputs, TensorSpec x) {
    op.require(x.shape().rank() >= 1 && x.shape().elements() > 0, inputs, "empty input");
    op.require(x.dtype() == DType.F32 || x.dtype() == DType.BF16, inputs, "takes f32 or bf16");
  }
}
