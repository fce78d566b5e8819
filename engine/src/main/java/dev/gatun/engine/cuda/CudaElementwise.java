package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
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
import dev.gatun.engine.op.Shift;
import dev.gatun.kernels.ElementwiseKernels;
import dev.gatun.kernels.Window;
import java.util.List;

/** Ops that look at one element, or at one position, at a time. */
final class CudaElementwise {
  private CudaElementwise() {}

  static void relu(Work w, Relu op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.relu(
            element(x), x.address(), out.getFirst().address(), x.elements(), Window.flat()));
  }

  static void elu(Work w, Elu op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.elu(
            element(x), x.address(), out.getFirst().address(), x.elements(), Window.flat()));
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
    Tensor x = in.getFirst();
    w.add(
        ElementwiseKernels.concatElu(
            element(x),
            x.address(),
            out.getFirst().address(),
            x.shape().dim(-1),
            Window.whole(x.shape().rows(), 1, 1)));
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
    Tensor y = out.getFirst();
    w.add(
        ElementwiseKernels.gate(
            element(y),
            in.getFirst().address(),
            in.size() > 1 ? in.get(1).address() : 0,
            y.address(),
            y.shape().dim(-1) / op.groups(),
            op.kind() == Gate.Kind.LINEAR,
            Window.whole(y.shape().rows(), 1, op.groups())));
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
    Tensor a = in.getFirst();
    w.add(
        ElementwiseKernels.add(
            element(a),
            a.address(),
            in.get(1).address(),
            out.getFirst().address(),
            a.elements(),
            Window.flat()));
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
    Tensor y = out.getFirst();
    w.add(
        ElementwiseKernels.normalizePixels(
            element(y),
            in.getFirst().address(),
            y.address(),
            x.dim(-1),
            op.levels(),
            Window.whole(x.rows(), 1, 1)));
  }

  static void shift(Work w, Shift op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    w.add(
        ElementwiseKernels.shift(
            element(in.getFirst()),
            in.getFirst().address(),
            out.getFirst().address(),
            x.dim(1),
            x.dim(2),
            x.dim(3),
            op.rows(),
            op.columns(),
            Window.whole(x.dim(0), x.dim(1) * x.dim(2), 1)));
  }

  static void addBias(Work w, AddBias op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    w.add(
        ElementwiseKernels.addBias(
            element(in.getFirst()),
            in.getFirst().address(),
            in.get(1).address(),
            in.size() > 2 ? in.get(2).address() : 0,
            out.getFirst().address(),
            w.refusal(),
            in.get(1).shape().dim(0),
            x.dim(-1),
            Window.whole(x.dim(0), x.rows() / x.dim(0), 1)));
  }
}
