package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.kernels.AttentionKernels;
import java.util.List;
import java.util.stream.Stream;

/** Attention and its gradients, without the matrix of scores. */
final class CudaAttention {
  private CudaAttention() {}

  static void forward(Work w, Attention op, List<Tensor> in, List<Tensor> out) {
    Attention.Sizes sizes = op.sizes(in.stream().map(Tensor::spec).toList());
    Tensor o = out.getFirst();
    long[] at = parts(op, sizes, in);
    boolean aligned = Stream.concat(in.stream(), Stream.of(o)).allMatch(Work::aligned);
    w.add(
        AttentionKernels.forward(
            element(o),
            at[0],
            at[1],
            at[2],
            o.address(),
            out.get(1).address(),
            shape(op, sizes, aligned)));
  }

  static void backward(Work w, AttentionBackward op, List<Tensor> in, List<Tensor> out) {
    List<Tensor> own = op.forwardInputs(in);
    Attention.Sizes sizes = op.forward().sizes(own.stream().map(Tensor::spec).toList());
    Tensor o = in.get(own.size());
    Tensor lse = in.get(own.size() + 1);
    Tensor dout = in.get(own.size() + 2);
    long[] at = parts(op.forward(), sizes, own);
    long[] to = parts(op.forward(), sizes, out);
    boolean aligned =
        Stream.of(own, out, List.of(dout)).flatMap(List::stream).allMatch(Work::aligned);
    AttentionKernels.Shape shape = shape(op.forward(), sizes, aligned);
    long delta = w.scratch((long) lse.elements() * Float.BYTES)[0];
    w.add(AttentionKernels.delta(element(o), o.address(), dout.address(), delta, shape));
    w.add(
        AttentionKernels.backwardQueries(
            element(o), at[0], at[1], at[2], dout.address(), lse.address(), delta, to[0], shape));
    w.add(
        AttentionKernels.backwardKeys(
            element(o),
            at[0],
            at[1],
            at[2],
            dout.address(),
            lse.address(),
            delta,
            to[1],
            to[2],
            shape));
  }

  /** Where q, k and v begin: in tensors of their own, or side by side in the rows of one. */
  private static long[] parts(Attention op, Attention.Sizes sizes, List<Tensor> tensors) {
    if (!sizes.fused()) {
      return tensors.stream().mapToLong(Tensor::address).toArray();
    }
    Tensor all = tensors.getFirst();
    long part = (long) op.heads() * sizes.d() * all.dtype().bytes();
    return new long[] {all.address(), all.address() + part, all.address() + 2 * part};
  }

  private static AttentionKernels.Shape shape(
      Attention op, Attention.Sizes sizes, boolean aligned) {
    int row = op.heads() * sizes.d() * (sizes.fused() ? 3 : 1);
    return new AttentionKernels.Shape(
        sizes.n(), op.heads(), sizes.l(), sizes.m(), sizes.d(), row, row, aligned);
  }
}
