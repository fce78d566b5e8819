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
 * A convolution by taps.
 *
 * <p>y[n,i,j,k] = bias[k] + addend[n,i,j,k] + sum over taps t and channels c of x[n, i*strideH +
 * dy_t, j*strideW + dx_t, c] * w[t,c,k]; outside the image x is zero.
 *
 * <p>Inputs: x [N,H,W,C] f32 or bf16; w [T,C,K] f32; optionally bias [K] f32; optionally an addend
 * in y's dtype, like y (a residual) or [N,1,1,K], the same for all pixels of an image (what a
 * denoising network is told of the time). Output: y [N,ceil(H/strideH),ceil(W/strideW),K] in {@code
 * outputType}. Products in x's dtype (the weights are rounded to it), sums in f32; gradients of x,
 * w and the bias from y's gradient rounded to x's dtype.
 *
 * @param outputType null for x's dtype; f32 may be asked for where x is bf16
 */
public record Conv2d(Taps taps, int strideH, int strideW, DType outputType) implements Op {
  public Conv2d(Taps taps) {
    this(taps, 1, 1, null);
  }

  @Override
  public String name() {
    return "conv_taps";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 4);
    TensorSpec x = in.get(0);
    TensorSpec w = in.get(1);
    require(x.shape().rank() == 4, in, "x must be [N,H,W,C]");
    require(x.dtype() == DType.F32 || x.dtype() == DType.BF16, in, "x must be f32 or bf16");
    require(w.shape().rank() == 3 && w.dtype() == DType.F32, in, "w must be [T,C,K] f32");
    require(
        w.shape().dim(0) == taps.count(),
        in,
        "T=" + w.shape().dim(0) + " but " + taps.count() + " taps");
    require(
        w.shape().dim(1) == x.shape().dim(3),
        in,
        "w is for C=" + w.shape().dim(1) + ", x has C=" + x.shape().dim(3));
    require(strideH > 0 && strideW > 0, in, "strides must be positive");
    require(x.shape().elements() > 0 && w.shape().elements() > 0, in, "empty input");
    DType out = outputType == null ? x.dtype() : outputType;
    require(out == x.dtype() || out == DType.F32, in, "output must be f32 or x's dtype");
    if (hasBias(in)) {
      require(
          in.get(2).equals(TensorSpec.of(DType.F32, w.shape().dim(2))), in, "bias must be [K] f32");
    }
    TensorSpec y = new TensorSpec(outputShape(x.shape(), w.shape().dim(2)), out);
    require(
        in.size() <= (hasBias(in) ? 4 : 3)
            && (!hasAddend(in) || in.getLast().equals(y) || in.getLast().equals(ofImages(y))),
        in,
        "the addend must be " + y + " or " + ofImages(y));
    return List.of(y);
  }

  /** Whether the third input is a bias. */
  public static boolean hasBias(List<TensorSpec> inputs) {
    return inputs.size() > 2 && inputs.get(2).shape().rank() == 1;
  }

  /** Whether the last input is an addend. */
  public static boolean hasAddend(List<TensorSpec> inputs) {
    return inputs.size() > (hasBias(inputs) ? 3 : 2);
  }

  /** [N,1,1,K] of y's N, K and dtype. */
  static TensorSpec ofImages(TensorSpec y) {
    return TensorSpec.of(y.dtype(), y.shape().dim(0), 1, 1, y.shape().dim(3));
  }

  /**
   * Whether an addend that {@link #check} takes has one row for all pixels of an image, not one for
   * each.
   */
  public static boolean isOfImages(Shape addend, Shape y) {
    return !addend.equals(y);
  }

  /** The gradient of an addend. */
  static Value addendGradient(Graph graph, Value addend, Value dy) {
    return isOfImages(addend.shape(), dy.shape()) ? graph.apply(new SumPixels(), dy) : dy;
  }

  Shape outputShape(Shape x, int filters) {
    return Shape.of(x.dim(0), ceilDiv(x.dim(1), strideH), ceilDiv(x.dim(2), strideW), filters);
  }

  static int ceilDiv(int a, int b) {
    return (a + b - 1) / b;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    List<TensorSpec> specs = inputs.stream().map(Value::spec).toList();
    Value x = inputs.get(0);
    Value w = inputs.get(1);
    Value slope = gradients.getFirst();
    Value dy = slope.dtype() == x.dtype() ? slope : graph.apply(new Cast(x.dtype()), slope);
    List<Value> all = new ArrayList<>();
    all.add(graph.apply(new Conv2dBackwardData(this, x.shape()), w, dy));
    all.addAll(graph.apply(new Conv2dBackwardWeights(this, hasBias(specs)), List.of(x, dy)));
    if (hasAddend(specs)) {
      all.add(addendGradient(graph, inputs.getLast(), slope));
    }
    return all;
  }
}
