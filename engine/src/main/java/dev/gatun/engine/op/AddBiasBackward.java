package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The gradient of {@link AddBias} with respect to the table: each row the sum of dy over the
 * positions of the images that were given it. That with respect to x is dy itself.
 *
 * <p>Inputs: dy [N,...,C] f32 or bf16; where {@code rows} > 1, labels [N] u8. Output: dtable
 * [rows,C] f32.
 */
public record AddBiasBackward(int rows) implements Op {
  @Override
  public String name() {
    return "add_bias_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 2);
    Checks.activation(this, in, in.getFirst());
    require(rows >= 1 && rows <= 256, in, "rows must be 1 to 256, not " + rows);
    TensorSpec table = TensorSpec.of(DType.F32, rows, in.getFirst().shape().dim(-1));
    List<TensorSpec> forward = new ArrayList<>(in);
    forward.add(1, table);
    new AddBias().check(forward);
    return List.of(table);
  }
}
