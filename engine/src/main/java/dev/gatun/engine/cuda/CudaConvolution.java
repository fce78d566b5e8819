package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.aligned;
import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Relu;
import dev.gatun.kernels.ConvPlan;
import dev.gatun.kernels.ConvPlan.Activation;
import dev.gatun.kernels.ConvPlan.Image;
import dev.gatun.kernels.ConvPlan.Output;
import dev.gatun.kernels.Window;
import java.util.List;

/** Convolution by taps, forward and backward, by our own kernels. */
final class CudaConvolution {
  private CudaConvolution() {}

  static void forward(Work w, Conv2d op, List<Tensor> in, List<Tensor> out) {
    List<TensorSpec> specs = in.stream().map(Tensor::spec).toList();
    Tensor y = out.getFirst();
    ConvPlan plan = plan(w, op, in.getFirst(), y.shape(), false);
    Tensor bias = Conv2d.hasBias(specs) ? in.get(2) : null;
    Tensor addend = Conv2d.hasAddend(specs) ? in.getLast() : null;
    Output output = plus(output(y, y.shape().dim(3)), y.shape(), bias, addend);
    convolve(w, plan, in.getFirst(), in.get(1), output);
  }

  /** Null if these inputs can be run, else in a few words why not. */
  static String refuses(Conv2dUnit op, List<TensorSpec> in) {
    TensorSpec sums = op.conv().check(op.convInputs(in)).getFirst();
    if (sums.dtype() != in.getFirst().dtype()) {
      return "no kernel with a unit after sums in another dtype";
    }
    return half(op.unit(), sums.shape()) % 8 != 0
        ? "a gate's halves must be multiples of 8 channels"
        : null;
  }

  /** Channels of a half in each group of a gate; 0 for other units. */
  static int half(Op unit, Shape sums) {
    return unit instanceof Gate gate ? sums.dim(3) / 2 / gate.groups() : 0;
  }

  /** Sums of so many channels that go to {@code y}, or through a unit to it. */
  static Output output(Tensor y, int channels) {
    return Output.of(y.address(), y.dtype() == DType.F32, channels);
  }

  /** With a bias and an addend, where they are not null, added to {@code sums}. */
  static Output plus(Output output, Shape sums, Tensor bias, Tensor addend) {
    return output.plus(
        bias == null ? 0 : bias.address(),
        addend == null ? 0 : addend.address(),
        addend != null && Conv2d.isOfImages(addend.shape(), sums));
  }

  static void unit(Work w, Conv2dUnit op, List<Tensor> in, List<Tensor> out) {
    List<Tensor> conv = op.convInputs(in);
    List<TensorSpec> specs = conv.stream().map(Tensor::spec).toList();
    Shape sums = op.conv().check(specs).getFirst().shape();
    Tensor y = out.getFirst();
    ConvPlan plan = plan(w, op.conv(), in.getFirst(), sums, false);
    Tensor bias = Conv2d.hasBias(specs) ? in.get(2) : null;
    Tensor addend = Conv2d.hasAddend(specs) ? conv.getLast() : null;
    long residual = op.residual() ? in.getLast().address() : 0;
    long kept = op.keepsSums() ? out.get(1).address() : 0;
    Output output =
        plus(output(y, sums.dim(3)), sums, bias, addend)
            .through(activation(op.unit()), half(op.unit(), sums), residual, kept);
    convolve(w, plan, in.getFirst(), in.get(1), output);
  }

  static Activation activation(Op unit) {
    return switch (unit) {
      case Relu relu -> Activation.RELU;
      case Elu elu -> Activation.ELU;
      case ConcatElu elu -> Activation.CONCAT_ELU;
      case Gate gate ->
          gate.kind() == Gate.Kind.LINEAR ? Activation.GATE_LINEAR : Activation.GATE_TANH;
      default -> throw new IllegalArgumentException(unit.name() + " after a convolution");
    };
  }

  static void backwardData(Work w, Conv2dBackwardData op, List<Tensor> in, List<Tensor> out) {
    Tensor dx = out.getFirst();
    ConvPlan plan = plan(w, op.forward(), in.get(1), dx.shape(), true);
    Tensor addend = in.size() > 2 ? in.get(2) : null;
    Output output = plus(output(dx, dx.shape().dim(3)), dx.shape(), null, addend);
    convolve(w, plan, in.get(1), in.getFirst(), output);
  }

  private static void convolve(Work w, ConvPlan plan, Tensor x, Tensor weights, Output output) {
    long table = w.table(plan.table());
    long[] scratch = w.scratch(plan.packedBytes(), plan.usedBytes());
    if (plan.hasWeights()) {
      w.add(plan.pack(weights.address(), table, scratch[0], scratch[1], output.half()));
    }
    w.add(plan.convolve(x.address(), table, scratch[0], scratch[1], output, Window.flat()));
  }

  private static ConvPlan plan(Work w, Conv2d op, Tensor source, Shape target, boolean backward) {
    return new ConvPlan(
        element(source),
        target.dim(0),
        image(source.shape()),
        image(target),
        op.taps().toArray(),
        op.strideH(),
        op.strideW(),
        backward,
        aligned(source),
        0,
        w.multiprocessors());
  }

  static Image image(Shape s) {
    return new Image(s.dim(1), s.dim(2), s.dim(3));
  }

  static void backwardWeights(Work w, Conv2dBackwardWeights op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    Tensor dy = in.get(1);
    int taps = op.forward().taps().count();
    ConvPlan plan = plan(w, op.forward(), x, dy.shape(), false);
    long table = w.table(plan.table());
    long rows = w.table(plan.rowsOfTaps(taps));
    ConvPlan.Split split = plan.split(w.multiprocessors());
    long parts = w.scratch(split.bytes())[0];
    w.add(plan.weights(x.address(), dy.address(), table, parts, split, aligned(dy)));
    w.add(plan.weightsFinish(parts, rows, out.getFirst().address(), split, taps));
    if (op.bias()) {
      CudaReductions.columnSums(w, dy, 1, 1, 0, out.get(1));
    }
  }
}
