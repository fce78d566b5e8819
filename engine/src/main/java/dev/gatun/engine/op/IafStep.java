package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * One step of an inverse autoregressive flow, in the form whose gates keep it stable.
 *
 * <p>Inputs: z [M,...,D] f32; said [M,...,2D] f32, what the autoregressive network says of it:
 * along the last axis D values m, then D values s. Outputs: y like z, sigmoid(s) z + (1 -
 * sigmoid(s)) m; logDeterminant [M] f32, of each row the sum of log sigmoid(s): the logarithm of
 * the determinant of dy/dz, in nats. So log q(y) = log q(z) - logDeterminant.
 *
 * @see "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow,
 *     section 4, equations 13 and 14"
 */
public record IafStep() implements Op {
  @Override
  public String name() {
    return "iaf_step";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Shape z = in.getFirst().shape();
    require(
        z.rank() >= 2 && z.elements() > 0 && in.getFirst().dtype() == DType.F32,
        in,
        "z must be [M,...,D] f32");
    int channels = z.dim(-1);
    require(
        channels <= Integer.MAX_VALUE / 2
            && z.elements() <= Integer.MAX_VALUE / 2
            && in.get(1).equals(new TensorSpec(z.withLast(2 * channels), DType.F32)),
        in,
        "said must be [M,...,2D] f32");
    return List.of(in.getFirst(), TensorSpec.of(DType.F32, z.dim(0)));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return graph.apply(
        new IafStepBackward(),
        List.of(
            inputs.get(0),
            inputs.get(1),
            orZeros(graph, gradients.get(0), outputs.get(0)),
            orZeros(graph, gradients.get(1), outputs.get(1))));
  }

  private static Value orZeros(Graph graph, Value gradient, Value output) {
    return gradient != null ? gradient : graph.apply(new Fill(output.spec(), 0));
  }
}
