package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * The same elements in another shape.
 *
 * <p>Input: x of any dtype. Output: as many elements, in x's order, of {@code shape} and x's dtype.
 *
 * <p>In a compiled graph the output is another name for x's memory and costs nothing, unless it is
 * stored in a tensor of its own. So what is written in place to one of the two is seen in both.
 */
public record Reshape(Shape shape) implements Op {
  public Reshape(int... dims) {
    this(Shape.of(dims));
  }

  @Override
  public String name() {
    return "reshape";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec x = in.getFirst();
    require(x.shape().elements() > 0, in, "empty input");
    require(
        x.shape().elements() == shape.elements(),
        in,
        "cannot be " + shape + ": as many elements are needed");
    return List.of(new TensorSpec(shape, x.dtype()));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new Reshape(inputs.getFirst().shape()), gradients.getFirst()));
  }
}
