package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * The mean of the squared differences of each image, and their weighted mean.
 *
 * <p>Inputs: prediction [N,...] f32 or bf16; target of its shape, f32; weights [N] f32. Outputs:
 * mean [1] f32 = sum of weight * error / N; errors [N] f32, of each image the mean of (prediction -
 * target)^2. The gradient is that of the mean, for the prediction.
 */
public record SquaredError() implements Op {
  @Override
  public String name() {
    return "squared_error";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    TensorSpec prediction = in.getFirst();
    Checks.activation(this, in, prediction);
    require(
        in.get(1).equals(new TensorSpec(prediction.shape(), DType.F32)),
        in,
        "target must be of the prediction's shape, f32");
    TensorSpec each = TensorSpec.of(DType.F32, prediction.shape().dim(0));
    require(in.get(2).equals(each), in, "weights must be [N] f32");
    return List.of(TensorSpec.of(DType.F32, 1), each);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its mean only, not for single images");
    }
    Value dprediction =
        graph.apply(
            new SquaredErrorBackward(),
            inputs.get(0),
            inputs.get(1),
            inputs.get(2),
            gradients.get(0));
    return Arrays.asList(dprediction, null, null);
  }
}
