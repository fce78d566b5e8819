package dev.gatun.engine;

import java.util.List;

/**
 * An operation on tensors, without memory: what it accepts, what it returns, and how its gradient
 * is made of other ops. Implementations are records whose components are the op's attributes; a
 * backend maps the record's class to code.
 */
public interface Op {
  /** As in messages and kernel names: {@code group_norm}. */
  String name();

  /**
   * Checks shapes and dtypes.
   *
   * @return the outputs' shapes and dtypes
   * @throws ShapeException naming the op, what is wrong, and every input
   */
  List<TensorSpec> check(List<TensorSpec> inputs);

  /**
   * Adds the ops that compute the gradients of the inputs.
   *
   * @param gradients of the outputs; null where nothing depends on an output
   * @return a gradient for each input; null where there is none
   */
  default List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    throw new UnsupportedOperationException(name() + " has no gradient");
  }

  /**
   * Whether the op takes one more input, like its only output, and adds it to that: then a sum of
   * gradients costs no pass of its own.
   */
  default boolean accumulates() {
    return false;
  }

  /** Indices of inputs that are written in place. */
  default List<Integer> mutates() {
    return List.of();
  }

  /** Throws {@link ShapeException} as {@code "op: message (inputs)"} unless the condition holds. */
  default void require(boolean condition, List<TensorSpec> inputs, String message) {
    if (!condition) {
      throw new ShapeException(name() + ": " + message + " (inputs " + inputs + ")");
    }
  }

  /** Throws {@link ShapeException} unless there are {@code least} to {@code most} inputs. */
  default void requireCount(List<TensorSpec> inputs, int least, int most) {
    require(
        inputs.size() >= least && inputs.size() <= most,
        inputs,
        least == most
            ? "takes " + least + " inputs"
            : "takes " + least + " to " + most + " inputs");
  }
}
