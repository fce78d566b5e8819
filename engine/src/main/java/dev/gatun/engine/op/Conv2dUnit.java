package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * A convolution and the unit that its sums go through, in one: unit(conv(x)). Graphs are not
 * written with it; {@link dev.gatun.engine.Graph#compile} puts it in the place of the two on a
 * device that gains by it ({@link dev.gatun.engine.Device#fuses}).
 *
 * <p>Inputs: those of the convolution; last the gate's residual, where {@code residual}. Outputs:
 * the unit's; then, where {@code keepsSums}, the convolution's, which gradients read. The results
 * are those of the two ops, bit for bit: sums are rounded to their dtype in between.
 *
 * @param unit a {@link Relu}, {@link Elu}, {@link ConcatElu} or {@link Gate}
 */
public record Conv2dUnit(Conv2d conv, Op unit, boolean residual, boolean keepsSums) implements Op {
  /** Whether an op can follow a convolution in this one. */
  public static boolean isUnit(Op op) {
    return op instanceof Relu || op instanceof Elu || op instanceof ConcatElu || op instanceof Gate;
  }

  @Override
  public String name() {
    return "conv_unit";
  }

  /** The inputs that are the convolution's. */
  public <T> List<T> convInputs(List<T> inputs) {
    return residual ? inputs.subList(0, inputs.size() - 1) : inputs;
  }

  /** The inputs of the unit. */
  public <T> List<T> unitInputs(T sums, List<T> inputs) {
    return residual ? List.of(sums, inputs.getLast()) : List.of(sums);
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(isUnit(unit), in, unit.name() + " cannot follow a convolution");
    require(!residual || unit instanceof Gate, in, unit.name() + " takes no residual");
    require(in.size() >= (residual ? 3 : 2), in, "takes at least 2 inputs, and the residual");
    TensorSpec sums = conv.check(convInputs(in)).getFirst();
    List<TensorSpec> all = new ArrayList<>(unit.check(unitInputs(sums, in)));
    if (keepsSums) {
      all.add(sums);
    }
    return all;
  }
}
