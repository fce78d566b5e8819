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

  /** [K,D] f32, so many codes that an index fits u8. */
  static void codebook(Op op, List<TensorSpec> inputs, TensorSpec codebook) {
    op.require(
        codebook.shape().rank() == 2
            && codebook.dtype() == DType.F32
            && codebook.shape().elements() > 0,
        inputs,
        "the codebook must be [K,D] f32");
    int codes = codebook.shape().dim(0);
    op.require(codes <= 256, inputs, "the codebook must have 1 to 256 codes, not " + codes);
  }

  /** u8, like x but for the last axis, which is 1. */
  static void indices(Op op, List<TensorSpec> inputs, TensorSpec indices, TensorSpec x) {
    op.require(
        indices.equals(new TensorSpec(x.shape().withLast(1), DType.U8)),
        inputs,
        "indices must be " + x.shape().withLast(1) + " u8");
  }

  /** Images alone, of pixels below {@code levels}, that become numbers of a dtype. */
  static void pixels(Op op, List<TensorSpec> inputs, int levels, DType type) {
    op.requireCount(inputs, 1, 1);
    TensorSpec x = inputs.getFirst();
    op.require(x.shape().rank() == 4 && x.dtype() == DType.U8, inputs, "x must be [N,H,W,C] u8");
    op.require(x.shape().elements() > 0, inputs, "empty input");
    op.require(levels >= 2 && levels <= 256, inputs, "levels must be 2 to 256, not " + levels);
    op.require(type == DType.F32 || type == DType.BF16, inputs, "output must be f32 or bf16");
  }
}
