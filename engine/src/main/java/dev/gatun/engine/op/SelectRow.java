package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * One row of every image, chosen at run time: y[n,0,w,c] = x[n,row,w,c].
 *
 * <p>Inputs: x [N,H,W,C] of any dtype; row [1] i32, 0 to H-1. Output: [N,1,W,C] in x's dtype.
 */
public record SelectRow() implements Op {
  @Override
  public String name() {
    return "select_row";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec x = in.get(0);
    require(x.shape().rank() == 4 && x.shape().elements() > 0, in, "x must be [N,H,W,C]");
    require(in.get(1).equals(TensorSpec.of(DType.I32, 1)), in, "row must be [1] i32");
    int[] dims = x.shape().toArray();
    return List.of(TensorSpec.of(x.dtype(), dims[0], 1, dims[2], dims[3]));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dx =
        graph.apply(
            new SelectRowBackward(inputs.get(0).shape()), gradients.getFirst(), inputs.get(1));
    return Arrays.asList(dx, null);
  }
}
