package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * The gradient of {@link Conv2d} with respect to x, and by the same sums a transposed convolution:
 * with strides above 1 a model applies this op to its small images as dy and gets large ones.
 *
 * <p>Inputs: w [T,C,K] f32; dy [N,OH,OW,K] f32 or bf16; optionally an addend in dy's dtype, like dx
 * or [N,1,1,C], the same for all pixels of an image. Output: dx, of the shape given, in dy's dtype.
 */
public record Conv2dBackwardData(Conv2d forward, Shape xShape) implements Op {
  @Override
  public String name() {
    return "conv_taps_backward_data";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 3);
    TensorSpec w = in.get(0);
    TensorSpec dy = in.get(1);
    forward.check(List.of(new TensorSpec(xShape, DType.F32), w));
    require(dy.dtype() == DType.F32 || dy.dtype() == DType.BF16, in, "dy must be f32 or bf16");
    require(
        dy.shape().equals(forward.outputShape(xShape, w.shape().dim(2))),
        in,
        "dy must be " + forward.outputShape(xShape, w.shape().dim(2)));
    TensorSpec dx = new TensorSpec(xShape, dy.dtype());
    require(
        in.size() == 2 || in.get(2).equals(dx) || in.get(2).equals(Conv2d.ofImages(dx)),
        in,
        "the addend must be " + dx + " or " + Conv2d.ofImages(dx));
    return List.of(dx);
  }

  @Override
  public boolean accumulates() {
    return true;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value w = inputs.get(0);
    Value g = gradients.getFirst();
    // in the dtype of g, whatever the forward op was asked to return
    Conv2d conv = new Conv2d(forward.taps(), forward.strideH(), forward.strideW(), null);
    List<Value> all = new ArrayList<>();
    all.add(graph.apply(new Conv2dBackwardWeights(conv, false), g, inputs.get(1)));
    all.add(graph.apply(conv, g, w));
    if (inputs.size() > 2) {
      all.add(Conv2d.addendGradient(graph, inputs.get(2), g));
    }
    return all;
  }
}
