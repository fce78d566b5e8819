package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Op;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import dev.gatun.engine.op.Split;
import dev.gatun.kernels.ElementwiseKernels;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.util.List;

/** Ops that look at one element, or at one position, at a time. */
final class CudaElementwise {
  private CudaElementwise() {}

  /**
   * An op on a window of whole tensors, or of the positions that a pixel's step computes.
   *
   * @param channels of a row of the window; an element-wise op may take all its elements as one
   */
  static KernelCall call(
      Op op, List<Tensor> in, Tensor y, int channels, Window window, long refusal) {
    Tensor x = in.getFirst();
    long second = in.size() > 1 ? in.get(1).address() : 0;
    return switch (op) {
      case Relu relu ->
          ElementwiseKernels.relu(element(x), x.address(), y.address(), channels, window);
      case Silu silu ->
          ElementwiseKernels.silu(element(x), x.address(), y.address(), channels, window);
      case Elu elu ->
          ElementwiseKernels.elu(element(x), x.address(), y.address(), channels, window);
      case Add add ->
          ElementwiseKernels.add(element(x), x.address(), second, y.address(), channels, window);
      case ConcatElu elu ->
          ElementwiseKernels.concatElu(
              element(x), x.address(), y.address(), x.shape().dim(-1), window);
      case Gate gate ->
          ElementwiseKernels.gate(
              element(y),
              x.address(),
              second,
              y.address(),
              channels,
              gate.kind() == Gate.Kind.LINEAR,
              window);
      case NormalizePixels normalize ->
          ElementwiseKernels.normalizePixels(
              element(y), x.address(), y.address(), channels, normalize.levels(), window);
      case Shift shift ->
          ElementwiseKernels.shift(
              element(x),
              x.address(),
              y.address(),
              x.shape().dim(1),
              x.shape().dim(2),
              x.shape().dim(3),
              shift.rows(),
              shift.columns(),
              window);
      case AddBias add ->
          ElementwiseKernels.addBias(
              element(x),
              x.address(),
              second,
              in.size() > 2 ? in.get(2).address() : 0,
              y.address(),
              refusal,
              in.get(1).shape().dim(0),
              channels,
              window);
      default -> throw new IllegalArgumentException(op.name() + " has no window");
    };
  }

  private static void whole(
      Work w, Op op, List<Tensor> in, List<Tensor> out, int channels, Window window) {
    w.add(call(op, in, out.getFirst(), channels, window, 0));
  }

  static void relu(Work w, Relu op, List<Tensor> in, List<Tensor> out) {
    whole(w, op, in, out, in.getFirst().elements(), Window.flat());
  }

  static void concat(Work w, Concat op, List<Tensor> in, List<Tensor> out) {
    Tensor both = out.getFirst();
    int channels = both.shape().dim(-1);
    long at = both.address();
    for (Tensor part : in) {
      int own = part.shape().dim(-1);
      w.add(
          ElementwiseKernels.copyChannels(
              element(part), part.address(), at, part.shape().rows(), own, own, channels));
      at += (long) own * part.dtype().bytes();
    }
  }

  static void split(Work w, Split op, List<Tensor> in, List<Tensor> out) {
    Tensor both = in.getFirst();
    int channels = both.shape().dim(-1);
    long at = both.address();
    for (Tensor part : out) {
      int own = part.shape().dim(-1);
      w.add(
          ElementwiseKernels.copyChannels(
              element(part), at, part.address(), part.shape().rows(), own, channels, own));
      at += (long) own * part.dtype().bytes();
    }
  }

  static void silu(Work w, Silu op, List<Tensor> in, List<Tensor> out) {
    whole(w, op, in, out, in.getFirst().elements(), Window.flat());
  }

  static void siluBackward(Work w, SiluBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.siluBackward(
            element(x), x.address(), in.get(1).address(), out.getFirst().address(), x.elements()));
  }

  static void elu(Work w, Elu op, List<Tensor> in, List<Tensor> out) {
    whole(w, op, in, out, in.getFirst().elements(), Window.flat());
  }

  static void reluBackward(Work w, ReluBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor y = in.getFirst();
    w.add(
        ElementwiseKernels.reluBackward(
            element(y), y.address(), in.get(1).address(), out.getFirst().address(), y.elements()));
  }

  static void eluBackward(Work w, EluBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor y = in.getFirst();
    w.add(
        ElementwiseKernels.eluBackward(
            element(y), y.address(), in.get(1).address(), out.getFirst().address(), y.elements()));
  }

  static void concatElu(Work w, ConcatElu op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    whole(w, op, in, out, x.dim(-1), Window.whole(x.rows(), 1, 1));
  }

  static void concatEluBackward(Work w, ConcatEluBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.concatEluBackward(
            element(x),
            x.address(),
            in.get(1).address(),
            out.getFirst().address(),
            x.shape().rows(),
            x.shape().dim(-1)));
  }

  static void gate(Work w, Gate op, List<Tensor> in, List<Tensor> out) {
    Shape y = out.getFirst().shape();
    int groups = op.groups();
    whole(w, op, in, out, y.dim(-1) / groups, Window.whole(y.rows(), 1, groups));
  }

  static void gateBackward(Work w, GateBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor dy = in.get(1);
    w.add(
        ElementwiseKernels.gateBackward(
            element(dy),
            in.getFirst().address(),
            dy.address(),
            out.getFirst().address(),
            dy.shape().rows() * op.groups(),
            dy.shape().dim(-1) / op.groups(),
            op.kind() == Gate.Kind.LINEAR));
  }

  static void add(Work w, Add op, List<Tensor> in, List<Tensor> out) {
    whole(w, op, in, out, in.getFirst().elements(), Window.flat());
  }

  static void fill(Work w, Fill op, List<Tensor> in, List<Tensor> out) {
    Tensor y = out.getFirst();
    w.add(ElementwiseKernels.fill(element(y), y.address(), op.value(), y.elements()));
  }

  static void dropout(Work w, Dropout op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.dropout(
            element(x),
            x.address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            x.elements(),
            op.seed(),
            op.site(),
            Philox.Stream.DROPOUT.ordinal(),
            op.dropped(),
            (float) op.scale()));
  }

  static void normalizePixels(Work w, NormalizePixels op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    whole(w, op, in, out, x.dim(-1), Window.whole(x.rows(), 1, 1));
  }

  static void scalePixels(Work w, ScalePixels op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.scalePixels(
            element(op.type()), x.address(), out.getFirst().address(), x.elements(), op.levels()));
  }

  static void cast(Work w, Cast op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    long y = out.getFirst().address();
    w.add(ElementwiseKernels.cast(element(x), element(op.type()), x.address(), y, x.elements()));
  }

  static void reshape(Work w, Reshape op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.copyBytes(x.address(), out.getFirst().address(), x.spec().sizeBytes()));
  }

  static void shift(Work w, Shift op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    whole(w, op, in, out, x.dim(3), Window.whole(x.dim(0), x.dim(1) * x.dim(2), 1));
  }

  static void reverseChannels(Work w, ReverseChannels op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.reverseChannels(
            element(x), x.address(), out.getFirst().address(), x.shape().dim(-1), x.elements()));
  }

  static void resample(Work w, Resample op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    Tensor y = out.getFirst();
    boolean up = op.direction() == Resample.Direction.UP;
    Shape small = (up ? x : y).shape();
    w.add(
        ElementwiseKernels.resample(
            element(x),
            up,
            x.address(),
            y.address(),
            small.dim(0) * small.dim(1),
            small.dim(2),
            small.dim(3),
            op.factor()));
  }

  static void addBias(Work w, AddBias op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    Window window = Window.whole(x.dim(0), x.rows() / x.dim(0), 1);
    // without labels there is nothing to refuse
    long refusal = in.size() > 2 ? w.refusal() : w.refused();
    w.add(call(op, in, out.getFirst(), x.dim(-1), window, refusal));
  }
}
