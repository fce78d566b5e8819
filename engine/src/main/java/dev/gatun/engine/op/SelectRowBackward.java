package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link SelectRow}: dy in its row, zeros elsewhere.
 *
 * <p>Inputs: dy [N,1,W,C], row [1] i32. Output: of the shape given, in dy's dtype.
 */
public record SelectRowBackward(Shape xShape) implements Op {
  @Override
  public String name() {
    return "select_row_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec x = new TensorSpec(xShape, in.get(0).dtype());
    TensorSpec y = new SelectRow().check(List.of(x, in.get(1))).getFirst();
    require(in.get(0).equals(y), in, "dy must be " + y);
    return List.of(x);
  }
}
